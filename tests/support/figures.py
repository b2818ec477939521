"""Figures in text: telling whether two of them agree."""
import functools
import re

from . import engine

UNITS = {"%": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9}  # those of `docker image ls`: powers of ten
SIZE = r"(?<![\w.])\d+(?:\.\d+)? ?(?:[kKMG]?B\b|%)"
TOLERANCE = 0.03  # a security update of a base image is no failure


def parse(text):
    """Return the bytes that a text such as "12.3 MB" stands for, or a percentage's number."""
    number, unit = re.fullmatch(r"([\d.]+) ?(.+)", text).groups()
    return float(number) * UNITS[unit]


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
    for part in re.split(rf"(\.{{3,4}}|{SIZE})", " ".join(expected.split())):
        if part == "...":
            pattern += ".*"
        elif part == "....":  # a full stop before the wildcard, or behind it
            pattern += r"(?:\..*|.*\.)"
        elif re.fullmatch(SIZE, part):
            pattern += f"({SIZE})"
            sizes.append(parse(part))
        else:
            pattern += re.escape(part)
    match = re.fullmatch(pattern, " ".join(actual.split()))
    return bool(match) and all(agree(size, parse(found)) for size, found in zip(sizes, match.groups()))


def find(text):
    """Return the sizes and percentages in a text; not gigabytes, which say what a machine needs."""
    return [found for found in re.findall(SIZE, text) if not found.endswith("GB")]
