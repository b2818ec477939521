"""Makes the console blocks of the README files tests, and shares the tests out. pytest wants this at the root, above all READMEs."""
import fcntl

import pytest

pytest_plugins = ["tests.support.readmes"]


def pytest_xdist_auto_num_workers(config):
    """./verify.sh runs two files side by side: most tests wait most of their time. Benchmarks run alone."""
    return 0 if config.getoption("full", False) or config.getoption("mutants", False) else 2


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Let a test that is marked "alone" run while the other worker waits."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    folder, alone = item.config.cache.mkdir("turns"), item.get_closest_marker("alone")
    with (folder / "gate").open("w") as gate, (folder / "turn").open("w") as turn:
        # Whoever waits for its turn keeps the gate, so that nobody overtakes it.
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(turn, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(gate, fcntl.LOCK_UN)
        return (yield)
