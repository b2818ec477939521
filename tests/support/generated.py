"""The parts of the README files that a program writes, between "<!-- generated:NAME -->" and "<!-- /generated -->".

  .venv/bin/python -m tests.support.generated     write them anew, and the pictures beside them

NAME may have an argument behind a colon: "stages:optimized.Dockerfile". A part that begins and ends in
one line stays in it, so that a sentence can hold a measured figure. To add a part, write a function of
the README's folder (a Path) and the argument ("" if none) that returns Markdown, and put @part on it.
"""
import functools
import re
import subprocess
import sys

import draw

from . import ROOT, images
from .readmes import mismatch

PARTS = {}
MARKED = re.compile(r"(?P<start><!-- generated:(?P<name>[\w-]+):?(?P<argument>[^>]*) -->)(?P<text>.*?)(?P<end><!-- /generated -->)", re.S)
HOW = "write it anew: .venv/bin/python -m tests.support.generated"


def part(name):
    """Make a function known as the part of that name."""

    def register(function):
        PARTS[name] = function
        return function

    return register


# --- What the parts are made from ------------------------------------------------------------------
def targets(folder=None):
    """Return the bake targets of a folder, or of the whole repo, as {image name: target}."""
    return {target["tags"][0].rpartition("/")[2]: target for target in images.plan().values()
            if folder is None or target["context"] == folder.name}


@functools.lru_cache(maxsize=None)
def size(image):
    """Return the bytes of the layers of one of the repo's images."""
    return sum(size for _, size in draw.history(images.build(image)))


@functools.lru_cache(maxsize=None)
def stages(folder, file, image=None):
    """Return the measured stages of a Dockerfile, for one of its images if bake knows it."""
    target = targets(folder).get(image, {})
    path, arguments = folder / file, target.get("args", {})
    found = draw.read(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)), target.get("target"), arguments)
    draw.measure(found, path, arguments)
    return found


# --- The parts -------------------------------------------------------------------------------------
@part("image-table")
def image_table(folder, argument):
    """All images of the repo: what each is, and its size."""
    rows = [f"| `{image}` | {target['labels']['org.opencontainers.image.description']} | {draw.write_size(size(image))} |"
            for image, target in targets().items()]
    return "\n".join(["| image | what it is | size |", "|---|---|---|", *rows])


@part("sizes")
def sizes(folder, argument):
    """A chapter's images, biggest first, each beside the biggest one."""
    ladder = sorted(((size(image), image, target["dockerfile"]) for image, target in targets(folder).items()), reverse=True)
    rows = [f"| `{image}` | [{file}]({file}) | {draw.write_size(bytes_)} | {100 * bytes_ / ladder[0][0]:.0f} % |"
            for bytes_, image, file in ladder]
    return "\n".join(["| image | made by | size | of the biggest |", "|---|---|---|---|", *rows])


@part("stages")
def stages_graph(folder, argument):
    """The stages of the Dockerfile that the argument names, as one graph for each image that it makes."""
    made = [image for image, target in targets(folder).items() if target["dockerfile"] == argument] or [None]
    return "\n\n".join((f"`{image}`:\n\n" if len(made) > 1 else "") + f"```mermaid\n{draw.graph(stages(folder, argument, image))}```"
                       for image in made)


@part("layers")
def layers(folder, argument):
    """The picture of the layers of a chapter's images."""
    return f"![The layers of {', '.join(targets(folder))}](pictures/layers.svg)"


def layers_picture(folder):
    """Return that picture as SVG."""
    rows = {image: draw.layers(next(stage for stage in stages(folder, target["dockerfile"], image) if stage.last))
            for image, target in targets(folder).items()}
    return draw.bars(dict(sorted(rows.items(), key=lambda row: -sum(size for _, size in row[1]))))


@part("size")
def image_size(folder, argument):
    """The size of the image that the argument names, for a sentence."""
    return draw.write_size(size(argument))


@part("share")
def share(folder, argument):
    """How many percent one image's bytes are of another's, for a sentence: "share:SMALL of BIG"."""
    small, big = argument.split(" of ")
    return f"{100 * size(small) / size(big):.0f} %"


# --- Writing and checking --------------------------------------------------------------------------
def readmes():
    """Return the README files of the repo."""
    return sorted(path for path in [ROOT / "README.md", ROOT / "tests/mistakes/README.md", *ROOT.glob("*/README.md")] if path.exists())


def parts(path):
    """Return the parts of a file as [(match of MARKED, what should stand there)]; raises draw.Problem."""
    text = path.read_text(encoding="utf-8")
    found = list(MARKED.finditer(text))
    if len(found) != text.count("<!-- generated:") or len(found) != text.count("<!-- /generated -->"):
        raise draw.Problem(f"{path}: each <!-- generated:NAME --> needs its <!-- /generated -->")
    result = []
    for match in found:
        if match["name"] not in PARTS:
            raise draw.Problem(f"{path}:{line_of(text, match.start())}: no part is named {match['name']}; there are: {', '.join(PARTS)}")
        new = PARTS[match["name"]](path.parent, match["argument"].strip())
        result.append((match, f"\n{new}\n" if "\n" in match["text"] else new))
    return result


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def stale(path):
    """Return what is stale in a README and its picture, each as a text with file and line; sizes may be 3 % off."""
    text, found = path.read_text(encoding="utf-8"), []
    for match, new in parts(path):
        wrong = mismatch(match["text"].splitlines(), new.splitlines())
        if wrong is not None:
            found.append(f"{path}:{line_of(text, match.start('text')) + wrong}: the part {match['name']} is stale; {HOW}")
    picture = path.parent / "pictures/layers.svg"
    if "generated:layers" in text:
        old = still(picture.read_text(encoding="utf-8")) if picture.exists() else []
        if (wrong := mismatch(old, still(layers_picture(path.parent)))) is not None:
            found.append(f"{picture}:{wrong + 1}: this picture is stale; {HOW}")
    return found


def still(svg):
    """Return an SVG's lines without coordinates, which change with the sizes that are written beside them."""
    return re.sub(r' (x|y|x1|x2|y1|y2|width)="[\d.]+"', "", svg).splitlines()


def write(path):
    """Write a README's parts and its picture anew where they are stale."""
    if not stale(path):
        return
    found = parts(path)
    new = iter(found)
    path.write_text(MARKED.sub(lambda match: match["start"] + next(new)[1] + match["end"], path.read_text(encoding="utf-8")),
                    encoding="utf-8")
    if any(match["name"] == "layers" for match, _ in found):
        (path.parent / "pictures").mkdir(exist_ok=True)
        (path.parent / "pictures/layers.svg").write_text(layers_picture(path.parent), encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")


def main():
    try:
        for readme in readmes():
            write(readme)
    except (draw.Problem, AssertionError, subprocess.SubprocessError) as error:
        sys.exit(f"error: {error}")


from . import without  # noqa: E402, F401  a module with a part of its own; it needs the names above


if __name__ == "__main__":
    # Under its own name, which modules with further parts import it by; here it is __main__.
    from tests.support import generated
    generated.main()
