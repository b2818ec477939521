"""An application on a fresh folder, and pictures that the tests make themselves."""

import hashlib
import io
import json
from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from gallery.app import create_app
from gallery.settings import Settings
from PIL import Image
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

TOKEN = "a token for tests"


def picture(format="JPEG", size=(800, 600), mode="RGB", color=None, **options):
    """The bytes of a picture: a gradient, so that it is not all one color, or plain `color`."""
    if color:
        image = Image.new(mode, size, color)
    else:
        image = Image.linear_gradient("L").resize(size)
        if mode == "I;16":
            image = image.convert("I").point(lambda value: value * 257)
        image = image.convert(mode)
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def form(original=None, cropped=None, name="photo.jpg", **fields):
    """A multipart form with an upload that the server takes, with `fields` changed, or left out where None.

    Returns the request's body and its content type.
    """
    original = picture() if original is None else original
    cropped = picture(size=(500, 500)) if cropped is None else cropped
    key = hashlib.sha256(original + name.encode()).hexdigest()
    texts = {"key": key, "mode": "center", "size": "500x500", "box": json.dumps([100, 0, 700, 600]), **fields}
    files = {"original": FileStorage(io.BytesIO(original), name), "cropped": FileStorage(io.BytesIO(cropped), name)}
    values = {**texts, **files, **fields}
    boundary, body = encode_multipart({name: value for name, value in values.items() if value is not None})
    return body, f"multipart/form-data; boundary={boundary}"


@pytest.fixture
def settings(tmp_path):
    token_file = tmp_path / "upload_token"
    token_file.write_text(TOKEN + "\n")
    return Settings(data_dir=tmp_path / "data", upload_token_file=token_file, max_upload_mb=2, max_megapixels=1)


@pytest.fixture
def make_app(settings):
    """Make an application with some settings changed; closed at the end."""
    apps = []

    def make(**changes):
        apps.append(create_app(replace(settings, **changes)))
        return apps[-1]

    yield make
    for app in apps:
        app.extensions["store"].close()


@pytest.fixture
def app(make_app):
    return make_app()


class Client(FlaskClient):
    """A client that reads each answer to its end, so that the file it comes from is closed."""

    def open(self, *args, **kwargs):
        return super().open(*args, buffered=True, **kwargs)


@pytest.fixture
def client(app):
    app.test_client_class = Client
    return app.test_client()


@pytest.fixture
def upload(client):
    """Upload a form (see `form`) and return the answer."""

    def send(token=TOKEN, **changes):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body, content_type = form(**changes)
        return client.post("/photos", data=body, content_type=content_type, headers=headers)

    return send


@pytest.fixture
def kept(settings):
    """List the names of all files that the server keeps or has left behind."""

    def names():
        return sorted(file.name for part in ("files", "incoming") for file in (settings.data_dir / part).iterdir())

    return names
