"""What several test files use: the command, run here or as a process of its own, and a portrait."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from cropper import cli


@pytest.fixture(scope="session")
def portrait():
    """The path of a portrait, NASA's astronaut, in the folder that $SAMPLES names (a build stage fetches it)."""
    path = pathlib.Path(os.environ.get("SAMPLES", "")) / "astronaut.png"
    assert path.exists(), "SAMPLES must name the folder that has astronaut.png; the build stage samples fetches it"
    return path


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """Have no setting from the environment, which the images set."""
    for name in ("PHOTOS", "SERVER_URL", "MODE", "SIZE", "WORKERS", "TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def crop(capsys):
    """crop(arguments…) runs the command here and returns (exit status, lines of output, text of errors)."""

    def run(*args):
        handlers = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
        try:
            status = cli.main(list(map(str, args)))
        except SystemExit as end:
            status = end.code
        finally:
            for number, handler in handlers:
                signal.signal(number, handler)
        out, errors = capsys.readouterr()
        return status, out.splitlines(), errors

    return run


@pytest.fixture
def started():
    """started(arguments…) starts the command as a process of its own, the way that a container does."""
    processes = []

    def start(*args):
        command = [sys.executable, "-m", "cropper", *map(str, args)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
