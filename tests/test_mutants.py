"""Mutation tests: each line of each Dockerfile is needed, and a test says so when it is gone.

All mutants run with ./verify.sh --mutants; here a few of them, and whether every mutant has a verdict.
"""
import os
import random

import pytest

from tests.support import ROOT, mutants
from tests.support.dockerfiles import parse

# Another sample: MUTANTS_SEED=2 ./verify.sh tests/test_mutants.py
SEED = int(os.environ.get("MUTANTS_SEED", "1"))
SAMPLE = 4


def final_stage_mutants():
    """Mutants that change an image's last stage and not what it starts from: the quick ones to build."""
    names = {f: {mutants.name(s) for s in mutants.finals(parse(ROOT / f)) if not hasattr(s.base, "name")} for f in mutants.dockerfiles()}
    stored = mutants.results()
    return [m for m in mutants.everything() if m.stage in names.get(m.file, ()) and stored.get(m.key, {}).get("outcome") == "caught"]


def test_every_mutant_has_a_verdict():
    """A Dockerfile was changed since its mutants were tried: run ./verify.sh --mutants."""
    stored = mutants.results()
    missing = [f"{m.file}:{m.line}  {m.rule}: {m.change}" for m in mutants.everything() if m.key not in stored]
    assert not missing, "not tried yet:\n" + "\n".join(missing)
    assert len(stored) >= 120


def test_no_survivors():
    survivors = [f"{k}  ({v['said']})" for k, v in mutants.results().items() if v["outcome"] == "survived"]
    assert not survivors, "no test minds:\n" + "\n".join(survivors)


def test_sample():
    """A few mutants, chosen by a seed, are still caught."""
    chosen = random.Random(SEED).sample(final_stage_mutants(), SAMPLE)
    lines = []
    verdicts = mutants.run(chosen, report=lines.append)
    assert all(v.outcome == "caught" for v in verdicts), f"seed {SEED}:\n" + "\n".join(lines)


def test_all(request, capsys):
    """All mutants are caught, or are equivalent for a reason that was reviewed."""
    if not request.config.option.mutants:
        pytest.skip("takes up to 20 minutes: runs with --mutants")
    with capsys.disabled():
        assert mutants.main([]) == 0


def test_reason_of_a_failed_build_is_the_last_thing_said():
    log = (" > [x 2/2] RUN make:\n0.512 compiling\n0.597 Error: no such class\n0.745\n0.745 \n------\n"
           'ERROR: failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 1\n')
    assert mutants.build_error(log) == "Error: no such class"


# --- the rules ------------------------------------------------------------------------------------------------

@pytest.fixture
def changes(tmp_path, monkeypatch):
    """changes(text) returns {(rule, line): [mutated text]} of a Dockerfile."""
    monkeypatch.setattr(mutants, "ROOT", tmp_path)

    def of(text):
        (tmp_path / "Dockerfile").write_text(text)
        found = {}
        for m in mutants.mutants("Dockerfile"):
            assert m.text != text, m
            found.setdefault((m.rule, m.line), []).append(m.text)
        return found
    return of


def test_rules(changes):
    found = changes("FROM debian:trixie-slim AS builder\n"
                    "COPY list .\n"
                    "RUN install --no-cache-dir list \\\n && rm -rf /cache\n"
                    "COPY . .\n"
                    "FROM scratch\n"
                    "ENV A=1 B=2\n"
                    "COPY --from=builder --chown=1:1 /x /\n"
                    "CMD [\"/x\", \"a b\"]\n")
    assert {k[0] for k in found} == {"delete", "drop option", "drop clean-up", "source first", "drop variable", "drop flag", "shell form", "base"}
    assert "\nCOPY . .\nRUN install" in found["source first", 5][0]
    assert "RUN install --no-cache-dir list\nCOPY . ." in found["drop clean-up", 3][0]
    assert found["base", 6][0].count("FROM debian:trixie-slim") == 2
    assert "\nCMD /x 'a b'\n" in found["shell form", 9][0]
    assert ["ENV B=2" in t for t in found["drop variable", 7]] == [True, False]
    assert len(found["drop flag", 8]) == 2


def test_a_heredoc_is_one_instruction_and_its_clean_up_a_line(changes):
    found = changes("FROM debian:trixie-slim\nRUN <<E\nset -eu\nmake\nrm -rf /tmp/* \\\n  /var/tmp/*\nE\nUSER nobody\n")
    assert found["delete", 2] == ["FROM debian:trixie-slim\nUSER nobody\n"]
    assert found["drop clean-up", 2] == ["FROM debian:trixie-slim\nRUN <<E\nset -eu\nmake\nE\nUSER nobody\n"]
