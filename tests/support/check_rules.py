"""What the checker looks for: rules on a Dockerfile's text and on the files of the image that it makes.

What shows only in a running container or a second build is in check_run.py. Each function yields Findings.
"""
import posixpath
import re
from dataclasses import dataclass

from .dockerfiles import NAME, Stage, expand

MB = 1_000_000
# Below this, bytes that could be saved are not worth a learner's time.
NOTABLE = 2 * MB

# The rules, the one that matters most first; a report keeps this order.
ORDER = """
build copy-from outside-context ignored-file apt-question
broken-json wrong-processor not-executable windows-line-ends dangling-link missing-libraries no-such-program
missing-library missing-module volume-not-writable not-writable ends-at-once
secret-in-env secret-in-arg secret-file context-in-image
root-user does-not-stop localhost-only health-check-broken cmd-ignored zombies read-only-root
skipped-tests undefined-variable unchecked-download moving-tag onbuild cd-alone
no-dependency-cache pipe-hides-failure apt-update-alone build-tools left-over removed-too-late copied-twice
unknown-time-zone missing-locale
not-ready localhost-service quoted-value mount-hides nothing-published
hadolint
""".split()


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: rule, file, line, and in a learner's words what, why and the cure."""
    rule: str
    line: int
    what: str
    why: str
    cure: str
    file: str = "Dockerfile"


def size(count):
    return f"{count / MB:.1f} MB"


SECRET = re.compile(r"(?:^|_)(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|API_?KEY|PRIVATE_KEY|ACCESS_KEY)$")


# A stage that is there to test, by its name or by what it runs.
TESTING = re.compile(r"(?:^|[-_])(?:tests?|lint|checks?|verify)(?:$|[-_])")
RUNS_TESTS = re.compile(r"\b(?:pytest|unittest|tox|ctest|jest|vitest|node \S*--test|(?:npm|pnpm|yarn)(?: run)? test|mvnw?\b.* (?:test|verify)"
                        r"|(?:go|cargo|dotnet|make) (?:test|check))\b")


def text_rules(dockerfile, target, base_env, build_args, asked=()):
    """Yield what the text alone shows.

    base_env: names that the base images set; build_args: from the command line; asked: stages that
    something beside the Dockerfile builds by name.
    """
    needed = {n for stage in [target, *asked] for n in stage.needs()}
    for stage in dockerfile.stages:
        if stage.index not in needed:
            yield from skipped_tests(stage)
            continue
        yield from moving_tag(stage)
        known = {**dockerfile.arguments, **build_args}
        for number, i in enumerate(stage.instructions):
            if i.cmd == "ARG":
                known.update({n: build_args.get(n, v) for n, v in i.variables().items()})
            yield from one_instruction(i, known)
            yield from secret_variable(i)
            yield from undefined_variable(dockerfile, stage, number, i, base_env)
    final = target.all()
    entry = last(final, "ENTRYPOINT")
    command = last(final, "CMD")
    if entry and command and not entry.json and final.index(command) > final.index(entry):
        yield Finding("cmd-ignored", entry.first, "ENTRYPOINT is in shell form, so CMD never reaches it.",
                      "The shell form is /bin/sh -c \"...\": what CMD adds, and what you type after the image's name, is lost.",
                      "Write both as JSON lists: ENTRYPOINT [\"program\"] and CMD [\"argument\"].")


def last(instructions, cmd):
    """Return the last instruction of that kind, or None."""
    return next((i for i in reversed(instructions) if i.cmd == cmd), None)


def skipped_tests(stage):
    if TESTING.search(stage.name) or any(i.cmd == "RUN" and RUNS_TESTS.search(i.words) for i in stage.instructions):
        yield Finding("skipped-tests", stage.start.first, f"The stage {stage.name or stage.index} is never run: the final stage doesn't depend on it, and nothing here asks for it by name.",
                      "BuildKit builds only what the final stage needs, so these tests can fail without anyone noticing.",
                      f"Copy something from it, for example COPY --from={stage.name or stage.index} /passed /passed, "
                      "after RUN tests && touch /passed.")


def moving_tag(stage):
    if isinstance(stage.base, Stage) or stage.base == "scratch" or "@" in stage.base or "$" in stage.base:
        return
    tag = stage.base.rsplit("/", 1)[-1].partition(":")[2]
    if tag in ("", "latest"):
        yield Finding("moving-tag", stage.start.first, f"FROM {stage.base} means whatever \"latest\" is on the day of the build.",
                      "The same Dockerfile builds another image tomorrow, and may fail.", "Name a version, such as python:3.13-slim.")


def one_instruction(i, known):
    if i.cmd in ("CMD", "ENTRYPOINT") and not i.json and i.words.lstrip().startswith("["):
        yield Finding("broken-json", i.first, f"The list of {i.cmd} is no JSON, so a shell gets it as a command.",
                      "JSON needs double quotes and commas. Docker takes anything else for the shell form, without a word.",
                      f"{i.cmd} " + re.sub(r"'", '"', i.words.strip()))
    if i.cmd == "ONBUILD":
        yield Finding("onbuild", i.first, "ONBUILD runs in other people's builds, where nobody sees it.",
                      "Its step runs right after FROM in every build that starts from this image.", "Write the step where it is to run.")
    if i.cmd == "ADD" and not i.flag("checksum") and re.match(r"https?://", expand(i.value[0], known)):
        yield Finding("unchecked-download", i.first, "ADD downloads a file that nothing checks.",
                      "Whoever owns the site decides what is in your image; the file is also readable by root only.",
                      "ADD --checksum=sha256:... --chmod=644.")
    if i.cmd == "RUN":
        update = re.search(r"\bapt(-get)?\b[^&|;\n]*\bupdate\b", i.words)
        if update and not re.search(r"\bapt(-get)?\b[^&|;\n]*\b(install|upgrade|build-dep|download|source)\b", i.words):
            yield Finding("apt-update-alone", i.first, "apt-get update stands in a RUN of its own.",
                          "The cache keeps its list of packages while the world moves on: a later install asks for files that are gone.",
                          "RUN apt-get update && apt-get install -y ... && rm -rf /var/lib/apt/lists/*")
        if re.fullmatch(r"(?:.*(?:&&|;))?\s*cd\s+\S+\s*", i.words):
            yield Finding("cd-alone", i.first, "This cd has no effect on the steps below.",
                          "Each RUN starts a new shell in the folder that WORKDIR set.", "WORKDIR " + i.words.split()[-1])


def secret_variable(i):
    for name, value in i.variables().items():
        if not SECRET.search(name.upper()) or i.cmd == "ENV" and not value:
            continue
        if i.cmd == "ENV":
            yield Finding("secret-in-env", i.first, f"ENV {name} puts a secret into the image.",
                          "Whoever has the image reads it with docker image inspect.",
                          f"Leave it out here; start the container with docker run --env {name}, or mount a secret file.")
        else:
            yield Finding("secret-in-arg", i.first, f"The build argument {name} is a secret, and the image's history keeps it.",
                          "docker history shows the values of build arguments to whoever has the image.",
                          "RUN --mount=type=secret,id=..., and docker build --secret id=...,src=FILE.")


def undefined_variable(dockerfile, stage, number, i, base_env):
    """A variable that is set too late, or above FROM only: the build sees nothing and says nothing."""
    if i.cmd not in ("RUN", "COPY", "ADD", "WORKDIR", "ENV", "LABEL", "USER", "EXPOSE"):
        return
    before = {n for earlier in (stage.chain()[:-1] and [x for s in stage.chain()[:-1] for x in s.instructions]) or []
              for n in earlier.variables()}
    before |= {n for earlier in stage.instructions[:number] for n in earlier.variables()} | set(base_env)
    later = {n: x for x in stage.instructions[number + 1:] for n in x.variables()}
    text = re.sub(r"'[^']*'", "", i.text) if i.cmd == "RUN" else i.text
    for name in dict.fromkeys(m[1] or m[3] for m in NAME.finditer(text) if m[2] is None):
        if name in before or re.search(rf"\b(?:{name}=|(?:for|read)\b[^;\n]*\b{name}\b)", text):
            continue
        if name in later or name in dockerfile.arguments:
            where = (f"line {later[name].first} sets it, which is below" if name in later
                     else "an ARG above FROM counts for FROM lines only")
            cure = f"Move line {later[name].first} above this one." if name in later else f"Write ARG {name} below this stage's FROM."
            yield Finding("undefined-variable", i.first, f"${name} is empty here: {where}.",
                          "The step runs with an empty text in its place, and nothing fails.", cure)


# --- the image's files --------------------------------------------------------------------------------------

LEFT_OVER = [
    (re.compile(r"^/var/lib/apt/lists/.+_(Packages|Release|InRelease|Sources)"), "apt's package lists", "rm -rf /var/lib/apt/lists/*"),
    (re.compile(r"^/var/cache/apt/archives/.+\.deb$"), "downloaded Debian packages", "apt-get clean"),
    (re.compile(r"^/(?:root|home/[^/]+)/\.cache/pip/"), "pip's cache", "pip install --no-cache-dir"),
    (re.compile(r"^/(?:root|home/[^/]+)/\.cache/(?:uv|go-build|yarn|pypoetry)/"), "a build tool's cache", "RUN --mount=type=cache"),
    (re.compile(r"^/(?:root|home/[^/]+)/\.npm/_cacache/"), "npm's cache", "npm cache clean --force, or RUN --mount=type=cache,target=/root/.npm"),
    (re.compile(r"^/(?:root|home/[^/]+)/\.m2/repository/"), "Maven's downloads", "a build stage of its own, or RUN --mount=type=cache,target=/root/.m2"),
    (re.compile(r"^/var/cache/apk/.+"), "apk's cache", "apk add --no-cache"),
]
CONTEXT = {".git", ".env", "node_modules", ".venv", "__pycache__", ".idea", ".vscode", ".DS_Store"}
TOOLS = {"gcc", "g++", "cc", "make", "cmake", "javac", "mvn", "gradle", "go", "cargo", "rustc", "git"}
SECRET_FILES = {".netrc", ".git-credentials", "id_rsa", "id_ed25519", "id_ecdsa", ".pgpass", ".pypirc"}


def image_rules(image):
    """Yield what the files of the built image show; image is a check_image.Image."""
    yield from root_user(image)
    yield from context_in_image(image)
    yield from secret_files(image)
    yield from build_tools(image)
    yield from left_over(image)
    yield from wasted(image)
    yield from zone_and_locale(image)
    yield from volumes(image)


def root_user(image):
    if (image.config.get("User") or "root").split(":")[0] in ("root", "0"):
        i = last(image.stage.all(), "USER") or image.stage.start
        yield Finding("root-user", i.first, "The program runs as root.",
                      "Whoever breaks into it may do anything in the container, and with what you mount into it.",
                      "Above CMD: USER and a name from the base image (node, nobody) or one made with useradd.")


def context_in_image(image):
    for number, layer in image.own():
        i = layer.instruction
        if i.cmd not in ("COPY", "ADD") or i.flag("from"):
            continue
        found = {part for path in layer.files for part in path.split("/") if part in CONTEXT}
        if found:
            yield Finding("context-in-image", i.first, f"This copies {', '.join(sorted(found))} from your folder into the image.",
                          f"{len(layer.files)} files went in, also those that only your machine needs, or only you may see.",
                          "A .dockerignore beside the Dockerfile: * in its first line, then one !FILE for each thing the image needs.")


def secret_files(image):
    for number, layer in image.own():
        for path, member in layer.files.items():
            name = posixpath.basename(path)
            key = (member.isreg() and member.size < 20_000 and re.search(r"\.(pem|key)$|^\.npmrc$", name)
                   and not re.search(r"/(node_modules|site-packages|dist-packages)/|^/(usr|etc/ssl)/", path)
                   and re.search(rb"PRIVATE KEY-----|_authToken", image.content(number, path)))
            if name in SECRET_FILES and member.isreg() or key:
                later = next((x.instruction.first for _, x in image.own() if path in x.removed and x is not layer), None)
                hidden = f" The rm in line {later} only hides it: this layer still holds it." if later else ""
                yield Finding("secret-file", layer.instruction.first, f"The secret file {path} is in the image.",
                              f"Whoever has the image can take it out with docker save.{hidden}",
                              f"RUN --mount=type=secret,id=secret,target={path}, and docker build --secret id=secret,src=FILE.")


def build_tools(image):
    found = {}
    for path, (number, member) in image.tree.items():
        if posixpath.basename(path) in TOOLS and posixpath.basename(posixpath.dirname(path)) in ("bin", "sbin") and (member.issym() or member.mode & 0o111):
            found.setdefault(image.line(path), set()).add(posixpath.basename(path))
    for i, tools in found.items():
        base = i.cmd == "FROM"
        total = sum(m.size for n, layer in enumerate(image.layers) for m in layer.files.values()
                    if layer.instruction is (None if base else i))
        line = image.stage.start.first if base and image.stage.start.value[0] == i.value[0] else i.first
        yield Finding("build-tools", line, f"The final image carries {', '.join(sorted(tools))}.",
                      f"They come with {size(total)} that the program doesn't need to run, and help whoever breaks in.",
                      "Build in a first stage (FROM ... AS builder), and COPY --from=builder only the result into a small one.")


def left_over(image):
    for number, layer in image.own():
        for pattern, name, cure in LEFT_OVER:
            total = sum(m.size for p, m in layer.files.items() if pattern.search(p))
            if total >= NOTABLE:
                yield Finding("left-over", layer.instruction.first, f"This step leaves {name} in the image: {size(total)}.",
                              "Nobody reads them when the program runs, and a later RUN can't take them out of this layer.",
                              f"In the same RUN: {cure}")


def wasted(image):
    """Bytes that are in the image twice, or in it and hidden."""
    twice, hidden, seen = {}, {}, {}
    for number, layer in enumerate(image.layers):
        i = layer.instruction
        for path in layer.removed if i else ():
            if path in seen and image.layers[seen[path]].instruction:
                member = image.layers[seen[path]].files[path]
                if any(pattern.search(path) for pattern, _, _ in LEFT_OVER):
                    continue  # left_over names the step that is to blame
                hidden[i] = hidden.get(i, 0) + (member.size if member.isreg() else 0)
        for path, member in layer.files.items():
            if i and member.isreg() and path in seen and image.layers[seen[path]].files[path].size == member.size:
                if member.size < 65536 or image.content(number, path) == image.content(seen[path], path):
                    twice[i] = twice.get(i, 0) + member.size
            seen[path] = number
    for i, total in twice.items():
        if total >= NOTABLE:
            yield Finding("copied-twice", i.first, f"This step stores {size(total)} a second time: files that only change mode, owner or date.",
                          "A layer holds whole files, so both copies are in the image.",
                          "COPY --chmod=... or --chown=..., or do it in the RUN that makes the files.")
    for i, total in hidden.items():
        if total >= NOTABLE:
            yield Finding("removed-too-late", i.first, f"This step removes {size(total)} that an earlier layer holds, which frees nothing.",
                          "The files are hidden, not gone: they are still pulled and stored.", "Remove them in the RUN that made them.")


def zone_and_locale(image):
    def setter(*names):
        return next((i for i in reversed(image.stage.all()) if i.cmd == "ENV" and set(names) & set(i.variables())), image.stage.start)
    zone = image.env.get("TZ", "").lstrip(":")
    if re.fullmatch(r"[A-Z][\w+-]*(/[\w+-]+)*", zone) and zone != "UTC" and image.resolve(f"/usr/share/zoneinfo/{zone}") not in image.tree \
            and not re.search(r"\d", zone):
        yield Finding("unknown-time-zone", setter("TZ").first, f"The image doesn't know the time zone {zone}, so its clock reads UTC.",
                      f"There is no file /usr/share/zoneinfo/{zone}.", "A full name such as Asia/Bangkok; install tzdata if the image has no zones at all.")
    for name in ("LC_ALL", "LANG"):
        value = image.env.get(name, "")
        generated = any(p.startswith("/usr/lib/locale/") and (p.endswith("locale-archive") or value.split(".")[0].lower() in p.lower())
                        for p in image.tree)
        if value and value.split(".")[0] not in ("C", "POSIX") and not generated and image.find("sh"):
            yield Finding("missing-locale", setter(name).first, f"The image doesn't have the locale {value}.",
                          "Shells and Perl warn at every start, and letters outside ASCII may come out wrong.", f"ENV {name}=C.UTF-8")
            return


def volumes(image):
    user = image.user()
    for path in image.config.get("Volumes") or {}:
        member = image.tree.get(path.rstrip("/"), (0, None))[1]
        if user and (member is None or member.uid != user and not member.mode & 0o002):
            i = next((i for i in reversed(image.stage.all()) if i.cmd == "VOLUME"), image.stage.start)
            yield Finding("volume-not-writable", i.first, f"The volume {path} belongs to root, and the program runs as user {image.config['User']}.",
                          "A new volume takes its owner from the image's folder; the first write fails with \"Permission denied\".",
                          f"Above USER and VOLUME: RUN install -d -o {image.config['User'].split(':')[0]} {path}")
