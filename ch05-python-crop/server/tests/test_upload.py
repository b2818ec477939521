"""POST /photos: what is taken in, what is refused, and what stays on the disk."""

import errno
import io
import os
import threading
import zlib

import pytest
from conftest import TOKEN, form, picture
from PIL import Image, PngImagePlugin

LOCATION = Image.Exif()
LOCATION.get_ifd(0x8825)[1] = "N"
GPS = LOCATION.tobytes()
CAMERA = Image.Exif()
CAMERA[0x0110] = "A camera"
UPRIGHT = Image.Exif()
UPRIGHT[0x0112] = 6
NAMED = PngImagePlugin.PngInfo()
NAMED.add_text("Author", "Somebody")


def scans(number):
    """A progressive JPEG whose last scan is there `number` times more."""
    data = picture(size=(80, 60), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * number + data[-2:]


def claims(width, height):
    """A PNG of a few bytes that says it has width × height pixels."""
    data = bytearray(picture("PNG", (1, 1)))
    data[16:24] = width.to_bytes(4) + height.to_bytes(4)
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    return bytes(data)


def test_a_photo_is_created_once(upload, client):
    first, second = upload(), upload()
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json == second.json
    assert first.headers["Location"] == first.json["url"] == f"/photos/{first.json['id']}"
    assert client.get("/healthz").json == {"status": "ok", "photos": 1}


def test_files_come_back_as_they_were_sent(upload, client):
    original, cropped = picture("PNG"), picture("WEBP", (300, 300))
    # The name lies: what a file is, is decided by decoding it.
    url = upload(original=original, cropped=cropped, name="page.html").json["url"]
    for which, data, kind in (("original", original, "image/png"), ("cropped", cropped, "image/webp")):
        answer = client.get(f"{url}/{which}")
        assert answer.data == data
        assert answer.mimetype == kind
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_what_is_told_about_a_photo(upload, client):
    url = upload(mode="face", note="Two faces found", name="folder/A face.jpg").json["url"]
    photo = client.get(url, headers={"Accept": "application/json"}).json
    assert (photo["name"], photo["mode"], photo["note"], photo["size"]) == (
        "A face.jpg", "face", "Two faces found", "500x500",
    )  # fmt: skip
    assert photo["box"] == [100, 0, 700, 600]
    assert (photo["original"]["width"], photo["original"]["height"]) == (800, 600)
    assert (photo["cropped"]["width"], photo["cropped"]["height"]) == (500, 500)
    assert photo["original"]["bytes"] == len(client.get(photo["original"]["url"]).data)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "P", "RGB", "RGBA", "CMYK"])
def test_a_large_picture_gets_a_small_jpeg(upload, client, mode):
    original = picture("JPEG" if mode == "CMYK" else "PNG", mode=mode)
    photo = client.get(upload(original=original).json["url"], headers={"Accept": "application/json"}).json
    assert photo["cropped"]["thumbnail_url"] == photo["cropped"]["url"]
    with Image.open(io.BytesIO(client.get(photo["original"]["thumbnail_url"]).data)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (640, 480))
        # The gradient runs from black at the top to white at the bottom.
        column = [thumbnail.convert("L").getpixel((320, y)) for y in (20, 460)]
    assert column[0] < 60 and column[1] > 195


def test_orientation_is_applied(upload, client):
    # A gradient that is dark at the top; turned by a quarter, its dark side is right.
    answer = upload(original=picture(exif=UPRIGHT), box="[0, 0, 600, 800]")
    photo = client.get(answer.json["url"], headers={"Accept": "application/json"}).json
    assert (photo["original"]["width"], photo["original"]["height"]) == (600, 800)
    with Image.open(io.BytesIO(client.get(photo["original"]["thumbnail_url"]).data)) as thumbnail:
        assert thumbnail.size == (480, 640)
        assert not thumbnail.getexif()
        assert thumbnail.getpixel((460, 320))[0] < 60 < 195 < thumbnail.getpixel((20, 320))[0]


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "tökén"])
def test_a_wrong_token_is_refused(upload, kept, token):
    answer = upload(token=token)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "Authorization" in answer.json["error"]
    assert kept() == []


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_without_a_token_nobody_may_upload(upload, settings, kept, content):
    settings.upload_token_file.unlink()
    if content is not None:
        settings.upload_token_file.write_text(content)
    for token in (TOKEN, "", None):
        answer = upload(token=token)
        assert answer.status_code == 403
        assert str(settings.upload_token_file) in answer.json["error"]
    assert kept() == []


def test_a_new_token_needs_no_restart(upload, settings):
    settings.upload_token_file.write_text("another")
    assert upload().status_code == 401
    assert upload(token="another").status_code == 201


@pytest.mark.parametrize(
    "changes, status, reason",
    [
        ({"key": None}, 400, "'key'"),
        ({"mode": None}, 400, "'mode'"),
        ({"box": None}, 400, "'box'"),
        ({"key": "../../etc/passwd"}, 422, "64 hexadecimal"),
        ({"key": "A" * 64}, 422, "64 hexadecimal"),
        ({"key": "a" * 64 + "\n"}, 422, "64 hexadecimal"),
        ({"mode": "smile"}, 422, "center or face"),
        ({"size": "500"}, 422, "500x500"),
        ({"size": "0x500"}, 422, "500x500"),
        ({"box": "[0, 0, 600]"}, 422, "left, top, right, bottom"),
        ({"box": "[600, 0, 0, 600]"}, 422, "left, top, right, bottom"),
        ({"box": "[0, 0, 1e9, 600]"}, 422, "left, top, right, bottom"),
        ({"box": "[" * 100_000}, 422, "left, top, right, bottom"),
        ({"box": "[0, 0, 801, 600]"}, 422, "beyond"),
        ({"original": b""}, 415, "original: not a picture"),
        ({"original": b"<html>"}, 415, "original: not a picture"),
        ({"original": picture("TIFF")}, 415, "original: not a picture"),
        ({"cropped": b"%!PS-Adobe-3.0 EPSF-3.0"}, 415, "cropped: not a picture"),
        ({"original": picture()[:-400]}, 422, "original: the picture is damaged"),
        ({"original": picture("PNG")[:-400]}, 422, "original: the picture is damaged"),
        ({"cropped": picture("WEBP", (500, 500))[:-400]}, 415, "cropped: not a picture"),
        ({"original": picture("PNG", (1001, 1000))}, 422, "1001 × 1000"),
        ({"original": claims(60_000, 60_000)}, 422, "60000 × 60000"),
        ({"original": scans(200)}, 422, "scans"),
        ({"original": picture(exif=GPS)}, 422, "a location (GPS)"),
        ({"original": picture("WEBP", exif=GPS)}, 422, "a location (GPS)"),
        ({"original": picture("AVIF", exif=GPS)}, 422, "a location (GPS)"),
        ({"original": picture("PNG", exif=GPS)}, 422, "a location (GPS)"),
        ({"original": picture(exif=CAMERA)}, 422, "EXIF data"),
        ({"cropped": picture(size=(500, 500), xmp=b"<x:xmpmeta/>")}, 422, "XMP data"),
        ({"original": picture("WEBP", xmp=b"<x:xmpmeta/>")}, 422, "XMP data"),
        ({"original": picture(comment=b"Taken by me")}, 422, "comments"),
        ({"original": picture("GIF", comment=b"Taken by me")}, 422, "comments"),
        ({"original": picture("PNG", pnginfo=NAMED)}, 422, "comments"),
        ({"original": b"\0" * 3_000_000}, 413, "2 MB"),
        ({"note": "x" * 1_000_000}, 413, ""),
    ],
)
def test_what_is_no_photo_is_refused_and_leaves_nothing(upload, client, kept, changes, status, reason):
    answer = upload(**changes)
    assert answer.status_code == status, answer.text
    assert reason in answer.json["error"]
    assert kept() == []
    assert client.get("/healthz").json["photos"] == 0


@pytest.mark.parametrize("missing", ["original", "cropped"])
def test_a_missing_file_is_named(client, kept, missing):
    body, content_type = form()
    body = body.replace(f'name="{missing}"'.encode(), b'name="other"')
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = client.post("/photos", data=body, content_type=content_type, headers=headers)
    assert answer.status_code == 400
    assert missing in answer.json["error"]
    assert kept() == []


def test_only_forms_are_taken(client):
    answer = client.post("/photos", json={"key": "a" * 64}, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 415
    assert "multipart" in answer.json["error"]


def test_a_full_disk_is_told_and_leaves_nothing(upload, client, kept, monkeypatch):
    def fail(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("gallery.store.os.fsync", fail)
        answer = upload()
    assert answer.status_code == 507
    assert "No space left" in answer.json["error"]
    assert kept() == []
    assert upload().status_code == 201


def test_photos_share_the_files_that_are_equal(upload, kept):
    assert upload(key="a" * 64).status_code == upload(key="b" * 64).status_code == 201
    assert len(kept()) == 3  # original, crop, thumbnail


def test_the_same_photo_many_times_at_once(app, client):
    statuses = []

    body, content_type = form()

    def send():
        answer = app.test_client().post(
            "/photos", data=body, content_type=content_type, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 7 + [201]
    assert client.get("/healthz").json["photos"] == 1


def test_more_uploads_than_can_be_worked_on_are_sent_away(app, upload):
    slots = app.extensions["uploads"]
    while slots.acquire(blocking=False):
        pass
    answer = upload()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    slots.release()
    assert upload().status_code == 201


def test_names_are_one_line_in_the_log(client, caplog):
    body, content_type = form()
    body = body.replace(b'filename="photo.jpg"', b"filename*=UTF-8''a%0D%0Ab%1B%5B31m.jpg")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with caplog.at_level("INFO", "gallery"):
        assert client.post("/photos", data=body, content_type=content_type, headers=headers).status_code == 201
    (record,) = caplog.records
    assert "[31m.jpg" in record.getMessage()
    assert record.getMessage().isprintable()
