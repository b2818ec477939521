"""What those who look get to see."""

import re

import pytest
from conftest import picture
from gallery.views import PAGE

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
JSON = {"Accept": "application/json"}


def fill(store, number):
    """Put photos into the store, with records but without files, as if they had been uploaded."""
    kept = {"type": "image/jpeg", "width": 8, "height": 6, "bytes": 1, "file": "f.jpg", "thumbnail": None}
    for count in range(number):
        record = {"name": f"{count}.jpg", "mode": "center", "note": "", "size": "6x6", "box": [1, 0, 7, 6]}
        record |= {"created": "2026-11-24T05:00:00+00:00", "original": kept, "cropped": kept}
        assert store.add(f"{count:064x}", record, {})


def test_an_empty_gallery_says_what_to_do(client, settings):
    page = client.get("/", headers=HTML).text
    assert "No photos yet" in page and "docker compose up" in page
    settings.upload_token_file.unlink()
    assert "Uploads are turned off" in client.get("/", headers=HTML).text


@pytest.mark.parametrize("number", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 1])
def test_pages_hold_every_photo_once_newest_first(app, client, number):
    fill(app.extensions["store"], number)
    seen, address, newer = [], "/", None
    while address:
        page = client.get(address, headers=JSON).json
        assert page["total"] == number
        assert page["newer"] == newer
        assert len(page["photos"]) <= PAGE
        seen += [photo["name"] for photo in page["photos"]]
        newer, address = address, page["older"]
    assert seen == [f"{count}.jpg" for count in reversed(range(number))]


@pytest.mark.parametrize("before, status", [("0", 200), ("1", 200), ("999", 200), ("-1", 400), ("x", 400), ("٣", 400)])
def test_odd_page_addresses(app, client, before, status):
    fill(app.extensions["store"], 3)
    answer = client.get(f"/?before={before}", headers=JSON)
    assert answer.status_code == status
    assert status == 400 or answer.json["photos"]


def test_an_unchanged_page_is_not_sent_again(client, upload):
    first = client.get("/", headers=HTML)
    again = HTML | {"If-None-Match": first.headers["ETag"]}
    assert client.get("/", headers=again).status_code == 304
    assert client.get("/", headers=again | JSON).status_code == 200
    upload()
    changed = client.get("/", headers=again)
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_a_page_is_compressed_for_those_who_can_read_that(app, client):
    fill(app.extensions["store"], PAGE)
    plain, small = client.get("/"), client.get("/", headers={"Accept-Encoding": "gzip"})
    assert small.headers["Content-Encoding"] == "gzip"
    assert len(small.data) < len(plain.data) / 5


def test_names_and_notes_are_escaped(client, upload):
    url = upload(name='"><script>alert(1)<.jpg', note="<img src=x onerror=alert(1)>").json["url"]
    for address in ("/", url):
        page = client.get(address, headers=HTML).text
        assert "alert(1)" in page
        assert not re.search(r"<script>|<img src=x", page)


def test_the_photo_page_shows_the_crop_in_the_original(client, upload):
    upload(key="1" * 64)
    url = upload(key="2" * 64, mode="face", note="A note").json["url"]
    upload(key="3" * 64)
    page = client.get(url, headers=HTML).text
    assert 'viewBox="0 0 800 600"' in page
    assert '<rect class="line" x="100" y="0" width="600" height="600"/>' in page
    assert "A note" in page
    assert f'rel="prev" href="/photos/{"3" * 64}"' in page
    assert f'rel="next" href="/photos/{"1" * 64}"' in page


def test_pictures_may_be_kept_for_ever_where_the_address_has_their_hash(client, upload):
    url = upload().json["url"]
    photo = client.get(url, headers=JSON).json
    for address in (photo["original"]["url"], photo["original"]["thumbnail_url"], photo["cropped"]["url"]):
        assert "immutable" in client.get(address).headers["Cache-Control"]
    plain = client.get(f"{url}/original")
    assert "no-cache" in plain.headers["Cache-Control"]
    assert client.get(f"{url}/original", headers={"If-None-Match": plain.headers["ETag"]}).status_code == 304


def test_a_part_of_a_picture_can_be_asked_for(client, upload):
    original = picture()
    url = upload(original=original).json["url"]
    part = client.get(f"{url}/original", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.data) == (206, original[10:20])


@pytest.mark.parametrize(
    "path",
    [
        "/photos/" + "0" * 64,
        "/photos/" + "0" * 64 + "/original",
        "/photos/../../etc/passwd",
        "/photos/..%2f..%2fetc%2fpasswd/original",
        "/photos/" + "0" * 63,
        "/photos/" + "0" * 64 + "/other",
        "/photos/" + "0" * 64 + "/../../gallery.sqlite3",
        "/static/../views.py",
        "/static/%2e%2e/views.py",
        "/files/",
        "/gallery.sqlite3",
    ],
)
def test_what_is_not_there(client, path):
    assert client.get(path, headers=JSON).status_code == 404
    assert set(client.get(path, headers=JSON).json) == {"error"}
    assert client.head(path).status_code == 404
    page = client.get(path, headers=HTML)
    assert page.status_code == 404 and "Back to the gallery" in page.text


def test_a_file_that_has_gone_missing_is_not_found(client, upload, settings):
    url = upload().json["url"]
    for file in (settings.data_dir / "files").iterdir():
        file.unlink()
    assert client.get(f"{url}/original").status_code == 404
    assert client.get("/").status_code == client.get(url).status_code == 200


def test_other_methods_are_refused_in_json(client):
    for method, path in (("DELETE", "/photos/" + "0" * 64), ("PUT", "/"), ("GET", "/photos")):
        answer = client.open(path, method=method)
        assert answer.status_code == 405
        assert answer.headers["Allow"]
        assert "error" in answer.json


def test_every_answer_has_the_security_headers(client, upload):
    url = upload().json["url"]
    for path in ("/", url, f"{url}/original", "/healthz", "/nowhere", "/static/style.css"):
        headers = client.get(path, headers=HTML).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"


def test_pages_have_nothing_inline_and_ask_nobody_else(client, upload):
    url = upload(note="a note").json["url"]
    for address in ("/", url):
        page = client.get(address, headers=HTML).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=\"/static/)|https?://", page)
