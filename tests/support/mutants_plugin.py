"""Which tests judge a mutant: none that compares times, and if the image is the same, only those that build."""
import inspect
import os
import re

# These compare durations: on a busy machine they fail without a mutant, too.
TIMED = re.compile(r"slower|faster|times_|memory|under_a_second|at_once")


def pytest_collection_modifyitems(config, items):
    builds = os.environ.get("MUTANT") == "same image"
    out = [i for i in items if TIMED.search(i.name) or "full" in i.keywords
           or builds and not re.search(r"\b(re)?build", inspect.getsource(getattr(i, "function", i.__class__)))]
    config.hook.pytest_deselected(items=out)
    items[:] = [i for i in items if i not in out]
