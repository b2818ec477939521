#!/usr/bin/env python3
"""Draw a Dockerfile and the image that it makes, as one HTML page that needs nothing else.

  ./draw.py FOLDER       the Dockerfile in a folder: its stages and what flows between them, the layers
                         of its image, the biggest files, bytes that are there but can't be seen
  ./draw.py DOCKERFILE   the same for a Dockerfile of another name; its folder is the build context
  ./draw.py IMAGE        an image of this machine; the stages are missing, for an image doesn't know them

Dockerfiles are built with docker buildx: what was built before comes from the build cache.
"""
import argparse
import html
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent
try:
    import dockerfile
except ImportError:
    python = ROOT / ".venv/bin/python"
    if __name__ == "__main__" and python.exists() and Path(sys.prefix) != python.parent.parent:
        os.execv(python, [python, __file__, *sys.argv[1:]])
    if __name__ != "__main__":
        raise
    sys.exit("error: draw.py needs Python packages that ./verify.sh installs in .venv: run ./verify.sh --help once.\n"
             "On Linux with an arm64 processor the package 'dockerfile' has to be compiled: install Go, then run\n"
             ".venv/bin/pip install dockerfile")

CONTEXT = "build context"


class Problem(Exception):
    """Something the user can mend; the text says what is wrong and what to do."""


# --- What a Dockerfile says ------------------------------------------------------------------------
@dataclass
class Arrow:
    """What an instruction brings into its stage from elsewhere.

    source: a Stage, or the name of an image, CONTEXT, or an address. mounted: only lent to a RUN, not
    copied. size: bytes that it adds to the stage, None where that is not known.
    """
    source: object
    text: str
    line: int
    mounted: bool = False
    size: int | None = None


@dataclass
class Stage:
    """A stage: base is a Stage or an image's name; sizes has the bytes that each instruction adds, once measured."""
    index: int
    name: str
    base: object
    line: int
    instructions: list = field(default_factory=list)
    arrows: list = field(default_factory=list)
    needed: bool = False
    last: bool = False
    sizes: list = field(default_factory=list)
    below: int = 0

    @property
    def title(self):
        return self.name or f"stage {self.index}"

    @property
    def size(self):
        """Bytes of all layers, the base image's included."""
        return self.below + sum(self.sizes)


def substitute(text, values, where):
    """Replace $NAME, ${NAME}, ${NAME:-default} and ${NAME:+other} in a FROM line as BuildKit does."""

    def value(match):
        name = match["plain"] or match["name"]
        if match["sign"] and match["sign"] not in (":-", "-", ":+", "+"):
            raise Problem(f"{where}: {match[0]} can't be worked out here; write its value")
        found = values.get(name)
        if match["sign"] and match["sign"].endswith("+"):
            return match["word"] if found else ""
        if not found and not match["sign"]:
            raise Problem(f"{where}: {match[0]} has no value. Give one: --build-arg {name}=...")
        return found or match["word"]

    return re.sub(r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<sign>:?[-+?#%/])(?P<word>[^}]*))?\})", value, text)


def read(text, file="Dockerfile", target=None, arguments=None, platform="linux/amd64"):
    """Return a Dockerfile's stages as a list of Stage; raises Problem with file and line.

    target: the name of the stage that is asked for; the last one if None. arguments: build arguments.
    The rules are BuildKit's: FROM takes an earlier stage's name, in any case; --from also takes an
    earlier stage's number; any other word is an image.
    """
    system, _, processor = platform.partition("/")
    values = {f"{side}{part}": value for side in ("TARGET", "BUILD")
              for part, value in (("PLATFORM", platform), ("OS", system), ("ARCH", processor.partition("/")[0]))}
    try:
        parsed = dockerfile.parse_string(text)
    except dockerfile.GoParseError as error:
        raise Problem(f"{file} is no Dockerfile that can be read: {error}")
    stages, names = [], {}

    def source(word, where):
        if "$" in word:
            raise Problem(f"{where}: --from can't take a variable ({word}). Give the image a name first: FROM {word} AS name")
        if word.isdecimal() and int(word) >= len(stages) - 1 or word.lower() == stages[-1].name.lower() != "":
            raise Problem(f"{where}: --from={word} must be an earlier stage; this is stage {len(stages) - 1}")
        return stages[int(word)] if word.isdecimal() else names.get(word.lower(), word)

    for command in parsed:
        where = f"{file}:{command.start_line}"
        if command.cmd.upper() not in COMMANDS:
            raise Problem(f"{where}: {command.cmd} is no instruction of a Dockerfile")
        if command.cmd.upper() == "FROM":
            if len(command.value) not in (1, 3):
                raise Problem(f"{where}: FROM takes an image, then perhaps AS and a name")
            base = substitute(command.value[0], values, where)
            stages.append(Stage(len(stages), command.value[2] if len(command.value) == 3 else "",
                                names.get(base.lower(), base), command.start_line))
            if stages[-1].name:
                names[stages[-1].name.lower()] = stages[-1]
        elif not stages:
            if command.cmd.upper() != "ARG":
                raise Problem(f"{where}: {command.cmd} stands before the first FROM; only ARG may")
            for word in command.value:
                name, _, default = word.partition("=")
                values[name] = (arguments or {}).get(name) or substitute(default.strip("\"'"), values, where)
        else:
            stages[-1].instructions.append(command)
            stages[-1].arrows += arrows(command, lambda word: source(word, where))
    if not stages:
        raise Problem(f"{file} has no FROM line")
    if target and target.lower() not in names:
        raise Problem(f"{file} has no stage named {target}; it has: {', '.join(names) or 'none with a name'}")
    last = names[target.lower()] if target else stages[-1]
    last.last = True
    need(last)
    return stages


COMMANDS = {"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
            "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}


def need(stage):
    """Mark the stages that BuildKit builds to make this one; it skips all others."""
    stage.needed = True
    for other in [stage.base, *(arrow.source for arrow in stage.arrows)]:
        if isinstance(other, Stage) and not other.needed:
            need(other)


def arrows(command, source):
    """Return the Arrows of an instruction; source turns the word behind "from=" into what it stands for."""
    flags = dict(flag.lstrip("-").partition("=")[::2] for flag in command.flags)
    word = command.cmd.upper()
    if word in ("COPY", "ADD"):
        paths = [path for path in command.value[:-1] if not path.startswith("<<")]  # a heredoc comes from nowhere
        if "from" in flags:
            return [Arrow(source(flags["from"]), f"COPY --from {shorten(paths)}", command.start_line)]
        remote = [path for path in paths if re.match(r"(https?|git|ssh)://|git@", path)]
        local = [path for path in paths if path not in remote]
        return [Arrow(path, word, command.start_line) for path in remote] + (
            [Arrow(CONTEXT, f"{word} {shorten(local)}", command.start_line)] if local else [])
    found = []
    for flag in command.flags if word == "RUN" else ():
        if flag.startswith("--mount="):
            options = dict(option.partition("=")[::2] for option in flag.removeprefix("--mount=").split(","))
            path = options.get("source") or options.get("src") or "/"
            if "from" in options:
                found.append(Arrow(source(options["from"]), f"RUN --mount {path}", command.start_line, mounted=True))
            elif options.get("type", "bind") == "bind":
                found.append(Arrow(CONTEXT, f"RUN --mount {path}", command.start_line, mounted=True))
    return found


def shorten(paths, most=24):
    """Return paths for a label: the end of the first one, and how many more there are."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    first = paths[0] if paths else ""
    if len(first) > most:  # Mermaid cuts off longer words in the label of an arrow
        first = first[1 - most:]
        first = "…" + first[max(0, first.find("/", 0, -1)):]
    return first + more


def cut(text, most):
    """Return a text on one line with at most that many characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[:most - 1] + "…"


# --- What Docker built from it ---------------------------------------------------------------------
def docker(*words, fails=None, **options):
    """Run docker; return what it printed. Raises Problem: fails, then docker's own last words."""
    try:
        done = subprocess.run(["docker", *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, **options)
    except FileNotFoundError:
        raise Problem("there is no docker command on this machine. ./build-all.sh says how to get one")
    if done.returncode:
        if "daemon" in done.stderr and re.search("connect|permission denied", done.stderr):
            raise Problem("the Docker engine can't be reached. ./build-all.sh says what is wrong and what to do")
        raise Problem(f"{fails or 'docker failed'}\n{done.stderr.strip()[-2000:]}")
    return done.stdout


def history(image):
    """Return [(instruction, bytes)] of an image, its oldest layer first."""
    lines = docker("image", "history", "--no-trunc", "--human=false", "--format", "{{json .}}", image).splitlines()
    return [(entry["CreatedBy"], int(entry["Size"])) for entry in map(json.loads, reversed(lines))]


def measure(stages, path, arguments=None, keep=None):
    """Build the needed stages of the Dockerfile at path and fill in their sizes; raises Problem if a build fails.

    The last stage's image stays if keep gives it a tag; the others go again, the build cache keeps
    what they are made of.
    """
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    options = [word for item in (arguments or {}).items() for word in ("--build-arg", "=".join(item))]
    with tempfile.TemporaryDirectory() as temporary:
        # A stage need not have a name that --target could take: a Dockerfile that ends with the stage will do.
        copy = Path(temporary, "Dockerfile")
        for ignore in (path.with_name(path.name + ".dockerignore"), path.with_name(".dockerignore")):
            if ignore.exists():
                Path(temporary, "Dockerfile.dockerignore").write_bytes(ignore.read_bytes())
                break
        for stage in stages:
            if not stage.needed:
                continue
            end = stages[stage.index + 1].line - 1 if stage is not stages[-1] else len(lines)
            copy.write_text("".join(lines[:end]), encoding="utf-8")
            tag = keep if keep and stage.last else f"draw-{os.getpid()}:{stage.index}"
            docker("buildx", "build", "--load", "--provenance=false", "--progress", "plain", "-t", tag, *options,
                   "-f", copy, path.parent, fails=f"{path} can't be built")
            try:
                entries = history(tag)
            finally:
                if tag != keep:
                    docker("image", "rm", tag)
            own = len(entries) - len(stage.instructions)  # each instruction makes one entry
            stage.below, stage.sizes = sum(size for _, size in entries[:own]), [size for _, size in entries[own:]]
            size_of = {command.start_line: size for command, size in zip(stage.instructions, stage.sizes)}
            for arrow in stage.arrows:
                arrow.size = None if arrow.mounted else size_of[arrow.line]


@dataclass
class Contents:
    """What an image's layers hold: files {path: (bytes, layer)} that can be seen, and wasted bytes as
    [(bytes, path, layer that has them, layer that replaced or removed them)]; a layer is its instruction."""
    files: dict
    wasted: list


def contents(image):
    """Read the layers of an image, as `docker save` gives them."""
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary, "image.tar")
        docker("image", "save", "-o", saved, image)
        with tarfile.open(saved) as archive:
            manifest = json.load(archive.extractfile("manifest.json"))[0]
            entries = json.load(archive.extractfile(manifest["Config"]))["history"]
            titles = [plain(entry.get("created_by", "")) for entry in entries if not entry.get("empty_layer")]
            files, wasted = {}, []

            def drop(path, layer):
                if path in files:
                    size, origin = files.pop(path)
                    if size:
                        wasted.append((size, path, origin, layer))

            for layer, name in zip(titles, manifest["Layers"]):
                with tarfile.open(fileobj=archive.extractfile(name)) as content:
                    new = {}
                    for member in content:
                        folder, _, base = ("/" + member.name.removeprefix("./").strip("/")).rpartition("/")
                        if base.startswith(".wh."):  # a marker: what lies below is gone
                            gone = folder if base == ".wh..wh..opq" else f"{folder}/{base.removeprefix('.wh.')}"
                            for path in [path for path in files if path == gone or path.startswith(gone + "/")]:
                                drop(path, layer)
                        elif not member.isdir():
                            new[f"{folder}/{base}"] = (member.size, layer)
                for path in new:
                    drop(path, layer)
                files |= new
    return Contents(files, sorted(wasted, reverse=True))


def plain(created_by):
    """Return an instruction from an image's history as it stood in the Dockerfile."""
    text = re.sub(r"^(RUN )?(\|\d+ .*?)?/bin/sh -c (#\(nop\) +)?", lambda m: "" if m[3] else "RUN ", created_by)
    return text.removesuffix(" # buildkit").strip()


# --- Pictures --------------------------------------------------------------------------------------
def write_size(size):
    """Return a number of bytes as text, in the units of `docker image ls`."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= 0.9995 * unit:
            return f"{size / unit:.0f} {name}" if size >= 99.95 * unit else f"{size / unit:.3g} {name}"
    return f"{size} B"


def label(*lines):
    """Return lines as a Mermaid label."""
    escaped = (re.sub(r'[&"<>#;`]', lambda m: f"#{ord(m[0])};", line) for line in lines if line)
    return '"' + "<br/>".join(escaped) + '"'


def graph(stages):
    """Return a Dockerfile's stages, measured or not, as a Mermaid flowchart."""
    # Labels are short enough as they are; wrapped, long names would be cut off.
    lines, images = ['%%{init: {"flowchart": {"wrappingWidth": 500}}}%%', "flowchart TD"], {}

    def node(thing, stage):
        if isinstance(thing, Stage):
            return f"s{thing.index}"
        if thing == CONTEXT:  # each stage has its own, which keeps the arrows short
            declared = f"  c{stage.index}[/{label(thing)}/]"
            lines.extend([declared] if declared not in lines else [])
            return f"c{stage.index}"
        if thing not in images:
            images[thing] = f"i{len(images)}"
            lines.append(f"  {images[thing]}([{label(thing)}]):::image")
        return images[thing]

    for stage in stages:
        if not stage.needed:
            continue
        added = sum(size for command, size in zip(stage.instructions, stage.sizes) if command.cmd.upper() == "RUN")
        measured = bool(stage.sizes or stage.below)
        facts = [f"RUN adds {write_size(added)}" if added else "",
                 f"{'the image: ' if stage.last else 'in all '}{write_size(stage.size)}" if measured else ""]
        lines.append(f"  s{stage.index}[{label(stage.title, f'line {stage.line}', *facts)}]{':::final' if stage.last else ''}")
        base = write_size(stage.below) if measured and stage.base != "scratch" else ""
        lines.append(f"  {node(stage.base, stage)} -- {label('FROM', base)} --> s{stage.index}")
        together = {}
        for arrow in stage.arrows:
            size = "" if arrow.size is None else write_size(arrow.size)
            together.setdefault((arrow.source if isinstance(arrow.source, str) else arrow.source.index, arrow.mounted), []).append((arrow, size))
        for (_, mounted), found in together.items():
            text = label(*(line for arrow, size in found for line in (arrow.text, size)))
            lines.append(f"  {node(found[0][0].source, stage)} {'-.' if mounted else '--'} {text} {'.->' if mounted else '-->'} s{stage.index}")
    skipped = [stage.title for stage in stages if not stage.needed]
    if skipped:
        lines.append(f"  skipped[{label('skipped:', *skipped)}]:::skipped")
    used = "\n".join(lines)
    styles = {"image": "stroke-dasharray:4 3", "final": "stroke-width:4px", "skipped": "stroke-dasharray:2 4"}
    return "\n".join([used, *(f"  classDef {name} {style}" for name, style in styles.items() if f":::{name}" in used)]) + "\n"


def layers(stage):
    """Return a measured stage's layers as [(text, bytes)]: its base image as one, then what its lines add."""
    below = layers(stage.base) if isinstance(stage.base, Stage) else [(f"FROM {stage.base}", stage.below)]
    return [layer for layer in below if layer[1]] + [(command.original, size) for command, size in zip(stage.instructions, stage.sizes) if size]


KINDS = {"FROM": "base image", "RUN": "RUN", "COPY": "COPY, ADD", "other": "other"}


def bars(images):
    """Return images, {name: [(text, bytes)]}, as one SVG: a row for each layer, all at one scale.

    Each bar starts where the one above it ends, so that the eye sees the image grow.
    """
    row, left, width = 20, 480, 400
    widest = max((sum(size for _, size in found) for found in images.values()), default=0) or 1
    body, y = [], 46
    for x, (kind, name) in zip((16, 130, 200, 310), KINDS.items()):
        body.append(f'<rect class="{kind}" x="{x}" y="14" width="12" height="12"/><text x="{x + 18}" y="24">{name}</text>')
    for name, found in images.items():
        total, start = sum(size for _, size in found), 0
        body.append(f'<text class="name" x="16" y="{y + 14}">{html.escape(name)}</text>'
                    f'<text class="name size" x="{left - 14}" y="{y + 14}">{write_size(total)}</text>'
                    f'<line x1="{left}" x2="{left + width * total / widest:.1f}" y1="{y + 10}" y2="{y + 10}"/>')
        for text, size in found:
            y += row
            word = text.split()[0].upper() if text.split() else ""
            kind = "COPY" if word == "ADD" else word if word in KINDS else "other"
            x, long = left + width * start / widest, max(1, width * size / widest)
            body.append(f'<text class="code" x="28" y="{y + 14}">{html.escape(cut(text, 46))}</text>'
                        f'<text class="size" x="{left - 14}" y="{y + 14}">{write_size(size)}</text>'
                        f'<rect class="{kind}" x="{x:.1f}" y="{y + 3}" width="{long:.1f}" height="{row - 6}"/>')
            start += size
        y += row + 14
    names = html.escape(", ".join(images))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 16} {y}" role="img" aria-label="Layers of {names}">
<style>
svg {{ background: #fff }} text {{ font: 12px system-ui, sans-serif; fill: #1f2328 }} .code {{ font-family: ui-monospace, monospace }}
.name {{ font-weight: 600 }} .size {{ text-anchor: end }} line {{ stroke: #1f2328; stroke-width: 2 }}
.FROM {{ fill: #8c959f }} .RUN {{ fill: #d4761c }} .COPY {{ fill: #2f81d7 }} .other {{ fill: #8a63d2 }}
@media (prefers-color-scheme: dark) {{ svg {{ background: #161b22 }} text {{ fill: #e6edf3 }} line {{ stroke: #e6edf3 }} }}
</style>
{chr(10).join(body)}
</svg>
"""


# --- The page --------------------------------------------------------------------------------------
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; display: block; overflow-x: auto }} th, td {{ text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top }}
td:first-child {{ white-space: nowrap }} td {{ overflow-wrap: anywhere }} td:nth-child(2) {{ min-width: 18rem }} .graph {{ background: #fff; color: #000; padding: 1rem; overflow-x: auto }}
svg {{ max-width: 100%; height: auto }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def table(head, rows):
    """Return rows of texts, which are escaped here, as an HTML table."""
    lines = ["".join(f"<th>{text}</th>" for text in head), *("".join(f"<td>{html.escape(text)}</td>" for text in row) for row in rows)]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def render(mermaid):
    """Return a Mermaid text as SVG, or as text in HTML where the package that draws it is missing."""
    try:
        import mermaidx
    except ImportError:
        return f"<p>The package mermaidx is not installed here; paste this into mermaid.live.</p><pre>{html.escape(mermaid)}</pre>"
    return mermaidx.render(mermaid).svg()


def page(title, image, stages=None):
    """Return the HTML page of an image, which must be on this machine, with its Dockerfile's stages if they are known."""
    config = json.loads(docker("image", "inspect", image, fails=f"there is no folder, Dockerfile or image {image} here"))[0]["Config"]
    found = contents(image)
    parts = layers(next(stage for stage in stages if stage.last)) if stages else [
        (plain(text), size) for text, size in history(image) if size]
    size, lost = sum(size for _, size in parts), sum(size for size, *_ in found.wasted)
    check = (config.get("Healthcheck") or {}).get("Test") or ["none"]
    facts = [("size", write_size(size)), ("user", config.get("User") or "root (no USER line)"),
             ("entry point", json.dumps(config["Entrypoint"]) if config.get("Entrypoint") else "none"),
             ("command", json.dumps(config["Cmd"]) if config.get("Cmd") else "none"),
             ("health check", " ".join(check).removeprefix("CMD-SHELL ").removeprefix("CMD ")),
             ("ports", ", ".join(config.get("ExposedPorts") or ()) or "none"),
             ("wasted", f"{write_size(lost)} in {len(found.wasted)} files")]
    body = [table((), facts), "<h2>Stages</h2>"]
    if stages:
        body += ["<p>Boxes are stages; the one with the thick border becomes the image. An arrow is what an instruction brings in, "
                 "with the bytes that it adds. Dotted arrows are only lent to a RUN. Stages that the image needs nothing from are skipped.</p>",
                 f'<div class="graph">{render(graph(stages))}</div>']
    else:
        body.append("<p>An image doesn't know the stages it was made in. Give the folder of its Dockerfile to see them.</p>")
    body += ["<h2>Layers</h2>", bars({title: parts}), "<h2>Biggest files</h2>"]
    biggest = sorted(((size, path, layer) for path, (size, layer) in found.files.items()), reverse=True)[:15]
    body.append(table(("bytes", "file", "layer"), [(write_size(size), path, cut(layer, 60)) for size, path, layer in biggest]))
    body.append("<h2>Wasted bytes</h2>")
    if found.wasted:
        body.append("<p>A layer never gets smaller: a file that a later instruction removes, replaces or changes still travels "
                    "with the image. Remove it in the RUN that made it, or leave it behind in another stage.</p>")
        body.append(table(("bytes", "file", "added by", "gone or replaced by"),
                          [(write_size(size), path, cut(one, 60), cut(other, 60)) for size, path, one, other in found.wasted[:15]]))
    else:
        body.append("<p>None: no layer removes or replaces a file of another one.</p>")
    return PAGE.format(title=html.escape(title), body="\n".join(body))


# --- The command -----------------------------------------------------------------------------------
def dockerfile_of(what):
    """Return the Dockerfile that a command line's word means, None if it must be an image."""
    path = Path(what)
    if path.is_file():
        return path
    if not path.is_dir():
        return None
    if (path / "Dockerfile").is_file():
        return path / "Dockerfile"
    others = sorted(str(other) for other in path.glob("*ockerfile*") if other.is_file() and other.suffix != ".dockerignore")
    raise Problem(f"there is no Dockerfile in {path}. " + (f"Name one: {', '.join(others)}" if others else "Give a folder that has one"))


def draw(what, target=None, arguments=None):
    """Return the page for a folder, a Dockerfile or an image, and a name for its file."""
    path = dockerfile_of(what)
    if path is None:
        return page(what, what), re.sub(r"\W+", "-", what)
    title = path.parent.resolve().name + ("" if path.name == "Dockerfile" else f"/{path.name}")
    platform = docker("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}").strip()
    stages = read(path.read_text(encoding="utf-8"), str(path), target, arguments, platform)
    print(f"building {path}; what was built before comes from the cache", file=sys.stderr)
    image = f"draw-{os.getpid()}:last"
    measure(stages, path, arguments, keep=image)
    try:
        return page(title, image, stages), re.sub(r"\W+", "-", title)
    finally:
        docker("image", "rm", image)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", metavar="FOLDER|DOCKERFILE|IMAGE")
    parser.add_argument("-o", "--output", metavar="FILE", help="the page to write; by default WHAT.html in the current folder")
    parser.add_argument("--target", metavar="STAGE", help="the stage that becomes the image; by default the last one")
    parser.add_argument("--build-arg", metavar="NAME=VALUE", action="append", default=[])
    options = parser.parse_args(words)
    try:
        if options.output and not Path(options.output).resolve().parent.is_dir():
            raise Problem(f"{options.output} can't be written: its folder does not exist")
        text, name = draw(options.what, options.target, dict(word.partition("=")[::2] for word in options.build_arg))
        output = Path(options.output or f"{name}.html")
        output.write_text(text, encoding="utf-8")
    except (Problem, OSError, UnicodeDecodeError) as error:
        sys.exit(f"error: {error}")
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
