"""The program itself: a real server process on a free port of this machine."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from conftest import TOKEN, form


class Server:
    """A running `python -m gallery`."""

    def __init__(self, environment):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.environment = {**os.environ, **environment, "PORT": str(self.port)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gallery"], env=self.environment, stdout=subprocess.PIPE, text=True
        )
        assert "Gallery of" in self.process.stdout.readline()

    def post(self, body, token=TOKEN, **headers):
        headers = {"Content-Type": "multipart/form-data; boundary=x", **headers, "Authorization": f"Bearer {token}"}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("POST", "/photos", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@pytest.fixture
def serve(settings):
    """Start a server, with some environment variables changed; killed at the end."""
    servers = []

    def start(**environment):
        environment = {
            "DATA_DIR": str(settings.data_dir),
            "UPLOAD_TOKEN_FILE": str(settings.upload_token_file),
            "MAX_UPLOAD_MB": "2",
            **environment,
        }
        servers.append(Server(environment))
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
        server.process.wait()
        server.process.stdout.close()


def spooled(server):
    """How many bytes of request bodies the server has on the disk, in files without a name."""
    folder = f"/proc/{server.process.pid}/fd"
    total = 0
    for handle in os.listdir(folder):
        try:
            if "(deleted)" in os.readlink(f"{folder}/{handle}"):
                total += os.stat(f"{folder}/{handle}").st_size
        except FileNotFoundError:
            continue
    return total


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_at_once_and_with_0(serve, number):
    server = serve()
    started = time.monotonic()
    server.process.send_signal(number)
    assert server.process.wait(5) == 0
    assert time.monotonic() - started < 3
    assert "Stopped." in server.process.stdout.read()


def test_the_health_check_tells_whether_it_answers(serve):
    server = serve()
    check = [sys.executable, "-m", "gallery.health"]
    done = subprocess.run(check, env=server.environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, '{"status":"ok","photos":0}\n'), done.stderr
    server.process.kill()
    server.process.wait()
    done = subprocess.run(check, env=server.environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("The server does not answer") and "Traceback" not in done.stderr


def test_bad_settings_and_folders_give_one_line(serve, settings):
    server = serve()
    for environment, says in (
        ({"PORT": "no"}, "PORT must be"),
        ({"DATA_DIR": "/proc/nowhere"}, "/proc/nowhere cannot be written to"),
        ({}, "Another server uses"),
        ({"DATA_DIR": f"{settings.data_dir}2"}, "cannot be listened on"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "gallery"], env={**server.environment, **environment}, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert says in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_body_without_the_token_is_thrown_away(serve):
    """What is sent must not be kept, not even for a moment, yet the sender is told what is wrong."""
    server = serve()
    for token, held in (("wrong", 0), (TOKEN, 1_000_000)):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            header = f"POST /photos HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            header += "Content-Length: 1500000\r\n\r\n"
            connection.sendall(header.encode() + b"x" * 1_000_000)
            # The loop that reads from the connection also answers this, so afterwards most has been read.
            deadline = time.monotonic() + (5 if held else 0.5)
            while spooled(server) < max(held, 1) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert spooled(server) == held
            connection.sendall(b"x" * 500_000)
            assert connection.recv(4096).startswith(b"HTTP/1.1 415" if held else b"HTTP/1.1 401")


def test_refusals_are_json_even_for_large_bodies(serve):
    server = serve()
    for token, expected, says in (("wrong", 401, "token"), (TOKEN, 413, "2 MB")):
        # At once, and in chunks, without a length that is told in advance.
        for body in (b"x" * 3_000_000, iter([b"x" * 100_000] * 30)):
            status, text = server.post(body, token)
            assert status == expected
            assert says in json.loads(text)["error"]


def test_what_follows_a_discarded_body_is_not_taken_for_a_request(serve):
    server = serve()
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(
            b"POST /photos HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
            + smuggled
            + b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"401", b"404"]


def test_an_upload_that_is_being_worked_on_is_finished(serve, settings):
    server = serve()
    body, content_type = form()
    answers = []
    sender = threading.Thread(
        target=lambda: answers.append(server.post(body, **{"Content-Type": content_type}))
    )
    sender.start()
    # The request is whole as soon as its first file is being written.
    deadline = time.monotonic() + 10
    while not list((settings.data_dir / "files").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.001)
    server.process.terminate()
    sender.join(10)
    assert server.process.wait(5) == 0
    assert answers and answers[0][0] == 201
