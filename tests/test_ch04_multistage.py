"""Chapter 4: the image of the day in three images, against a stub of NASA's service on a network of their own."""
import re
import statistics
import subprocess
import tarfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from testcontainers.core.wait_strategies import ContainerStatusWaitStrategy, HealthcheckWaitStrategy, HttpWaitStrategy

from tests.support import ROOT
from tests.support.engine import docker
from tests.support.images import other_files, race, ran, steps, until

CHAPTER = "ch04-multistage"
SINGLE, PLAIN, OPTIMIZED = "ch04-multistage:single-stage", "ch04-multistage", "ch04-multistage:optimized"
LADDER = [SINGLE, PLAIN, OPTIMIZED]
KEY = "this-key-is-a-secret"
PICTURE = {"url": "https://nasa.example/spiral.jpg", "caption": "A Spiral of Stars", "copyright": "Ada Example"}
VIDEO = {"url": "https://video.example/1.jpg", "caption": "A Launch", "copyright": None}
# What NASA may do wrong, with a part of what the service says of it. APOD_TIMEOUT is 1 s below.
FAILURES = {
    "500": ({"mode": "500"}, "answered with status 500"),
    "429": ({"mode": "429"}, "answered with status 429"),
    "redirect": ({"mode": "redirect"}, "answered with status 302"),
    "slow": ({"mode": "picture", "seconds": 3}, "does not answer"),
    "drip": ({"mode": "drip"}, "does not answer"),
    "cut": ({"mode": "cut"}, "does not answer"),
    "garbage": ({"mode": "garbage"}, "not JSON"),
    "huge": ({"mode": "huge"}, "not JSON"),
}


class Nasa:
    """The stub of NASA's service (tests/images/nasa)."""

    def __init__(self, container):
        self.url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8080)}"

    def script(self, mode, **how):
        requests.post(f"{self.url}/script", json={"mode": mode, **how}, timeout=10).raise_for_status()

    def calls(self):
        return requests.get(f"{self.url}/calls", timeout=10).json()


class Service:
    """A container of the service, and its address from here."""

    def __init__(self, container):
        self.container = container
        self.url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(80)}"

    def get(self, path="/image", **kwargs):
        return requests.get(self.url + path, timeout=30, **kwargs)

    def log(self):
        return "".join(part.decode() for part in self.container.get_logs())

    def state(self):
        wrapped = self.container.get_wrapped_container()
        wrapped.reload()
        return wrapped.attrs["State"]


def ready():
    return HttpWaitStrategy(80, "/actuator/health/readiness").for_status_code(200)


def run_with(start, image_id, network, wait=None, **env):
    """Start the service against the stub and wait until it is ready."""
    kwargs = env.pop("kwargs", {})
    env = {"APOD_URL": "http://nasa:8080/planetary/apod", "APOD_KEY": KEY, "APOD_TIMEOUT": "1s", **env}
    return Service(start(image_id, env=env, network=network, ports=[80], wait=wait or ready(), **kwargs))


@pytest.fixture(scope="module")
def nasa(network, start_shared, image):
    return Nasa(start_shared(image("test-nasa"), network=network, alias="nasa", ports=[8080],
                             wait=HttpWaitStrategy(8080, "/calls")))


@pytest.fixture(scope="module", params=[PLAIN, OPTIMIZED])
def tag(request):
    return request.param


@pytest.fixture(scope="module")
def hardening(tag):
    """How the image is run: the optimized one as hard as Docker can, with nothing to write to but /tmp."""
    return {"hardened": True, "tmpfs": {"/tmp": ""}} if tag == OPTIMIZED else {}


@pytest.fixture(scope="module")
def forgetful(nasa, start_shared, network, image, tag, hardening):
    """A service that asks NASA again at each request, and has had a picture before."""
    nasa.script("picture")
    service = run_with(start_shared, image(tag), network, APOD_CACHE_TIME="1ms", APOD_RETRY_TIME="1ms",
                       kwargs=hardening)
    assert service.get().json() == PICTURE
    return service


@pytest.fixture(scope="module")
def empty(nasa, start_shared, network, image, tag, hardening):
    """A service that asks NASA again at each request, never had a picture and tells the log all it knows."""
    return run_with(start_shared, image(tag), network, APOD_RETRY_TIME="1ms", LOGGING_LEVEL_ROOT="DEBUG",
                    kwargs=hardening)


# --- what the service does ------------------------------------------------------------------------

@pytest.mark.parametrize("failure", FAILURES)
def test_without_a_picture_a_failure_is_a_problem_that_says_when_to_come_back(nasa, empty, failure):
    script, says = FAILURES[failure]
    nasa.script(**script)
    answer = empty.get()
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
    assert answer.headers["Retry-After"] == "1"
    problem = answer.json()
    assert problem["title"] == "No picture of the day yet" and says in problem["detail"]
    assert nasa.calls() == {"calls": 1, "key": KEY}, "the key must reach NASA, once, and not the redirect's target"
    assert KEY not in answer.text + str(answer.headers)


def test_nasa_is_left_alone_for_as_long_as_it_says(nasa, empty):
    nasa.script("429", retry_after="2")
    assert empty.get().headers["Retry-After"] == "2"
    empty.get()
    assert nasa.calls()["calls"] == 1
    until(lambda: empty.get().status_code and nasa.calls()["calls"] == 2, message="NASA was never asked again")


def test_the_key_is_in_no_log(nasa, empty, forgetful):
    nasa.script("429")
    empty.get()
    assert "DEBUG" in empty.log() and "Next try in" in empty.log()
    assert KEY not in empty.log() + forgetful.log()


@pytest.mark.parametrize("mode, expected", [("video", VIDEO), ("picture", PICTURE)])
def test_what_nasa_has_is_served(nasa, forgetful, mode, expected):
    nasa.script(mode)
    answer = forgetful.get()
    assert answer.json() == expected
    assert (answer.status_code, answer.headers["Age"]) == (200, "0")


@pytest.mark.parametrize("failure", FAILURES)
def test_the_last_picture_is_served_when_nasa_fails(nasa, forgetful, failure):
    script, _ = FAILURES[failure]
    nasa.script(**script)
    answer = forgetful.get()
    assert answer.status_code == 200 and answer.json() == PICTURE
    assert int(answer.headers["Age"]) >= 0
    assert nasa.calls()["calls"] == 1


def test_a_picture_grows_old_when_nasa_fails(nasa, forgetful):
    nasa.script("500")
    before = int(forgetful.get().headers["Age"])
    until(lambda: int(forgetful.get().headers["Age"]) > before, message="the Age header stands still")


@pytest.mark.parametrize("path, method, status", [("/nowhere", "GET", 404), ("/image", "POST", 405)])
def test_what_it_cannot_do_is_a_problem_too(forgetful, path, method, status):
    answer = requests.request(method, forgetful.url + path, timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("path", ["/actuator/health", "/actuator/health/liveness", "/actuator/health/readiness"])
def test_health_does_not_depend_on_nasa(nasa, empty, path):
    nasa.script("500")
    answer = empty.get(path)
    assert (answer.status_code, answer.json()["status"]) == (200, "UP")
    assert nasa.calls()["calls"] == 0


def test_only_health_can_be_managed_from_outside(forgetful):
    assert forgetful.get("/actuator/env").status_code == 404
    assert set(forgetful.get("/actuator").json()["_links"]) == {"self", "health", "health-path"}


def test_nasa_is_asked_once_however_many_ask_in_little_memory(nasa, start, network, image, tag, hardening):
    """50 at once, then 2000 more from 20 clients, in 256 MiB: one call to NASA in all, and no end for want of memory."""
    nasa.script("picture", seconds=0.5)
    service = run_with(start, image(tag), network, APOD_TIMEOUT="30s",
                       kwargs={"mem_limit": "256m", "memswap_limit": "256m", **hardening})
    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(lambda _: service.get().json(), range(50)))
    assert answers == [PICTURE] * 50
    assert nasa.calls()["calls"] == 1

    def hundred(_):
        with requests.Session() as session:
            return {session.get(f"{service.url}/image", timeout=30).status_code for _ in range(100)}

    with ThreadPoolExecutor(20) as clients:
        assert set().union(*clients.map(hundred, range(20))) == {200}
    assert nasa.calls()["calls"] == 1
    state = service.state()
    assert state["Running"] and not state["OOMKilled"], service.log()


def test_sigterm_lets_a_request_finish(nasa, start, network, image, tag, hardening):
    nasa.script("picture", seconds=2)
    service = run_with(start, image(tag), network, APOD_TIMEOUT="30s", kwargs=hardening)
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(service.get)
        until(lambda: nasa.calls()["calls"] == 1, message="the request never reached NASA")
        service.container.get_wrapped_container().stop(timeout=10)
        assert answer.result().json() == PICTURE
    assert service.state()["ExitCode"] == 143, "128 + 15: ended by SIGTERM, not by the SIGKILL that comes after 10 s"
    assert "Graceful shutdown complete" in service.log()


@pytest.mark.parametrize("variable, value, says", [
    ("APOD_URL", "nasa", "APOD_URL must be an address"),
    ("APOD_KEY", "", "APOD_KEY is empty"),
    ("APOD_CACHE_TIME", "soon", "APOD_CACHE_TIME"),
    ("APOD_TIMEOUT", "-1s", "APOD_TIMEOUT must be longer than 0"),
    ("SERVER_PORT", "eighty", "SERVER_PORT"),
])
def test_a_bad_setting_stops_the_start_and_is_named(start, image, variable, value, says):
    service = start(image(OPTIMIZED), env={"APOD_KEY": KEY, variable: value})
    assert service.get_wrapped_container().wait(timeout=60)["StatusCode"] == 1
    log = "".join(part.decode() for part in service.get_logs())
    assert "APPLICATION FAILED TO START" in log and says in log
    assert KEY not in log and "\n\tat " not in log, "a message, not a stack trace"


# --- what the images are --------------------------------------------------------------------------

@pytest.mark.parametrize("tag", LADDER, scope="function")
def test_configuration(image, inspect, tag):
    config = inspect(image(tag))["Config"]
    assert config.get("ExposedPorts") == {"80/tcp": {}}, "nobody could see which port it serves"
    assert config["User"] == "10001:10001", "it would run as root"
    assert (config["Entrypoint"] or [""])[0] == "java" and not config.get("Cmd"), "docker stop's signal would not reach Java"
    assert config.get("Healthcheck"), "nobody would notice that the service hangs"
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "java"], "it needs no shell and no curl"
    assert config["WorkingDir"] == {SINGLE: "/usr/src/iotd", PLAIN: "/app", OPTIMIZED: "/tmp"}[tag]
    if tag == OPTIMIZED:
        assert "PATH=/opt/runtime/bin" in config["Env"], "java would not be found"
        assert "LANG=C.UTF-8" in config["Env"], "Java would take every character beyond ASCII for a question mark"
    assert not [entry for entry in config["Env"] if "KEY" in entry or "SECRET" in entry]


@pytest.mark.parametrize("tag", LADDER, scope="function")
def test_health_check(start, image, tag):
    """Docker finds the service healthy, and the same command fails where nothing answers."""
    container = start(image(tag), wait=HealthcheckWaitStrategy().with_startup_timeout(120))
    command = container.get_wrapped_container().image.attrs["Config"]["Healthcheck"]["Test"][1:]
    broken = container.exec([*command, "http://localhost:81/"])
    assert broken.exit_code == 1 and b"http://localhost:81/" in broken.output


# What each image must not have, as regular expressions for paths.
BUILD_TOOLS = {"Maven": r"/mvn$", "the compiler": r"/javac$", "sources": r"\.java$|/pom\.xml$|/usr/src/iotd",
               "downloads": r"/\.m2/", "unit tests": r"ImageServiceTest"}
SHELLS = {"a shell": r"/(ba|da|a)?sh$|/busybox$", "a package manager": r"/(apt|apt-get|dpkg)$"}


def present(paths, what):
    return {name for name, pattern in what.items() if any(re.search(pattern, path) for path in paths)}


def test_the_program_is_in_the_images(image, files):
    needed = {PLAIN: ["/app/iotd-service-0.1.0.jar", "/app/iotd/HealthCheck.class"],
              OPTIMIZED: ["/app/iotd-service-0.1.0.jar", "/app/java.options", "/app/classes.jsa", "/opt/runtime/bin/java",
                          "/opt/runtime/lib/security/cacerts", "/etc/nsswitch.conf", "/tmp"]}
    for tag, paths in needed.items():
        assert not set(paths) - set(files(image(tag))), "something that the program needs is not in the image"
    assert any(path.startswith("/app/lib/spring-") for path in files(image(OPTIMIZED))), "the libraries are not in the image"


def test_what_is_in_the_images(image, files):
    paths = {tag: files(image(tag)) for tag in LADDER}
    everything = {**BUILD_TOOLS, **SHELLS}
    assert present(paths[SINGLE], everything) == set(everything), "else the two checks below prove nothing"
    assert present(paths[PLAIN], everything) == set(SHELLS)
    assert present(paths[OPTIMIZED], everything) == set()
    assert not present(paths[OPTIMIZED], {"header files": r"^/opt/runtime/include/", "manual pages": r"^/opt/runtime/man/"})


def test_the_runtime_holds_nothing_for_debuggers(start, image):
    """7 MB of line numbers and names of variables. A thread dump (SIGQUIT) shows whether they are there."""
    container = start(image(OPTIMIZED), wait=ready(), ports=[80])
    container.get_wrapped_container().kill("QUIT")
    dump = until(lambda: re.search(r"java\.lang\.Thread\.run\([^)]+", container.get_logs()[0].decode()), message="no thread dump")
    assert "Unknown Source" in dump[0], "the runtime holds line numbers, which only a debugger and a stack trace need"


def test_sizes(image, inspect):
    size = {tag: inspect(image(tag))["Size"] for tag in LADDER}
    assert size[PLAIN] <= 0.45 * size[SINGLE], size
    assert size[OPTIMIZED] <= 0.25 * size[SINGLE], size


def test_the_archive_is_used(start, image):
    """-Xshare:on ends the JVM if it can't use the archive; the log says where each class came from."""
    container = start(image(OPTIMIZED), wait=ready(), ports=[80],
                      entrypoint=["java", "-Xshare:on", "-Xlog:class+load", "@/app/java.options", "iotd.IotdApplication"])
    sources = re.findall(r"\[class,load\].* source: (.*)", "".join(part.decode() for part in container.get_logs()))
    shared = sum(source.startswith("shared objects file") for source in sources)
    assert len(sources) > 5000 and shared > 0.9 * len(sources)


def test_the_archive_fits_the_jars(start, image, tmp_path):
    """The test above would notice: with one library of another time, -Xshare:on does end the JVM."""
    container = start(image(OPTIMIZED), entrypoint=["java", "-Xshare:on", "@/app/java.options", "iotd.HealthCheck"],
                      wait=ContainerStatusWaitStrategy(), volumes={str(tmp_path): ("/app/lib", "ro")})
    assert container.get_wrapped_container().wait(timeout=60)["StatusCode"] == 1
    assert "shared class paths mismatch" in "".join(part.decode() for part in container.get_logs())


# --- what a change costs --------------------------------------------------------------------------

def edit(pattern, new):
    """Return a function that replaces what matches a regular expression in the controller, which must be there."""
    def change(folder):
        java = folder / "src/main/java/iotd/image/ImageController.java"
        text, count = re.subn(pattern, lambda _: new() if callable(new) else new, java.read_text())
        assert count
        java.write_text(text)
    return change


# Changes one line of the program, each time to what it never was before.
one_line = edit(r"served\.age\(\)\.to(Seconds\(\)|Millis\(\) / 1000 \+ 0 \* \d+L)", lambda: f"served.age().toMillis() / 1000 + 0 * {time.time_ns()}L")


def cached(done, text):
    """Tell whether the step with that text in its name came from the cache."""
    # BuildKit may name a step twice, when another build is at the same one.
    found = [step.cached for step in done if text in step.name]
    assert found, f"there is no step {text}"
    return any(found)


def test_a_changed_line_makes_one_small_new_layer(rebuild, image, inspect, tmp_path):
    """Nothing is resolved, linked or archived again, and what a registry would get is the program's own jar."""
    before = image(OPTIMIZED)
    for _ in range(3):  # on a busy machine the training may meet a class more or less, and its list is new
        done = rebuild(CHAPTER, "optimized.Dockerfile", edit=one_line, options=("--iidfile", tmp_path / "id"))
        if cached(done, "<<DUMP"):
            break
    for step in ("dependency:go-offline", "<<LINK", "<<DUMP"):
        assert cached(done, step), done
    assert not cached(done, "mvn -B -ntp -o package")
    after = (tmp_path / "id").read_text()
    new = set(inspect(after)["RootFS"]["Layers"]) - set(inspect(before)["RootFS"]["Layers"])
    assert len(new) == 1
    assert layer_sizes(after)[new.pop()] <= 1_000_000


def layer_sizes(image_id):
    """Return {diff id: bytes of the layer's tar} of an image, from `docker save`."""
    with subprocess.Popen(["docker", "save", image_id], stdout=subprocess.PIPE) as saved, \
            tarfile.open(fileobj=saved.stdout, mode="r|") as archive:
        return {"sha256:" + member.name.rsplit("/")[-1]: member.size
                for member in archive if member.name.startswith("blobs/sha256/")}


def test_after_a_changed_line_no_library_is_looked_for(rebuild):
    done = rebuild(CHAPTER, target="builder", edit=one_line)
    assert not cached(done, "mvn -B -ntp -o package")
    assert cached(done, "dependency:go-offline"), "a changed line would look for all libraries again"


def test_after_a_changed_line_no_network_is_needed(rebuild):
    """Neither Maven's plugins nor the tests look for anything that go-offline has not fetched."""
    done = rebuild(CHAPTER, target="builder", edit=one_line, options=("--network", "none"))
    assert not cached(done, "mvn -B -ntp -o package")


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "optimized.Dockerfile"])
def test_after_a_changed_pom_only_what_is_new_is_downloaded(rebuild, dockerfile):
    """Nothing is new here, so it works without a network: the libraries are in the cache mount."""
    def change(folder):
        with (folder / "pom.xml").open("a") as pom:
            pom.write(f"<!-- {uuid.uuid4()} -->\n")
        file = folder / dockerfile  # what comes after is another test's
        file.write_text(file.read_text().replace("mvn -B -ntp -o package", "true"))

    done = rebuild(CHAPTER, dockerfile, "builder", change, options=("--network", "none"))
    assert not cached(done, "dependency:go-offline")


def test_other_files_do_not_rerun_anything(rebuild):
    done = rebuild(CHAPTER, target="builder", edit=other_files)
    assert not ran(done), "without .dockerignore, files that are no part of the program get into the build"


def test_a_failing_unit_test_makes_no_image(rebuild):
    with pytest.raises(AssertionError, match=r"(?s)ImageControllerTest\.noPictureIsAProblem.*BUILD FAILURE"):
        rebuild(CHAPTER, edit=edit(r"HttpStatus\.SERVICE_UNAVAILABLE", "HttpStatus.NOT_FOUND"))


# --- the warm-up ----------------------------------------------------------------------------------

def warm_up(folder, *replacements):
    """Build warm-up.Dockerfile with some text replaced; return the CompletedProcess and the names of its steps."""
    text = (ROOT / CHAPTER / "warm-up.Dockerfile").read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    (folder / "Dockerfile").write_text(text)
    done = docker("buildx", "build", "--progress", "plain", folder, check=False)
    return done, [step.name for step in steps(done.stderr)]


def test_warm_up_a_stage_that_nothing_needs_is_skipped(tmp_path):
    broken = ('grep "build stage"', 'grep "no such words"')
    done, names = warm_up(tmp_path, broken)
    assert done.returncode == 0 and not [name for name in names if name.startswith("[test")]
    done, names = warm_up(tmp_path, ("COPY --from=build", "COPY --from=test"))
    assert done.returncode == 0 and [name for name in names if name.startswith("[test")]
    done, _ = warm_up(tmp_path, ("COPY --from=build", "COPY --from=test"), broken)
    assert done.returncode != 0 and "[test 1/1]" in done.stderr


# --- the bars that take long ----------------------------------------------------------------------

@pytest.mark.full
def test_start_and_memory(start, image):
    """Container start to the first 200 on /actuator/health, and memory after 100 requests, side by side."""
    seconds, memory = {PLAIN: [], OPTIMIZED: []}, {PLAIN: [], OPTIMIZED: []}
    for _ in range(10):
        for tag in seconds:
            begun = time.perf_counter()
            service = Service(start(image(tag), ports=[80], healthcheck={"test": ["NONE"]}))

            def healthy():
                try:
                    return service.get("/actuator/health").status_code == 200
                except requests.ConnectionError:
                    return False

            until(healthy, seconds=60, pause=0.01)
            seconds[tag].append(time.perf_counter() - begun)
            for _ in range(100):
                service.get("/image")
            listed = docker("top", service.container.get_wrapped_container().id, "-eo", "pid,rss").stdout
            memory[tag].append(int(listed.split()[-1]) / 1024)
            service.container.stop()
    medians = {name: {tag: round(statistics.median(figures[tag]), 2) for tag in figures}
               for name, figures in (("seconds", seconds), ("MiB", memory))}
    print(medians)
    assert medians["seconds"][OPTIMIZED] <= 0.4 * medians["seconds"][PLAIN], medians
    assert medians["MiB"][OPTIMIZED] <= medians["MiB"][PLAIN], medians


@pytest.mark.full
def test_rebuild_after_a_changed_line():
    """Dockerfile against single-stage.Dockerfile, which downloads everything again."""
    seconds = race(CHAPTER, one_line, {name: ["-f", name] for name in ("single-stage.Dockerfile", "Dockerfile")})
    print(seconds)
    assert seconds["single-stage.Dockerfile"] >= 5 * seconds["Dockerfile"], seconds
