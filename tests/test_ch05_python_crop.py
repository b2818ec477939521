"""Chapter 5, the whole way: photos go in, the cropper crops and sends, the server shows; and what its images hold.

The programs by themselves: test_ch05_cropper.py, test_ch05_server.py, and their unit tests in the build stage "tests".
"""
import json
import os
import re
import shutil
import statistics
import subprocess
import time
import urllib.request
import uuid
from datetime import datetime

import pytest
from testcontainers.core.wait_strategies import HealthcheckWaitStrategy, LogMessageWaitStrategy

from tests.support import BAKE_FILE, ROOT
from tests.support.engine import RUN_LABELS, docker
from tests.support.images import other_files, race, ran, rebuild, until

CHAPTER = ROOT / "ch05-python-crop"
SINGLE = "ch05-python-crop:single-stage"
IMAGES = [f"ch05-{name}{rung}" for rung in ("", ":optimized") for name in ("cropper", "server")]
TOKEN = "a-token-of-the-tests"
SAMPLES = {"astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "rocket.jpg"}


@pytest.fixture(params=["", ":optimized"], ids=["plain", "optimized"])
def rung(request):
    return request.param


@pytest.fixture(params=IMAGES)
def ours(request, image):
    """(name, id) of each image that is meant to be used, in turn."""
    return request.param, image(request.param)


# --- what the images say of themselves --------------------------------------------------------------

def test_user_has_a_number_and_no_rights(ours, inspect):
    assert inspect(ours[1])["Config"]["User"] == "10001:10001"


def test_program_is_process_1_and_no_shell_stands_before_it(ours, inspect):
    name, config = ours[0], inspect(ours[1])["Config"]
    if "cropper" in name:
        python, *rest = config["Entrypoint"] or [""]
        assert rest == ["-m", "cropper"] and not config["Cmd"], "what follows the image's name must be crop's options"
    else:
        python, *rest = config["Cmd"] or [""]
        assert rest == ["-m", "gallery"] and not config["Entrypoint"], "docker stop's signal must reach Python"
    assert python in ("python", "python3")


def settings(config, rung):
    """Return an image's variables; checks those that both programs need."""
    env = dict(pair.split("=", 1) for pair in config["Env"])
    assert env.get("PYTHONUNBUFFERED") == "1", "log lines would wait in a buffer"
    assert env.get("PYTHONPATH") == ("/app:/packages" if rung else "/app"), "Python would not find the program"
    # An empty file system comes without PATH; Docker then makes one up, and other engines need not.
    assert env.get("PATH", "").startswith("/usr/local/bin" if rung else "/venv/bin:"), "another Python would be found, or none"
    return env


def test_cropper_s_settings(rung, image, inspect):
    config = inspect(image("ch05-cropper" + rung))["Config"]
    env = settings(config, rung)
    assert env.get("PHOTOS") == "/photos", "crop would have no photos unless you name some"
    if rung:
        assert env.get("SSL_CERT_FILE") == "/etc/ssl/certs/ca-certificates.crt", "https addresses could not be checked"
    assert not {"ExposedPorts", "Volumes", "Healthcheck"} & {key for key, value in config.items() if value}, (
        "a program that ends has no port, no data and no health")


def test_server_s_settings(rung, image, inspect):
    config = inspect(image("ch05-server" + rung))["Config"]
    settings(config, rung)
    assert list(config.get("ExposedPorts") or ()) == ["8080/tcp"], "nobody could see which port it serves"
    assert list(config["Volumes"] or ()) == ["/data"], "the photos would be gone with the container"
    health = config.get("Healthcheck")
    assert health, "nobody would notice that the server hangs"
    assert health["Test"][0] == "CMD" and health["Test"][2:] == ["-m", "gallery.health"], "it needs no shell and no curl"
    assert health["StartInterval"] <= 1_000_000_000, "whoever waits for the server would wait longer than needed"
    assert health["StartPeriod"] >= 10 * health["StartInterval"] and health["Timeout"] <= 5_000_000_000


def test_single_stage_s_settings(image, inspect):
    config = inspect(image(SINGLE))["Config"]
    assert "PYTHONPATH=/app/cropper:/app/server" in config["Env"], "Python would find neither program"
    assert config.get("ExposedPorts") == {"8080/tcp": {}}, "nobody could see which port it serves"
    assert (config["Cmd"] or [])[:2] == ["/bin/sh", "-c"] and "gallery" in config["Cmd"][2], "the bad habit that it is here to show"


def test_labels_tell_where_it_came_from(ours, inspect):
    labels = inspect(ours[1])["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == ours[0]
    assert labels["org.opencontainers.image.source"] == "ch05-python-crop"


# --- what they hold, and what not -------------------------------------------------------------------

def holds(paths, *patterns):
    """Return those of the regular expressions that match one of the paths."""
    return {pattern for pattern in patterns if any(re.search(pattern, path) for path in paths)}


OPENCV, FLASK, PYTEST, TESTS, GCC = r"/cv2/", r"/flask/", r"/(_pytest|pytest)/", r"/app/.*/test_\w+\.py", r"/bin/gcc$"


def test_each_image_holds_its_own_program(rung, image, files):
    for name, package in (("ch05-cropper", "cropper"), ("ch05-server", "gallery")):
        assert holds(files(image(name + rung)), rf"^/app/{package}/__main__\.pyc?$"), f"{name}: the program is not in it"


def test_server_owns_its_data_folder(rung, image, files):
    folder = files(image("ch05-server" + rung)).get("/data")
    assert folder and folder.uid == 10001, "a new volume takes its owner from here: the server could not write into it"


def test_optimized_images_have_a_folder_for_temporary_files_and_authorities(image, files):
    for name in ("ch05-cropper:optimized", "ch05-server:optimized"):
        assert files(image(name))["/tmp"].mode & 0o1777 == 0o1777, "an empty file system has none"
        assert "/etc/ssl/certs/ca-certificates.crt" in files(image(name)), "https addresses could not be checked"


def test_each_image_holds_its_own_dependencies_only(rung, image, files):
    cropper, server = files(image("ch05-cropper" + rung)), files(image("ch05-server" + rung))
    assert holds(cropper, OPENCV, FLASK, PYTEST, TESTS) == {OPENCV}
    assert holds(server, OPENCV, FLASK, PYTEST, TESTS) == {FLASK}
    # Were the patterns wrong, the above would prove nothing: the naive image holds it all.
    assert holds(files(image(SINGLE)), OPENCV, FLASK, PYTEST, TESTS, GCC) == {OPENCV, FLASK, PYTEST, TESTS, GCC}


def test_plain_images_have_no_build_tools(image, files):
    for name in ("ch05-cropper", "ch05-server"):
        assert not holds(files(image(name)), GCC, "/venv/bin/pip", r"/venv/.*/site-packages/pip/"), name


def test_samples_are_in_the_cropper_only(rung, image, files):
    photos = {path for path in files(image("ch05-cropper" + rung)) if path.startswith("/photos/")}
    assert photos == {f"/photos/{name}" for name in SAMPLES}
    assert not holds(files(image("ch05-server" + rung)), "/photos/", "skimage")


def test_optimized_images_hold_nothing_but_python_its_libraries_and_bytecode(image, files):
    for name in ("ch05-cropper:optimized", "ch05-server:optimized"):
        present = {path: member for path, member in files(image(name)).items() if not member.isdir()}
        # Docker itself puts an empty file or a link here into every container it makes.
        for path in ("/.dockerenv", "/dev/console", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf"):
            present.pop(path, None)
        programs = {path for path, member in present.items() if member.mode & 0o111 and not re.search(r"\.so(\.\w+)*$", path)}
        assert programs == {"/usr/local/bin/python3"}, f"{name}: no shell, no pip, no apt"
        source = {path for path in present if path.endswith(".py")}
        assert all(re.fullmatch(r"/packages/cv2/config(-3)?\.py", path) for path in source), f"{name} has source code"
        assert not holds(present, r"^/(bin|sbin|usr/bin|var)/", "__pycache__", r"\.h$", r"\.pyi$"), name


def test_optimized_images_share_the_interpreter_s_layer(image, inspect):
    cropper, server = (inspect(image(f"ch05-{n}:optimized"))["RootFS"]["Layers"] for n in ("cropper", "server"))
    assert cropper[0] == server[0] and cropper[1:] != server[1:], "the layer is stored and pulled twice"


UNCHECKED = """
import collections, pathlib
kinds = collections.Counter(int.from_bytes(path.open("rb").read(8)[4:], "little")
                            for folder in ("/app", "/packages", "/usr/local/lib") for path in pathlib.Path(folder).rglob("*.pyc"))
print(dict(kinds))
"""


def test_bytecode_is_there_and_is_never_checked(image, start):
    for name in ("ch05-cropper:optimized", "ch05-server:optimized"):
        container = start(image(name), "-c", UNCHECKED, entrypoint="python3")
        assert container.wait() == 0
        kinds = eval(container.get_logs()[0])
        assert set(kinds) == {1} and kinds[1] > 300, f"{name}: flags {kinds}, 1 is an unchecked hash"


def test_plain_images_ship_our_code_compiled(image, files):
    # Their user may not write beside the source: without this every start would compile it again.
    for name, package in (("ch05-cropper", "cropper"), ("ch05-server", "gallery")):
        paths = files(image(name))
        source = {path for path in paths if re.fullmatch(rf"/app/{package}/\w+\.py", path)}
        compiled = {path for path in paths if re.fullmatch(rf"/app/{package}/__pycache__/\w+\.cpython-313\.pyc", path)}
        assert source and len(compiled) == len(source), name


def test_user_may_not_change_the_program(image, files):
    for name in IMAGES:
        for path, member in files(image(name)).items():
            if re.match(r"/(app|venv|packages|usr/local|photos)(/|$)", path) and not member.issym():
                assert member.uid == 0 and not member.mode & 0o022, f"{name}: {path}"


@pytest.mark.parametrize("name, percent", [
    ("ch05-server", 20), ("ch05-cropper", 55), ("ch05-server:optimized", 7), ("ch05-cropper:optimized", 33)])
def test_size_against_single_stage(name, percent, image, inspect):
    ratio = inspect(image(name))["Size"] / inspect(image(SINGLE))["Size"]
    assert ratio <= percent / 100, f"{ratio:.1%}"


# --- building ---------------------------------------------------------------------------------------

PROGRAMS = {"cropper": "cropper/cropper/__init__.py", "server": "server/gallery/__init__.py"}


def change(source):
    """Return a function that changes one line of a source file in a copy of the chapter."""
    # Another change each time, or a second run would find the first one's result in the cache.
    return lambda copy: (copy / source).write_text((copy / source).read_text() + f"\nCHANGED = '{uuid.uuid4()}'\n")


@pytest.mark.parametrize("target", PROGRAMS)
@pytest.mark.parametrize("dockerfile", ["Dockerfile", "optimized.Dockerfile"])
def test_changed_line_leaves_the_dependencies_alone(dockerfile, target):
    steps = rebuild("ch05-python-crop", dockerfile, target, change(PROGRAMS[target]))
    again = [step.name for step in steps if not step.cached and not re.match(r"\[(\S+ +)?1/\d+\] FROM|\[internal\]", step.name)]
    assert any(f"COPY {os.path.dirname(PROGRAMS[target])}" in name for name in again), "the change was not noticed"
    for name in again:
        assert re.search(r"-application \d/\d\]|COPY --from=\w+-application", name), f"built again: {name}"


def test_single_stage_installs_everything_again():
    source = (CHAPTER / "single-stage.Dockerfile").read_text()
    copies, installs = source.index("\nCOPY . ."), [m.start() for m in re.finditer(r"\nRUN ", source)]
    assert installs and all(copies < place for place in installs), "then it would be no bad example"


def test_other_files_do_not_rerun_anything():
    done = rebuild("ch05-python-crop", "single-stage.Dockerfile", edit=other_files)
    assert not ran(done), "without .dockerignore, files that are no part of the programs get into the build"


def test_stage_tests_runs_the_tests_of_both_programs(tmp_path):
    docker("buildx", "build", "--target", "tests", "--output", f"type=local,dest={tmp_path}", CHAPTER)
    assert {path.name for path in tmp_path.iterdir()} == {"cropper.xml", "server.xml"}, "one program's tests were not run"


def test_changed_unit_test_installs_nothing():
    def edit(copy):
        for path in copy.glob("*/tests/test_*.py"):
            path.unlink()
        for program in PROGRAMS:  # one quick test each: what counts here is what runs before it
            (copy / program / "tests/test_quick.py").write_text(f"def test_quick(): assert '{uuid.uuid4()}'\n")
            (copy / program / "pyproject.toml").open("a").write(f"\n# {uuid.uuid4()}\n")

    again = [step.name for step in rebuild("ch05-python-crop", "Dockerfile", "tests", edit) if not step.cached]
    assert any("COPY cropper/tests" in name for name in again), "the change was not noticed"
    assert not [name for name in again if "RUN pip" in name], "a changed test would install everything anew"


def test_broken_unit_test_fails_the_stage_tests_and_nobody_else(tmp_path):
    docker("buildx", "bake", "-f", BAKE_FILE, "ch05-tests", cwd=ROOT)
    copy = shutil.copytree(CHAPTER, tmp_path / "copy")
    for test in (copy / "server/tests").glob("test_*.py"):
        test.unlink()
    (copy / "server/tests/test_broken.py").write_text("def test_broken():\n    assert 'gallery' == 'galery'\n")
    done = docker("buildx", "build", "--progress", "plain", "--target", "tests", copy, check=False)
    assert done.returncode and "assert 'gallery' == 'galery'" in done.stderr
    # The lesson: no image copies from the stage, so BuildKit does not run it for one.
    assert "pytest" not in docker("buildx", "build", "--progress", "plain", "--target", "server", copy).stderr


# --- the whole way ----------------------------------------------------------------------------------

LOOK = """
import io, json, sys, urllib3
from PIL import Image, ImageChops, ImageCms, ImageStat
http = urllib3.PoolManager()
def get(path, **headers): return http.request("GET", sys.argv[1] + path, headers=headers).data
gallery = json.loads(get("/", Accept="application/json"))
for photo in gallery["photos"]:
    original, cropped = (Image.open(io.BytesIO(get(photo[kind]["url"]))).convert("RGB") for kind in ("original", "cropped"))
    if profile := original.info.get("icc_profile"):  # The crop's colors are plain sRGB.
        original = ImageCms.profileToProfile(original, io.BytesIO(profile), ImageCms.createProfile("sRGB"))
    expected = original.crop(photo["box"]).resize(cropped.size, Image.Resampling.LANCZOS)
    photo["difference"] = sum(ImageStat.Stat(ImageChops.difference(expected, cropped)).mean) / 3
    photo["size"] = original.size
print(json.dumps(gallery))
"""


@pytest.fixture
def token(tmp_path):
    """A file with the upload token, as a volume to mount."""
    path = tmp_path / "upload_token"
    path.write_text(TOKEN)
    path.chmod(0o644)
    return {path: ("/run/secrets/upload_token", "ro")}


@pytest.fixture
def serve(start, image, sealed_network, token):
    """serve(rung) starts a hardened, healthy server on the module's network and returns it; its address is http://NAME:8080."""

    def run(rung="", **kwargs):
        server = start(image("ch05-server" + rung), network=sealed_network, hardened=True, wait=HealthcheckWaitStrategy(),
                       volumes=token, **kwargs)
        server.address = f"http://{server.get_wrapped_container().name}:8080"
        return server

    return run


@pytest.fixture
def crop(start, image, sealed_network, token):
    """crop(server, *options) runs a hardened cropper to its end; returns (exit status, output lines)."""

    def run(server, *options, rung="", volumes=None, wait=True, env=None):
        container = start(image("ch05-cropper" + rung), *options, network=sealed_network, hardened=True,
                          env={"SERVER_URL": server, **(env or {})}, volumes=token | (volumes or {}))
        if not wait:
            return container
        return container.wait(), output(container)

    return run


@pytest.fixture
def look(start, image, sealed_network):
    """look(address) returns the gallery as JSON, each photo with the difference of its crop to its box of the original."""

    def run(address):
        container = start(image("ch05-cropper"), "-c", LOOK, address, network=sealed_network, entrypoint="python")
        assert container.wait() == 0, container.get_logs()[1].decode()
        return json.loads(container.get_logs()[0])

    return run


def output(container):
    return b"".join(container.get_logs()).decode().splitlines()


def middle(size):
    """Return the box of the largest square in the middle of a picture of that size."""
    width, height = size
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    return [left, top, left + side, top + side]


def test_center_crops_arrive_beside_their_originals(rung, serve, crop, look):
    server = serve(rung)
    status, lines = crop(server.address, rung=rung)
    assert (status, lines[-1].split(": ")[-1]) == (0, "5 cropped"), lines
    gallery = look(server.address)
    assert {photo["name"] for photo in gallery["photos"]} == SAMPLES and gallery["total"] == len(SAMPLES)
    for photo in gallery["photos"]:
        assert (photo["mode"], photo["note"]) == ("center", "")
        assert photo["box"] == pytest.approx(middle(photo["size"]), abs=1), photo["name"]
        side = min(500, *photo["size"])
        assert (photo["cropped"]["width"], photo["cropped"]["height"]) == (side, side), photo["name"]
        assert photo["difference"] < 4, f"{photo['name']}: the crop is not what its box on the original shows"
    assert lines_of("stored", server) == 5
    status, lines = crop(server.address, rung=rung)
    assert (status, lines[-1].split(": ")[-1]) == (0, "0 cropped, 5 known already"), lines
    assert lines_of("stored", server) == 5, "a second run sent something again"


def lines_of(word, server):
    return sum(word in line for line in output(server))


def test_face_crops_are_around_the_face(rung, serve, crop, look):
    server = serve(rung)
    status, lines = crop(server.address, "--mode", "face", "/photos/astronaut.png", "/photos/coffee.png", rung=rung)
    assert status == 0, lines
    photos = {photo["name"]: photo for photo in look(server.address)["photos"]}
    left, top, right, bottom = photos["astronaut.png"]["box"]
    # Eileen Collins' face in the picture of 512 x 512 pixels: eyes, nose and mouth are inside, the rocket is not.
    assert left < 195 and 255 < right < 400 and top < 80 and 160 < bottom < 300, photos["astronaut.png"]["box"]
    assert photos["astronaut.png"]["difference"] < 4
    assert photos["coffee.png"]["note"] == "center-fallback" and photos["coffee.png"]["box"] == [100, 0, 500, 400], (
        "a cup has no face: the center, and a note that says so")


MANY = """
import os, pathlib, sys
from PIL import Image
noise = Image.effect_noise((900, 600), 90).convert("RGB")
for number in range(int(sys.argv[1])):
    noise.paste((10 * number, 0, 0), (0, 0, 50, 50))
    noise.save(f"/photos/{number:03}.jpg", quality=95)
"""


@pytest.fixture
def many(tmp_path, image):
    """many(n) makes n photos, all different, and returns them as a volume to mount."""

    def run(count):
        folder = tmp_path / "many"
        folder.mkdir()
        docker("run", "--rm", "--user", f"{os.getuid()}:{os.getgid()}", "-v", f"{folder}:/photos", "--entrypoint", "python",
               image("ch05-cropper"), "-c", MANY, count)
        return {folder: ("/photos", "ro")}

    return run


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_server_goes_away_in_the_middle_and_nothing_is_lost(end, serve, crop, look, many):
    server, photos = serve(), 16
    cropper = crop(server.address, "--workers", "2", volumes=many(photos), wait=False)
    until(lambda: lines_of("stored", server) >= 2, seconds=30, message="no photo arrived")
    getattr(server.get_wrapped_container(), end)()
    until(lambda: server.get_wrapped_container().reload() or server.get_wrapped_container().status == "exited")
    before = lines_of("cropped", cropper)
    assert before < photos, "the server went away too late for this test"
    server.get_wrapped_container().start()
    assert cropper.wait() == 0, output(cropper)
    assert output(cropper)[-1].endswith(f"{photos} cropped")
    gallery = look(server.address)
    assert gallery["total"] == photos and len({photo["name"] for photo in gallery["photos"]}) == photos
    assert max(photo["difference"] for photo in gallery["photos"]) < 25, "half a picture"  # Noise, twice resampled.


def test_no_server_is_one_clear_failure(rung, crop):
    status, lines = crop("http://nobody:8080", "--patience", "1", "/photos/rocket.jpg", rung=rung)
    assert status == 1 and "http://nobody:8080/photos can't be reached" in "\n".join(lines), lines
    assert not any("Traceback" in line for line in lines)


def test_wrong_token_ends_the_run(rung, serve, crop, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("guessed")
    wrong.chmod(0o644)
    server = serve(rung)
    status, lines = crop(server.address, rung=rung, volumes={wrong: ("/wrong", "ro")}, env={"TOKEN_FILE": "/wrong"})
    assert status == 2 and "refused the token" in "\n".join(lines), lines
    assert lines_of("stored", server) == 0


def test_both_stop_at_once(rung, serve, crop):
    server = serve(rung)
    watcher = crop(server.address, "--watch", rung=rung, wait=False)
    until(lambda: lines_of("stored", server) == 5, seconds=30)
    for container in (watcher, server):
        stopped = container.get_wrapped_container()
        begin = datetime.now()
        stopped.stop(timeout=10)
        stopped.reload()
        assert (datetime.now() - begin).total_seconds() < 5, "docker stop had to kill it"
        assert stopped.attrs["State"]["ExitCode"] == 0


def test_server_without_its_program_answering_is_unhealthy(rung, start, image):
    container = start(image("ch05-server" + rung), "-m", "gallery.health", entrypoint="python3")
    assert container.wait() == 1 and "does not answer" in output(container)[0]


# --- compose.yaml -----------------------------------------------------------------------------------

class Project:
    """`docker compose` for one copy of the chapter's compose.yaml, under a name of its own."""

    def __init__(self, name, override):
        self.name, self.override = name, override
        self.env = {key: value for key, value in os.environ.items() if key not in ("PHOTOS", "MODE", "SIZE")}
        self.env |= {"PORT": "0"}

    def __call__(self, *args, check=True, **env):
        done = subprocess.run(
            ["docker", "compose", "-p", self.name, "-f", CHAPTER / "compose.yaml", "-f", self.override, "--progress", "plain", *args],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, env=self.env | env)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self, **env):
        """Bring everything up, wait until the cropper has ended; return its exit status and the lines it wrote."""
        self("up", "-d", "--no-build", **env)
        status = docker("wait", self.id("cropper")).stdout.strip()
        return int(status), docker("logs", self.id("cropper")).stdout.splitlines()

    def id(self, service):
        return self("ps", "-aq", service).strip()

    def inspect(self, service):
        return json.loads(docker("inspect", self.id(service)).stdout)[0]

    def get(self, path):
        port = self("port", "server", "8080").strip()
        request = urllib.request.Request(f"http://{port}{path}", headers={"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


def compose(tmp_path, image):
    image("ch05-cropper"), image("ch05-server")
    given = json.loads(docker("compose", "-f", CHAPTER / "compose.yaml", "config", "--format", "json").stdout)
    override = tmp_path / "labels.yaml"  # So that the tests' own clean-up knows all of it, whatever happens.
    labels = {"labels": RUN_LABELS}
    override.write_text(json.dumps({kind: {name: labels for name in given[kind]} for kind in ("services", "networks", "volumes")}))
    project = Project(f"ch05-test-{os.getpid()}-{tmp_path.name}".lower().replace(".", ""), override)
    try:
        yield project
    finally:
        project("down", "-v", "--timeout", "3", check=False)


@pytest.fixture(scope="module")
def up(tmp_path_factory, image):
    """The project after `docker compose up` with the samples; its cropper has ended."""
    for project in compose(tmp_path_factory.mktemp("up"), image):
        project.first = project.up()
        yield project


@pytest.fixture
def project(tmp_path, image):
    """A project that is not up yet."""
    yield from compose(tmp_path, image)


def test_up_crops_the_samples_and_shows_them(up):
    status, lines = up.first
    assert status == 0 and lines[-1].endswith("5 cropped"), lines
    assert {photo["name"] for photo in up.get("/")["photos"]} == SAMPLES
    assert up.inspect("server")["State"]["Health"]["Status"] == "healthy"


def test_up_publishes_on_this_machine_only(up):
    bindings = {service: up.inspect(service)["HostConfig"]["PortBindings"] for service in ("server", "cropper", "token")}
    assert bindings.pop("server")["8080/tcp"][0]["HostIp"] == "127.0.0.1"
    assert not any(bindings.values())
    assert '"127.0.0.1:${PORT:-8080}:8080"' in (CHAPTER / "compose.yaml").read_text()


@pytest.mark.parametrize("service", ["token", "server", "cropper"])
def test_up_hardens(service, up):
    host = up.inspect(service)["HostConfig"]
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and host["SecurityOpt"] == ["no-new-privileges"]
    assert 0 < host["Memory"] <= 1 << 30 and 0 < host["PidsLimit"] <= 100
    assert not host["Privileged"] and not host["CapAdd"]


def test_up_mounts_no_more_than_needed(up):
    mounts = {service: {(m["Destination"], m["RW"]) for m in up.inspect(service)["Mounts"]} for service in ("token", "server", "cropper")}
    assert mounts["server"] == {("/data", True), ("/run/secrets", False)}
    assert mounts["cropper"] == {("/photos", False), ("/run/secrets", False)}
    assert ("/run/secrets", True) in mounts["token"]


def test_up_keeps_everybody_off_the_internet(up):
    networks = {service: {name.removeprefix(up.name + "_") for name in up.inspect(service)["NetworkSettings"]["Networks"]}
                for service in ("token", "server", "cropper")}
    assert networks == {"token": {"none"}, "server": {"uploads", "browser"}, "cropper": {"uploads"}}
    uploads, browser = (json.loads(docker("network", "inspect", f"{up.name}_{name}").stdout)[0] for name in ("uploads", "browser"))
    assert uploads["Internal"]
    assert browser["Options"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"


def test_token_is_made_once_and_told_to_nobody(up):
    read = "import os, pathlib; p = pathlib.Path('/run/secrets/upload_token'); print(p.read_text(), oct(p.stat().st_mode), p.stat().st_uid)"
    token, mode, owner = up("exec", "-T", "server", "python", "-c", read).split()
    assert len(token) >= 32 and (mode, owner) == ("0o100444", "0")
    for service in ("token", "server", "cropper"):
        assert token not in json.dumps(up.inspect(service)) + up("logs", service), service
    status, lines = up.up()
    assert status == 0 and "5 known already" in lines[-1], "the second start lost the gallery or the token"
    assert up("exec", "-T", "server", "python", "-c", read).split()[0] == token


def test_own_photos_in_face_mode(project, tmp_path, image):
    folder = tmp_path / "my photos"
    folder.mkdir()
    container = docker("create", image("ch05-cropper")).stdout.strip()
    docker("cp", f"{container}:/photos/astronaut.png", folder / "it's <me>.png")
    docker("rm", container)
    (folder / "broken.jpg").write_text("not a photo")
    (folder / "notes.txt").write_text("not meant to be one")
    before = sorted((p.name, p.stat().st_mtime_ns) for p in folder.iterdir())
    status, lines = project.up(PHOTOS=str(folder), MODE="face", SIZE="200x300")
    assert status == 1, lines
    assert "failed   /photos/broken.jpg: not a JPEG, PNG, GIF, WebP or AVIF picture" in lines
    assert lines[-1].endswith("1 cropped, 1 skipped, 1 failed"), lines
    photo, = project.get("/")["photos"]
    assert (photo["name"], photo["mode"], photo["note"], photo["size"]) == ("it's <me>.png", "face", "", "200x300")
    assert sorted((p.name, p.stat().st_mtime_ns) for p in folder.iterdir()) == before
    # docker compose down keeps the gallery for the next time; only -v takes it away.
    project("down")
    project.up()
    assert len(project.get("/")["photos"]) == 1 + len(SAMPLES)


# --- the bars that take long ------------------------------------------------------------------------

def seconds_between(earlier, later):
    parse = lambda text: datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text).replace("Z", "+00:00"))  # noqa: E731
    return (parse(later) - parse(earlier)).total_seconds()


@pytest.mark.full
def test_optimized_images_start_no_slower(image, start):
    def crop_one(ident):
        container = start(ident, "--out", "/tmp/crops", "/photos/rocket.jpg").get_wrapped_container()
        container.wait()
        container.reload()
        return seconds_between(container.attrs["State"]["StartedAt"], container.attrs["State"]["FinishedAt"])

    def first_line(ident):
        container = start(ident, wait=LogMessageWaitStrategy("Gallery of")).get_wrapped_container()
        stamp = container.logs(timestamps=True).split()[0].decode()
        return seconds_between(container.attrs["State"]["StartedAt"], stamp)

    for name, measure in (("ch05-cropper", crop_one), ("ch05-server", first_line)):
        times = {rung: [] for rung in ("", ":optimized")}
        for _ in range(9):
            for rung in times:
                times[rung].append(measure(image(name + rung)))
        plain, optimized = map(statistics.median, times.values())
        print(f"{name}: {plain * 1000:.0f} ms, optimized {optimized * 1000:.0f} ms, {optimized / plain:.2f}")
        assert optimized <= 1.05 * plain, name


@pytest.mark.full
@pytest.mark.parametrize("target", PROGRAMS)
def test_changed_line_is_built_20_times_faster_than_in_single_stage(target):
    seconds = race("ch05-python-crop", change(PROGRAMS[target]), {"multi": ["--target", target], "single": ["-f", "single-stage.Dockerfile"]})
    print(f"{target}: {seconds}, {seconds['single'] / seconds['multi']:.0f} times")
    assert seconds["single"] >= 20 * seconds["multi"]
