"""Sending: what goes out, and what happens when the server is away, refuses or is slow."""

import collections
import email.policy
import http.server
import io
import json
import threading
import time

import pytest
from PIL import Image

import hostile
from cropper.gallery import Gallery, Refused, Rejected, Unreachable
from cropper.photo import Request, make_crop

TOKEN = "sesame"


class Server(http.server.ThreadingHTTPServer):
    """A server as the gallery is seen from here. `answers` are statuses to give to POSTs before it behaves."""

    daemon_threads = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.photos, self.answers, self.requests = {}, collections.deque(), []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.server.requests.append("HEAD")
        self.answer(200 if self.path.removeprefix("/photos/") in self.server.photos else 404)

    def do_POST(self):
        self.server.requests.append("POST")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.answers:
            return self.answer(self.server.answers.popleft())
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer(401)
        if self.path != "/photos":
            return self.answer(404)
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
        parts = {part.get_param("name", header="Content-Disposition"): part for part in message.iter_parts()}
        key = parts["key"].get_content().strip()
        status = 200 if key in self.server.photos else 201
        self.server.photos[key] = parts
        self.answer(status)

    def answer(self, status):
        body = b"" if self.command == "HEAD" else json.dumps({"error": f"because {status}"}).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        if status == 503:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


def gallery(server, token=TOKEN, patience=5.0, stop=None):
    return Gallery(server if isinstance(server, str) else server.url, token, patience, stop or threading.Event())


@pytest.fixture(scope="module")
def photo():
    request = Request("face", 30, 20, "png")
    data = hostile.encoded(hostile.picture(), "WEBP")
    return make_crop(data, request), request.key(data), request


def test_what_is_sent(server, photo):
    crop, key, request = photo
    assert gallery(server).send('a "quoted"\r\nname\udcff.webp', crop, key, request) is True
    parts = server.photos[key]
    texts = {name: part.get_content().strip() for name, part in parts.items() if not part.get_filename()}
    assert texts == {"key": key, "mode": "face", "size": "30x20", "box": "[0, 4, 80, 57]", "note": "center-fallback"}
    assert parts["original"].get_payload(decode=True) == crop.original
    assert parts["cropped"].get_payload(decode=True) == crop.cropped
    assert parts["original"].get_content_type() == "image/webp" and parts["cropped"].get_content_type() == "image/png"
    assert parts["original"].get_filename() == parts["cropped"].get_filename() == "a %22quoted%22%0D%0Aname?.webp"
    with Image.open(io.BytesIO(parts["cropped"].get_payload(decode=True))) as image:
        assert image.size == crop.size


def test_known_photos(server, photo):
    crop, key, request = photo
    there = gallery(server)
    assert there.has(key) is False
    assert there.send("a.webp", crop, key, request) is True
    assert there.has(key) is True
    assert there.send("a.webp", crop, key, request) is False


@pytest.mark.parametrize("statuses", ([503], [502, 504, 429], [500, 500, 500]))
def test_trouble_passes(server, photo, statuses):
    server.answers.extend(statuses)
    begin = time.monotonic()
    assert gallery(server).send("a.webp", *photo) is True
    assert 503 not in statuses or time.monotonic() - begin >= 1  # As its Retry-After asks.
    assert server.requests == ["POST"] * (len(statuses) + 1)


def test_a_server_that_is_not_up_yet(photo):
    first = Server()
    first.stop()
    late = threading.Timer(0.7, lambda: servers.append(Server(first.server_port)))
    servers = []
    late.start()
    assert gallery(first).send("a.webp", *photo) is True
    late.join()
    servers[0].stop()


def test_a_server_that_stays_away_is_given_up_once_for_all(photo):
    away = Server()
    away.stop()
    there = gallery(away, patience=0.5)
    begin = time.monotonic()
    with pytest.raises(Unreachable, match="can't be reached"):
        there.send("a.webp", *photo)
    assert 0.3 < time.monotonic() - begin < 2
    begin = time.monotonic()
    with pytest.raises(Unreachable):
        there.send("b.webp", *photo)
    assert time.monotonic() - begin < 0.1


@pytest.mark.parametrize("status", (400, 413, 415, 422))
def test_a_photo_that_the_server_does_not_want(server, photo, status):
    server.answers.append(status)
    there = gallery(server)
    with pytest.raises(Rejected, match=f"because {status}"):
        there.send("a.webp", *photo)
    assert there.send("b.webp", *photo) is True


def test_a_photo_on_which_the_server_fails_again_and_again(server, photo):
    server.answers.extend([500] * 5)
    there = gallery(server)
    with pytest.raises(Rejected, match="the server fails on it"):
        there.send("a.webp", *photo)
    assert there.send("b.webp", *photo) is True


@pytest.mark.parametrize("status", (401, 403, 404, 405, 302, 301))
def test_a_server_that_refuses(server, photo, status):
    server.answers.append(status)
    with pytest.raises(Refused, match="because"):
        gallery(server).send("a.webp", *photo)
    assert server.requests == ["POST"]  # Neither tried again nor redirected, which would give the token away.


def test_the_wrong_token(server, photo):
    with pytest.raises(Refused, match="refused the token"):
        gallery(server, "guess").send("a.webp", *photo)


def test_a_stop_ends_the_waiting(photo):
    away = Server()
    away.stop()
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    begin = time.monotonic()
    with pytest.raises(Unreachable):
        gallery(away, patience=60, stop=stop).send("a.webp", *photo)
    assert time.monotonic() - begin < 2


@pytest.fixture
def run(crop, tmp_path):
    """run(server, arguments…) runs the command with five photos and a token and returns what `crop` does."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "in").mkdir()
    for number in range(5):
        data = hostile.encoded(hostile.picture(60 + number, 50), "JPEG")
        (tmp_path / "in" / f"{number}.jpg").write_bytes(data)
    return lambda server, *args: crop(tmp_path / "in", "--server", server.url, "--token-file", tmp_path / "token", *args)


def test_a_second_run_sends_nothing(server, run):
    status, lines, _ = run(server)
    assert status == 0 and lines[-1].endswith("5 cropped")
    assert len(server.photos) == 5
    server.requests.clear()
    status, lines, _ = run(server)
    assert status == 0 and lines[-1].endswith("0 cropped, 5 known already")
    assert server.requests == ["HEAD"] * 5


def test_what_was_not_sent_is_sent_next_time(server, run):
    server.answers.extend([201, 422, 422])  # One answer is a lie: it was not stored.
    status, lines, _ = run(server, "--workers", 1)
    assert status == 1 and lines[-1].endswith("3 cropped, 2 failed")
    status, lines, _ = run(server)
    assert status == 0 and lines[-1].endswith("3 cropped, 2 known already")


def test_a_refusal_ends_the_run_with_2(server, run):
    server.answers.append(403)
    status, lines, _ = run(server, "--workers", 1)
    assert status == 2
    assert lines[0].startswith("refused") and len(lines) == 2
    assert lines[-1].endswith("0 cropped, 1 refused, 4 left undone")
    assert server.requests == ["HEAD", "POST"]


def test_a_server_that_stays_away_is_a_failure_and_said_of_every_photo(run):
    away = Server()
    away.stop()
    status, lines, _ = run(away, "--patience", "0.3")
    assert status == 1
    assert sum(line.startswith("failed") and "can't be reached" in line for line in lines) == 5


def test_crops_are_kept_as_well_where_asked(server, run, tmp_path):
    run(server, "--out", tmp_path / "out")
    assert len(server.photos) == len(list((tmp_path / "out").iterdir())) == 5
