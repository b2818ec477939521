"""Mutation tests of Dockerfiles: change one thing as a learner might, and a test must turn red.

  ./verify.sh --mutants                     all mutants of all chapters, and what they teach into tests/mutants.json
  .venv/bin/python -m tests.support.mutants ch03-web-ping/Dockerfile ...      those of some Dockerfiles
  .venv/bin/python -m tests.support.mutants --missing                         those that have no verdict yet

A mutant is built in a copy of the repo and the chapter's own tests run there, the one that caught it last
time first. It is caught when the build or a test fails. What nothing catches is a survivor, unless the
image is the same (files and settings) and tests/mutants-equivalent.json gives the reason why that is right.
"""
import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from . import ROOT
from .dockerfiles import Stage, parse
from .engine import docker

CHAPTERS = {"ch03-web-ping": ["tests/test_ch03_web_ping.py"], "ch04-multistage": ["tests/test_ch04_multistage.py"],
            "ch05-python-crop": ["tests/test_ch05_python_crop.py"]}
RESULTS, EQUIVALENT = ROOT / "tests/mutants.json", ROOT / "tests/mutants-equivalent.json"

# Options that only save bytes or pin what is fetched, and commands that clean up.
SAVING = re.compile(r" --(?:no-install-recommends|no-cache-dir|no-compile|no-header-files|no-man-pages|strip-(?:java-)?debug[\w-]*|require-hashes)(?= |$)", re.M)
# Copies of the repo that are worked on side by side: one for each core does best.
WORKERS = int(os.environ.get("MUTANTS_WORKERS", "2"))
README = threading.Lock()

CLEANUP = r"(?:rm -rf?|rm -f|apt-get clean|find\b[^\n&]*(?:-delete|-exec rm)|strip|find\b[^\n&]*-exec strip)\b"


@dataclass(frozen=True)
class Mutant:
    """One change to one file of a chapter. text: the file's new text, or None: the file is gone."""
    file: str
    line: int
    stage: str
    rule: str
    change: str
    text: "str | None" = dataclasses.field(repr=False)

    @property
    def key(self):
        """A name that stays the same when lines are added above."""
        return f"{self.file}: {self.stage}: {self.rule}: {self.change}"


def dockerfiles():
    """Return the chapters' Dockerfiles, relative to the repo's root."""
    return sorted(str(p.relative_to(ROOT)) for c in CHAPTERS for p in (ROOT / c).glob("*ockerfile"))


def mutants(file):
    """Return all mutants of a Dockerfile (a path relative to the repo's root)."""
    parsed = parse(ROOT / file)
    lines = (ROOT / file).read_text().splitlines()
    found = []

    def put(stage, rule, i, change, new):
        """Replace the lines of instruction i by the text new."""
        text = "\n".join([*lines[:i.first - 1], *([new] if new else []), *lines[i.last:]]) + "\n"
        found.append(Mutant(file, i.first, name(stage), rule, change, text))

    for stage in parsed.stages:
        if stage.index:
            put(stage, "delete", stage.start, short(stage.start), "")
        for number, i in enumerate(stage.instructions):
            raw = "\n".join(lines[i.first - 1:i.last])
            put(stage, "delete", i, short(i), "")
            for rule, change, new in edits(i, raw, parsed, stage):
                put(stage, rule, i, change, new)
            if i.cmd == "COPY" and not i.flag("from") and "<<" not in i.text and (above := above_which(stage, number)):
                moved = [*lines[:above.first - 1], raw, *lines[above.first - 1:i.first - 1], *lines[i.last:]]
                found.append(Mutant(file, i.first, name(stage), "source first", f"{short(i)}, above {short(above)}", "\n".join(moved) + "\n"))
    for stage in finals(parsed):
        builder = next((s for i in stage.instructions for s in [parsed_stage(parsed, i.flag("from"))] if s), None)
        if builder:
            base = builder.chain()[0].base
            put(stage, "base", stage.start, f"FROM {stage.start.value[0]} becomes the builder's base",
                stage.start.text.replace(stage.start.value[0], base if base != stage.base else builder.name, 1))
    assert len({m.key for m in found}) == len(found), f"{file}: two mutants with one name"
    return found


def name(stage):
    """Return a stage's name, or its number."""
    return stage.name or str(stage.index)


def short(i):
    """Return an instruction in one line of at most 80 letters."""
    text = " ".join(i.text.split())
    return text if len(text) <= 80 else text[:77] + "..."


def parsed_stage(parsed, name):
    return next((s for s in parsed.stages if name and s.name == name.lower()), None)


def finals(parsed):
    """Return the stages that no other one needs: those that become images."""
    needed = {x.index for s in parsed.stages for x in [s.base, *s.sources] if isinstance(x, Stage)}
    return [s for s in parsed.stages if s.index not in needed]


def above_which(stage, number):
    """Return the nearest RUN above an instruction in its stage, or None."""
    return next((i for i in reversed(stage.instructions[:number]) if i.cmd == "RUN"), None)


def edits(i, raw, parsed, stage):
    """Yield (rule, change, new text) for every change of one instruction but its deletion."""
    if i.cmd in ("CMD", "ENTRYPOINT", "HEALTHCHECK") and i.json:
        yield "shell form", short(i), re.sub(r"\[.*\]", lambda m: shlex.join(json.loads(m[0])), raw, flags=re.S)
    for flag in i.flags:
        if i.cmd == "HEALTHCHECK":
            continue  # times are a matter of taste
        yield "drop flag", f"{flag} of {short(i)}", re.sub(re.escape(flag) + r"\s*(\\\n\s*)?", "", raw, count=1)
    if i.flag("from") and parsed_stage(parsed, i.flag("from")):
        other = next((s for s in parsed.stages[:stage.index] if s.name and s.name != i.flag("from").lower()), None)
        if other:
            yield "another stage", f"{short(i)}: from {other.name}", raw.replace(f"--from={i.flag('from')}", f"--from={other.name}", 1)
    if i.cmd == "ENV" and len(i.variables()) > 1:
        for name in i.variables():
            kept = [f"{n}={v}" for n, v in zip(i.value[::2], i.value[1::2]) if n != name]
            yield "drop variable", name, "ENV " + " ".join(kept)
    if i.cmd == "RUN" or "<<" in i.text:
        for match in SAVING.finditer(raw):
            yield "drop option", f"{match[0].strip()} of {short(i)}", raw[:match.start()] + raw[match.end():]
        for match in re.finditer(rf"(?:\s*\\\n)?\s*&&\s*{CLEANUP}[^&\n]*", raw):
            yield "drop clean-up", " ".join(match[0].replace("\\", "").split()), raw[:match.start()] + raw[match.end():]
        if "<<" in i.text:
            for match in re.finditer(rf"^{CLEANUP}(?:[^\n]*\\\n)*[^\n]*\n", raw, re.M):
                yield "drop clean-up", " ".join(match[0].replace("\\", "").split())[:80], raw[:match.start()] + raw[match.end():]


def ignore_mutants():
    """Return a mutant without .dockerignore for each chapter."""
    return [Mutant(f"{c}/.dockerignore", 1, "-", "delete", "the whole file", None) for c in CHAPTERS if (ROOT / c / ".dockerignore").exists()]


def everything():
    """Return all mutants of all chapters."""
    return [m for f in dockerfiles() for m in mutants(f)] + ignore_mutants()


# --- trying one -----------------------------------------------------------------------------------------------

@dataclass
class Verdict:
    """What became of a mutant: "caught", "equivalent" or "survived"; by which test, and what it said."""
    mutant: Mutant
    outcome: str
    by: str = ""
    said: str = ""
    seconds: float = 0.0


class Workshop:
    """A copy of the repo in which mutants are tried, one at a time, with image names of its own."""

    def __init__(self, folder, number):
        self.root = Path(folder, f"repo{number}")
        self.registry = f"mutants-{os.getpid()}-{number}"
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in listed.splitlines():
            if (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)
        self.environment = {**os.environ, "REGISTRY": self.registry, "PYTHONDONTWRITEBYTECODE": "1"}
        self.originals = {}

    def bake(self, *arguments):
        return docker("buildx", "bake", "-f", "docker-bake.hcl", "--progress", "plain", *arguments,
                      cwd=self.root, env=self.environment, check=False, timeout=1800)

    def targets(self, file):
        """Return the bake targets that a file of a chapter belongs to."""
        chapter, _, name = file.partition("/")
        # Also those that belong to no group, such as a stage that only runs tests.
        named = re.findall(rf'^target "({chapter.split("-")[0]}-[^"]+)"', (self.root / "docker-bake.hcl").read_text(), re.M)
        everything = json.loads(self.bake("--print", *named).stdout)["target"]
        return sorted(t for t, d in everything.items() if d["context"] == chapter and name in (d["dockerfile"], ".dockerignore"))

    def original(self, file):
        """Return {target: image id} of a file's targets without a change; builds them the first time."""
        if file not in self.originals:
            targets = self.targets(file)
            built, log = self.digests(targets) if targets else ({}, "")
            assert built is not None, f"{file} does not build even without a change:\n{log[-3000:]}"
            # A tag of its own keeps each image while mutants take over its name.
            for target, digest in built.items():
                if digest:
                    docker("tag", digest, f"{self.registry}-original/{target}")
            self.originals[file] = built
        return self.originals[file]

    def close(self):
        """Remove the original images' tags."""
        self.untag(f"{self.registry}-original/*")

    def untag(self, pattern):
        tags = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", pattern).stdout.split()
        if tags:
            docker("image", "rm", *tags, check=False)

    def digests(self, targets):
        """Build targets; return ({target: image id}, "") or (None, the log of a failure)."""
        metadata = self.root / ".metadata.json"
        done = self.bake("--metadata-file", str(metadata), *targets)
        if done.returncode:
            return None, done.stderr
        return {t: d.get("containerimage.digest") for t, d in json.loads(metadata.read_text()).items() if isinstance(d, dict)}, ""

    def try_out(self, mutant, killer=""):
        """Build a mutant and run tests until one fails; return the Verdict."""
        began, path = time.monotonic(), self.root / mutant.file
        before = path.read_text()
        try:
            verdict = self.judge(mutant, path, killer)
        finally:
            path.write_text(before)
            self.untag(f"{self.registry}/*")
        verdict.seconds = time.monotonic() - began
        return verdict

    def judge(self, mutant, path, killer):
        original = self.original(mutant.file)
        if mutant.text is None:
            path.unlink()
        else:
            path.write_text(mutant.text)
        if original:
            changed, log = self.digests(sorted(original))
        else:  # a Dockerfile that makes none of the repo's images
            done = docker("build", "--progress", "plain", "-f", path, path.parent, check=False, cwd=self.root)
            changed, log = (None, done.stderr) if done.returncode else ({}, "")
        if changed is None:
            return Verdict(mutant, "caught", "the build", build_error(log))
        chapter = mutant.file.partition("/")[0]
        # A Dockerfile of a lesson only: the README's blocks that name it.
        suites = CHAPTERS[chapter] if original else [f"{chapter}/README.md", "-k", mutant.file.partition("/")[2].partition(".")[0]]
        known = killer and killer != "the build"
        if known and (failed := self.pytest([killer], "")):
            return Verdict(mutant, "caught", *failed)
        # Same files and settings: only a test that builds can tell the two apart.
        kind = "same image" if original and all(same(original[t], changed[t]) for t in original) else "another image"
        lint = f"tests/test_build_all.py::test_hadolint_finds_nothing[{mutant.file}]"
        if kind == "same image" and reviewed(mutant):
            return Verdict(mutant, "equivalent", "", reviewed(mutant))
        if failed := self.pytest(suites, kind) or mutant.text and self.pytest([lint], "another image"):
            return Verdict(mutant, "caught", *failed)
        return Verdict(mutant, "survived", "", kind)

    def pytest(self, tests, kind):
        """Run tests until one fails; return (its id, its first words), or None if all passed. kind: see mutants_plugin.py."""
        report = self.root / ".report.xml"
        report.unlink(missing_ok=True)
        # READMEs give their images and containers fixed names: one at a time.
        with README if "README.md" in tests[0] else contextlib.nullcontext():
            done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "tests.support.mutants_plugin", f"--junitxml={report}", *tests],
                                  cwd=self.root, env={**self.environment, "MUTANT": kind}, capture_output=True, text=True, timeout=1200, stdin=subprocess.DEVNULL)
        if done.returncode in (0, 5):
            return None
        if match := re.search(r"^(?:FAILED|ERROR) (\S+?::[^\n]*?)(?: - (.*))?$", done.stdout, re.M):
            message = next((p.get("message", "") for c in ElementTree.parse(report).getroot().iter("testcase")
                            for p in [*c.findall("failure"), *c.findall("error")]), match[2] or "")
            return match[1].strip(), first_words(message)
        if done.returncode == 4 and len(tests) == 1:
            return None  # the test that caught it last time is gone
        raise RuntimeError(f"pytest could not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def first_words(message):
    """Return what a failed assertion says before pytest's own explanation, or nothing."""
    said = re.sub(r"/tmp/\S+", "...", " ".join(message.split())).removeprefix("AssertionError: ")
    return re.split(r"(?:^| )assert ", said)[0].strip()[:300]


def build_error(log):
    """Return the first sentence of why a build failed."""
    printed = re.findall(r"^ > .*:\n((?:.*\n)*?)------$", log, re.M)
    reason = (re.findall(r"^ERROR: (?:target [\w-]+: )?(?:failed to solve: )?(.*)", log, re.M) or ["?"])[-1]
    # Each line has the seconds before it; the last one that says something is the reason.
    said = [re.sub(r"^[\d.]+(?: |$)", "", line).strip() for line in printed[-1].splitlines()] if printed else []
    words = next(filter(None, reversed(said)), "")
    # Without names that differ on every machine and every run.
    for pattern, new in ((r".*failed to walk \S+buildkit-mount\d+(/\S*): lstat.*", r'"\1": not found'), (r'.*calculate checksum of ref \S+: ("[^"]+": not found)', r"\1"),
                         (r".*/overlay2/\w+/merged", "cannot copy to "), (r"/\S*/buildkit-mount\d+", ""), (r".*failed to resolve source metadata for docker\.io/library/(\w+):latest:.*", r"there is no stage or image \1")):
        reason = re.sub(pattern, new, reason)
    return re.sub(r" in [\d.]+ ?s$", "", words or reason).strip()[:300]


def reviewed(mutant):
    """Return the reason in tests/mutants-equivalent.json why it is right that nothing catches a mutant, or None."""
    return next((reason for pattern, reason in json.loads(EQUIVALENT.read_text()).items() if re.fullmatch(pattern, mutant.key)), None)


def same(one, other):
    """Tell whether two images have the same files (names, modes, owners, bytes; not dates) and settings."""
    if one == other or None in (one, other):
        return one == other
    settings = [json.loads(docker("image", "inspect", i).stdout)[0] for i in (one, other)]
    return settings[0]["Config"] == settings[1]["Config"] and contents(one) == contents(other)


@functools.lru_cache(maxsize=32)  # the originals are asked for again and again
def contents(image):
    """Return all files of an image: name, mode, owner, kind, link, hash."""
    container = docker("create", image, "none").stdout.strip()
    found = []
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as process, \
                tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for m in archive:
                if m.name.endswith(".dist-info/RECORD"):
                    continue  # pip's own list of what it installed
                # Bytecode beside its source only repeats it, and holds the time of its making.
                made = m.name.endswith(".pyc") and "/__pycache__/" in m.name
                data = hashlib.sha256(archive.extractfile(m).read()).hexdigest() if m.isreg() and not made else ""
                found.append((m.name, m.mode, m.uid, m.gid, m.type, m.linkname, data))
    finally:
        docker("rm", container)
    return sorted(found)


# --- trying all -----------------------------------------------------------------------------------------------

def run(chosen, workers=WORKERS, report=print, keep=lambda verdicts: None):
    """Try mutants on a few copies of the repo side by side; return their Verdicts in order.

    report gets a line for each, keep each Verdict in a list, as soon as it is there.
    """
    known = {k: v["by"] for k, v in results().items()}
    lock, verdicts = threading.Lock(), []
    with tempfile.TemporaryDirectory() as folder:
        free = queue.SimpleQueue()
        for number in range(workers):
            free.put(Workshop(folder, number))

        def one(mutant):
            workshop = free.get()
            try:
                verdict = workshop.try_out(mutant, known.get(mutant.key, ""))
            except Exception as error:  # one that can't be judged must not lose the others' verdicts
                verdict = Verdict(mutant, "survived", "", f"could not be judged: {error}")
            finally:
                free.put(workshop)
            report(f"{verdict.outcome:10} {verdict.seconds:5.1f} s  {mutant.file}:{mutant.line}  {mutant.rule}: {mutant.change}\n"
                   f"           {verdict.by}  {verdict.said}")
            with lock:
                keep([verdict])
            return verdict

        try:
            with concurrent.futures.ThreadPoolExecutor(workers) as pool:
                verdicts = list(pool.map(one, chosen))
        finally:
            while not free.empty():
                free.get().close()
    return verdicts


def results():
    """Return what is stored: {key: {"outcome", "by", "said"}}."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def store(verdicts):
    """Write what was learned into tests/mutants.json; entries of mutants that exist no more go."""
    exist = {m.key for m in everything()}
    kept = {k: v for k, v in results().items() if k in exist}
    kept.update({v.mutant.key: {"outcome": v.outcome, "by": v.by, "said": v.said} for v in verdicts})
    RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def main(files):
    """Try the mutants of some Dockerfiles, or of all, or (--missing) those without a verdict; return 1 if there are survivors."""
    missing, files = "--missing" in files, [f for f in files if f != "--missing"]
    done = {k for k, v in results().items() if v["outcome"] != "survived"} if missing else ()
    # The lower a line stands, the less has to be built again: quick verdicts first.
    chosen = sorted((m for m in everything() if (not files or m.file in files) and m.key not in done), key=lambda m: -m.line)
    began = time.monotonic()
    verdicts = run(chosen, report=lambda line: print(line, flush=True), keep=store)
    survivors = [v for v in verdicts if v.outcome == "survived"]
    for v in survivors:
        print(f"SURVIVED  {v.mutant.file}:{v.mutant.line}  {v.mutant.rule}: {v.mutant.change}  ({v.said})")
    print(f"{len(verdicts)} mutants in {time.monotonic() - began:.0f} s: {sum(v.outcome == 'caught' for v in verdicts)} caught, "
          f"{sum(v.outcome == 'equivalent' for v in verdicts)} equivalent, {len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
