"""The command: what it prints, its exit status, and that nothing in a folder can stop it."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import termios
import time

import pytest
from PIL import Image

import hostile
from cropper import files

JPEG = hostile.encoded(hostile.picture(), "JPEG")


@pytest.mark.parametrize("mode", ("center", "face"))
def test_a_hostile_folder(crop, tmp_path, mode):
    """Every file is cropped, skipped or failed as it should be, by name, and nothing else happens."""
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    expected = hostile.make(folder)
    assert len(expected) >= 60
    status, lines, errors = crop(folder, "--out", out, "--mode", mode, "--workers", 4)
    found = {}
    for line in lines[:-1]:
        what, path, _ = (line[:8].strip(), *line[9:].split(": ", 1))
        found[path] = what
    assert found == {files.shown(os.path.join(folder, os.fsdecode(name))): what for name, what in expected.items()}
    assert all(line.isprintable() for line in lines)
    assert errors == ""
    assert status == 1
    counts = {what: list(expected.values()).count(what) for what in expected.values()}
    assert f"{len(expected)} files" in lines[-1] and all(f"{n} {what}" in lines[-1] for what, n in counts.items())
    crops = os.listdir(out)
    assert 0 < len(crops) <= counts["cropped"]  # Files with the same content and name give one crop.
    for name in crops:
        with Image.open(out / name) as image:
            image.load()
            assert image.format == "JPEG" and max(image.size) <= 500
    assert not os.path.exists("gotcha")


def test_all_cropped_is_0_and_a_second_run_does_nothing(crop, tmp_path):
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "notes.txt").write_text("not a photo")
    status, lines, _ = crop(tmp_path, "--out", tmp_path / "out", "--size", "30x20")
    assert (status, sorted(line.split()[0] for line in lines)) == (0, ["2", "cropped", "skipped"])
    (made,) = (tmp_path / "out").iterdir()
    before = made.stat()
    status, lines, _ = crop(tmp_path, "--out", tmp_path / "out", "--size", "30x20")
    assert (status, sorted(line.split()[0] for line in lines)) == (0, ["2", "known", "skipped"])
    assert made.stat().st_mtime_ns == before.st_mtime_ns
    crop(tmp_path, "--out", tmp_path / "out", "--size", "20x30")
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_named_files(crop, tmp_path):
    """What the user names is a failure if it is no photo, and may be a link."""
    (tmp_path / "text").write_text("no photo")
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "link").symlink_to("a.jpg")
    out = ("--out", tmp_path / "out")
    assert crop(tmp_path / "a.jpg", tmp_path / "link", *out)[0] == 0
    status, lines, _ = crop(tmp_path / "text", tmp_path / "missing", tmp_path / "a.jpg", *out)
    assert status == 1
    assert {line.split()[0] for line in lines[:-1]} == {"failed", "known"}
    assert any("missing: there is no such file or folder" in line for line in lines)


def test_a_named_pipe_does_not_hold_it_up(crop, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("/dev/zero")
    status, lines, _ = crop(tmp_path / "pipe.jpg", tmp_path / "link.jpg", "--out", tmp_path / "out")
    assert status == 1
    assert [line.endswith(": not a regular file") for line in lines[:-1]] == [True, True]


def test_an_empty_folder(crop, tmp_path):
    assert crop(tmp_path, "--out", tmp_path / "out")[:2] == (0, [f"nothing to crop: {tmp_path} holds no files"])


@pytest.mark.parametrize(
    "settings, args, words",
    [
        ({}, [], "which photos?"),
        ({}, ["a.jpg"], "where to?"),
        ({"SIZE": "big"}, ["a.jpg", "--out", "o"], "SIZE: 'big' is no size"),
        ({"SIZE": "5000x5000"}, ["a.jpg", "--out", "o"], "SIZE"),
        ({"MODE": "middle"}, ["a.jpg", "--out", "o"], "MODE: 'middle' is neither center nor face"),
        ({"WORKERS": "0"}, ["a.jpg", "--out", "o"], "WORKERS"),
        ({"SERVER_URL": "server:8080"}, ["a.jpg"], "SERVER_URL: 'server:8080' is no address"),
        ({"TOKEN_FILE": "/nowhere/token"}, ["a.jpg", "--server", "http://server"], "/nowhere/token: No such file"),
        ({"TOKEN_FILE": os.devnull}, ["a.jpg", "--server", "http://server"], "holds no token"),
        ({}, ["a.jpg", "--size", "0x5", "--out", "o"], "'0x5' is no size"),
        ({}, ["a.jpg", "--patience", "long", "--out", "o"], "no number of seconds"),
        ({}, ["a.jpg", "--out", "/dev/null/o"], "/dev/null/o"),
    ],
)
def test_wrong_use_is_2_and_says_what_is_wrong(crop, monkeypatch, tmp_path, settings, args, words):
    monkeypatch.chdir(tmp_path)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    status, lines, errors = crop(*args)
    assert (status, lines) == (2, [])
    assert words in errors and "Traceback" not in errors


def test_settings_from_the_environment(crop, monkeypatch, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(JPEG)
    for name, value in {"PHOTOS": tmp_path / "in", "SIZE": "20x10", "MODE": "", "WORKERS": "1"}.items():
        monkeypatch.setenv(name, str(value))
    status, lines, _ = crop("--out", tmp_path)
    assert (status, lines[0].split(": ")[1]) == (0, "20x10, center")


def test_the_folder_of_the_crops_is_not_cropped_itself(crop, tmp_path):
    (tmp_path / "a.jpg").write_bytes(JPEG)
    for _ in range(2):
        _, lines, _ = crop(tmp_path, "--out", tmp_path / "crops")
        assert lines[-1].startswith("1 files")


def test_a_full_disk_is_a_failure_with_a_reason(crop, tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(JPEG)

    def full(old, new):
        raise OSError(28, "No space left on device", new)

    monkeypatch.setattr(os, "replace", full)
    status, lines, _ = crop(tmp_path / "a.jpg", "--out", tmp_path / "out")
    assert status == 1 and "No space left on device" in lines[0]
    assert os.listdir(tmp_path / "out") == []


def test_watch_takes_what_is_added_and_a_signal_ends_it(started, tmp_path):
    (tmp_path / "a.jpg").write_bytes(JPEG)
    process = started(tmp_path, "--out", tmp_path / "out", "--watch")
    assert process.stdout.readline().startswith("cropped")
    (tmp_path / "b.jpg").write_bytes(JPEG)
    assert "b.jpg" in process.stdout.readline()
    (tmp_path / "b.jpg").write_bytes(b"changed")
    assert process.stdout.readline().startswith("failed")
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=10)
    assert time.monotonic() - begin < 3
    assert (process.returncode, errors) == (1, "")
    assert out.startswith("3 files") and out.endswith("2 cropped, 1 failed\n")


def test_a_signal_stops_a_long_run_and_the_summary_says_what_is_left(started, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(150):
        big = hostile.encoded(Image.new("L", (1500, 1500), number % 256), "PNG", compress_level=1)
        (tmp_path / "in" / f"{number}.png").write_bytes(big)
    process = started(tmp_path / "in", "--out", tmp_path / "out", "--workers", 1)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (1, "")
    assert out.splitlines()[-1].endswith("left undone")
    assert out.splitlines()[-1].startswith("150 files")


def test_a_reader_that_goes_away(started, tmp_path):
    for number in range(50):
        (tmp_path / f"{number}.jpg").write_bytes(JPEG)
    process = started(tmp_path, "--out", tmp_path / "out")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=10) == 1
    assert process.stderr.read() == ""


def test_a_terminal_gets_a_progress_bar(tmp_path):
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "b.jpg").write_bytes(b"")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 80))
    with subprocess.Popen(
        [sys.executable, "-m", "cropper", tmp_path, "--out", tmp_path / "out"], stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        out = process.stdout.read().decode()
    bar = ""
    with contextlib.suppress(OSError):  # What Linux answers at the end of a terminal.
        while piece := os.read(ours, 10_000).decode():
            bar += piece
    os.close(ours)
    assert "2/2" in bar
    assert out.splitlines()[0].startswith("failed") and len(out.splitlines()) == 2
