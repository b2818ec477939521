"""What the checker learns by running an image: does it start, listen, stay healthy, stop, live on a read-only root.

The containers have no network, so a program under check can't reach anything.
"""
import json
import posixpath
import re
import time

from .check_rules import Finding, last
from .engine import RUN_LABELS, docker

# Any small image with a shell, to look into another container's processes and sockets.
PEEPHOLE = "debian:trixie-slim"
# Seconds from SIGTERM until the checker calls it ignored (docker stop itself waits ten), and until a
# program counts as one that stays.
GRACE, SETTLED, SLOW_START = 3, 1.5, 12

HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


class Container:
    """A container of the image under check; removed at the end of a with block."""

    def __init__(self, tag, *options):
        labels = [f"--label={k}={v}" for k, v in RUN_LABELS.items()]
        self.id = docker("create", "--network", "none", *labels, *options, tag).stdout.strip()
        started = docker("start", self.id, check=False)
        self.refused = started.stderr if started.returncode else ""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        docker("rm", "-f", "-v", self.id, check=False)

    @property
    def state(self):
        return json.loads(docker("inspect", "-f", "{{json .State}}", self.id).stdout)

    def output(self):
        """Return what it printed, or what Docker said when it could not start it."""
        logs = docker("logs", self.id, check=False)
        return self.refused + logs.stdout + logs.stderr

    def look(self, *script):
        """Run a shell script that sees this container's processes and sockets; return its output."""
        return docker("run", "--rm", "--network", f"container:{self.id}", "--pid", f"container:{self.id}", "--cap-add", "SYS_PTRACE",
                      PEEPHOLE, "sh", "-c", *script, check=False).stdout

    def listening(self):
        """Return the addresses in /proc/net/tcp's hexadecimal form that something listens on."""
        return re.findall(r"^\s*\d+: ([0-9A-F]+):[0-9A-F]{4} [0-9A-F:]+ 0A", self.look("cat /proc/net/tcp /proc/net/tcp6"), re.M)

    def settle(self, serves):
        """Wait until it ended, or listens (if serves), or has run for a while; return the addresses it listens on."""
        began, addresses = time.monotonic(), []
        while self.state["Running"] and time.monotonic() - began < (SLOW_START if serves else SETTLED):
            if serves and (addresses := self.listening()):
                break
            time.sleep(0.2)
        return addresses


def run_rules(tag, image, init=False):
    """Yield what running the image shows. init: it is meant to run with an init program (compose's init: true)."""
    options = ["--init"] if init else []
    health = image.config.get("Healthcheck") or {}
    if health.get("Test", ["NONE"]) != ["NONE"]:
        options += ["--health-interval", "1s", "--health-retries", "1", "--health-start-period", "0s"]
    serves = bool(image.config.get("ExposedPorts"))
    command = last(image.stage.all(), "ENTRYPOINT") or last(image.stage.all(), "CMD") or image.stage.start
    with Container(tag, *options) as c:
        addresses = c.settle(serves)
        state = c.state
        if not state["Running"]:
            failure = None
            if c.refused or state["ExitCode"]:
                failure = start_failure(image, c.output(), command)
            elif serves:
                failure = Finding("ends-at-once", command.first, "The container ends at once, with exit code 0.",
                                  "It lives as long as its first process, and EXPOSE says that it should serve.",
                                  "Start the server in the foreground: no & and no service start.")
            if failure:
                yield failure
                return
        else:
            yield from localhost_only(image, command, addresses)
            if health.get("Test", ["NONE"]) != ["NONE"]:
                yield from health_check(image, c)
            yield from zombies(c, command)
            yield from stop(c, command)
        fine = state["ExitCode"] == 0 or state["Running"]
    if fine:
        with Container(tag, *options, *HARDENED) as c:
            c.settle(serves)
            said = c.output()
            if not c.state["Running"] and (c.refused or c.state["ExitCode"]) and re.search(r"[Rr]ead-only file system|EROFS", said):
                yield Finding("read-only-root", command.first, "It fails where the container's root can't be written: " + quote(said, r"[Rr]ead-only|EROFS"),
                              "Careful teams run containers with --read-only, so that an intruder can change nothing.",
                              "Write to /tmp what may be lost, and to a volume what has to stay.")


def quote(text, pattern):
    """Return the first line of text in which the pattern stands."""
    return next((line.strip() for line in text.splitlines() if re.search(pattern, line)), text.strip()[-200:])


def localhost_only(image, command, addresses):
    if addresses and image.config.get("ExposedPorts") and all(a in ("0100007F", "00000000000000000000000001000000") for a in addresses):
        yield Finding("localhost-only", command.first, "The server listens on 127.0.0.1 only, so nobody outside the container reaches it.",
                      "127.0.0.1 is the container itself; a published port arrives at its other address.", "Listen on 0.0.0.0.")


def health_check(image, c):
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        health = c.state.get("Health") or {}
        log = health.get("Log") or []
        if health.get("Status") == "healthy":
            return
        broken = [e["Output"] for e in log if re.search(r"not found|executable file|no such file", e["Output"], re.I)]
        if broken:
            i = last(image.stage.all(), "HEALTHCHECK") or image.stage.start
            yield Finding("health-check-broken", i.first, "The health check can't run: " + broken[0].strip()[:160],
                          "The container stays unhealthy for ever, however well the program works.",
                          "Check with what the image has, for example with python3 or node in place of curl.")
            return
        time.sleep(0.3)


def zombies(c, command):
    dead = c.look("grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l").strip()
    if dead.isdigit() and int(dead) >= 3:
        yield Finding("zombies", command.first, f"After a few seconds {dead} dead processes (zombies) are waiting to be collected.",
                      "Process 1 has to collect orphans, and this program doesn't. In the end no process can start.",
                      "Run it with an init: docker run --init, or init: true in compose.yaml.")


def stop(c, command):
    began = time.monotonic()
    docker("stop", "-t", GRACE, c.id)
    took = time.monotonic() - began
    if c.state["ExitCode"] == 137 and took >= GRACE:
        shell = not command.json and command.cmd in ("CMD", "ENTRYPOINT")
        yield Finding("does-not-stop", command.first, f"It ignores SIGTERM: still running after {GRACE} s. docker stop would wait 10 s and kill it.",
                      "The shell form makes /bin/sh process 1, which doesn't pass the signal on." if shell else
                      "For process 1 a signal without a handler does nothing.",
                      f"Write {command.cmd} as a JSON list, and handle SIGTERM in the program." if shell else
                      "Handle SIGTERM in the program, or name a signal that it handles: STOPSIGNAL SIGINT.")


# --- why it doesn't start -----------------------------------------------------------------------------------

def start_failure(image, said, command):
    """Return the Finding that explains a failed start, or None: a program may have reasons of its own to fail."""
    words = list(command.value) if command.json else []
    path = image.find(words[0]) if words else None
    if match := re.search(r"exec:? \"?(/[^\s\":]+)\"?:", said):
        path = image.find(match[1])
    where = image.line(image.resolve(path)) or image.line(path) if path else None
    line = (where or command).first
    if "exec format error" in said:
        return Finding("wrong-processor", line, f"{path} is a program for another processor.",
                       "Processors of different kinds (amd64, arm64) have different machine code.",
                       "Let the package manager choose, or use the build argument TARGETARCH in place of a fixed name.")
    if re.search(r"exec:? .*permission denied", said):
        return Finding("not-executable", line, f"{path} may not be run: its file mode lacks the x.",
                       "COPY keeps the mode that the file has on the machine that builds.", "COPY --chmod=755")
    if re.search(r"exec:? .*(no such file or directory|not found)", said) and path:
        return not_there(image, path, line, command)
    if re.search(r"executable file not found", said):
        return Finding("no-such-program", command.first, f"The image has no program {words[0] if words else ''}.",
                       "It is neither at that path nor in a folder of PATH.", "Install it, or correct the name.")
    if match := re.search(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file", said):
        # The last file of the traceback that is not the base image's own, such as Python's importlib.
        lines = [image.line(image.resolve(f)) for f in re.findall(r'File "(/[^"]+)"', said)]
        line = next((i for i in reversed(lines) if i and i.cmd != "FROM"), command).first
        return Finding("missing-library", line, f"The system library {match[1]} is missing: " + quote(said, r"shared object"),
                       "pip installs Python packages, not the system libraries that some of them need.",
                       "opencv-python-headless in place of opencv-python." if match[1].startswith(("libGL", "libgthread", "libX")) else
                       f"Install the Debian package that has {match[1]}, or a build of the package that doesn't need it.")
    if match := re.search(r"(ModuleNotFoundError: No module named \S+|Cannot find module \S+)", said):
        return Finding("missing-module", command.first, f"The program needs a module that the image doesn't have: {match[1]}",
                       "It was not installed or not copied, or a path has changed.", "Install it in the image, and copy all of the program's files.")
    if match := re.search(r"(/[\w./-]+)['\"]?: [Pp]ermission denied|(?:EACCES|Errno 13|AccessDenied)[^\n]*?(/[\w./-]+)", said):
        path = match[1] or match[2]
        if any(path.startswith(v.rstrip("/")) for v in image.config.get("Volumes") or {}):
            return None  # the rule on volumes says it better
        while path not in image.tree and path != "/":
            path = posixpath.dirname(path)
        return Finding("not-writable", (image.line(path) or command).first, "The program may not use its own files: " + quote(said, r"(?i)permission denied|EACCES"),
                       f"{path} belongs to root: COPY makes files that belong to root, whatever USER says.",
                       "COPY --chown for what the program changes, or write to /tmp or a volume.")
    return None


def not_there(image, path, line, command):
    target = image.resolve(path)
    if target not in image.tree:
        if path in image.tree or posixpath.dirname(path) in image.tree and path != target:
            own = image.line(path) or command
            return Finding("dangling-link", own.first, f"{path} is a link to {target}, which the image doesn't have.",
                           "A virtual environment, for one, is a link to the Python that made it.",
                           "Use the same base image in both stages, or make it in the final one.")
        return Finding("no-such-program", command.first, f"The image has no file {path}.", "The command starts it by this path.",
                       "Compare the path with the destination of your COPY.")
    start = image.read(path) or b""
    if start.startswith(b"#!"):
        interpreter = start[2:].split(b"\n")[0]
        if interpreter.endswith(b"\r"):
            return Finding("windows-line-ends", line, f"{path} has the line ends of Windows.",
                           "The kernel looks for an interpreter whose name ends in a carriage return.",
                           "Store it with plain line ends: a .gitattributes with \"* text=auto eol=lf\".")
        return Finding("missing-libraries", line, f"{path} needs {interpreter.decode(errors='replace').strip()}, which the image doesn't have.",
                       "The first line of a script names its interpreter.", "Install it, or use another base image.")
    return Finding("missing-libraries", line, f"{path} is there, and the loader that it names is not.",
                   "The program was linked with a C library (glibc or musl) that this image lacks.",
                   "The same base image in both stages, a static build, or copy what ldd lists.")
