"""Talking to the Docker engine through its command line."""
import functools
import io
import json
import os
import subprocess
import tarfile

from testcontainers.core.config import testcontainers_config
from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID

# Every container and network of a run carries the process id of that run, so that a later run can
# tell what a killed one left behind from what a run beside it is using.
RUN_LABEL = "learn.multistage.test-run"
RUN_LABELS = {RUN_LABEL: str(os.getpid())}


def docker(*args, check=True, timeout=600, **kwargs):
    """Run docker with args; return the CompletedProcess with stdout and stderr as text.

    Raises AssertionError with the command and all it printed when check is true and it fails.
    """
    done = subprocess.run(["docker", *map(str, args)], capture_output=True, text=True, timeout=timeout,
                          stdin=kwargs.pop("stdin", subprocess.DEVNULL), **kwargs)
    assert not check or done.returncode == 0, (
        f"docker {' '.join(map(str, args))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def why_no_engine():
    """Return None if an engine answers, else one sentence that says what is wrong and what to do."""
    try:
        done = docker("version", "--format", "{{.Server.Version}}", check=False, timeout=20)
    except FileNotFoundError:
        return "There is no docker command on this machine. Run ./build-all.sh first: it says what to install."
    except subprocess.TimeoutExpired:
        return "The Docker engine did not answer within 20 seconds. Restart Docker and try again."
    if done.returncode == 0:
        return None
    if "permission denied" in done.stderr.lower():
        return "You may not talk to the Docker engine. Run ./build-all.sh: it says how to get the permission."
    return "No Docker engine answers. Start Docker (./build-all.sh says how), then try again."


@functools.lru_cache(maxsize=None)
def inspect(image_id):
    """Return `docker image inspect` of an image as a dict."""
    return json.loads(docker("image", "inspect", image_id).stdout)[0]


@functools.lru_cache(maxsize=None)
def files(image_id):
    """Return the paths in an image's file system as {path: tarfile.TarInfo}; paths start with "/"."""
    container = docker("create", "--label", f"{RUN_LABEL}={os.getpid()}", image_id, "none").stdout.strip()
    try:
        tar = subprocess.run(["docker", "export", container], capture_output=True, check=True).stdout
    finally:
        docker("rm", container)
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {"/" + member.name.rstrip("/"): member for member in archive}


def set_up_ryuk():
    """Turn testcontainers' clean-up container off where its image is neither here nor can be pulled.

    testcontainers fails at the first start otherwise. sweep() cleans up in its place.
    """
    image = testcontainers_config.ryuk_image
    if docker("image", "inspect", image, check=False).returncode:
        try:
            pulled = docker("pull", "-q", image, check=False, timeout=30).returncode == 0
        except subprocess.TimeoutExpired:
            pulled = False
        testcontainers_config.ryuk_disabled = not pulled


def sweep():
    """Remove what this run started, and what runs whose process is gone left behind."""
    for kind, remove in (("container", ("rm", "-f", "-v")), ("network", ("network", "rm"))):
        mine = docker(kind, "ls", "-q", *(["-a"] if kind == "container" else []),
                      "--filter", f"label={LABEL_SESSION_ID}={SESSION_ID}").stdout.split()
        listed = docker(kind, "ls", *(["-a"] if kind == "container" else []), "--filter", f"label={RUN_LABEL}",
                        "--format", f'{{{{.ID}}}} {{{{.Label "{RUN_LABEL}"}}}}').stdout.splitlines()
        for line in listed:
            ident, pid = line.split()
            if pid == str(os.getpid()) or not alive(int(pid)):
                mine.append(ident)
        for ident in dict.fromkeys(mine):
            docker(*remove, ident, check=False)


def alive(pid):
    """Tell whether a process of that id runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
