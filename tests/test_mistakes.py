"""The gallery of mistakes: each still fails as its comment says, and its cure does not."""
import concurrent.futures

import pytest

from tests.support import mistakes

SIDES = [(name, cured) for name in mistakes.names() for cured in (False, True)]


def try_out(name, cured, folder):
    """Do what one side's comment says; return the lines that it promises, and what was printed."""
    with mistakes.Trial(name, folder, cured) as trial:
        expected = trial.story["Says"].splitlines()
        # On a busy machine a server may need longer than the "sleep" that a learner types.
        for _ in range(3):
            said = trial.says()
            if all(line in said for line in expected):
                break
    assert not trial.images(), "left behind"
    return expected, said


@pytest.fixture(scope="module")
def trials(request, tmp_path_factory):
    """All chosen trials as {(name, cured): future}, a few at a time: most of their time they wait."""
    chosen = [tuple(item.callspec.params.values()) for item in request.session.items if item.path == request.path]
    pool = concurrent.futures.ThreadPoolExecutor(4)
    yield {(name, cured): pool.submit(try_out, name, cured, tmp_path_factory.mktemp(name)) for name, cured in chosen}
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name, cured", SIDES, ids=[f"{name}-{'cured' if cured else 'wrong'}" for name, cured in SIDES])
def test_says(name, cured, trials):
    """The mistake shows the text that its comment quotes; the cured version shows its own."""
    expected, said = trials[name, cured].result()
    missing = [line for line in expected if line not in said]
    assert not missing, f"{name}: expected to see {missing} in:\n{said}"
    if cured:
        wrong = mistakes.story(name)["Says"]
        assert wrong in "\n".join(expected) or wrong not in said, f"{name}: the cure still says {wrong}"
