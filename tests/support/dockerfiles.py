"""Dockerfiles as data: instructions with their lines, stages, and what depends on what.

Docker's own parser does the reading (PyPI: dockerfile); this adds stages and variables.
"""
import re
from dataclasses import dataclass, field
from pathlib import Path

try:
    import dockerfile as parser
except ImportError:  # requirements-test.in says for which machines there is no wheel
    parser = None

NAME = re.compile(r"\$(?:\{(\w+)(?::?[-+]([^}]*))?\}|(\w+))")


class DockerfileError(ValueError):
    """A Dockerfile that cannot be read or parsed; the text says which, where and why."""


@dataclass(frozen=True)
class Instruction:
    """One instruction. cmd is upper case; first and last are its lines, counted from 1."""
    cmd: str
    value: tuple
    flags: tuple
    json: bool
    text: str
    first: int
    last: int

    def flag(self, name):
        """Return the value of --name=VALUE, or None."""
        return next((f.split("=", 1)[1] for f in self.flags if f.startswith(f"--{name}=")), None)

    @property
    def words(self):
        """What follows flags, with heredocs, as one text."""
        return " ".join(self.text.split(None, 1)[1:])

    def variables(self):
        """Return what ENV or ARG set, as {name: value or None}."""
        if self.cmd == "ENV":
            values = [v.strip("\"'") for v in self.value]
            return dict(zip(values[::2], values[1::2]))
        if self.cmd == "ARG":
            return {n: (v.strip("\"'") if eq else None) for n, eq, v in (a.partition("=") for a in self.value)}
        return {}


@dataclass
class Stage:
    """One stage. base is another Stage, or the name of an image; sources are the stages it copies from."""
    index: int
    name: str
    start: Instruction
    base: "Stage | str"
    instructions: list = field(default_factory=list)
    sources: list = field(default_factory=list)

    def chain(self):
        """Return this stage and those it starts FROM, the outermost first."""
        return ([*self.base.chain(), self] if isinstance(self.base, Stage) else [self])

    def needs(self):
        """Return the stages that are built for this one, itself included, as {index: Stage}."""
        found = {self.index: self}
        for other in [self.base, *self.sources]:
            if isinstance(other, Stage):
                found.update(other.needs())
        return found

    def all(self):
        """Return the instructions that make this stage's image, FROM lines left out, in order."""
        return [i for stage in self.chain() for i in stage.instructions]


@dataclass
class Dockerfile:
    """A parsed Dockerfile. arguments are the values of the ARGs above the first FROM."""
    path: Path
    stages: list
    arguments: dict

    def target(self, name=None):
        """Return the stage of that name or number, or the last one; DockerfileError if there is none."""
        if name is None:
            return self.stages[-1]
        for stage in reversed(self.stages):
            if stage.name == name.lower() or str(stage.index) == name:
                return stage
        raise DockerfileError(f"{self.path}: there is no stage {name}; there are: "
                              + ", ".join(s.name or str(s.index) for s in self.stages))


def expand(text, values):
    """Replace $NAME, ${NAME} and ${NAME:-default} by values; what is unknown stays as it is."""
    def value(match):
        known = values.get(match[1] or match[3])
        return known if known is not None else match[2] if match[2] is not None else match[0]
    return NAME.sub(value, text)


def parse(path, build_args=None):
    """Parse a Dockerfile; build_args are values from the command line. Raises DockerfileError."""
    path = Path(path)
    if parser is None:
        raise DockerfileError("The Dockerfile parser is missing. It has no ready package for Linux on arm64: "
                              "install Go, then run: .venv/bin/pip install dockerfile==3.4.0")
    try:
        commands = parser.parse_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, parser.GoParseError) as error:
        raise DockerfileError(f"{path}: {error}") from error
    build_args, stages, arguments = build_args or {}, [], {}
    for c in commands:
        # The parser joins continued lines; the value of RUN still says where a heredoc's text begins.
        i = Instruction(c.cmd.upper(), c.value, c.flags, c.json, c.original, c.start_line, c.end_line)
        if i.cmd == "FROM":
            base = expand(i.value[0], arguments)
            earlier = {s.name: s for s in stages if s.name}
            name = i.value[2].lower() if len(i.value) == 3 else ""
            stages.append(Stage(len(stages), name, i, earlier.get(base.lower(), base)))
        elif not stages:
            arguments.update({n: build_args.get(n, v) for n, v in i.variables().items()})
        else:
            stage = stages[-1]
            stage.instructions.append(i)
            for name in [i.flag("from"), *re.findall(r"--mount=\S*\bfrom=([^,\s]+)", " ".join(i.flags))]:
                if name:
                    source = next((s for s in stages[:-1][::-1] if name.lower() == s.name or name == str(s.index)), name)
                    stage.sources.append(source)
    if not stages:
        raise DockerfileError(f"{path}: no FROM instruction, so there is nothing to build")
    return Dockerfile(path, stages, {n: v for n, v in arguments.items() if v is not None})
