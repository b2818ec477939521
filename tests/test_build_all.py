"""build-all.sh, verify.sh and .ci/run: what a learner types, and what it answers when something is wrong."""
import itertools
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
import uuid

import pytest

from tests.support import ROOT
from tests.support.engine import docker
from tests.support.images import plan

SCRIPTS = ["build-all.sh", "verify.sh", ".ci/run"]


def run(*args, cwd=ROOT, script=ROOT / "build-all.sh", env=None, **kwargs):
    """Run a script; return the CompletedProcess, its two streams as one text."""
    return subprocess.run([str(script), *map(str, args)], cwd=cwd, env={**os.environ, **(env or {})}, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900,
                          **kwargs)


@pytest.fixture
def copy(tmp_path):
    """A copy of what build-all.sh reads, for tests that change it."""
    folder = tmp_path / "a copy"
    names = subprocess.run(["git", "ls-files", "-z", "build-all.sh", "docker-bake.hcl", "base-images", "ch0*"],
                           cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture
def pretend(tmp_path):
    """pretend(shell) puts a docker command first on PATH that runs shell, then the real one; returns the env.

    What the shell text does not answer with an exit goes to Docker.
    """
    def make(shell):
        folder = tmp_path / "bin"
        folder.mkdir()
        fake = folder / "docker"
        fake.write_text(f"#!/bin/sh\necho \"$*\" >> {tmp_path}/calls\n{shell}\nexec {shutil.which('docker')} \"$@\"\n")
        fake.chmod(0o755)
        return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    make.calls = lambda: (tmp_path / "calls").read_text().splitlines()
    return make


# --- wrong use --------------------------------------------------------------------------------------

def test_help_names_every_option():
    done = run("--help")
    assert done.returncode == 0
    text = (ROOT / "build-all.sh").read_text()
    options = set(re.findall(r"^    (--[a-z-]+)", text, re.M)) | {"--save-bases", "--load-bases"}
    assert len(options) >= 6
    assert all(option in done.stdout for option in options)


@pytest.mark.parametrize("args, expected", [
    (["--ofline"], "error: There is no option --ofline."),
    (["ch99"], "error: There is no chapter ch99. There are: ch03"),
    (["ch03", "."], "error: There is no chapter ."),
    (["--save-bases"], "error: --save-bases needs a file name."),
])
def test_wrong_arguments_are_named(args, expected):
    done = run(*args)
    assert done.returncode == 2
    assert done.stdout.startswith(expected)
    assert done.stdout.endswith("Try ./build-all.sh --help\n")


# --- no engine --------------------------------------------------------------------------------------

def one_sentence(done, *words):
    """Assert that a script ended with exit status 1 and one error line that has all the words."""
    assert done.returncode == 1, done.stdout
    lines = done.stdout.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stdout
    assert all(word in lines[0] for word in words), lines[0]


def test_no_docker_command(tmp_path):
    for tool in ("bash", "dirname", "sed", "grep", "mktemp", "rm", "cat", "id", "tr"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    one_sentence(run(env={"PATH": str(tmp_path)}), "no docker command", "Install Docker")


def test_stopped_engine(tmp_path):
    one_sentence(run(env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}), "No Docker engine answers at unix://", "Start Docker")


def test_no_permission_on_the_socket(pretend):
    env = pretend('[ "$1" = version ] && { echo "permission denied while trying to connect to the Docker daemon" >&2; exit 1; }')
    one_sentence(run(env=env), "may not talk to the Docker engine", "usermod -aG docker")


@pytest.mark.skipif(os.getuid() != 0 or "DOCKER_HOST" not in os.environ and not os.path.exists("/var/run/docker.sock"),
                    reason="only root can become somebody without permission")
def test_no_permission_for_real(tmp_path):
    shutil.copy2(ROOT / "build-all.sh", tmp_path)
    # pytest's own folders, up to the first that is open to all, such as /tmp.
    for folder in itertools.takewhile(lambda f: not f.stat().st_mode & stat.S_IXOTH, (tmp_path, *tmp_path.parents)):
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    done = run(script=tmp_path / "build-all.sh", cwd="/", user=65534, group=65534, extra_groups=[], env={"HOME": "/", "TMPDIR": "/tmp"})
    one_sentence(done, "docker")


def test_old_engine(pretend):
    one_sentence(run(env=pretend('[ "$1" = version ] && { echo 20.10.24; exit; }')), "20.10.24", "23 or newer")


def test_no_buildx(pretend):
    one_sentence(run(env=pretend('[ "$1" = buildx ] && exit 1')), "buildx", "Install the package")


def test_install_engine_does_nothing_where_one_answers(copy, pretend):
    done = run("--install-engine", "--clean", script=copy / "build-all.sh",
               env={**pretend('[ "$1 $2" = "image rm" ] && exit 1'), "REGISTRY": f"none/{uuid.uuid4()}"})
    assert done.stdout.startswith("A Docker engine answers already: nothing to install.")


# --- base images ------------------------------------------------------------------------------------

NO_BASES = """case "$*" in
  "image inspect --format {{.Id}} node:24-slim") exit 1 ;;
  *--print*) ;;
  *"buildx bake"*base-*) echo '#1 [base-node 1/1] RUN made' ; exit 0 ;;
  *"buildx bake"*) exit 0 ;;
"""


def test_pull_limit_leads_to_stand_ins_and_is_told(copy, pretend):
    env = pretend(NO_BASES + '  pull*) echo "toomanyrequests: You have reached your pull rate limit" >&2; exit 1 ;;\nesac')
    (copy / "base-images/bootstrap.py").write_text("import os, sys; os.mkdir(sys.argv[1])")
    done = run("ch03", script=copy / "build-all.sh", env=env)
    assert "pulling node:24-slim from Docker Hub" in done.stdout
    assert "Docker Hub's pull limit for your address is used up: building stand-ins for node:24-slim" in done.stdout
    assert any("buildx bake" in call and call.endswith(" base-node") for call in pretend.calls())


def test_no_docker_hub_leads_to_stand_ins(copy, pretend):
    env = pretend(NO_BASES + '  pull*) echo "dial tcp: lookup registry: no such host" >&2; exit 1 ;;\nesac')
    (copy / "base-images/bootstrap.py").write_text("import os, sys; os.mkdir(sys.argv[1])")
    done = run("ch03", script=copy / "build-all.sh", env=env)
    assert "Docker Hub can't be reached (dial tcp: lookup registry: no such host): building stand-ins" in done.stdout


def test_a_silent_docker_hub_is_waited_for_but_not_for_long(copy, pretend):
    env = pretend(NO_BASES + '  pull*) exec sleep 300 ;;\nesac')
    (copy / "base-images/bootstrap.py").write_text("import os, sys; os.mkdir(sys.argv[1])")
    begun = time.monotonic()
    done = run("ch03", script=copy / "build-all.sh", env=env)
    assert "Docker Hub did not answer within 10 seconds: building stand-ins" in done.stdout
    assert time.monotonic() - begun < 40


def test_a_hub_that_answers_is_used(copy, pretend):
    env = pretend(NO_BASES + '  pull*) echo "24-slim: Pulling from library/node"; exit 0 ;;\nesac')
    done = run("ch03", script=copy / "build-all.sh", env=env)
    assert "stand-in" not in done.stdout
    assert not any("base-node" in call and "--print" not in call for call in pretend.calls())


def test_offline_never_asks_the_hub(copy, pretend):
    env = pretend(NO_BASES + 'esac')
    (copy / "base-images/bootstrap.py").write_text("import os, sys; os.mkdir(sys.argv[1])")
    done = run("--offline", "ch03", script=copy / "build-all.sh", env=env)
    assert "--offline was given: building stand-ins for node:24-slim" in done.stdout
    assert not any(call.startswith("pull") for call in pretend.calls())


def test_bases_that_are_here_are_used_as_they_are(pretend):
    done = run("ch03", env=pretend('[ "$1" = pull ] && exit 1'))
    assert done.returncode == 0, done.stdout
    assert not any(call.startswith("pull") for call in pretend.calls())


def bootstrap(*args, **env):
    return run(*args, script=sys.executable, env=env)


@pytest.mark.parametrize("mirror, expected", [
    ("http://127.0.0.1:9/debian", "error: Cannot fetch http://127.0.0.1:9/debian/dists/trixie/InRelease: "),
    ("ftp://somewhere/debian", "error: ftp://somewhere/debian is no http or https address."),
])
def test_bootstrap_without_a_mirror_says_so(tmp_path, mirror, expected):
    done = bootstrap(ROOT / "base-images/bootstrap.py", tmp_path / "context", DEBIAN_MIRROR=mirror)
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 1, done.stdout
    assert done.stdout.startswith(expected)


def test_bootstrap_refuses_a_mirror_that_lies(tmp_path):
    # A local mirror whose InRelease nobody signed.
    (tmp_path / "dists/trixie").mkdir(parents=True)
    (tmp_path / "dists/trixie/InRelease").write_text("SHA256:\n")
    server = subprocess.Popen([sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", tmp_path],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        port = re.search(r"port (\d+)", server.stdout.readline())[1]
        done = bootstrap(ROOT / "base-images/bootstrap.py", tmp_path / "context",
                         DEBIAN_MIRROR=f"http://127.0.0.1:{port}")
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    assert done.returncode == 1
    assert "no valid Debian signature" in done.stdout or "must be an https address" in done.stdout


def test_load_refuses_other_files(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    one_sentence(run("--load-bases", "notes.txt", cwd=tmp_path), "notes.txt", "--save-bases")
    one_sentence(run("--load-bases", "none", cwd=tmp_path), "none is not a file")


def test_load_refuses_images_that_are_no_bases(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    name = f"foreign-{uuid.uuid4()}:1"
    docker("buildx", "build", "-q", "-t", name, tmp_path)
    try:
        docker("save", "-o", tmp_path / "images.tar", name)
    finally:
        docker("image", "rm", name)
    done = run("--load-bases", tmp_path / "images.tar")
    one_sentence(done, name, "no base image", "nothing was loaded")
    assert docker("image", "inspect", name, check=False).returncode


@pytest.mark.full
def test_bases_travel_in_a_file(tmp_path):
    assert run("--save-bases", tmp_path / "bases.tar").returncode == 0
    ids = {tag: docker("image", "inspect", "-f", "{{.Id}}", tag).stdout for f in plan("bases").values() for tag in f["tags"]}
    done = run("--load-bases", tmp_path / "bases.tar")
    assert done.returncode == 0
    assert done.stdout.count("was here already") == len(ids), "what is here stays"
    assert ids == {tag: docker("image", "inspect", "-f", "{{.Id}}", tag).stdout for tag in ids}


# --- building ---------------------------------------------------------------------------------------

def test_runs_from_another_folder_and_tells_sizes():
    done = run("ch03-web-ping/", cwd="/")
    assert done.returncode == 0, done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("ch03")]
    assert [row[0] for row in rows] == ["ch03-web-ping", "ch03-web-ping:optimized"]
    for name, size, unit, *_ in rows:
        real = int(docker("image", "inspect", "-f", "{{.Size}}", name).stdout) / 1e6
        assert (float(size), unit) == (pytest.approx(real, abs=0.1), "MB")


@pytest.mark.alone
def test_when_nothing_changed_it_takes_hardly_longer_than_bake():
    def seconds(*command):
        begun = time.monotonic()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        return time.monotonic() - begun

    run("ch03")
    bake = seconds("docker", "buildx", "bake", "-f", "docker-bake.hcl", "ch03")
    assert seconds("./build-all.sh", "ch03") < bake + 3


def test_a_broken_dockerfile_does_not_hide_the_others(copy):
    broken = copy / "ch03-web-ping/Dockerfile"
    broken.write_text(broken.read_text().replace("COPY app.js", "COPY apps.js"))
    done = run("ch03", script=copy / "build-all.sh", env={"REGISTRY": f"test-{uuid.uuid4()}"})
    try:
        assert done.returncode == 1
        rows = {line.split()[0].split("/")[1]: line for line in done.stdout.splitlines() if line.startswith("test-")}
        assert rows["ch03-web-ping"].endswith("failed")
        assert " MB " in rows["ch03-web-ping:optimized"]
        assert "apps.js" in done.stdout and "(ch03-web-ping/Dockerfile) could not be built." in done.stdout
        assert done.stdout.splitlines()[-1].startswith("error: 1 of 2 images could not be built: ")
    finally:
        for line in done.stdout.splitlines():
            if line.startswith("test-"):
                docker("image", "rm", line.split()[0], check=False)


@pytest.mark.parametrize("words, remedy", [
    ("write /x: no space left on device", "The disk is full"),
    ("CERTIFICATE_VERIFY_FAILED", "certificate authority"),
    ("Temporary failure in name resolution", "The network was not there"),
])
def test_a_failure_is_explained(pretend, words, remedy):
    env = pretend(f'case "$*" in *--print*) ;; *"buildx bake"*) echo "#5 ERROR: {words}"; exit 1 ;; esac')
    done = run("ch03", env=env)
    assert done.returncode == 1
    assert remedy in done.stdout


def test_a_rebuild_removes_the_image_it_replaces(copy):
    """The first one got no other name; the second one did, and stays under that."""
    registry = f"test-{uuid.uuid4()}"
    script, name = copy / "build-all.sh", f"{registry}/ch03-web-ping"
    app, ids = copy / "ch03-web-ping/app.js", []
    try:
        for number in range(3):
            app.write_text(app.read_text() + f"// {registry}\n")
            run("ch03", script=script, env={"REGISTRY": registry})
            ids.append(docker("image", "inspect", "-f", "{{.Id}}", name).stdout.strip())
            if number == 1:
                docker("tag", name, f"{registry}/kept")
        assert len(set(ids)) == 3
        assert docker("image", "inspect", ids[0], check=False).returncode, "the old image stayed behind"
        assert docker("image", "inspect", "-f", "{{.Id}}", f"{registry}/kept").stdout.strip() == ids[1]
    finally:
        docker("image", "rm", name, f"{name}:optimized", f"{registry}/kept", check=False)


# --- cleaning ---------------------------------------------------------------------------------------

def test_clean_removes_what_is_ours_and_nothing_else(copy, tmp_path):
    """In a world of its own: a registry prefix, and base images under other names."""
    registry = f"test-{uuid.uuid4()}"
    bake = copy / "docker-bake.hcl"
    bases = [tag for fields in plan("bases").values() for tag in fields["tags"]]
    text = bake.read_text()
    for base in bases:
        text = text.replace(f'"{base}"', f'"{registry}/{base}"')
    bake.write_text(text)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")

    def make(name, **labels):
        options = [word for key, value in labels.items() for word in ("--label", f"learn.multistage.{key}={value}")]
        docker("buildx", "build", "-q", "-t", f"{registry}/{name}", *options, tmp_path)

    make("ch03-web-ping", image="ch03-web-ping")
    make("node:24-slim", **{"stand-in": f"{registry}/node:24-slim"})
    make("ch03-web-ping:optimized")                       # a stranger's image of the same name
    make("python:3.13-slim")                              # pulled from the Hub, say
    make("mine", image="ch03-web-ping")                   # a learner's image built FROM ours: labels are inherited
    try:
        done = run("--clean", script=copy / "build-all.sh", env={"REGISTRY": registry})
        assert done.returncode == 0, done.stdout
        left = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={registry}/*")
        assert sorted(name.split("/")[1] for name in left.stdout.split()) == [
            "ch03-web-ping:optimized", "mine:latest", "python:3.13-slim"]
        assert "2 images removed" in done.stdout
    finally:
        docker("image", "rm", "-f", *docker("image", "ls", "-q", "--filter", f"reference={registry}/*").stdout.split(), check=False)


# --- the scripts themselves -------------------------------------------------------------------------

@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script):
    done = subprocess.run([os.path.join(os.path.dirname(sys.executable), "shellcheck"), script],
                          cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_bash_newer_than_macos_has(script):
    text = (ROOT / script).read_text()
    # bash 4: mapfile, associative arrays, case conversion, |&, &>>, ${x@Q}, negative indices, wait -n.
    newer = r"\bmapfile\b|\breadarray\b|declare -A|local -A|\$\{\w+(\^\^?|,,?)[}/]|\|&|&>>|\$\{\w+@|\[-\d+\]|wait -n"
    assert not re.findall(newer, text)
    # GNU only: readlink -f, sed -i without a suffix, grep -P, date -d, xargs -r, stat -c, timeout.
    assert not re.findall(r"readlink -f|sed -i |grep -\w*P|date -d|xargs -r|stat -c|^\s*timeout ", text, re.M)


@pytest.mark.parametrize("dockerfile", sorted(
    str(p.relative_to(ROOT)) for p in ROOT.glob("*/**/*Dockerfile")
    if not {"mistakes", ".venv", "node_modules"} & set(p.relative_to(ROOT).parts)))
def test_hadolint_finds_nothing(dockerfile):
    hadolint = os.path.join(os.path.dirname(sys.executable), "hadolint")
    done = subprocess.run([hadolint, "--format", "json", dockerfile], cwd=ROOT, capture_output=True, text=True)
    said = [f"line {c['line']}: {c['message']} (hadolint {c['code']})"
            for c in json.loads(done.stdout or "[]") if c["level"] in ("error", "warning")]
    assert done.returncode == 0, "; ".join(said) + done.stderr


def test_verify_without_an_engine_is_one_line(tmp_path):
    done = run("-m", "pytest", "-q", script=sys.executable, env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert done.returncode == 3
    assert len(done.stdout.strip().splitlines()) == 1 and "No Docker engine answers" in done.stdout, done.stdout
