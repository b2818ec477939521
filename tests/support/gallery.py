"""Running chapter 5's server in a container, and uploading to it."""
import hashlib
import json
import random
import struct
import tempfile
import zlib
from pathlib import Path

import requests
from testcontainers.core.wait_strategies import HealthcheckWaitStrategy

TOKEN = "a-token-for-tests"


def picture(width=80, height=60, seed=None):
    """Return a PNG: noise, which no compression makes smaller, or one color where seed is None."""
    if seed is None:
        rows = [b"\0" + bytes((200, 90, 40)) * width] * height
    else:
        noise = random.Random(seed)
        rows = [b"\0" + noise.randbytes(3 * width) for _ in range(height)]

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"".join(rows), 0 if seed is not None else 1)) + chunk(b"IEND", b""))


ORIGINAL = picture()
CROPPED = picture(60, 60)


class Gallery:
    """A server in a container: what a client on this machine does with it.

    start is the fixture of that name or start_shared; keywords go to it.
    """

    def __init__(self, start, image_id, token=TOKEN, **kwargs):
        self.token = token
        # A file for itself: the container's user could not pass through pytest's own folder, nor need it.
        self._folder = tempfile.TemporaryDirectory()
        secret = Path(self._folder.name, "upload_token")
        secret.write_text(token)
        secret.chmod(0o644)
        kwargs.setdefault("hardened", True)
        self.container = start(
            image_id, ports=(8080,), tmpfs={"/tmp": None, **kwargs.pop("tmpfs", {})}, wait=HealthcheckWaitStrategy(),
            volumes={secret.resolve(): ("/run/secrets/upload_token", "ro")}, **kwargs)
        self.session = requests.Session()
        self.locate()

    def locate(self):
        """Find out where the server is published: after a restart the port is another."""
        self.host = self.container.get_container_host_ip()
        self.port = self.container.get_exposed_port(8080)
        self.url = f"http://{self.host}:{self.port}"

    def get(self, path, session=None, **headers):
        """GET a path; keywords are headers, with _ for -."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return (session or self.session).get(self.url + path, headers=headers, timeout=20)

    def json(self, path="/"):
        """Return a path's JSON."""
        answer = self.get(path, Accept="application/json")
        answer.raise_for_status()
        return answer.json()

    def upload(self, original=ORIGINAL, cropped=CROPPED, name="photo.png", token=None, session=None, **fields):
        """POST a photo and its crop; fields replace the form's texts. Returns the answer."""
        texts = {"key": hashlib.sha256(original + name.encode()).hexdigest(), "mode": "center", "size": "60x60",
                 "box": json.dumps([10, 0, 70, 60]), **fields}
        return (session or self.session).post(
            f"{self.url}/photos", data=texts, files={"original": (name, original), "cropped": (name, cropped)},
            headers={"Authorization": f"Bearer {token or self.token}"}, timeout=20)

    def python(self, code):
        """Run Python code in the container, in the server's own image; return what it prints."""
        status, output = self.container.exec(["python3", "-c", code])
        assert status == 0, output.decode()
        return output.decode()

    def multiply(self, number):
        """Make more photos of those that are there, as rows that share files, until there are number of them."""
        self.python(f"""
import hashlib, sqlite3
with sqlite3.connect("/data/gallery.sqlite3") as db:
    records = [row[0] for row in db.execute("SELECT record FROM photos")]
    db.executemany("INSERT INTO photos (id, record) VALUES (?, ?)", (
        (hashlib.sha256(str(n).encode()).hexdigest(), records[n % len(records)])
        for n in range(len(records), {number})))
db.close()
""")

    def memory(self):
        """Return the server's memory in MB: what it has (VmRSS) and had at most (VmHWM)."""
        status = self.python('print(open("/proc/1/status").read())')
        kilobytes = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        return tuple(int(kilobytes[name].split()[0]) / 1000 for name in ("VmRSS", "VmHWM"))
