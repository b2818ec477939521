"""Building images, always through BuildKit: docker-bake.hcl says what there is."""
import functools
import json
import os
import re
import shutil
import statistics
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from . import BAKE_FILE, ROOT
from .engine import RUN_LABEL, docker


@functools.lru_cache(maxsize=None)
def plan(*groups):
    """Return bake's own view of the given groups or targets as {target: {"context", "tags", ...}}."""
    printed = docker("buildx", "bake", "-f", BAKE_FILE, "--print", *groups, cwd=ROOT).stdout
    return json.loads(printed)["target"]


@functools.lru_cache(maxsize=None)
def build(tag):
    """Build the bake target of an image such as "ch03-web-ping:optimized"; return its image id."""
    target = tag.removesuffix(":latest").replace(":", "-")
    with tempfile.TemporaryDirectory() as folder:
        metadata = Path(folder, "metadata.json")
        done = docker("buildx", "bake", "-f", BAKE_FILE, "--progress", "plain", "--metadata-file", metadata,
                      target, cwd=ROOT, check=False, timeout=1800)
        if done.returncode:
            hint = ("\nA base image is missing here. Run ./build-all.sh first."
                    if "failed to resolve source metadata" in done.stderr else "")
            raise AssertionError(f"{target} could not be built:\n{done.stderr[-6000:]}{hint}")
        image_id = json.loads(metadata.read_text())[target]["containerimage.digest"]
    # A container that is never started holds the image: what builds it anew beside this run may remove the old one.
    docker("create", "--label", f"{RUN_LABEL}={os.getpid()}", image_id, "none")
    return image_id


@dataclass(frozen=True)
class Step:
    """One step of a build: its name as BuildKit prints it, whether it came from the cache, its seconds."""
    name: str
    cached: bool
    seconds: float


def steps(log):
    """Return the build steps in the text of `docker buildx build --progress plain`, in their order."""
    found, cached, seconds = {}, set(), {}
    for number, text in re.findall(r"^#(\d+) (.*)$", log, re.M):
        if text.startswith("[") and not text.startswith("[internal]"):
            found.setdefault(number, text)
        elif text == "CACHED":
            cached.add(number)
        elif match := re.fullmatch(r"DONE ([\d.]+)s", text):
            seconds[number] = float(match[1])
    return [Step(name, n in cached, seconds.get(n, 0.0)) for n, name in found.items()]


def rebuild(folder, dockerfile="Dockerfile", target=None, edit=None, options=()):
    """Build a copy of a chapter's folder, let edit(copy) change it, build again; return the second's steps.

    folder is relative to the repo's root. The copy keeps the times of the files. options are passed to
    the second `docker buildx build` only. Raises AssertionError with the log if a build fails.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary, "context")
        shutil.copytree(ROOT / folder, copy, symlinks=True, ignore=shutil.ignore_patterns("target", "__pycache__"))
        command = ["buildx", "build", "--progress", "plain", "-f", copy / dockerfile]
        if target:
            command += ["--target", target]
        docker(*command, copy, timeout=1800)
        edit(copy)
        return steps(docker(*command, *options, copy, timeout=1800).stderr)


def race(folder, edit, builds, rounds=3):
    """Build a copy of a chapter's folder in some ways, then again and again after edit(copy).

    builds is {name: options of docker buildx build}. Returns {name: median seconds of a rebuild}, as a learner waits.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary, "context")
        shutil.copytree(ROOT / folder, copy, symlinks=True, ignore=shutil.ignore_patterns("target", "__pycache__"))
        seconds = {name: [] for name in builds}
        for number in range(rounds + 1):
            for name, options in builds.items():
                began = time.monotonic()
                docker("buildx", "build", "-q", *options, copy, cwd=copy, timeout=1800)
                if number:
                    seconds[name].append(time.monotonic() - began)
            edit(copy)
    return {name: statistics.median(values) for name, values in seconds.items()}


def ran(done):
    """Return the instructions among steps that BuildKit ran; it never counts FROM, and WORKDIR on scratch, as cached."""
    names = [step.name.split("] ", 1)[1] for step in done if not step.cached]
    return [name for name in names if not name.startswith(("FROM ", "WORKDIR "))]


def other_files(folder):
    """Put files into a chapter's folder that are no part of its program: secrets, and a changed README."""
    (folder / ".env").write_text(f"PASSWORD={uuid.uuid4()}\n")  # new each time: the cache knows old ones
    (folder / "README.md").write_text("# changed\n")


def until(condition, seconds=10, pause=0.05, message="it did not happen"):
    """Call condition until it returns something true, and return that; AssertionError after seconds."""
    deadline = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        assert time.monotonic() < deadline, f"{message} (waited {seconds} s)"
        time.sleep(pause)


