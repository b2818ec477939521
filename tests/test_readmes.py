"""The README files' own rules, and the plugin that runs them (tests/support/readmes.py)."""
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, engine, figures, readmes
from tests.support.engine import docker
from tests.support.images import until

MOST_SKIPS = 3
LESSON = """
```console
$ docker container run --detach --name {name} debian:trixie-slim sleep 300
...
$ docker network create {name}
...
$ docker volume create {name}
{name}
$ printf 'FROM debian:trixie-slim\\nENV LESSON={name}\\n' | docker image build --quiet --tag {name} -
sha256:...
$ docker container run --volume {name}-auto:/data {name} true
$ touch ready; {last}
```
"""


@pytest.fixture
def lesson(tmp_path, request):
    """lesson(text) starts pytest on a README of that text and returns the process."""
    started = []

    def start(text):
        (tmp_path / "README.md").write_text(text)
        process = subprocess.Popen([sys.executable, "-m", "pytest", "-p", "tests.support.readmes", "-p", "no:cacheprovider",
                                    "--rootdir", tmp_path, tmp_path / "README.md", "-rs"], cwd=ROOT, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   # What is started in the background with "&" ignores Ctrl-C, and so would this.
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def left_behind(name):
    """Return what there is on the engine of that name, as text."""
    return "".join(docker(*listing, "--filter", f"{key}={name}*" if kind == "image" else f"{key}={name}").stdout
                   for kind, key, listing in (("container", "name", ("container", "ls", "-a", "-q")),
                                              ("network", "name", ("network", "ls", "-q")),
                                              ("volume", "name", ("volume", "ls", "-q")),
                                              ("image", "reference", ("image", "ls", "-q"))))


def test_all_console_blocks_of_the_repo_are_collected(request):
    """testpaths names every file with a console block, and no more than three blocks are skipped."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True)
    paths = [ROOT / line for line in listed.stdout.splitlines()] or [
        path for path in ROOT.rglob("*.md") if not {".venv", "node_modules"} & set(path.parts)]
    run = {path for pattern in request.config.getini("testpaths") for path in ROOT.glob(pattern)}
    skips = []
    for path in filter(Path.exists, paths):
        text = path.read_text(encoding="utf-8")
        found = readmes.blocks(text)
        assert len(found) == len(re.findall(r"^\s*(?:```+|~~~+) *console", text, re.M)), f"{path}: a console block is not seen"
        assert not found or run & {path, *path.parents}, f"{path} has console blocks; add it to testpaths in pyproject.toml"
        skips += [f"{path}:{block.line}: {block.directives['skip']}" for block in found if "skip" in block.directives]
        assert all(block.directives.get("skip", "reason").strip() for block in found), f"{path}: a skip without a reason"
    assert len(skips) <= MOST_SKIPS, "too many console blocks are skipped:\n" + "\n".join(skips)


def test_a_block_that_prints_something_else_fails_with_file_line_and_diff(lesson, tmp_path):
    process = lesson("One.\n\n```console\n$ printf 'one\\ntwo\\n'\none\nthree\n```\n\n```console\n$ echo later\nlater\n```\n"
                     "\n<!-- finally -->\n```console\n$ echo cleaned > trace; cat trace\ncleaned\n```\n")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{tmp_path}/README.md:6: the output is another\n$ printf 'one\\ntwo\\n'\n" in printed
    assert "-three\n+two" in printed
    assert "1 failed, 1 passed, 2 skipped" in printed, "the later block is skipped, the one with 'finally' runs"
    assert "blocks of README files: 2 run, 1 skipped" in printed


@pytest.mark.parametrize(("block", "reason"), [
    ("$ exit 3", "README.md:2: this command ended the shell"),
    ("$ (exit 3)", "README.md:2: exit status 3 instead of 0"),
    ("$ sleep 30", "README.md:2: still running after 1 seconds"),
    ("$ echo 'open", "README.md:2: exit status"),
    ("$ true\nmore", "README.md:3: the output is another"),
    ("more\n$ true", "README.md: line 2: a console block starts with a command"),
])
def test_a_block_that_goes_wrong_says_how(lesson, block, reason):
    process = lesson(f"<!-- timeout=1 -->\n```console\n{block}\n```\n".replace("<!-- timeout=1 -->\n", "", "sleep" not in block))
    printed, _ = process.communicate(timeout=60)
    assert process.returncode
    assert reason.replace("README.md:2", f"README.md:{2 + ('sleep' in block)}") in printed


@pytest.mark.parametrize("last", ["true", "false", "interrupt"])
def test_nothing_stays_behind(lesson, tmp_path, last):
    """A README's containers, networks, volumes and images go: at its end, after a failure, after Ctrl-C."""
    name = f"lesson-{os.getpid()}-{last}"
    docker("tag", "debian:trixie-slim", f"{name}-mine")
    process = lesson(LESSON.format(name=name, last={"interrupt": "sleep 60"}.get(last, last))
                     + f"\n```console\n$ docker image tag {name} {name}-mine\n```\n")
    try:
        if last == "interrupt":
            until(lambda: docker("volume", "ls", "-q", "--filter", f"name={name}-auto").stdout, 30, message="the lesson did not run")
            process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == (2 if last == "interrupt" else 1), printed
        if last == "true":  # the lesson should have told how to remove it
            assert "README.md:17: still there after the last block: container " in printed
            assert f"container {name}, network {name}, volume {name}, image {name}:latest, volume {name}-auto" in printed
        mine = docker("image", "inspect", f"{name}-mine", "debian:trixie-slim", "--format", "{{.Id}}").stdout.split()
        assert mine[0] == mine[1], "a tag that was there before the lesson is where it was"
        docker("image", "rm", f"{name}-mine")
        assert not left_behind(name)
    finally:
        docker("image", "rm", f"{name}-mine", check=False)


def test_a_lesson_that_cleans_up_passes(lesson):
    name = f"lesson-{os.getpid()}-clean"
    printed, _ = lesson(f"```console\n$ docker container run --name {name} debian:trixie-slim true\n$ docker container rm {name}\n{name}\n```\n"
                        ).communicate(timeout=60)
    assert "2 passed" in printed and "blocks of README files: 1 run, 0 skipped" in printed


def test_a_container_of_the_learners_is_not_touched(lesson):
    name = f"lesson-{os.getpid()}-mine"
    docker("container", "run", "-d", "--name", name, "--label", f"{engine.RUN_LABEL}={os.getpid()}", "debian:trixie-slim", "sleep", "300")
    try:
        printed, _ = lesson(LESSON.format(name=name, last="true")).communicate(timeout=60)
        assert f"there is a container named {name} already; remove it first: docker container rm --force {name}" in printed
        assert docker("container", "inspect", name, "--format", "{{.State.Running}}").stdout.strip() == "true"
    finally:
        docker("container", "rm", "--force", name)


def test_a_block_is_tried_again_as_often_as_it_says(lesson):
    text = "<!-- retry=2 -->\n```console\n$ echo x >> tries; wc -l < tries\n{}\n```\n"
    assert lesson(text.format(3)).wait(60) == 0
    assert lesson(text.format(4)).wait(60) == 1


@pytest.mark.parametrize(("expected", "actual", "wrong"), [
    (["a", "...", "d"], ["a", "b", "c", "d"], None),
    (["a", "...", "d"], ["a", "d"], None),
    (["a", "...", "d"], ["a", "d", "e"], 3),
    (["id ... of   x"], ["id   12ab of x"], None),
    (["a.c"], ["abc"], 0),
    (["it ends....503"], ["it ends. Status: 503"], None),
    (["photo-....jpeg"], ["photo-12ab.jpeg"], None),
    (["photo-....jpeg"], ["photo-12abjpeg"], 0),
    (["a", "b"], ["a"], 1),
    ([], ["a"], 0),
    (["..."], [], None),
])
def test_wildcards(expected, actual, wrong):
    assert readmes.mismatch(expected, actual) == wrong


@pytest.mark.parametrize(("expected", "actual", "here", "agrees"), [
    ("web 100MB", "web 102MB", True, True),
    ("web 100MB", "web 104MB", True, False),
    ("web 100MB", "web 104MB", False, True),
    ("54 % less", "55 % less", True, True),
    ("54 % less", "58 % less", True, False),
    ("web 1.02GB", "web 1000 MB", True, True),
    ("Node 24.1", "Node 24.2", True, False),
])
def test_sizes_agree_within_three_percent(monkeypatch, expected, actual, here, agrees):
    monkeypatch.setattr(figures, "comparable", lambda: here)
    assert figures.line_agrees(expected, actual) is agrees


@pytest.mark.parametrize(("text", "message"), [
    ("<!-- retry=x -->\n```console\n$ a\n```", "line 1"),
    ("<!-- exit=1 again=2 -->\n```console\n$ a\n```", "line 1: 'again' is no directive"),
    ("<!-- exit=1 -->\n\nprose\n", "line 1: no console block follows"),
    ("```console\n```", "line 1: an empty console block"),
])
def test_a_malformed_readme_is_refused(text, message):
    with pytest.raises(readmes.Malformed, match=message):
        readmes.blocks(text)
