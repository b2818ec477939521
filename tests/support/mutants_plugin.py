"""Which tests judge a mutant: none that compares times, and if the image is the same, only those that build."""
import inspect
import os
import re

# These compare durations: on a busy machine they fail without a mutant, too.
TIMED = re.compile(r"slower|faster|times_|memory|under_a_second|at_once")


def pytest_collection_modifyitems(config, items):
    builds = os.environ.get("MUTANT") == "same image"
    slow = [i for i in items if builds_something(i)]
    out = [i for i in items if TIMED.search(i.name) or "full" in i.keywords or builds and i not in slow]
    config.hook.pytest_deselected(items=out)
    # What only looks at an image first, then what starts containers, last what builds once more.
    items[:] = sorted((i for i in items if i not in out), key=lambda i: (i in slow, bool({"start", "start_shared"} & set(getattr(i, "fixturenames", ())))))


def builds_something(item):
    """Tell whether a test builds an image once more. README blocks are told by their commands' own results."""
    return bool(re.search(r"\brebuild\(|\bbuildx?\b", inspect.getsource(item.function))) if hasattr(item, "function") else True
