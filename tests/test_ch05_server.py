"""Chapter 5's server in its container: attacks, slow clients, sudden death, many photos, load."""
import hashlib
import random
import re
import socket
import statistics
import threading
import time

import pytest
import requests

from tests.support.gallery import CROPPED, ORIGINAL, TOKEN, Gallery, picture
from tests.support.images import until


@pytest.fixture(scope="module", params=["ch05-server", "ch05-server:optimized"])
def gallery(request, image, start_shared):
    """A server that tests share; they may upload, but need not find it empty."""
    return Gallery(start_shared, image(request.param))


@pytest.fixture
def new_gallery(image, start):
    """Start a server of the test's own."""
    return lambda tag="ch05-server", **kwargs: Gallery(start, image(tag), **kwargs)


def quantile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def raw(gallery, request):
    """Send bytes as they are and return what comes back until the server hangs up, politely or not."""
    answer = b""
    with socket.create_connection((gallery.host, int(gallery.port)), timeout=10) as connection:
        try:
            connection.sendall(request)
            while part := connection.recv(65536):
                answer += part
        except ConnectionError:
            pass
    return answer


# --- the doors --------------------------------------------------------------------------------------

def test_a_photo_goes_in_and_comes_out(gallery):
    created, again = gallery.upload(name="in and out.png"), gallery.upload(name="in and out.png")
    assert (created.status_code, again.status_code) == (201, 200), created.text
    url = created.json()["url"]
    assert gallery.get(url + "/original").content == ORIGINAL
    assert gallery.get(url + "/cropped").content == CROPPED
    assert gallery.json()["photos"][0]["name"] == "in and out.png"
    assert gallery.session.head(gallery.url + url, timeout=20).status_code == 200


@pytest.mark.parametrize("header", [
    None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}",
    f"Bearer {TOKEN}, Bearer x", f"Bearer {TOKEN} x", "Bearer /run/secrets/upload_token", "Bearer *", "Bearer \xff",
])
def test_nobody_uploads_without_the_token(gallery, header):
    before = gallery.json()["total"]
    answer = requests.post(f"{gallery.url}/photos", data=b"x" * 5_000_000, timeout=20,
                           headers={} if header is None else {"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert "token" in answer.json()["error"]
    assert gallery.json()["total"] == before


def test_without_a_token_uploads_are_off(new_gallery):
    gallery = new_gallery(token="")
    for token in ("", "None", TOKEN):
        answer = gallery.upload(token=token or " ")
        assert answer.status_code == 403
        assert "/run/secrets/upload_token" in answer.json()["error"]
    assert "Uploads are turned off" in gallery.get("/").text
    assert "uploads are off" in gallery.container.get_logs()[0].decode()


@pytest.mark.parametrize("path", [
    "/../../../../etc/passwd",
    "/static/../../../../../etc/passwd",
    "/static/..%2f..%2f..%2f..%2fetc/passwd",
    "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/static/..\\..\\..\\etc\\passwd",
    "/static//etc/passwd",
    "//etc/passwd",
    "/photos/../../etc/passwd",
    "/photos/..%2f..%2f..%2fdata%2fgallery.sqlite3/original",
    "/photos/%2fetc%2fpasswd/original",
    "/photos/" + "0" * 64 + "/..%2f..%2fgallery.sqlite3",
    "/photos/" + "0" * 64 + "%00/original",
    "/photos/' OR '1'='1/original",
    "/photos/" + "a" * 20_000,
    "/?before=1;DROP TABLE photos",
    "/?before=%00",
    "/?before=" + "9" * 5000,
    "file:///etc/passwd",
    "http://169.254.169.254/",
])
def test_no_address_leads_out_of_the_gallery(gallery, path):
    answer = raw(gallery, f"GET {path} HTTP/1.0\r\nAccept: application/json\r\n\r\n".encode())
    assert re.match(rb"HTTP/1\.[01] (308|4\d\d) ", answer) or b'"photos":[' in answer, answer[:300]
    assert b"root:" not in answer and b"SQLite format" not in answer and b"Traceback" not in answer
    assert gallery.get("/healthz").json()["status"] == "ok"


@pytest.mark.parametrize("request_bytes", [
    b"\0" * 1000 + b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
    b"POST /photos HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /photos HTTP/1.1\r\nContent-Length: 1e9\r\n\r\n",
    b"POST /photos HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"POST /photos HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n\r\n",
])
def test_what_is_no_http_is_turned_away(gallery, request_bytes):
    assert re.match(rb"$|HTTP/1\.\d [45]\d\d ", raw(gallery, request_bytes))
    assert gallery.get("/healthz").json()["status"] == "ok"


def test_strange_names_stay_names(gallery):
    name = '../../<script>alert("1")</script>\u202egnp\N{GRINNING FACE}.png'
    url = gallery.upload(name=name).json()["url"]
    assert gallery.json(url)["name"] == name.rpartition("/")[2]
    for path in ("/", url):
        page = gallery.get(path).text
        assert "<script>" not in page and "alert(" not in page.replace("alert(&#34;", "")


def test_no_traceback_reaches_anyone(gallery):
    """Runs after the attacks above: none of them made the server stumble."""
    out, err = gallery.container.get_logs()
    assert b"Traceback" not in out + err


# --- stopping ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("tag", ["ch05-server", "ch05-server:optimized"])
def test_docker_stop_is_quick_and_clean(new_gallery, tag):
    gallery = new_gallery(tag)
    container = gallery.container.get_wrapped_container()
    container.stop(timeout=10)
    assert container.wait()["StatusCode"] == 0
    assert gallery.container.get_logs()[0].decode().rstrip().endswith("Stopped.")


def upload_until(stopped, gallery, seed, sent, acknowledged):
    """Upload photos, each of its own, until the server is gone: sent before, acknowledged after."""
    session = requests.Session()
    number = 0
    while not stopped.is_set():
        number += 1
        original, cropped = picture(640, 480, f"{seed} {number}"), picture(60, 60, f"crop {seed} {number}")
        key = hashlib.sha256(original).hexdigest()
        sent[key] = original, cropped
        try:
            answer = gallery.upload(original, cropped, session=session, key=key)
        except requests.RequestException:
            return
        if answer.status_code == 201:
            acknowledged.add(key)


@pytest.mark.parametrize("rounds", [4, pytest.param(60, marks=pytest.mark.full)])
def test_kill_9_loses_nothing_and_breaks_nothing(new_gallery, rounds):
    gallery = new_gallery()
    container = gallery.container.get_wrapped_container()
    moments, sent, acknowledged = random.Random(5), {}, set()
    for turn in range(rounds):
        stopped = threading.Event()
        before = len(acknowledged)
        uploaders = [threading.Thread(target=upload_until, args=(stopped, gallery, f"{turn} {n}", sent, acknowledged))
                     for n in range(3)]
        for thread in uploaders:
            thread.start()
        until(lambda: len(acknowledged) > before, 20, message="no upload was acknowledged")
        time.sleep(moments.uniform(0, 0.15))  # the moment of death, anywhere within an upload
        container.kill()
        stopped.set()
        for thread in uploaders:
            thread.join()
        container.start()
        gallery.locate()
        until(lambda: healthy(gallery), 20, message="the server did not come back")
        stored = listed(gallery)
        assert acknowledged <= stored.keys(), "an acknowledged photo is lost"
        assert stored.keys() <= sent.keys()
        # Nothing half done is left: no temporary file, and no file without a row.
        files = gallery.python("import os; print(len(os.listdir('/data/files')), len(os.listdir('/data/incoming')))")
        assert files.split() == [str(2 * len(stored)), "0"]
    interrupted = len(sent) - len(acknowledged)
    assert interrupted, "no upload was ever interrupted: this test would find nothing"
    for key in listed(gallery):
        original, cropped = sent[key]
        assert gallery.get(f"/photos/{key}/original").content == original, "a photo is broken"
        assert gallery.get(f"/photos/{key}/cropped").content == cropped, "a crop is broken"
    print(f"{rounds} times killed: {len(acknowledged)} acknowledged, {interrupted} interrupted, 0 lost, 0 broken")


def healthy(gallery):
    try:
        return gallery.get("/healthz").status_code == 200
    except requests.RequestException:
        return False


def listed(gallery):
    """Return all photos that the gallery shows, by id, page by page."""
    found, path = {}, "/"
    while path:
        page = gallery.json(path)
        found.update((photo["id"], photo) for photo in page["photos"])
        path = page["older"]
    return found


# --- slow clients -----------------------------------------------------------------------------------

@pytest.mark.alone
def test_slow_uploaders_do_not_keep_others_waiting(new_gallery):
    """64 uploads that send a byte a second, and 16 requests whose header never ends."""
    gallery = new_gallery()
    url = gallery.upload().json()["url"]
    paths = ["/", url, url + "/original", url + "/cropped", "/healthz"]
    alone = latencies(gallery, paths, 2)
    starts = [(f"POST /photos HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
               "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n").encode()] * 64
    starts += [b"GET / HTTP/1.1\r\nX-Slow: "] * 16
    slow = [socket.create_connection((gallery.host, int(gallery.port)), timeout=10) for _ in starts]
    try:
        for connection, start in zip(slow, starts):
            connection.sendall(start)
        finished = threading.Event()
        thread = threading.Thread(target=drip, args=(slow, finished))
        thread.start()
        try:
            beside = latencies(gallery, paths, 6)
            # They are still being served, and a fast uploader is not kept waiting either.
            assert gallery.upload(name="another.png").status_code == 201
        finally:
            finished.set()
            thread.join()
    finally:
        for connection in slow:
            connection.close()
    p95, p95_alone = quantile(beside, 0.95), quantile(alone, 0.95)
    print(f"{len(beside)} requests beside 64 slow uploaders: p95 {p95 * 1000:.0f} ms, alone {p95_alone * 1000:.0f} ms")
    # The bar is 100 ms; on a machine that is busy with other things it is what the server does alone.
    assert p95 < max(0.1, 3 * p95_alone)


def latencies(gallery, paths, seconds):
    """GET the paths in turn for so long; return the seconds that each took. All must be answered."""
    session, taken, end = requests.Session(), [], time.monotonic() + seconds
    while time.monotonic() < end:
        for path in paths:
            started = time.monotonic()
            assert gallery.get(path, session).status_code == 200
            taken.append(time.monotonic() - started)
    return taken


def drip(connections, finished):
    while not finished.wait(1):
        for connection in connections:
            connection.sendall(b"x")  # fails if the server has closed the connection


def test_a_crowd_of_uploaders_is_served_in_turn(new_gallery):
    """More uploads at once than it works on: the others are told to come back, and those who look do not wait."""
    gallery = new_gallery()
    answers = []

    def insist(number):
        session, original = requests.Session(), picture(400, 300, number)
        while True:
            answer = gallery.upload(original, name=f"{number}.png", session=session)
            answers.append(answer.status_code)
            if answer.status_code != 503:
                return
            assert answer.headers["Retry-After"] == "1"
            time.sleep(0.1)

    uploaders = [threading.Thread(target=insist, args=(number,)) for number in range(40)]
    for uploader in uploaders:
        uploader.start()
    while any(uploader.is_alive() for uploader in uploaders):
        assert gallery.get("/").status_code == 200
    assert answers.count(201) == 40 and set(answers) <= {201, 503}
    assert gallery.json()["total"] == 40


def test_a_full_disk_stops_uploads_and_nothing_else(new_gallery):
    gallery = new_gallery(tmpfs={"/data": "size=8m,mode=1777"})
    stored = 0
    for number in range(40):
        try:
            answer = gallery.upload(picture(640, 480, number), name=f"{number}.png")
        except requests.ConnectionError:  # the body itself did not fit
            continue
        assert answer.status_code in (201, 507)
        stored += answer.status_code == 201
    assert 2 < stored < 40
    photos = listed(gallery)
    assert len(photos) == stored
    for photo in photos.values():
        assert len(gallery.get(photo["original"]["url"]).content) == photo["original"]["bytes"]
    assert gallery.python("import os; print(os.listdir('/data/incoming'))").strip() == "[]"


# --- many photos ------------------------------------------------------------------------------------

@pytest.mark.alone
def test_ten_thousand_photos_are_as_fast_as_a_hundred(new_gallery):
    few, many = new_gallery(), new_gallery()
    for gallery, number in ((few, 100), (many, 10_000)):
        for n in range(5):
            gallery.upload(name=f"{n}.png")
        gallery.multiply(number)
        assert gallery.json()["total"] == number
    # Never the same page twice, which the server would have at hand; and in turn, so that whatever else the
    # machine does hits all alike.
    pages = {"100": (few, 100), "newest": (many, 10_000), "middle": (many, 5000)}
    times = {name: [] for name in pages}
    for number in range(50):
        for name, (gallery, top) in pages.items():
            started = time.perf_counter()
            assert gallery.get(f"/?before={top - number}").text.count('class="card"') == 24
            times[name].append(time.perf_counter() - started)
    hundred, newest, middle = map(statistics.median, times.values())
    few_memory, many_memory = few.memory()[0], many.memory()[0]
    print(f"page of 10,000 against 100 photos: newest {newest / hundred:.2f}, middle {middle / hundred:.2f} times;"
          f" memory {many_memory:.0f} against {few_memory:.0f} MB")
    assert newest <= 1.3 * hundred and middle <= 1.3 * hundred
    assert many_memory <= 1.3 * few_memory
    # Started anew, it is there as soon.
    many.container.get_wrapped_container().restart()
    many.locate()
    until(lambda: healthy(many), 10, message="the server did not come back")
    assert many.json()["total"] == 10_000


@pytest.mark.full
def test_ten_thousand_uploads_leave_memory_flat(new_gallery):
    gallery = new_gallery()
    numbers, memory = iter(range(1, 10_001)), {}
    lock = threading.Lock()

    def work():
        session = requests.Session()
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            assert gallery.upload(picture(120, 90, number), session=session).status_code == 201
            if number in (1000, 10_000):
                memory[number] = gallery.memory()[0]

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert gallery.json()["total"] == 10_000
    print(f"memory after 1,000 uploads {memory[1000]:.0f} MB, after 10,000 {memory[10_000]:.0f} MB")
    assert memory[10_000] <= 1.2 * memory[1000]


@pytest.mark.full
def test_memory_has_a_bound_whatever_the_pictures(new_gallery):
    """The largest picture that is taken, many times at once: one is decoded at a time."""
    gallery = new_gallery(mem_limit="512m")
    largest = picture(8000, 7990)  # of one color, so that 64 megapixels are a few hundred kilobytes
    box = "[0, 0, 7000, 7000]"
    statuses = []

    def send(number):
        statuses.append(gallery.upload(largest, name=f"{number}.png", box=box, session=requests.Session()).status_code)

    senders = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    print(f"at most {gallery.memory()[1]:.0f} MB")
    assert statuses == [201] * 6
    assert gallery.memory()[1] < 400


@pytest.mark.full
def test_under_load(new_gallery, image, start, network):
    """wrk for 30 s, on the gallery and on pictures; fifty clients are not served much slower than two."""
    gallery = new_gallery(network=network, alias="server")
    for number in range(30):
        gallery.upload(picture(800, 600, number), picture(500, 500, number), box="[100, 0, 700, 600]")
    photo = gallery.json()["photos"][0]
    crop, thumbnail = photo["cropped"]["url"], photo["original"]["thumbnail_url"]
    rates = {}
    for name, path, clients in (("gallery", "/", 2), ("gallery", "/", 50), ("crop", crop, 50), ("thumbnail", thumbnail, 50)):
        before = gallery.memory()[0]
        # Its own 2 s until it calls an answer lost are soon over on a machine that is busy with other things.
        options = ["-t2", f"-c{clients}", "-d30s", "--timeout", "10s", "--latency"]
        wrk = start(image("test-load"), *options, f"http://server:8080{path}", network=network)
        wrk.get_wrapped_container().wait()
        report = wrk.get_logs()[0].decode()
        assert "Socket errors" not in report and "Non-2xx" not in report, report
        figures = {what: re.search(rf"{what}:?\s+(\S+)", report)[1] for what in ("99%", "Requests/sec")}
        rates[name, clients] = float(figures["Requests/sec"])
        print(f"{name}, {clients} clients: {figures['Requests/sec']} requests a second, p99 {figures['99%']},"
              f" memory {before:.0f} -> {gallery.memory()[0]:.0f} MB")
        assert name == "gallery" or gallery.memory()[0] < 1.2 * before
    # Both have the processor to themselves; fifty that wait for one lock came to a tenth.
    assert rates["gallery", 50] > rates["gallery", 2] / 3
    assert gallery.memory()[1] < 150
    assert "queue depth" not in gallery.container.get_logs()[0].decode(), "a line a request: the log is of no use then"
