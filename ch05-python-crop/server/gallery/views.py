"""What the server answers: the gallery, a photo, its files, and uploads."""

import io
import json
import logging
import re
import unicodedata
from datetime import UTC, datetime

from flask import Blueprint, abort, current_app, jsonify, make_response, render_template, request, send_from_directory
from flask import url_for
from werkzeug.local import LocalProxy
from werkzeug.routing import BaseConverter

from . import pictures
from .door import Refused
from .store import name_of

PAGE = 24
"""Photos on a page: divides by the 1, 2 or 3 columns that fit on common screens."""

PAGES_KEPT = 32
"""Pages that are kept once made, some 30 kB each: until another photo arrives, all who ask get the same."""

blueprint = Blueprint("gallery", __name__)
log = logging.getLogger(__name__)
store = LocalProxy(lambda: current_app.extensions["store"])


class KeyConverter(BaseConverter):
    """A photo's id in an address: 64 hexadecimal digits and nothing else, so never a path."""

    regex = "[0-9a-f]{64}"


def prefers(kind: str, over: str) -> bool:
    """Whether the client asks for the media type `kind` rather than for `over`; no if it does not care."""
    return request.accept_mimetypes.best_match([over, kind]) == kind


@blueprint.get("/healthz")
def health():
    """Say that the server is up and can read its database."""
    return jsonify(status="ok", photos=store.count())


@blueprint.get("/")
def index():
    """Show a page of photos, newest first: those that came before number ?before=N, or the newest."""
    count = store.count()
    before = request.args.get("before", "")
    if before and not (before.isascii() and before.isdigit() and len(before) < 16):
        abort(400, "?before= must be the number of a photo.")
    top = min(max(int(before or count + 1), 2), count + 1)
    uploads = bool(current_app.extensions["door"].token())
    as_json = prefers("application/json", over="text/html")
    # The script asks every other second, and mostly nothing has changed: then nothing is made or sent.
    tag = f"{current_app.config['ASSETS']}-{count}-{uploads:d}-{as_json:d}"
    if request.if_none_match.contains_weak(tag):
        response = make_response("", 304)
    else:
        made = current_app.extensions["pages"]
        page = made.get((tag, top))
        if page is None:
            if len(made) >= PAGES_KEPT:
                made.clear()
            page = made[tag, top] = _make_page(top, count, uploads, as_json)
        response = make_response(page)
        response.mimetype = "application/json" if as_json else "text/html"
    response.set_etag(tag, weak=True)
    return response


def _make_page(top, count, uploads, as_json):
    photos = [_with_addresses(photo) for photo in store.page(top, PAGE)]
    # As photos are numbered without gaps, the neighboring pages can be told without counting.
    pages = {
        "newer": _page_address(top + PAGE, count) if top <= count else None,
        "older": _page_address(top - PAGE, count) if top - PAGE > 1 else None,
    }
    if as_json:
        return jsonify(photos=photos, total=count, **pages).data
    return render_template(
        "gallery.html", photos=photos, total=count, first=count + 2 - top, uploads=uploads, **pages
    )


def _page_address(before, count):
    return url_for(".index", before=before if before <= count else None)


@blueprint.get("/photos/<key:photo_id>")
def photo(photo_id):
    """Show one photo, its crop, and where in the photo that was cut out."""
    found = _find(photo_id)
    if prefers("application/json", over="text/html"):
        return jsonify(_with_addresses(found))
    neighbors = {photo["seq"]: photo for photo in store.page(found["seq"] + 2, 3)}
    return render_template(
        "photo.html",
        photo=_with_addresses(found),
        newer=neighbors.get(found["seq"] + 1),
        older=neighbors.get(found["seq"] - 1),
        position=store.count() + 1 - found["seq"],
        total=store.count(),
    )


@blueprint.get("/photos/<key:photo_id>/<any(original, cropped):which>")
def file(photo_id, which):
    """Send the original or the crop, byte for byte as it came; with ?thumbnail, a JPEG of at most 640 pixels."""
    found = _find(photo_id)
    picture = found[which]
    small = "thumbnail" in request.args and picture["thumbnail"]
    stored = small or picture["file"]
    response = send_from_directory(
        store.files.absolute(),
        stored,
        mimetype="image/jpeg" if small else picture["type"],
        download_name=None if small else found["name"],
        etag=stored,
        # The addresses in the pages have a part of the content's hash; without it, the browser shall ask.
        max_age=365 * 24 * 3600 if "v" in request.args else 0,
    )
    response.cache_control.immutable = "v" in request.args
    # Should a browser ever take a picture for a page, then that page may do nothing.
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _find(photo_id):
    found = store.find(photo_id)
    if not found:
        abort(404, "There is no photo with this id.")
    return found


def _with_addresses(photo):
    """Add to a photo from the store the addresses of its page and its files."""
    photo["url"] = url_for(".photo", photo_id=photo["id"])
    for which in ("original", "cropped"):
        picture = photo[which]
        address = f"{photo['url']}/{which}"
        thumbnail = picture.pop("thumbnail")
        version = picture.pop("file")[:12]
        picture["url"] = f"{address}?v={version}"
        picture["thumbnail_url"] = f"{address}?thumbnail&v={thumbnail[:12]}" if thumbnail else picture["url"]
    return photo


@blueprint.post("/photos")
def upload():
    """Take in a photo and its crop; a photo whose key is known already changes nothing.

    Wants a bearer token and a multipart form: files `original` and `cropped`; texts `key` (64 hexadecimal
    digits), `mode` (center or face), `size` (WIDTHxHEIGHT), `box` (JSON: left, top, right, bottom of the crop in
    pixels of the upright original) and perhaps `note`. Answers 201, or 200 if the key is known, with id and url.
    """
    try:
        current_app.extensions["door"].check(request.headers.get("Authorization", ""))
    except Refused as refused:
        log.warning("refused an upload: %s", refused)
        headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else {}
        return jsonify(error=str(refused)), refused.status, headers
    slots = current_app.extensions["uploads"]
    if not slots.acquire(blocking=False):
        return jsonify(error="Too many uploads at once: try again in a second."), 503, {"Retry-After": "1"}
    try:
        return _take_in()
    except pictures.BadPicture as bad:
        log.warning("refused a photo: %s", bad)
        return jsonify(error=str(bad)), bad.status
    finally:
        slots.release()


def _take_in():
    if request.mimetype != "multipart/form-data":
        abort(415, "Send the photo as multipart/form-data.")
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    if (request.content_length or 0) > limit:
        abort(413, f"The upload is larger than the {limit // 1_000_000} MB allowed.")
    key = _field("key", lambda text: re.fullmatch("[0-9a-f]{64}", text), "64 hexadecimal digits")
    created = {"id": key, "url": url_for(".photo", photo_id=key)}
    if store.find(key):
        return jsonify(created)
    for which in ("original", "cropped"):
        if which not in request.files:
            abort(400, f"The form lacks the file {which!r}.")
    record = {
        "name": _clean(request.files["original"].filename.rpartition("/")[2])[:255],
        "mode": _field("mode", lambda text: text in ("center", "face"), "center or face"),
        "note": _clean(request.form.get("note", ""))[:500],
        "size": _field("size", lambda text: re.fullmatch("[1-9][0-9]{0,5}x[1-9][0-9]{0,5}", text), "like 500x500"),
        "box": json.loads(_field("box", _is_box, "a JSON list: left, top, right, bottom")),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    contents = {}
    for which in ("original", "cropped"):
        stream = request.files[which].stream
        try:
            picture = pictures.examine(stream, current_app.config["MAX_PIXELS"])
        except pictures.BadPicture as bad:
            raise pictures.BadPicture(f"{which}: {bad}", bad.status) from bad
        name, thumbnail = name_of(stream, picture.suffix), None
        contents[name] = stream
        if picture.thumbnail:
            small = io.BytesIO(picture.thumbnail)
            thumbnail = name_of(small, ".jpg")
            contents[thumbnail] = small
        record[which] = {
            "type": picture.type,
            "width": picture.width,
            "height": picture.height,
            "bytes": stream.seek(0, io.SEEK_END),
            "file": name,
            "thumbnail": thumbnail,
        }
        stream.seek(0)
    if record["box"][2] > record["original"]["width"] or record["box"][3] > record["original"]["height"]:
        abort(422, "The box reaches beyond the original.")
    if not store.add(key, record, contents):
        return jsonify(created)  # the same photo came twice at the same time
    log.info("stored %s (%s, %s) as %s", record["name"], record["mode"], record["size"], key[:12])
    return jsonify(created), 201, {"Location": created["url"]}


def _field(name, good, wanted):
    text = request.form.get(name)
    if text is None:
        abort(400, f"The form lacks the field {name!r}.")
    if not good(text):
        abort(422, f"The field {name!r} must be {wanted}.")
    return text


def _is_box(text):
    try:
        box = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not (isinstance(box, list) and len(box) == 4 and all(type(edge) is int for edge in box)):
        return False
    left, top, right, bottom = box
    return 0 <= left < right and 0 <= top < bottom


def _clean(text):
    """A name or note as one line of text: a line break in a name must not start a line in the log."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text).strip()
