"""draw.py, and the parts of the README files that are made with it (tests/support/generated.py)."""
import html.parser
import os
import re
import subprocess
import sys

import pytest

pytest.importorskip("dockerfile", reason="the Dockerfile parser has no ready-made build for this machine")

import draw  # noqa: E402
from tests.support import ROOT, figures, generated  # noqa: E402
from tests.support.engine import docker  # noqa: E402

# What learners write that simpler readers of Dockerfiles get wrong.
ODD = r"""# escape=\
ARG BASE=debian
ARG TAG
FROM ${BASE}:${TAG:-trixie-slim} AS Tools
RUN <<SCRIPT
set -eu
mkdir /out
# FROM scratch AS trap
head -c 300000 /dev/zero > /out/tool
SCRIPT

from debian:trixie-slim
COPY <<one <<two /notes/
hello
one
FROM nothing
two
COPY --from=0 --chmod=755 \
    # a comment in the middle
    /out/tool /out/
RUN --mount=type=bind,from=tools,source=/out,target=/mnt --mount=type=cache,target=/cache \
    cp /mnt/tool /out/tool2

FROM scratch AS unused
COPY --from=python:3.13-slim /etc/hostname /

FROM scratch
COPY --from=TOOLS ["/out/tool", "/out/ a tool"]
COPY --from=1 /out/ /all/
COPY --from=debian:trixie-slim /etc/debian_version /
COPY Dockerfile /
ADD --chmod=644 Dockerfile /again
"""


def name(thing):
    return thing if isinstance(thing, str) else thing.title


def arrows(stage):
    return [(name(arrow.source), arrow.text, arrow.mounted) for arrow in stage.arrows]


@pytest.fixture
def folder(tmp_path):
    """folder(text) writes a Dockerfile of that text to a new build context and returns the Dockerfile's path."""

    def make(text):
        path = tmp_path / "Dockerfile"
        path.write_text(text)
        return path

    return make


def test_stages_and_what_flows_between_them(folder):
    path = folder(ODD)
    stages = draw.read(ODD, "Dockerfile")
    assert [(stage.title, name(stage.base), stage.needed, stage.last) for stage in stages] == [
        ("Tools", "debian:trixie-slim", True, False), ("stage 1", "debian:trixie-slim", True, False),
        ("unused", "scratch", False, False), ("stage 3", "scratch", True, True)]
    assert arrows(stages[1]) == [("Tools", "COPY --from /out/tool", False), ("Tools", "RUN --mount /out", True)]
    assert arrows(stages[3]) == [
        ("Tools", "COPY --from /out/tool", False), ("stage 1", "COPY --from /out/", False),
        ("debian:trixie-slim", "COPY --from /etc/debian_version", False),
        (draw.CONTEXT, "COPY Dockerfile", False), (draw.CONTEXT, "ADD Dockerfile", False)]
    draw.measure(stages, path)
    size = len(ODD)
    assert [arrow.size for arrow in stages[1].arrows] == [300_000, None]
    assert [arrow.size for arrow in stages[3].arrows][:2] == [300_000, 600_000]
    assert [arrow.size for arrow in stages[3].arrows][3:] == [size, size]
    assert stages[0].sizes == [300_000] and stages[0].below > 10_000_000
    assert stages[3].below == 0 and stages[3].size == sum(stages[3].sizes)
    graph = draw.graph(stages)
    assert 's0 -- "COPY --from /out/tool<br/>300 kB" --> s1' in graph
    assert 's0 -. "RUN --mount /out" .-> s1' in graph
    assert 'skipped["skipped:<br/>unused"]:::skipped' in graph and "s2" not in graph
    pytest.importorskip("mermaidx").render(graph).svg()


def test_a_stage_on_a_stage_and_a_target():
    text = "FROM debian:trixie-slim AS Base\nRUN true\nFROM base AS one\nFROM base AS two\nCOPY --from=one /x /\nFROM two\n"
    stages = draw.read(text, target="TWO")
    assert [name(stage.base) for stage in stages] == [
        "debian:trixie-slim", "Base", "Base", "two"]
    assert [stage.last for stage in stages] == [False, False, True, False]
    assert [stage.needed for stage in stages] == [True, True, True, False]


@pytest.mark.parametrize(("line", "base"), [
    ("FROM a:$V", "a:1"), ("FROM a:${V}", "a:1"), ("FROM a:${N:-2}", "a:2"), ("FROM a${V:+-x}", "a-x"), ("FROM a${N:+-x}", "a"),
    ("FROM a-$TARGETARCH", "a-arm64"), ("FROM --platform=$BUILDPLATFORM a", "a"), ("FROM $W", "b:1"), ("FROM a:$GIVEN", "a:7"),
])
def test_arguments_in_from(line, base):
    text = f'ARG V="1"\nARG N\nARG W=b:$V\nARG GIVEN\n{line}\n'
    assert draw.read(text, arguments={"GIVEN": "7"}, platform="linux/arm64")[0].base == base


@pytest.mark.parametrize(("text", "message"), [
    ("", "file with no instructions"),
    ("ARG A=1\n", "no FROM line"),
    ("FORM debian\n", "Dockerfile:1: FORM is no instruction"),
    ("RUN true\n", "Dockerfile:1: RUN stands before the first FROM"),
    ("FROM debian AS\n", "Dockerfile:1: FROM takes an image"),
    ("FROM debian:$V\n", r"Dockerfile:1: \$V has no value. Give one: --build-arg V="),
    ("FROM debian\nRUN <<EOF\n", "unterminated heredoc"),
    ("FROM debian:trixie-slim\nCOPY --from=0 /a /\n", "Dockerfile:2: --from=0 must be an earlier stage; this is stage 0"),
    ("FROM debian:trixie-slim\nCOPY --from=5 /a /\n", "Dockerfile:2: --from=5 must be an earlier stage"),
    ("FROM debian:trixie-slim AS me\nCOPY --from=me /a /\n", "Dockerfile:2: --from=me must be an earlier stage"),
    ("FROM debian:trixie-slim AS a\nFROM debian:trixie-slim\nARG S=a\nCOPY --from=$S /a /\n", "Dockerfile:4: --from can't take a variable"),
])
def test_a_dockerfile_that_docker_refuses_is_refused_with_its_line(folder, text, message):
    path = folder(text)
    with pytest.raises(draw.Problem, match=message):
        draw.read(text, "Dockerfile")
    # A file of nothing but ARG lines makes BuildKit 0.12 panic, which ends the whole engine (26.1): never build one.
    if not text.startswith("ARG"):
        assert docker("buildx", "build", "-f", path, path.parent, check=False).returncode, "docker takes it"


def test_every_dockerfile_of_the_repo_can_be_drawn():
    mermaidx = pytest.importorskip("mermaidx")
    files = [path for path in ROOT.rglob("*Dockerfile") if not {".venv", "mistakes"} & set(path.relative_to(ROOT).parts)]
    assert len(files) > 5
    for path in files:
        mermaidx.render(draw.graph(draw.read(path.read_text(encoding="utf-8"), str(path)))).svg()


def test_wasted_bytes_and_biggest_files(folder):
    """A changed file and a removed folder still travel with the image."""
    path = folder("FROM scratch AS x\nFROM debian:trixie-slim\nRUN mkdir -p /d/e && head -c 500000 /dev/zero > /d/e/gone && head -c 90000000 /dev/zero > /big\n"
                  "RUN chmod 600 /big\nRUN rm -r /d\n")
    image = f"draw-test-{os.getpid()}"
    docker("buildx", "build", "-t", image, "-f", path, path.parent)
    try:
        found = draw.contents(image)
        page = draw.page("A <b>bold</b> title", image)
    finally:
        docker("image", "rm", image)
    made = "RUN mkdir -p /d/e && head -c 500000 /dev/zero > /d/e/gone && head -c 90000000 /dev/zero > /big"
    assert found.wasted == [(90_000_000, "/big", made, "RUN chmod 600 /big"), (500_000, "/d/e/gone", made, "RUN rm -r /d")]
    assert found.files["/big"] == (90_000_000, "RUN chmod 600 /big")
    assert "/d/e/gone" not in found.files and "/etc/passwd" in found.files
    assert "A &lt;b&gt;bold&lt;/b&gt; title" in page and "90.5 MB in 2 files" in page


class Outside(html.parser.HTMLParser):
    """Collects what an HTML page would load from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found += [f"{tag} {name}={value}" for name, value in attributes
                       if name in ("src", "href", "xlink:href", "data") and not value.startswith("#")]


def run(*words, **environment):
    return subprocess.run([sys.executable, ROOT / "draw.py", *words], capture_output=True, text=True, timeout=300,
                          env=os.environ | environment, stdin=subprocess.DEVNULL)


def test_the_page_of_a_folder_holds_all_that_it_shows(folder, tmp_path):
    path = folder(ODD + "USER 1234\nHEALTHCHECK CMD [\"/probe\", \"it\"]\nENTRYPOINT [\"/start\"]\nEXPOSE 8088\n")
    process = subprocess.Popen([sys.executable, ROOT / "draw.py", path.parent, "-o", tmp_path / "page.html"])
    assert process.wait(300) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not Outside(page).found and "@import" not in page and "url(http" not in page
    for text in ("1234", "/probe it", "[&quot;/start&quot;]", "8088/tcp", "/all/tool2", "COPY --from=1 /out/ /all/", "unused"):
        assert text in page, text
    assert not docker("image", "ls", "-q", "--filter", f"reference=draw-{process.pid}").stdout, "images were left behind"


@pytest.mark.parametrize(("words", "environment", "message"), [
    (["no-such-thing"], {}, "there is no folder, Dockerfile or image no-such-thing"),
    ([ROOT / "tests"], {}, "there is no Dockerfile in"),
    ([ROOT / "ch03-web-ping", "--target", "none"], {}, "has no stage named none"),
    ([ROOT / "ch03-web-ping", "-o", "/no/such/folder.html"], {}, "/no/such/folder.html can't be written: its folder does not exist"),
    ([ROOT / "ch03-web-ping"], {"DOCKER_HOST": "unix:///no/such.sock"}, "the Docker engine can't be reached"),
    ([ROOT / "ch03-web-ping"], {"PATH": "/no/such"}, "there is no docker command"),
    ([ROOT / "pyproject.toml"], {}, "pyproject.toml:3: [tool.pytest.ini_options] is no instruction"),
])
def test_wrong_input_gets_one_clear_error(words, environment, message):
    done = run(*words, **environment)
    assert done.returncode == 1
    assert re.search(f"^error: .*{re.escape(message)}", done.stderr, re.M)
    assert "Traceback" not in done.stderr


def test_a_build_that_fails_says_what_docker_said(folder):
    done = run(folder("FROM debian:trixie-slim\nRUN echo broken here; exit 7\n").parent)
    assert done.returncode == 1 and "Dockerfile can't be built" in done.stderr and "exit code: 7" in done.stderr


# --- generated parts of README files ---------------------------------------------------------------
@pytest.mark.parametrize("path", generated.readmes(), ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_parts_are_fresh(path):
    stale = generated.stale(path)
    assert not stale, "\n".join(stale)


def test_every_chapter_shows_its_stages_and_layers():
    for folder in sorted({target["context"] for target in generated.targets().values()}):
        text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
        for path in (ROOT / folder).glob("*Dockerfile"):
            assert f"<!-- generated:stages:{path.name} -->" in text
        assert "<!-- generated:layers -->" in text and "<!-- generated:sizes -->" in text


def test_figures_in_prose_are_measured():
    """A size or a percentage in a README's prose stands in a generated part, or it would rot."""
    for path in generated.readmes():
        text = generated.MARKED.sub(lambda match: "\n" * match[0].count("\n"), path.read_text(encoding="utf-8"))
        fenced = False
        for number, line in enumerate(text.splitlines(), 1):
            fenced ^= line.lstrip().startswith("```")
            assert fenced or not (found := figures.find(line)), f"{path}:{number}: {found} is written by hand; use a generated part"


def test_a_stale_part_is_found_and_written_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    monkeypatch.setattr(figures, "comparable", lambda: True)
    monkeypatch.setitem(generated.PARTS, "try", lambda folder, argument: f"{argument}: 103 MB\nsame")
    path = tmp_path / "README.md"
    for figure, fresh in (("102 MB", True), ("90 MB", False)):
        path.write_text(text := f"One\n\n<!-- generated:try:a b -->\na b: {figure}\nsame\n<!-- /generated -->\nend\n")
        assert bool(generated.stale(path)) is not fresh
        generated.write(path)
        assert path.read_text() == (text if fresh else text.replace("90 MB", "103 MB"))
    path.write_text("It is <!-- generated:try:c --><!-- /generated --> big.\n")
    monkeypatch.setitem(generated.PARTS, "try", lambda folder, argument: "7 MB")
    assert generated.stale(path)[0].startswith(f"{path}:1: the part try is stale")
    generated.write(path)
    assert path.read_text() == "It is <!-- generated:try:c -->7 MB<!-- /generated --> big.\n"


@pytest.mark.parametrize(("text", "message"), [
    ("<!-- generated:nothing -->\n<!-- /generated -->\n", "README.md:1: no part is named nothing; there are: "),
    ("<!-- generated:sizes -->\n", "needs its <!-- /generated -->"),
])
def test_a_wrong_marker_is_refused(tmp_path, text, message):
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(draw.Problem, match=message):
        generated.parts(tmp_path / "README.md")


def test_sizes_are_written_with_three_digits():
    assert [draw.write_size(size) for size in (0, 999, 1234, 99_960, 12_345_678, 1_000_000_000)] == [
        "0 B", "999 B", "1.23 kB", "100 kB", "12.3 MB", "1 GB"]


@pytest.mark.parametrize(("paths", "text"), [
    (["/out/"], "/out/"), (["a", "b", "c"], "a and 2 more"), (["/usr/src/iotd/target/iotd-service-0.1.0.jar"], "…/iotd-service-0.1.0.jar"),
    (["a-very-long-name-without-any-folder"], "…name-without-any-folder"), ([], ""),
])
def test_long_paths_fit_an_arrow(paths, text):
    assert draw.shorten(paths) == text and len(text) <= 24


def test_layers_are_drawn_at_one_scale():
    picture = draw.bars({"big": [("FROM a", 75_000_000), ("RUN b <c>", 25_000_000)], "small": [("COPY d", 50_000_000)]})
    assert 'class="FROM" x="480.0"' in picture and 'width="300.0"' in picture
    assert 'class="RUN" x="780.0"' in picture and 'width="100.0"' in picture
    assert 'class="COPY" x="480.0"' in picture and 'width="200.0"' in picture
    assert "RUN b &lt;c&gt;" in picture and "25 MB" in picture
