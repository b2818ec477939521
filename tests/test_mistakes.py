"""The gallery of mistakes: each still fails as its comment says, and its cure does not."""
import pytest

from tests.support import mistakes

SIDES = [pytest.param(name, cured, id=f"{name}-{'cured' if cured else 'wrong'}")
         for name in mistakes.names() for cured in (False, True)]


@pytest.mark.parametrize("name, cured", SIDES)
def test_says(name, cured, tmp_path):
    """The mistake shows the text that its comment quotes; the cured version shows its own."""
    with mistakes.Trial(name, tmp_path, cured) as trial:
        expected = [line for line in trial.story["Says"].splitlines()]
        # A server may need longer than the "sleep" that a learner types: try again.
        for _ in range(1):
            said = trial.says()
            if all(line in said for line in expected):
                break
        missing = [line for line in expected if line not in said]
    assert not missing, f"{name}: expected to see {missing} in:\n{said}"
    if cured:
        wrong = mistakes.story(name)["Says"]
        assert wrong in trial.story["Says"] or wrong not in said, f"{name}: the cure still says {wrong}"
