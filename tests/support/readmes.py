"""A pytest plugin that runs the ```console blocks of README files.

Lines that start with "$ " are commands; one that ends with a backslash goes on in the next line, and
lines that start with "> " belong to the command above them. The other lines are what the commands
print: "..." stands for anything within a line and, alone on a line, for any number of lines; sizes
such as "12 MB" may differ by 3 %, and runs of spaces count as one. An HTML comment right before a
block, which readers don't see, changes how it is run:

    retry=5        run the whole block again, up to 5 times a second apart, until it prints the right thing
    exit=1         the last command must end with this status; all others with 0
    timeout=300    seconds that each command may take; 120 if nothing is said
    skip="reason"  don't run it
    finally        run it also after an earlier block has failed

The blocks of one file run in their order in one bash, in a copy of the repo: a lesson may edit its
files. What they make on the Docker engine is labelled, and removed at the end, also after a failure.
"""
import difflib
import json
import os
import re
import select
import shlex
import shutil
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from . import engine
from .engine import docker
from .figures import line_agrees

DIRECTIVES = {"retry": int, "exit": int, "timeout": int, "skip": str, "finally": bool}
LABEL = "learn.multistage.readme"

# Stands before the real docker on the PATH of a README's shell, for Docker has no setting for labels
# that everything shall carry. Compose labels with its project's name, which is set below.
WRAPPER = """#!/bin/sh
case "$1 $2" in
  "container run" | "container create" | "network create" | "volume create" | "image build" | "buildx build")
    one=$1 two=$2; shift 2; exec {docker} "$one" "$two" {labels} "$@" ;;
  "run "* | "create "* | "build "*)
    one=$1; shift; exec {docker} "$one" {labels} "$@" ;;
esac
exec {docker} "$@"
"""


@dataclass
class Command:
    """A command of a block and what it shall print, with the line of the file where each stands."""
    text: str
    line: int
    expected: list = field(default_factory=list)


@dataclass
class Block:
    """A console block: its first line's number, its commands, its directives."""
    line: int
    commands: list
    directives: dict


class Malformed(Exception):
    """A README that can't be run; the text says in which line and why."""


def blocks(text):
    """Return the console blocks of a Markdown text as a list of Block; raises Malformed."""
    found, directives, directives_line = [], None, 0
    for token in MarkdownIt().parse(text):
        if token.type not in ("fence", "html_block"):
            if directives:
                raise Malformed(f"line {directives_line}: no console block follows this directive")
            continue
        line = token.map[0] + 1
        console = token.type == "fence" and token.info.split()[:1] == ["console"]
        if directives and not console:
            raise Malformed(f"line {directives_line}: no console block follows this directive")
        if console:
            found.append(Block(line, commands(token.content, line + 1), directives or {}))
            directives = None
        elif comment := re.fullmatch(r"\s*<!--(.*)-->\s*", token.content):
            directives, directives_line = parse_directives(comment[1], line), line
    return found


def parse_directives(comment, line):
    """Return the directives in a comment as a dict, None if it is an ordinary comment; raises Malformed."""
    try:
        words = [word.partition("=") for word in shlex.split(comment)]
    except ValueError:  # an apostrophe in prose
        return None
    if not any(key in DIRECTIVES and (sign or DIRECTIVES[key] is bool) for key, sign, _ in words):
        return None
    try:
        return {key: DIRECTIVES[key](value or not sign) for key, sign, value in words}
    except (KeyError, ValueError) as error:
        raise Malformed(f"line {line}: {error} is no directive or has no such value; known are {', '.join(DIRECTIVES)}")


def commands(content, line):
    """Return the commands in a block's text, whose first line has the number line; raises Malformed."""
    found = []
    for number, text in enumerate(content.splitlines(), line):
        if text.startswith("$ "):
            found.append(Command(text[2:], number))
        elif not found:
            raise Malformed(f'line {number}: a console block starts with a command, "$ ..."')
        elif not found[-1].expected and (text.startswith("> ") or found[-1].text.endswith("\\")):
            found[-1].text += "\n" + text.removeprefix("> ")
        else:
            found[-1].expected.append(text)
    if not found:
        raise Malformed(f"line {line - 1}: an empty console block")
    return found


def mismatch(expected, actual):
    """Compare two lists of lines; return None if they agree, else the index of the first expected line that fails.

    That index is len(expected) if lines are left over.
    """
    reached = {0}  # how many lines of actual the expected lines so far can have used up
    for index, line in enumerate(expected):
        if line.strip() == "...":
            reached = set(range(min(reached), len(actual) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(actual) and line_agrees(line, actual[at])}
        if not reached:
            return index
    return None if len(actual) in reached else len(expected)


class Failed(Exception):
    """A command that did not do what the README says."""

    def __init__(self, path, line, command, reason, expected=(), actual=()):
        # A line that agrees with its counterpart (through a wildcard, say) is no part of the diff.
        expected = [next((a for a in actual if e.strip() != "..." and line_agrees(e, a)), e) for e in expected]
        diff = difflib.unified_diff(expected, actual, f"{path.name}, what it says", "what the command printed", lineterm="")
        super().__init__("\n".join([f"{path}:{line}: {reason}", *([f"$ {command}"] if command else []), *diff]))


class Shell:
    """A bash that keeps its folder and variables from command to command, with nothing on its input."""

    stuck = False  # true once a command did not come back

    def __init__(self, folder, environment):
        # A session of its own: Ctrl-C reaches pytest alone, which then ends the shell and cleans up.
        self.process = subprocess.Popen(["bash", "--noprofile", "--norc"], cwd=folder, env=environment, bufsize=0,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        start_new_session=True)

    def run(self, command, timeout):
        """Run a command; return its output, standard error included, and its exit status.

        Raises TimeoutError, and EOFError if the command ended the shell; the output so far is the argument.
        """
        mark = uuid.uuid4().hex
        self.process.stdin.write(f"eval {shlex.quote(command)} </dev/null\nprintf '\\n%s %s\\n' {mark} $?\n".encode())
        output, deadline = b"", time.monotonic() + timeout
        while not (end := re.search(rf"\n{mark} (\d+)\n".encode(), output)):
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                self.stuck = True
                raise TimeoutError(output.decode(errors="replace"))
            part = os.read(self.process.stdout.fileno(), 65536)
            if not part:
                self.stuck = True
                raise EOFError(output.decode(errors="replace"))
            output += part
        return output[:end.start()].decode(errors="replace"), int(end[1])

    def close(self):
        """End the shell and everything that still runs in it."""
        try:
            os.killpg(self.process.pid, 9)
        except ProcessLookupError:
            pass
        self.process.wait()


def tags():
    """Return the images of this engine as {tag: id}."""
    listed = docker("image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").stdout
    return dict(line.split() for line in listed.splitlines() if "<none>" not in line)


class Traces:
    """What one README's run leaves on the Docker engine."""

    def __init__(self, text, project):
        self.name = f"readme-{uuid.uuid4().hex[:8]}"
        self.text = text
        self.project = project
        self.tags = tags()
        self.volumes = set(docker("volume", "ls", "-q").stdout.split())

    @property
    def compose_project(self):
        return f"{self.project}-{self.name}"

    def labels(self):
        """The options that label what the run makes; engine.sweep knows the first one, after a kill -9."""
        return ["--label", f"{engine.RUN_LABEL}={os.getpid()}", "--label", f"{LABEL}={self.name}"]

    def remove(self):
        """Remove it all, and return what it was, as a list of texts.

        Tags that the run moved to images of its own go back to where they were.
        """
        found = []
        for label in (f"label={LABEL}={self.name}", f"label=com.docker.compose.project={self.compose_project}"):
            found += self.all("container", label, "rm", "-f", "-v", listing=("-a",))
            found += self.all("network", label, "rm")
            found += self.all("volume", label, "rm")
            for image in docker("image", "ls", "-a", "-q", "--no-trunc", "--filter", label).stdout.split():
                found += self.forget(image)
        # "docker container run -v photos:/photos" makes a volume without a label.
        for volume in set(docker("volume", "ls", "-q").stdout.split()) - self.volumes:
            if re.search(rf"\b{re.escape(volume)}\b", self.text):
                docker("volume", "rm", volume, check=False)
                found.append(f"volume {volume}")
        return found

    def all(self, kind, label, *remove, listing=()):
        """Remove all of a kind that have a label; return their names."""
        name = "Names" if kind == "container" else "Name"
        names = docker(kind, "ls", *listing, "--filter", label, "--format", f"{{{{.{name}}}}}").stdout.split()
        for one in names:
            docker(kind, *remove, one, check=False)
        return [f"{kind} {one}" for one in names]

    def forget(self, image):
        """Remove an image, or move its tags back; return the tags that were new."""
        inspected = docker("image", "inspect", image, check=False)
        if inspected.returncode:  # the same image under another tag is gone with the first
            return []
        new = []
        for tag in json.loads(inspected.stdout)[0]["RepoTags"]:
            if tag not in self.tags:
                new.append(f"image {tag}")
            elif docker("tag", self.tags[tag], tag, check=False).returncode == 0:
                continue
            docker("image", "rm", tag, check=False)
        docker("image", "rm", image, check=False)
        return new


def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".md":
        return Readme.from_parent(parent, path=file_path)


class Readme(pytest.File):
    """A Markdown file; its console blocks are the tests."""

    def collect(self):
        try:
            found = blocks(self.path.read_text(encoding="utf-8"))
        except Malformed as error:
            raise self.CollectError(f"{self.path}: {error}")
        for block in found:
            item = Example.from_parent(self, name=f"line {block.line}: {block.commands[0].text[:60]}")
            item.block = block
            if "skip" in block.directives:
                item.add_marker(pytest.mark.skip(reason=f"{self.path.name}:{block.line}: {block.directives['skip']}"))
            yield item
        if found:
            yield CleanUp.from_parent(self, name="its clean-up leaves nothing behind")

    def setup(self):
        self.failed = self.problem = self.shell = None
        if reason := engine.why_no_engine():
            pytest.exit(reason, returncode=3)
        root = self.config.rootpath
        self.temporary = tempfile.TemporaryDirectory()
        bin_folder = Path(self.temporary.name, "bin")
        bin_folder.mkdir()
        copy = Path(self.temporary.name, root.name)
        shutil.copytree(root, copy, symlinks=True, ignore=shutil.ignore_patterns(
            ".git", ".venv", "node_modules", "target", "__pycache__", ".pytest_cache"))
        if (root / ".venv").exists():  # what ./verify.sh and ./draw.py run in
            (copy / ".venv").symlink_to(root / ".venv")
        folder = copy / self.path.parent.relative_to(root)
        compose = docker("compose", "config", "--format", "json", cwd=folder, check=False)
        self.project = json.loads(compose.stdout)["name"] if compose.returncode == 0 else folder.name
        text = self.path.read_text(encoding="utf-8")
        self.traces = Traces(text, self.project)
        wrapper = bin_folder / "docker"
        wrapper.write_text(WRAPPER.format(docker=shlex.quote(shutil.which("docker")), labels=shlex.join(self.traces.labels())))
        wrapper.chmod(0o755)
        self.new_shell = lambda: Shell(folder, os.environ | {
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "COMPOSE_PROJECT_NAME": self.traces.compose_project,
            "BUILDKIT_PROGRESS": "plain", "DOCKER_CLI_HINTS": "false", "NO_COLOR": "1", "TERM": "dumb"})
        self.shell = self.new_shell()
        # A learner who has just tried the lesson by hand may have left one of its containers.
        for name in dict.fromkeys(re.findall(r"^\$ docker .*--name[ =]([\w.-]+)", text, re.M)):
            if docker("container", "inspect", name, check=False).returncode == 0:
                self.problem = f"there is a container named {name} already; remove it first: docker container rm --force {name}"

    def teardown(self):
        if self.shell:
            self.shell.close()
            self.traces.remove()
            self.temporary.cleanup()


class Lesson(pytest.Item):
    """A test made of a README; Failed says all there is to say, without a traceback."""

    def repr_failure(self, excinfo, style=None):
        return str(excinfo.value) if isinstance(excinfo.value, Failed) else super().repr_failure(excinfo, style)


class Example(Lesson):
    """One console block."""

    def runtest(self):
        if self.parent.failed and "finally" not in self.block.directives:
            pytest.skip(self.parent.failed)
        if self.parent.problem:
            self.parent.failed = self.parent.problem
            raise Failed(self.path, self.block.line, self.block.commands[0].text, self.parent.problem)
        for attempt in range(self.block.directives.get("retry", 0), -1, -1):
            try:
                for command in self.block.commands:
                    self.check(command)
                return
            except Failed:
                if not attempt:
                    self.parent.failed = f"the block in line {self.block.line} failed"
                    raise
                time.sleep(1)

    def check(self, command):
        """Run a command of the block; raises Failed if it does not do what the README says."""
        timeout = self.block.directives.get("timeout", 120)
        last = command is self.block.commands[-1]
        status = self.block.directives.get("exit", 0) if last else 0
        try:
            output, found = self.parent.shell.run(command.text, timeout)
            reason = f"exit status {found} instead of {status}" if found != status else None
        except TimeoutError as error:
            output, reason = error.args[0], f"still running after {timeout} seconds"
        except EOFError as error:
            output, reason = error.args[0], "this command ended the shell"
        if reason and self.parent.shell.stuck:
            self.parent.shell.close()
            self.parent.shell = self.parent.new_shell()
        actual = clean(output.replace(self.parent.traces.compose_project, self.parent.project))
        expected = clean("\n".join(command.expected))
        wrong = mismatch(expected, actual)
        if reason is None and wrong is None:
            return
        line = command.line if reason else command.line + command.text.count("\n") + 1 + wrong
        raise Failed(self.path, line, command.text, reason or "the output is another", expected, actual)

    def reportinfo(self):
        return self.path, self.block.line - 1, self.name


class CleanUp(Lesson):
    """After the last block: what the lesson made on the Docker engine, it also tells the learner to remove."""

    def runtest(self):
        if self.parent.failed:
            pytest.skip(self.parent.failed)
        if left := self.parent.traces.remove():
            raise Failed(self.path, len(self.parent.traces.text.splitlines()), None, f"still there after the last block: {', '.join(left)}")

    def reportinfo(self):
        return self.path, None, self.name


def clean(text):
    """Return the lines of a text without empty lines at its end, spaces at theirs, and a terminal's control sequences."""
    # Compose 2.26 clears lines with one also where there is no terminal.
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", text).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def pytest_terminal_summary(terminalreporter):
    def examples(outcome):
        return [report for report in terminalreporter.getreports(outcome) if ".md::line " in report.nodeid]

    run = len(examples("passed")) + len(examples("failed"))
    if run or examples("skipped"):
        terminalreporter.write_line(f"blocks of README files: {run} run, {len(examples('skipped'))} skipped")
