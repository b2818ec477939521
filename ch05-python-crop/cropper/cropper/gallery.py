"""Send photos to the gallery server, and outlast its restarts."""

import json
import secrets
import threading
import time

import urllib3
from urllib3.fields import RequestField

from cropper import __name__ as program

MAX_SERVER_ERRORS = 4


class Rejected(Exception):
    """The server does not want this photo; the message is its reason."""


class Refused(Exception):
    """The server does not want anything from us, or can't be reached: the message says why. Nothing more is sent."""


class Unreachable(Refused):
    """The server did not answer for as long as we were willing to wait."""


class Gallery:
    """The server at `url`. Safe for use by several threads at once.

    `patience` is the number of seconds to go on trying while the server can't be reached or is not well.
    `stop` is an event that ends the waiting.
    """

    def __init__(self, url, token, patience, stop, connections=4):
        self._photos = url.rstrip("/") + "/photos"
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": program}
        self._patience = patience
        self._stop = stop
        self._pool = urllib3.PoolManager(
            maxsize=connections, block=True, retries=False, timeout=urllib3.Timeout(connect=5, read=60)
        )
        self._gave_up = threading.Event()

    def has(self, key):
        """Tell whether the photo `key` is in the gallery already."""
        return self._ask("HEAD", f"{self._photos}/{key}").status == 200

    def send(self, name, crop, key, request):
        """Put a photo and its crop into the gallery; return True if it is new there, False if it was there already.

        Raises Rejected for this photo's sake, Refused where no other would fare better.
        """
        fields = {
            "key": key,
            "mode": request.mode,
            "size": f"{request.width}x{request.height}",
            "box": json.dumps(crop.box),
            "note": crop.note,
        }
        name = name.encode(errors="replace").decode()  # File names can hold bytes that are no text.
        files = {"original": (crop.original, crop.original_type), "cropped": (crop.cropped, crop.cropped_type)}
        body, content_type = _multipart(fields, name, files)
        size = str(sum(map(len, body)))
        answer = self._ask("POST", self._photos, body, {"Content-Type": content_type, "Content-Length": size})
        if answer.status in (200, 201):
            return answer.status == 201
        if answer.status in (400, 413, 415, 422):
            raise Rejected(f"the server says: {_reason(answer)}")
        if answer.status in (401, 403):
            raise Refused(f"the server refused the token: {_reason(answer)}")
        raise Refused(f"{self._photos} is no gallery that takes photos: it answered {answer.status} {_reason(answer)}")

    def _ask(self, method, url, body=None, headers=None):
        """Return the first answer that says something about the request rather than about the server's health."""
        end = time.monotonic() + self._patience
        pause, errors = 0.1, 0
        while not self._gave_up.is_set():
            try:
                answer = self._pool.request(method, url, body=body, headers=self._headers | (headers or {}), redirect=False)
                if answer.status != 429 and answer.status < 500:
                    return answer
                trouble = f"it answered {answer.status} {_reason(answer)}"
                errors += answer.status == 500
                if errors > MAX_SERVER_ERRORS:  # It is up, and fails on this very request.
                    raise Rejected(f"the server fails on it: {_reason(answer)}")
                wait = answer.headers.get("Retry-After", "")
                pause = max(pause, float(wait) if wait.isdigit() else 0)
            except urllib3.exceptions.HTTPError as error:
                trouble = str(error)
            if time.monotonic() + pause > end or self._stop.wait(pause):
                self._gave_up.set()  # The other photos need not wait as long once more.
                raise Unreachable(f"{self._photos} can't be reached: {trouble}")
            pause = min(2 * pause, 5)
        raise Unreachable(f"{self._photos} can't be reached")


def _multipart(fields, name, files):
    """Return the body as a list of bytes, none of them copied, so that big photos are in memory once, and its type."""
    boundary = secrets.token_hex(16)
    body = []
    for field, value in fields.items():
        body += _part(boundary, RequestField(field, value), None, value.encode())
    for field, (data, content_type) in files.items():
        body += _part(boundary, RequestField(field, data, filename=name), content_type, data)
    return [*body, f"--{boundary}--\r\n".encode()], f"multipart/form-data; boundary={boundary}"


def _part(boundary, field, content_type, data):
    field.make_multipart(content_type=content_type)
    return [f"--{boundary}\r\n{field.render_headers()}".encode(), data, b"\r\n"]


def _reason(answer):
    try:
        return str(answer.json()["error"])[:200]
    except (ValueError, TypeError, KeyError):
        return answer.reason or ""
