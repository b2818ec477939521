"""Sizes in text: finding them, writing them, telling whether two of them agree."""
import functools
import re

from . import engine

UNITS = {"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9}  # the units of `docker image ls`: powers of ten
SIZE = r"(?<![\w.])\d+(?:\.\d+)? ?[kKMG]?B\b"
TOLERANCE = 0.03  # a security update of a base image is no failure


def parse(text):
    """Return the bytes that a text such as "12.3 MB" stands for; the text must be one SIZE."""
    number, unit = re.fullmatch(r"([\d.]+) ?(\w+)", text).groups()
    return float(number) * UNITS[unit]


def write(size):
    """Return a number of bytes with three significant digits and a unit of `docker image ls`: "12.3 MB"."""
    unit = next((unit for unit in ("GB", "MB", "kB") if size >= 0.9995 * UNITS[unit]), "B")
    number = size / UNITS[unit]
    return f"{number:.0f} {unit}" if unit == "B" or number >= 99.95 else f"{number:.3g} {unit}"


@functools.lru_cache(maxsize=None)
def comparable():
    """Tell whether images made here have the sizes that this repo's texts give.

    Those were measured on amd64 with the stand-ins for the base images. The official images, and
    those for other processors, have other sizes.
    """
    base = engine.docker("image", "inspect", "debian:trixie-slim", "--format",
                         '{{.Architecture}} {{index .Config.Labels "learn.multistage.stand-in"}}', check=False)
    return base.stdout.split() == ["amd64", "debian:trixie-slim"]


def agree(one, other):
    """Tell whether two numbers of bytes are within TOLERANCE, or whether sizes can't be compared here."""
    return not comparable() or abs(one - other) <= TOLERANCE * max(one, other)


def line_agrees(expected, actual):
    """Tell whether a line is the expected one: "..." stands for anything, sizes and runs of spaces may differ a little."""
    pattern, sizes = "", []
    for part in re.split(rf"(\.\.\.|{SIZE})", " ".join(expected.split())):
        if part == "...":
            pattern += ".*"
        elif re.fullmatch(SIZE, part):
            pattern += f"({SIZE})"
            sizes.append(parse(part))
        else:
            pattern += re.escape(part)
    match = re.fullmatch(pattern, " ".join(actual.split()))
    return bool(match) and all(agree(size, parse(found)) for size, found in zip(sizes, match.groups()))
