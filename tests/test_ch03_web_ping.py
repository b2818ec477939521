"""Chapter 3: both web-ping images, against targets in containers on a network without a way out."""
import re
import statistics
import time
import uuid

import pytest
import trustme
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from tests.support.engine import docker
from tests.support.images import other_files, ran, until

PLAIN, OPTIMIZED = "ch03-web-ping", "ch03-web-ping:optimized"

# A web site that can do all that web sites do to web-ping. It prints how many requests it ever had at once.
TARGET = r"""
const fs = require('fs'), http = require('http'), https = require('https'), net = require('net');
let open = 0, most = 0;
function answer(request, response) {
  open += 1; most = Math.max(most, open); console.log(`${request.method} ${request.url} most at once ${most}`);
  response.on('close', () => { open -= 1; });
  const [, what, code] = request.url.split('/');
  if (what === 'status') response.writeHead(Number(code)).end();
  else if (what === 'move') response.writeHead(302, { Location: 'http://elsewhere/' }).end();
  else if (what === 'slow') setTimeout(() => response.end(), Number(code));
  else if (what === 'never') return;
  else response.end('hello');
}
http.createServer(answer).listen(80);
https.createServer({ key: fs.readFileSync('/key.pem'), cert: fs.readFileSync('/cert.pem') }, answer).listen(443);
net.createServer((s) => s.once('data', () => s.resetAndDestroy())).listen(81);
console.log('ready');
process.on('SIGTERM', () => process.exit());
"""


@pytest.fixture(scope="module")
def authority():
    """A certificate authority that exists for these tests only."""
    return trustme.CA()


@pytest.fixture(scope="module")
def target(start_shared, sealed_network, authority, tmp_path_factory):
    """The web site "target" on the sealed network: http on 80 and 443 (https), resets on 81."""
    folder = tmp_path_factory.mktemp("target")
    certificate = authority.issue_cert("target")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    container = start_shared(
        "node:24-slim", "node", "-e", TARGET, network=sealed_network, alias="target",
        wait=LogMessageWaitStrategy("ready"),
        volumes={folder / name: (f"/{name}", "ro") for name in ("key.pem", "cert.pem")})
    container.ca_file = folder / "ca.pem"
    return container


@pytest.fixture(params=[PLAIN, OPTIMIZED])
def web_ping(request, image):
    """The id of each image in turn."""
    return image(request.param)


@pytest.fixture
def ping(web_ping, start, sealed_network, target):
    """ping(TARGET=..., ...) runs web-ping to its end; returns (exit status, output lines)."""

    def run(count=1, volumes=None, **env):
        container = start(web_ping, env={"COUNT": count, "INTERVAL": 10, **env}, network=sealed_network,
                          volumes=volumes)
        status = container.wait()
        return status, b"".join(container.get_logs()).decode().splitlines()

    return run


def lines(container):
    return container.get_logs()[0].decode().splitlines()


def milliseconds(text):
    return re.sub(r", \d+ ms$", ", N ms", text)


# --- what the image says of itself ------------------------------------------------------------------

def test_settings_have_the_chapter_s_defaults(web_ping, inspect):
    env = dict(pair.split("=", 1) for pair in inspect(web_ping)["Config"]["Env"])
    assert {name: env.get(name) for name in ("TARGET", "METHOD", "INTERVAL")} == {
        "TARGET": "blog.sixeyed.com", "METHOD": "HEAD", "INTERVAL": "3000"}, "an ENV default is gone or changed"


def test_command_is_node_itself_not_a_shell(web_ping, inspect):
    assert inspect(web_ping)["Config"]["Cmd"] == ["node", "/web-ping/app.js"], (
        "CMD must be in exec form: through a shell, docker stop's signal does not reach node")


def test_optimized_says_where_its_programs_are(image, inspect):
    assert "PATH=/usr/local/bin" in inspect(image(OPTIMIZED))["Config"]["Env"], (
        "an empty file system comes without PATH; Docker then makes one up, and other engines need not")


def test_user_is_not_root(web_ping, inspect):
    assert inspect(web_ping)["Config"]["User"] in ("node", "1000:1000"), "web-ping would run as root"


def test_working_directory_holds_the_program(web_ping, inspect, files):
    assert inspect(web_ping)["Config"]["WorkingDir"] == "/web-ping"
    assert {p for p in files(web_ping) if p.startswith("/web-ping/")} == {"/web-ping/app.js"}


def test_labels_tell_where_it_came_from(web_ping, inspect):
    labels = inspect(web_ping)["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"].startswith("ch03-web-ping")
    assert labels["org.opencontainers.image.source"] == "ch03-web-ping"


def test_optimized_holds_node_its_libraries_and_the_program_only(image, files):
    present = {path for path, member in files(image(OPTIMIZED)).items() if not member.isdir()}
    # Docker itself puts an empty file or a link here into every container it makes.
    present -= {"/.dockerenv", "/dev/console", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf"}
    strangers = {p for p in present if not re.search(r"\.so(\.\d+)*$|^/usr/local/bin/node$", p)}
    assert strangers == {"/etc/nsswitch.conf", "/web-ping/app.js"}


def test_plain_has_what_optimized_left_out(image, files):
    # Were this not so, the test above would prove nothing.
    assert {"/usr/local/bin/npm", "/usr/bin/apt-get", "/usr/bin/bash"} <= files(image(PLAIN)).keys()


def test_optimized_is_at_most_55_percent(image, inspect):
    ratio = inspect(image(OPTIMIZED))["Size"] / inspect(image(PLAIN))["Size"]
    assert ratio <= 0.55, f"{ratio:.1%}"


def test_node_is_stripped(image, files):
    node = "/usr/local/bin/node"
    assert files(image(OPTIMIZED))[node].size < files(image(PLAIN))[node].size


# --- what it does -----------------------------------------------------------------------------------

def test_a_run_from_first_line_to_last(ping):
    status, output = ping(count=3, TARGET="http://target/status/200", METHOD="GET")
    assert [milliseconds(line) for line in output[:-1]] == [
        "web-ping GET http://target/status/200 every 10 ms",
        "request 1: 200 OK, N ms", "request 2: 200 OK, N ms", "request 3: 200 OK, N ms",
        "--- target web-ping statistics ---", "3 sent, 3 answered, 0 failed"]
    assert re.fullmatch(r"min/avg/max = \d+/\d+\.\d/\d+ ms", output[-1])
    assert status == 0


@pytest.mark.parametrize("target_url, method, expected", [
    ("http://target/status/404", "HEAD", "404 Not Found"),
    ("http://target/status/503", "GET", "503 Service Unavailable"),
    ("http://target/move", "GET", "302 Found -> http://elsewhere/, not followed"),
])
def test_every_answer_is_an_answer(ping, target_url, method, expected):
    status, output = ping(TARGET=target_url, METHOD=method)
    assert milliseconds(output[1]) == f"request 1: {expected}, N ms"
    assert status == 0


@pytest.mark.parametrize("target_url, expected", [
    ("http://target/never", r"no answer within 150 ms"),
    ("http://target:81/", r"connection closed before the answer \(ECONNRESET\)"),
    ("http://target:82/", r"connection refused \(ECONNREFUSED\)"),
    ("http://nowhere.invalid/", r"(no such host \(ENOTFOUND\)|the name server does not answer \(EAI_AGAIN\))"),
    ("https://target/", r"certificate not accepted \([A-Z_]+\)"),
])
def test_failures_are_lines_and_do_not_stop_it(ping, target_url, expected):
    timeout = 150 if "never" in target_url else 9000
    status, output = ping(count=2, TARGET=target_url, TIMEOUT=timeout)
    assert all(re.fullmatch(rf"request \d: failed, {expected}, \d+ ms", line) for line in output[1:3]), output
    assert output[-1] == "2 sent, 0 answered, 2 failed"
    assert status == 1, "nobody ever answered, so the exit status says so"


def test_https_with_an_authority_that_it_is_told_to_trust(ping, target):
    status, output = ping(TARGET="target", NODE_EXTRA_CA_CERTS="/ca.pem",
                          volumes={target.ca_file: ("/ca.pem", "ro")})
    assert milliseconds(output[1]) == "request 1: 200 OK, N ms"
    assert output[0] == "web-ping HEAD https://target/ every 10 ms", "a bare host name means https, HEAD the default"
    assert status == 0


def test_a_slow_target_is_never_asked_twice_at_once(ping, target):
    ping(count=4, TARGET="http://target/slow/120", INTERVAL=1)
    asked = [line for line in lines(target) if "/slow/120" in line]
    assert asked and all(line.endswith("most at once 1") for line in asked), asked


@pytest.mark.parametrize("name, value", [
    ("TARGET", "ftp://target"), ("METHOD", "SING"), ("INTERVAL", "soon"), ("COUNT", "-1"), ("TIMEOUT", "0")])
def test_a_bad_setting_is_named(ping, name, value):
    status, output = ping(**{"TARGET": "http://target/", name: value} | ({"count": value} if name == "COUNT" else {}))
    assert status == 2
    assert len(output) == 1 and output[0].startswith(f"web-ping: {name} must be"), output


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
def test_stops_at_once_with_statistics(web_ping, start, sealed_network, target, signal):
    container = start(web_ping, env={"TARGET": "http://target/never"}, network=sealed_network,
                      wait=LogMessageWaitStrategy("web-ping HEAD"))
    until(lambda: "HEAD /never" in target.get_logs()[0].decode())
    begun = time.monotonic()
    docker("kill", "--signal", signal, container.get_container_id())
    assert container.wait() == 0
    assert time.monotonic() - begun < 1
    assert lines(container)[1:] == [f"{signal}: stopping", "--- target web-ping statistics ---",
                                    "1 sent, 0 answered, 0 failed, 1 under way"]


@pytest.mark.alone
def test_docker_stop_takes_under_a_second(web_ping, start, sealed_network, target):
    container = start(web_ping, env={"TARGET": "http://target/"}, network=sealed_network,
                      wait=LogMessageWaitStrategy("request 1"))
    begun = time.monotonic()
    docker("container", "stop", container.get_container_id())
    seconds = time.monotonic() - begun
    assert container.wait() == 0
    assert seconds < 1, f"{seconds:.1f} s: the signal did not reach node"
    assert lines(container)[-2] == "1 sent, 1 answered, 0 failed"


def test_runs_with_nothing_but_a_network(web_ping, start, sealed_network, target):
    container = start(web_ping, env={"TARGET": "http://target/", "COUNT": 1}, network=sealed_network, hardened=True)
    assert container.wait() == 0
    assert lines(container)[1].startswith("request 1: 200 OK")


def test_memory_stays_flat(image, start, sealed_network, target):
    # Node fits its garbage collection to the limit. 10 KB lost at each request would end this run early.
    container = start(image(OPTIMIZED), env={"TARGET": "http://target/", "INTERVAL": 1, "COUNT": 5000},
                      network=sealed_network, mem_limit="64m", memswap_limit="64m")
    assert container.wait() == 0, "killed for want of memory" if oom_killed(container) else lines(container)[-3:]
    assert lines(container)[-2] == "5000 sent, 5000 answered, 0 failed"


def oom_killed(container):
    return docker("inspect", "-f", "{{.State.OOMKilled}}", container.get_container_id()).stdout.strip() == "true"


@pytest.mark.alone
def test_optimized_starts_no_slower(image, start, sealed_network):
    def first_line_ms(image_id):
        container = start(image_id, network=sealed_network, wait=LogMessageWaitStrategy("web-ping HEAD"))
        ident = container.get_container_id()
        started = docker("inspect", "-f", "{{.State.StartedAt}}", ident).stdout
        printed = docker("logs", "-t", ident).stdout
        container.stop()
        return seconds_of(printed) - seconds_of(started)

    rounds = [(first_line_ms(image(PLAIN)), first_line_ms(image(OPTIMIZED))) for _ in range(7)]
    plain, optimized = (statistics.median(times) for times in zip(*rounds))
    # A tenth more is what repeated runs of one and the same image differ by.
    assert optimized <= plain * 1.1, f"{optimized * 1000:.0f} ms against {plain * 1000:.0f} ms"


def seconds_of(stamp):
    """Seconds within the hour of an RFC 3339 time stamp with nanoseconds."""
    _, minutes, seconds = re.match(r"\S+T(\d+):(\d+):([\d.]+)", stamp).groups()
    return int(minutes) * 60 + float(seconds)


# --- how it is built --------------------------------------------------------------------------------

def change_one_line(folder):
    # Another change each time, or the second run would find the first one's result in the cache.
    app = folder / "app.js"
    app.write_text(app.read_text().replace("'no network'", f"'no network {uuid.uuid4()}'"))


def test_a_failing_unit_test_means_no_image(rebuild):
    def break_it(folder):
        app = folder / "app.js"
        app.write_text(app.read_text().replace("Math.min(this.#least, ms)", "0"))

    with pytest.raises(AssertionError, match="statistics count every outcome"):
        rebuild("ch03-web-ping", "optimized.Dockerfile", edit=break_it)


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "optimized.Dockerfile"])
def test_a_changed_source_line_reruns_only_what_comes_after_it(rebuild, dockerfile):
    assert ran(rebuild("ch03-web-ping", dockerfile, edit=change_one_line)) == {"Dockerfile": ["COPY app.js ."],
                   "optimized.Dockerfile": ["COPY . .", 'RUN ["node", "--test"]', "COPY --from=test /web-ping/app.js ."],
                   }[dockerfile], "a step before the source's COPY was run again"


def test_other_files_do_not_rerun_anything(rebuild):
    done = rebuild("ch03-web-ping", "optimized.Dockerfile", edit=other_files)
    assert not ran(done), "without .dockerignore, files that are no part of the program get into the build"
