"""Fixtures that all tests share, and the options of ./verify.sh."""
import socket

import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.exceptions import ContainerStartException
from testcontainers.core.network import Network

from tests.support import engine, images


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true",
                     help="also run the long tests: benchmarks and many repetitions")
    parser.addoption("--mutants", action="store_true",
                     help="only try all mutants of all Dockerfiles: up to 20 minutes")


def pytest_configure(config):
    if config.option.collectonly or config.option.help:
        return
    if reason := engine.why_no_engine():
        pytest.exit(reason, returncode=3)
    engine.set_up_ryuk()
    engine.sweep()


def pytest_unconfigure(config):
    if hasattr(config, "option") and not config.option.collectonly and not engine.why_no_engine():
        engine.sweep()


def pytest_collection_modifyitems(config, items):
    if config.option.mutants:
        items[:] = [item for item in items if item.path.name == "test_mutants.py"]
    skip_long = pytest.mark.skip(reason="long: runs with --full")
    skip_internet = pytest.mark.skip(reason="needs the internet, and there is none here")
    online = None
    for item in items:
        if item.get_closest_marker("full") and not config.option.full:
            item.add_marker(skip_long)
        if item.get_closest_marker("internet"):
            online = internet() if online is None else online
            if not online:
                item.add_marker(skip_internet)


def pytest_terminal_summary(terminalreporter):
    skipped = [r for r in terminalreporter.getreports("skipped") if "needs the internet" in str(r.longrepr)]
    terminalreporter.write_line(f"skipped for want of the internet: {len(skipped)}")


def internet():
    """Tell whether the site that web-ping asks by default can be found from here."""
    try:
        socket.getaddrinfo("blog.sixeyed.com", 443)
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def image():
    """image("ch03-web-ping:optimized") builds that image, once for all tests, and returns its id."""
    return images.build


@pytest.fixture(scope="session")
def inspect():
    """inspect(image_id) returns `docker image inspect` as a dict."""
    return engine.inspect


@pytest.fixture(scope="session")
def files():
    """files(image_id) returns {path: tarfile.TarInfo} of all that is in an image."""
    return engine.files


@pytest.fixture(scope="session")
def rebuild():
    """rebuild(folder, dockerfile, target, edit) builds, edits, builds again; returns the second's steps."""
    return images.rebuild


def starter(request):
    """Return a function that starts containers, which are removed when the fixture's scope ends."""

    def start(image_id, *args, env=None, network=None, alias=None, hardened=False, wait=None, ports=(), volumes=None,
              tmpfs=None, **kwargs):
        """Start a container of image_id with the command args, and return its DockerContainer.

        hardened: read-only root, no capabilities, no new privileges. wait: a testcontainers wait
        strategy. ports: container ports to publish on a free port (get_exposed_port tells which).
        volumes: {path here or volume name: (path there, "ro" or "rw")}. tmpfs: {path there: options such
        as "size=8m", or None}, folders in memory.
        Other keywords go to docker-py's containers.run.
        """
        container = DockerContainer(image_id)
        if args:
            container.with_command(list(args))
        for key, value in (env or {}).items():
            container.with_env(key, str(value))
        if network:
            container.with_network(network)
            if alias:
                container.with_network_aliases(alias)
        if ports:
            container.with_exposed_ports(*ports)
        for source, (path, mode) in (volumes or {}).items():
            container.with_volume_mapping(source, path, mode)
        for path, size in (tmpfs or {}).items():
            container.with_tmpfs_mount(path, size)
        if hardened:
            kwargs = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"], **kwargs}
        kwargs["labels"] = {**engine.RUN_LABELS, **kwargs.get("labels", {})}
        container.with_kwargs(**kwargs)
        if wait:
            container.waiting_for(wait.with_poll_interval(0.1))
        request.addfinalizer(lambda: remove(container))
        return container.start()

    return start


def remove(container):
    """Remove a container and its anonymous volumes, also one that did not start or is gone already."""
    try:
        ident = container.get_container_id()
    except ContainerStartException:
        return
    engine.docker("rm", "-f", "-v", ident, check=False)


@pytest.fixture
def start(request):
    """start(image_id, ...) starts a container for one test; see starter()."""
    return starter(request)


@pytest.fixture(scope="module")
def start_shared(request):
    """start_shared(image_id, ...) starts a container that a module's tests share; see starter()."""
    return starter(request)


def new_network(**kwargs):
    with Network(docker_network_kw={"labels": engine.RUN_LABELS, **kwargs}) as created:
        yield created


@pytest.fixture(scope="module")
def network():
    """A bridge network of the module's own; its containers may publish ports."""
    yield from new_network()


@pytest.fixture(scope="module")
def sealed_network():
    """A bridge network of the module's own without a way out: no internet, no published ports."""
    yield from new_network(internal=True)
