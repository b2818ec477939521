"""The application: puts settings, storage and views together, and says what goes for every answer."""

import gzip
import hashlib
import logging
import sqlite3
import threading
from pathlib import Path

from flask import Flask, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, NotFound

from . import views
from .door import Door
from .settings import Settings
from .store import Store

log = logging.getLogger(__name__)

# Uploads that may be worked on at the same time; the others are told to come back. The server has more
# threads than that (see __main__), so that one is always free for those who only look.
UPLOADS_AT_ONCE = 8

SECURITY_HEADERS = {
    # Nothing from anywhere else, no inline scripts or styles: text that slipped through unescaped is inert.
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def create_app(settings: Settings) -> Flask:
    """Make the application; it holds the data folder until `app.extensions["store"].close()`.

    Raises store.Unusable if the data folder cannot be used.
    """
    app = Flask(__name__)
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_upload_mb * 1_000_000,
        MAX_FORM_PARTS=20,
        MAX_PIXELS=settings.max_megapixels * 1_000_000,
        SEND_FILE_MAX_AGE_DEFAULT=365 * 24 * 3600,
    )
    app.extensions["store"] = Store(settings.data_dir)
    app.extensions["door"] = Door(settings.upload_token_file)
    app.extensions["pages"] = {}
    app.extensions["uploads"] = threading.BoundedSemaphore(UPLOADS_AT_ONCE)
    app.json.sort_keys = False
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    # Part of the addresses of style sheet and script, which browsers therefore may keep for ever.
    app.config["ASSETS"] = _fingerprint(Path(app.root_path))
    app.url_map.converters["key"] = views.KeyConverter
    app.register_blueprint(views.blueprint)
    app.register_error_handler(HTTPException, _explain)
    app.register_error_handler(OSError, _explain_storage)
    app.register_error_handler(sqlite3.Error, _explain_storage)
    app.after_request(_finish)
    return app


def _fingerprint(folder):
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("static/*"), *folder.glob("templates/*")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _explain(error):
    """Answer an HTTP error: JSON with the reason, or a page for a browser."""
    if error.response is not None:
        return error.response
    if error.description == NotFound.description:
        error.description = "There is nothing at this address."
    if request.method in ("GET", "HEAD") and views.prefers("text/html", over="application/json"):
        return render_template("error.html", error=error), error.code
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return jsonify(error=error.description), error.code, headers


def _explain_storage(error):
    """Answer a failure of disk or database: the uploader should try again later."""
    log.error("The data folder cannot be used: %s", error)
    return jsonify(error=f"The server cannot read or store photos at the moment: {error}"), 507


def _finish(response):
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint == "static":
        response.cache_control.immutable = True
    elif not response.cache_control:
        response.cache_control.no_cache = True
    if response.mimetype in ("text/html", "application/json"):
        response.vary.update(["Accept", "Accept-Encoding"])
        if (
            "gzip" in request.accept_encodings
            and response.status_code == 200
            and response.content_length
            and response.content_length > 1000
        ):
            # Level 5 makes a page 12 times smaller in a fifth of the time that rendering it takes.
            response.set_data(gzip.compress(response.get_data(), 5))
            response.content_encoding = "gzip"
    return response
