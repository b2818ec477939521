"""The command `crop`: options, workers, what is printed, exit status."""

import argparse
import collections
import concurrent.futures
import contextlib
import ctypes
import math
import os
import queue
import re
import signal
import sys
import tempfile
import threading
import time
import urllib.parse
import warnings
from dataclasses import dataclass

from tqdm import tqdm

from cropper import files, gallery, photo

OK, SOME_FAILED, WRONG_USE = 0, 1, 2
WATCH_SECONDS = 1  # A new file is taken once it has stayed the same for as long: it may still be being copied.
GRACE_SECONDS = 5  # For photos in work when a signal comes; Docker kills after 10.
MAX_SIDE = 4096
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)

DESCRIPTION = """\
Crop photos around their center, or their largest face, and send original and crop to a gallery or put the crops into a
folder. Names, GPS positions and all other metadata inside the photos stay here. A crop has the shape asked for and is
never enlarged: a photo with fewer pixels gives a smaller crop."""
EPILOG = """\
Each option has the environment variable that its help names, for use in a container.
Exit status: 0 all cropped, 1 some failed or could not be sent, 2 wrong use or the server refused."""


def main(args=None):
    """Run the command with `args` (default: those of the process) and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace", line_buffering=True)
    warnings.filterwarnings("ignore", module="PIL")  # Pillow's remarks on files name none; what matters is an error.
    options = _options(args)
    _keep_memory()
    run = Run(options)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: run.stop.set())
    try:
        return run.everything()
    except BrokenPipeError:  # Who read our lines has gone: `crop … | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED


def _keep_memory():
    """Have the C library keep what a photo took for the next one: getting it from Linux anew took a fourth of the time."""
    with contextlib.suppress(AttributeError, OSError):  # Other systems' C libraries have no such setting.
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 2**25)
        mallopt(M_TRIM_THRESHOLD, 2**26)


def _options(args):
    parser = argparse.ArgumentParser(
        "crop", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def setting(name, convert, otherwise):
        value = os.environ.get(name, "")  # Compose sets a variable that has no value to the empty string.
        try:
            return convert(value) if value else otherwise
        except argparse.ArgumentTypeError as error:
            parser.error(f"environment variable {name}: {error}")

    photos, token_file = setting("PHOTOS", str, None), setting("TOKEN_FILE", str, "/run/secrets/upload_token")
    option = parser.add_argument
    option("photos", nargs="*", metavar="PHOTO", help="photo, or folder to search for photos [PHOTOS]")
    option("--mode", type=_mode, default=setting("MODE", _mode, "center"), help="center (default) or face [MODE]")
    option("--size", type=_size, default=setting("SIZE", _size, (500, 500)), help="of the crops: 500x500 [SIZE]")
    option("--format", choices=photo.CROP_FORMATS, default="jpeg", help="of the crops: %(choices)s (default jpeg)")
    option("--server", type=_url, default=setting("SERVER_URL", _url, None), metavar="URL", help="gallery [SERVER_URL]")
    option("--token-file", default=token_file, metavar="FILE", help="holds the gallery's upload token [TOKEN_FILE]")
    option("--patience", type=_seconds, default=60.0, metavar="SECONDS", help="to wait for a server that is down: 60")
    option("--out", metavar="FOLDER", help="put the crops there (as well)")
    option("--workers", type=_count, default=setting("WORKERS", _count, os.process_cpu_count()), help="[WORKERS]")
    option("--watch", action="store_true", help="go on, and crop what is added to the folders later")
    options = parser.parse_args(args)
    options.photos = options.photos or ([photos] if photos else [])
    if not options.photos:
        parser.error("which photos? Name files or folders, or set PHOTOS")
    if not options.server and not options.out:
        parser.error("where to? Name a server with --server or SERVER_URL, or a folder with --out")
    try:
        options.token = _token(options.token_file) if options.server else None
        if options.out:
            os.makedirs(options.out, exist_ok=True)
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}")
    except ValueError as error:
        parser.error(str(error))
    return options


def _mode(text):
    if text not in ("center", "face"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither center nor face")
    return text


def _size(text):
    sides = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    if not sides or max(map(int, sides.groups())) > MAX_SIDE:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 500x500, of at most {MAX_SIDE} pixels a side")
    return tuple(map(int, sides.groups()))


def _url(text):
    try:
        parts = urllib.parse.urlsplit(text)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not re.search(r"\s", text):
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no address such as http://server:8080")


def _seconds(text):
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")


def _count(text):
    if not re.fullmatch(r"[1-9]\d?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 99")
    return int(text)


def _token(path):
    with open(path, "rb") as file:
        token = file.read(4096).strip()
    if not re.fullmatch(rb"[!-~]+", token):
        raise ValueError(f"{path} holds no token: one line of letters, digits and signs is expected")
    return token.decode()


@dataclass(frozen=True)
class Result:
    """What became of one path: `status` is "cropped", "known", "skipped", "failed", "refused" or "left" (not begun)."""

    path: str
    status: str
    detail: str
    fallback: bool = False


class Run:
    """One run of the command: works through the photos with a pool of threads and reports each."""

    def __init__(self, options):
        self.stop = threading.Event()
        self._options = options
        self._request = photo.Request(options.mode, *options.size, options.format)
        self._gallery = options.server and gallery.Gallery(
            options.server, options.token, math.inf if options.watch else options.patience, self.stop, options.workers
        )
        self._counts = collections.Counter()
        self._fallbacks = 0
        self._status = OK
        self._hanging = False
        self._pool = concurrent.futures.ThreadPoolExecutor(options.workers)

    def everything(self):
        """Crop all photos, print a line for each and a summary, and return the exit status."""
        start = time.monotonic()
        if self._options.mode == "face":
            from cropper import faces  # noqa: F401  Once here, instead of by all workers at the same time.
        found = list(files.find(self._options.photos, self._options.out))
        done = {path: _state(path) for path, _ in found}
        self._batch(found)
        if self._options.watch:
            self._watch(done)
        print(self._summary(time.monotonic() - start))
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._hanging:  # Python would wait for them at its exit, and Docker kills.
            sys.stdout.flush()
            os._exit(self._status)
        return self._status

    def _watch(self, done):
        """Crop what comes or changes until told to stop. `done` says in which state each path was cropped last."""
        before = {}
        while not self.stop.wait(WATCH_SECONDS):
            found = list(files.find(self._options.photos, self._options.out))
            now = {path: _state(path) for path, _ in found}
            at_rest = {path for path, state in now.items() if state and state == before.get(path) != done.get(path)}
            self._batch([(path, problem) for path, problem in found if path in at_rest])
            done |= {path: now[path] for path in at_rest}
            before = now

    def _batch(self, found):
        named, results, left, end = set(self._options.photos), queue.SimpleQueue(), len(found), math.inf
        for path, problem in found:
            self._pool.submit(lambda *args: results.put(self._one(*args)), path, problem, path in named)
        with tqdm(total=left, unit="photo", disable=not sys.stderr.isatty() or not left) as bar:
            while left and time.monotonic() < end:
                with contextlib.suppress(queue.Empty):
                    self._report(results.get(timeout=0.2), bar)
                    bar.update()
                    left -= 1
                if self.stop.is_set() and end == math.inf:
                    end = time.monotonic() + GRACE_SECONDS
        if left:
            self._hanging, self._status = True, max(self._status, SOME_FAILED)
            self._counts["left"] += left

    def _one(self, path, problem, named):
        if self.stop.is_set():
            return Result(path, "left", "stopped before its turn")
        try:
            if problem:
                raise problem
            return self._crop(path, files.read(path, named))
        except files.NotAPhoto as reason:
            return Result(path, "failed" if named else "skipped", str(reason))
        except photo.BrokenPicture as reason:
            no_photo = not named and not path.lower().endswith(files.PICTURE_ENDINGS)
            return Result(path, "skipped" if no_photo else "failed", str(reason))
        except (files.Unreadable, gallery.Rejected, gallery.Unreachable) as reason:
            return Result(path, "failed", str(reason))
        except gallery.Refused as reason:
            self.stop.set()
            return Result(path, "refused", str(reason))
        except Exception as error:  # A full disk, or a bug of ours: still the failure of this one photo only.
            return Result(path, "failed", str(error) or type(error).__name__)

    def _crop(self, path, data):
        key = self._request.key(data)
        target = self._options.out and self._target(path, key)
        save = target and not os.path.exists(target)
        send = self._gallery and not self._gallery.has(key)
        if not save and not send:
            return Result(path, "known", "it was cropped before")
        crop = photo.make_crop(data, self._request)
        if save:
            _write(target, crop.cropped)
        if send:
            self._gallery.send(os.path.basename(path), crop, key, self._request)
        how = "center, no face found" if crop.note else self._request.mode
        return Result(path, "cropped", f"{crop.size[0]}x{crop.size[1]}, {how}", bool(crop.note))

    def _target(self, path, key):
        """The key keeps photos of one name apart and tells a second run that the work is done."""
        stem = os.fsencode(os.path.splitext(os.path.basename(path))[0])[:200]  # File systems take 255 bytes.
        return os.path.join(self._options.out, f"{os.fsdecode(stem)}-{key[:12]}.{self._request.format}")

    def _report(self, result, bar):
        self._counts[result.status] += 1
        self._fallbacks += result.fallback
        if result.status == "refused":
            self._status = WRONG_USE
        elif result.status in ("failed", "left"):
            self._status = max(self._status, SOME_FAILED)
        quiet = {"left"} if bar.disable else {"left", "cropped", "known"}  # With a bar, only what needs a look.
        if result.status not in quiet:
            bar.write(f"{result.status:8} {files.shown(result.path)}: {files.shown(result.detail)}", file=sys.stdout)

    def _summary(self, seconds):
        counts = self._counts
        if not counts:
            return "nothing to crop: " + ", ".join(map(files.shown, self._options.photos)) + " holds no files"
        parts = [f"{counts['cropped']} cropped"]
        if self._fallbacks:
            parts[0] += f" ({self._fallbacks} around the center for want of a face)"
        words = {
            "known": "known already",
            "skipped": "skipped",
            "failed": "failed",
            "refused": "refused",
            "left": "left undone",
        }
        parts += [f"{counts[status]} {words[status]}" for status in words if counts[status]]
        return f"{counts.total()} files in {seconds:.1f} s: " + ", ".join(parts)


def _state(path):
    """Return what changes when the file `path` is written to, or None where there is none."""
    with contextlib.suppress(OSError):
        about = os.lstat(path)
        return about.st_mtime_ns, about.st_size


def _write(target, data):
    """Write `data` to the file `target` so that it is there whole or not at all."""
    handle, path = tempfile.mkstemp(prefix=".crop-", dir=os.path.dirname(target))
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.chmod(path, 0o644)
        os.replace(path, target)
    except BaseException:
        os.unlink(path)
        raise
