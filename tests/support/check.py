"""Check a Dockerfile of your own: ./verify.sh --check FOLDER says what is wrong, where, why it matters and how to mend it.

Builds it, reads the image's layers, runs it without network, changes a source file and builds again, reads
compose.yaml, and asks hadolint. Exit status: 0 nothing found, 1 something found, 2 it could not be checked.
"""
import argparse
import contextlib
import dataclasses
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import check_rules as rules
from .check_compose import compose_rules
from .check_image import Image
from .check_rules import Finding
from .check_run import run_rules
from .dockerfiles import DockerfileError, Stage, parse
from .engine import docker, inspect, set_up_ryuk, why_no_engine
from .images import steps

# hadolint's rules that are matters of taste, or that this program measures better itself.
UNASKED = ("DL3002 DL3003 DL3006 DL3007 DL3008 DL3009 DL3015 DL3018 DL3020 DL3022 DL3025 DL3029 DL3042 DL3047 DL3059 DL4001").split()
SOURCES = {".py", ".js", ".mjs", ".ts", ".java", ".kt", ".go", ".rs", ".rb", ".php", ".c", ".cc", ".cpp", ".sh", ".html", ".css"}
MANIFESTS = {"setup.py", "conftest.py", "build.rs"}
INSTALLS = re.compile(r"\b(?:pip3?|uv)\b.*\b(?:install|sync)\b|\b(?:npm|pnpm) (?:ci|install|i)\b|\byarn install\b|\bdependency:(?:go-offline|resolve)"
                      r"|\bgo mod download|\bcargo fetch|\bbundle install|\bcomposer install|\bapt-get\b.* install|\bapk add|\bpoetry install")
# Installing the program itself, or from files that are there, is cheap and has to come after the source.
INSTALLS_ITSELF = re.compile(r"--no-deps|--no-index|install(?: -\S+)* \.(?:\s|$)|--offline")


def main(arguments=None):
    """Check what the command line names; return the exit status."""
    options = argparse.ArgumentParser(prog="./verify.sh --check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path, help="the build context: a folder with a Dockerfile")
    options.add_argument("-f", "--file", type=Path, help="the Dockerfile, if it is not FOLDER/Dockerfile")
    options.add_argument("--target", help="the stage to check; the last one if not given")
    options.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    options.add_argument("--secret", action="append", default=[], metavar="id=NAME,src=FILE")
    options.add_argument("--json", action="store_true", help="print the findings as JSON, for tools")
    chosen = options.parse_args(arguments)
    try:
        if reason := why_no_engine():
            raise DockerfileError(reason)
        if not chosen.folder.is_dir():
            raise DockerfileError(f"{chosen.folder} is no folder. Name the folder that holds your Dockerfile.")
        file = chosen.file or chosen.folder / "Dockerfile"
        if not file.is_file():
            raise DockerfileError(f"There is no file {file}. Name your Dockerfile with -f FILE.")
        set_up_ryuk()
        findings = check(chosen.folder, file, chosen.target, chosen.build_arg, chosen.secret)
    except DockerfileError as error:
        print(json.dumps({"error": str(error)}) if chosen.json else f"error: {error}", file=sys.stdout if chosen.json else sys.stderr)
        return 2
    if chosen.json:
        print(json.dumps([dataclasses.asdict(f) for f in findings], indent=2))
    else:
        print(report(findings, file))
    return 1 if findings else 0


def report(findings, file):
    """Return the findings as text for a person."""
    if not findings:
        return f"{file}: nothing found."
    parts = [f"{number}. {f.file}, line {f.line}: {f.what}\n   Why:  {f.why}\n   Cure: {f.cure}   [{f.rule}]"
             for number, f in enumerate(findings, 1)]
    return "\n\n".join(parts) + f"\n\n{len(findings)} found, the one that matters most first."


def check(folder, file=None, target=None, build_args=(), secrets=()):
    """Check a folder's Dockerfile and compose file; return its Findings, most important first.

    Raises DockerfileError if the Dockerfile can't be parsed or the target doesn't exist.
    """
    folder, file = Path(folder).resolve(), Path(file or Path(folder, "Dockerfile")).resolve()
    values = dict(a.partition("=")[::2] for a in build_args)
    parsed = parse(file, values)
    stage = parsed.target(target)
    tag = f"checked-{os.getpid()}"
    options = [*(f"--build-arg={a}" for a in build_args), *(f"--secret={s}" for s in secrets), *(["--target", target] if target else [])]
    findings = []
    try:
        built = build(folder, file, tag, options)
        findings += rules.text_rules(parsed, stage, base_variables(parsed), values, asked_for(folder, parsed))
        if built.returncode:
            findings.append(build_failure(built.stderr, parsed, stage))
        else:
            with Image(tag, stage) as image:
                findings += rules.image_rules(image)
                composed, service = compose_rules(folder, file, image)
                findings += composed
                findings += [dataclasses.replace(f, **service.where) if f.rule == "zombies" and service else f
                             for f in run_rules(tag, image, bool(service and service.init))]
            findings += no_dependency_cache(folder, file, parsed, options)
        findings += hadolint(file, parsed)
    finally:
        docker("image", "rm", tag, check=False)
    return tidy([dataclasses.replace(f, file=file.name) if f.file == "Dockerfile" else f for f in findings])


def tidy(findings):
    """Sort by what matters; drop what another finding on the same line says better, and repetitions."""
    own = {(f.file, f.line) for f in findings if f.rule != "hadolint"}
    alone = {f.line for f in findings if f.rule == "apt-update-alone"}
    kept = {(f.rule, f.file, f.line, f.what): f for f in findings
            if not (f.rule == "hadolint" and (f.file, f.line) in own or f.rule == "left-over" and f.line in alone)}
    return sorted(kept.values(), key=lambda f: (rules.ORDER.index(f.rule), f.line))


def build(folder, file, tag, options):
    """Build with plain progress; return the CompletedProcess."""
    return docker("buildx", "build", "--progress", "plain", "-t", tag, "-f", file, *options, folder, check=False, timeout=3600, cwd=folder)


def asked_for(folder, parsed):
    """Return the stages that a bake file, compose file, script or workflow here or in a folder above builds by name."""
    folders = [folder, *list(folder.parents)[:2]]
    patterns = ("docker-bake.*", "*compose*.y*ml", "Makefile", "*.sh", ".github/workflows/*.y*ml", ".gitlab-ci.yml")
    text = "\n".join(p.read_text(errors="replace") for f in folders for pattern in patterns for p in f.glob(pattern) if p.is_file())
    return [s for s in parsed.stages if s.name and re.search(rf"target[\"']?\s*[:=\s]\s*[\"']?{re.escape(s.name)}\b", text)]


def base_variables(parsed):
    """Return the names of the variables that the base images set, and those that are always there."""
    names = {"PATH", "HOME", "HOSTNAME", "PWD", "TARGETARCH", "TARGETPLATFORM", "TARGETOS", "BUILDPLATFORM", "BUILDARCH", "TARGETVARIANT"}
    for stage in parsed.stages:
        if not isinstance(stage.base, Stage) and docker("image", "inspect", stage.base, check=False).returncode == 0:
            names.update(e.split("=")[0] for e in inspect(stage.base)["Config"].get("Env") or [])
    return names


def build_failure(log, parsed, stage):
    """Return the Finding for a failed build."""
    at = re.findall(r"^\S*?:(\d+)\n-{10,}", log, re.M)
    everything = [i for s in parsed.stages for i in (s.start, *s.instructions)]
    line = int(at[-1]) if at else stage.start.first
    step = next((i for i in everything if i.first <= line <= i.last), stage.start)
    printed = re.findall(r"^ > .*:\n((?:.*\n)*?)------$", log, re.M)
    reason = (re.findall(r"^ERROR: (?:failed to solve: )?(.*)", log, re.M) or [log.strip()[-300:]])[-1]
    # BuildKit has two ways to say it: the second if a folder on the way to the file is missing too.
    if match := re.search(r'"([^"]+)": not found|buildkit-mount\d+(/\S+): no such file', log):
        missing = match[1] or match[2]
        if step.flag("from"):
            number = step.flag("from")
            return Finding("copy-from", line, f"Stage {number} has no {missing}.",
                           "Stages count from 0, and a stage that is added above moves all numbers." if number.isdigit() else
                           "The file was made under another name, or in another stage.",
                           "Give each stage a name (FROM ... AS builder) and copy from the name.")
        if any(v.startswith("../") for v in step.value):
            return Finding("outside-context", line, f"{step.value[0]} is outside the build context.",
                           "The engine gets only the folder that you name in docker build FOLDER.",
                           "Build from the folder that holds both: docker build -f FOLDER/Dockerfile .")
        if (parsed.path.parent / missing.lstrip("/")).exists():
            return Finding("ignored-file", line, f"{missing.lstrip('/')} is there, but .dockerignore keeps it from the build.",
                           "What .dockerignore matches never reaches the engine.", f"Add !{missing.lstrip('/')} at the end of .dockerignore.")
    if match := re.search(r"invalid stage index (\d+)", log):
        line = next((i.first for i in everything if i.flag("from") == match[1]), line)
        return Finding("copy-from", line, f"There is no stage {match[1]}: there are {len(parsed.stages)}, counted from 0.",
                       "A stage copies from the stages above it.", "Give each stage a name (FROM ... AS builder) and copy from the name.")
    if re.search(r"Do you want to continue\? \[Y/n\] Abort", log):
        return Finding("apt-question", line, "apt-get asks a question, and a build has nobody to answer.",
                       "Without an answer it takes no.", "apt-get install -y")
    return Finding("build", line, f"The build fails: {reason}", "There is no image to check further. The step's last words: "
                   + (" / ".join(printed[-1].strip().splitlines()[-3:]) if printed else "none."),
                   "Read all that the step printed: docker build --progress plain .")


def no_dependency_cache(folder, file, parsed, options):
    """Change every source file a little, build again, and yield the installations that ran anew."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary, "context")
        shutil.copytree(folder, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"), ignore_dangling_symlinks=True)
        # Blank lines, which no language minds; another pattern each time, or the build cache would know the change.
        blank = b"".join(random.choice((b"\n", b" \n")) for _ in range(32))
        for path in copy.rglob("*"):
            if path.suffix in SOURCES and path.name not in MANIFESTS and path.is_file() and not path.is_symlink() and "node_modules" not in path.parts:
                with contextlib.suppress(OSError), path.open("ab") as source:
                    source.write(blank)
        inside = file.is_relative_to(folder)
        again = docker("buildx", "build", "--progress", "plain", "-f", copy / file.relative_to(folder) if inside else file, *options,
                       copy, check=False, timeout=3600, cwd=copy)
    if again.returncode:
        return
    ran = {plain(s.name.split("] ", 1)[-1]): s.seconds for s in steps(again.stderr) if not s.cached}
    for stage in parsed.stages:
        for i in stage.instructions:
            if i.cmd == "RUN" and INSTALLS.search(i.words) and not INSTALLS_ITSELF.search(i.words) and plain(i.text) in ran:
                yield Finding("no-dependency-cache", i.first, f"One changed line of source runs this installation again: {ran[plain(i.text)]:.1f} s each time.",
                              "A step comes from the cache only while all steps above it are unchanged, and COPY of the source stands above.",
                              "Copy the list of dependencies, install, and copy the source after that.")


def plain(text):
    """Return a step's text so that the Dockerfile's and BuildKit's way of writing it are the same."""
    return " ".join(re.sub(r"<<-?\s*[\"']?\w+.*", "<<", text, flags=re.S).split())


def hadolint(file, parsed):
    """Yield what hadolint calls a warning or an error, matters of taste left out."""
    scripts = {i.first for s in parsed.stages for i in s.instructions if i.cmd == "RUN" and "<<" in i.text}
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, "--no-fail", "--no-color", "-f", "json", *(f"--ignore={r}" for r in UNASKED), file],
                          capture_output=True, text=True, cwd=file.parent)
    for found in json.loads(done.stdout or "[]"):
        if found["code"] == "DL4006":
            if found["line"] in scripts:
                continue  # a heredoc is a script of its own, with its own "set" and often no pipe that matters
            yield Finding("pipe-hides-failure", found["line"], "If a command before the last one of this pipe fails, the build goes on.",
                          "A pipe's exit status is that of its last command.", "Above it: SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]")
        elif found["level"] in ("error", "warning") and found["code"] != "DL1000":
            # DL1000: hadolint's parser gave up where Docker's own did not.
            yield Finding("hadolint", found["line"], found["message"], f"hadolint's rule {found['code']}.",
                          "Its documentation shows the rule with an example of each kind.")


if __name__ == "__main__":
    sys.exit(main())
