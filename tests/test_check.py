"""The checker: names each mistake of the gallery with its line, and stays silent about what is right."""
import json
import shutil

import pytest

from tests.support import ROOT, check, images, mistakes
from tests.support.dockerfiles import DockerfileError, parse

# What the checker has to say about each mistake: the rule, and how the line begins that it points to.
NAMED = {
    "add-of-an-address": ("unchecked-download", "ADD $SITE"),
    "apt-lists-left": ("left-over", "RUN apt-get update"),
    "apt-update-alone": ("apt-update-alone", "RUN apt-get update"),
    "apt-without-yes": ("apt-question", "RUN apt-get"),
    "arg-before-from": ("undefined-variable", "RUN echo"),
    "background-process": ("ends-at-once", "CMD"),
    "build-tools-in-the-image": ("build-tools", "FROM maven"),
    "cd-in-a-run": ("cd-alone", "RUN cd"),
    "copied-files-owned-by-root": ("not-writable", "COPY counter"),
    "copy-from-a-wrong-stage": ("copy-from", "COPY --from=0"),
    "entrypoint-swallows-cmd": ("cmd-ignored", "ENTRYPOINT"),
    "env-after-its-use": ("undefined-variable", "RUN echo"),
    "expose-is-not-publish": ("nothing-published", "expose:"),
    "health-check-needs-curl": ("health-check-broken", "HEALTHCHECK"),
    "ignored-by-dockerignore": ("ignored-file", "COPY notes.txt"),
    "ignores-sigterm": ("does-not-stop", "CMD"),
    "latest-tag": ("moving-tag", "FROM moving-base"),
    "libraries-left-behind": ("missing-libraries", "COPY --from=builder /cat"),
    "listens-on-localhost": ("localhost-only", "CMD"),
    "localhost-is-the-container": ("localhost-service", "SERVER_URL:"),
    "missing-libgl": ("missing-library", "RUN pip install --no-cache-dir --root-user-action=ignore --no-deps opencv-python"),
    "missing-locale": ("missing-locale", "ENV LC_ALL"),
    "mode-changed-in-a-second-layer": ("copied-twice", "RUN chmod"),
    "mount-hides-the-image": ("mount-hides", "- .:/app"),
    "no-dockerignore": ("context-in-image", "COPY . ."),
    "onbuild-surprise": ("onbuild", "ONBUILD"),
    "outside-the-context": ("outside-context", "COPY ../motd-for-all"),
    "pipe-hides-a-failure": ("pipe-hides-failure", "RUN cat"),
    "quotes-in-an-environment-list": ("quoted-value", "- NAME="),
    "root-in-the-final-stage": ("root-user", "FROM debian"),
    "script-not-executable": ("not-executable", "COPY start"),
    "secret-in-a-deleted-file": ("secret-file", "COPY .netrc"),
    "secret-in-arg": ("secret-in-arg", "ARG API_TOKEN"),
    "secret-in-env": ("secret-in-env", "ENV DB_PASSWORD"),
    "shell-form-cmd": ("does-not-stop", "CMD node"),
    "single-quotes-in-cmd": ("broken-json", "CMD ['"),
    "source-before-dependencies": ("no-dependency-cache", "RUN pip install"),
    "started-is-not-ready": ("not-ready", "depends_on:"),
    "test-stage-is-skipped": ("skipped-tests", "FROM build AS test"),
    "unknown-time-zone": ("unknown-time-zone", "ENV TZ"),
    "venv-without-its-python": ("dangling-link", "COPY --from=builder /venv"),
    "volume-owned-by-root": ("volume-not-writable", "VOLUME"),
    "windows-line-ends": ("windows-line-ends", "COPY --chmod=755 start"),
    "writes-to-its-root": ("read-only-root", "CMD"),
    "wrong-processor": ("wrong-processor", "RUN pip install"),
    "zombies-without-init": ("zombies", "app:"),
}
# One of each way to find a mistake: in the text, the build, the layers, a running container, a second build, compose.
QUICK = {"arg-before-from", "copy-from-a-wrong-stage", "secret-in-a-deleted-file", "ignores-sigterm", "source-before-dependencies",
         "localhost-is-the-container"}
GOOD = sorted(p.name for p in (ROOT / "tests/good").iterdir() if p.is_dir())

# What is wrong on purpose in the repo's own Dockerfiles, which show how people did it before.
TRUE_ALARMS = {
    "ch04-multistage-single-stage": {"build-tools", "root-user", "left-over"},
    "ch05-python-crop-single-stage": {"build-tools", "root-user", "left-over", "does-not-stop", "no-dependency-cache",
                                      "read-only-root"},
}


def options(trial):
    """Return the build arguments and secrets of a gallery entry, as the checker takes them."""
    words = trial.bash(f"printf '%s\\n' {trial.story['Options']}").stdout.split() if "Options" in trial.story else []
    pairs = list(zip(words[::2], words[1::2]))
    return {"build_args": [v for n, v in pairs if n == "--build-arg"], "secrets": [v for n, v in pairs if n == "--secret"]}


def sides(quick):
    return [pytest.param(name, marks=() if name in quick else pytest.mark.full) for name in mistakes.names()]


def test_every_mistake_has_its_answer():
    assert sorted(NAMED) == mistakes.names()


@pytest.mark.parametrize("name", sides(QUICK))
def test_names_the_mistake(name, tmp_path):
    """The one finding is the mistake, at its line; another one would be a false alarm, or one mistake too many."""
    rule, begins = NAMED[name]
    with mistakes.Trial(name, tmp_path) as trial:
        found = check.check(trial.folder, **options(trial))
        assert rule in [f.rule for f in found], found
        hit = next(f for f in found if f.rule == rule)
        line = (trial.folder / hit.file).read_text().splitlines()[hit.line - 1].strip()
    assert line.startswith(begins), f"points to line {hit.line}: {line}"
    # An unreadable download is a consequence of its being unchecked.
    assert {f.rule for f in found} <= {rule, "not-writable" if name == "add-of-an-address" else rule}, found


@pytest.mark.parametrize("name", sides({"shell-form-cmd", "volume-owned-by-root"}))
def test_is_silent_about_the_cure(name, tmp_path):
    with mistakes.Trial(name, tmp_path, cured=True) as trial:
        assert check.check(trial.folder, **options(trial)) == []


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "shell-tool" else pytest.mark.full) for n in GOOD])
def test_is_silent_about_good_ones(name):
    assert check.check(ROOT / "tests/good" / name) == []


@pytest.mark.full
def test_repo():
    """The repo's own Dockerfiles: nothing but what is wrong in them on purpose."""
    alarms = {}
    for name, target in images.plan().items():
        if target["context"].startswith("ch"):
            file = ROOT / target["context"] / target["dockerfile"]
            found = check.check(ROOT / target["context"], file, target.get("target"))
            alarms[name] = [f for f in found if f.rule not in TRUE_ALARMS.get(name, ())]
    assert alarms and not any(alarms.values()), alarms


# --- the command ----------------------------------------------------------------------------------------------

def test_json_and_exit_status(tmp_path, capsys):
    shutil.copytree(mistakes.GALLERY / "outside-the-context", tmp_path / "x")
    assert check.main([str(tmp_path / "x"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(f["rule"], f["line"]) for f in found] == [("outside-context", 7)]
    assert check.main([str(tmp_path / "x"), "-f", str(tmp_path / "x/cured.Dockerfile")]) == 0
    assert "nothing found" in capsys.readouterr().out


def test_report_for_people(tmp_path, capsys):
    shutil.copytree(mistakes.GALLERY / "outside-the-context", tmp_path / "x")
    assert check.main([str(tmp_path / "x")]) == 1
    said = capsys.readouterr().out
    assert "Dockerfile, line 7: ../motd-for-all is outside the build context." in said and "Cure:" in said


@pytest.mark.parametrize("make, arguments, expected", [
    (None, ["no-such-folder"], "no-such-folder is no folder"),
    ("", ["."], "no instructions"),
    ("RUN echo\n", ["."], "nothing to build"),
    ("FROM scratch\nRUN <<E\n", ["."], "heredoc"),
    ("FROM scratch AS one\n", [".", "--target", "two"], "there is no stage two; there are: one"),
])
def test_bad_input(make, arguments, expected, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if make is not None:
        (tmp_path / "Dockerfile").write_text(make)
    assert check.main(arguments) == 2
    assert expected in capsys.readouterr().err


def test_misspelt_instruction(tmp_path, capsys):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPPY a b\n")
    assert check.main([str(tmp_path)]) == 1
    assert "line 2: The build fails: " in capsys.readouterr().out


def test_no_dockerfile(tmp_path, capsys):
    assert check.main([str(tmp_path)]) == 2
    assert "There is no file" in capsys.readouterr().err


# --- reading Dockerfiles --------------------------------------------------------------------------------------

def test_parses_stages(tmp_path):
    file = tmp_path / "Dockerfile"
    file.write_text("ARG V=3.13\nFROM python:${V}-slim AS Base\nFROM base AS b\nRUN <<E\nFROM nowhere\nE\nFROM scratch\n"
                    "COPY --from=1 /x /\nCOPY --from=debian:trixie-slim /y /\nRUN --mount=type=bind,from=base,target=/m true\n")
    parsed = parse(file)
    base, b, final = parsed.stages
    assert (base.base, base.name, b.base, final.base) == ("python:3.13-slim", "base", base, "scratch")
    assert final.sources == [b, "debian:trixie-slim", base]
    assert sorted(final.needs()) == [0, 1, 2]
    assert [(i.first, i.last) for i in b.instructions] == [(4, 6)]


def test_says_what_is_unreadable(tmp_path):
    with pytest.raises(DockerfileError, match="Dockerfile"):
        parse(tmp_path / "Dockerfile")
