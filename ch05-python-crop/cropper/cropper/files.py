"""Find the photos in files and folders, and read them without being fooled by links, pipes or endless files."""

import os
import stat

MAX_BYTES = 128 * 2**20
PICTURE_ENDINGS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".apng",
    ".gif",
    ".webp",
    ".avif",
    ".heic",
    ".tif",
    ".tiff",
    ".bmp",
)


class Unreadable(Exception):
    """A path can't be used as a photo; the message says why."""


class NotAPhoto(Unreadable):
    """A path in a folder that nobody would call a photo: worth a line, but no failure."""


def find(paths, leave_out=None):
    """Yield (path, problem) for each of `paths` (files and folders, searched recursively) in a stable order.

    `problem` is None for a file to look at, else an Unreadable. Links inside folders are not followed, so that a loop of
    them can't hold anything up; hidden entries and the folder `leave_out` (where the crops go) are not searched.
    """
    for path in paths:
        if os.path.isdir(path):
            yield from _in_folder(path, leave_out and os.path.realpath(leave_out))
        elif os.path.lexists(path):
            yield path, None
        else:
            yield path, Unreadable("there is no such file or folder")


def _in_folder(top, leave_out):
    folders = [top]
    while folders:
        folder = folders.pop()
        if leave_out and os.path.realpath(folder) == leave_out:
            continue
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            yield folder, Unreadable(f"the folder can't be read: {error.strerror}")
            continue
        inner = []
        for entry in entries:
            if entry.name.startswith("."):
                yield entry.path, NotAPhoto("hidden")
            elif entry.is_symlink():
                yield entry.path, NotAPhoto("a symbolic link: only what it points to can be cropped")
            elif entry.is_dir():
                inner.append(entry.path)
            elif not entry.is_file():
                yield entry.path, NotAPhoto("not a regular file")
            else:
                yield entry.path, None
        folders += reversed(inner)


def read(path, named=True):
    """Return the bytes of the regular file `path`; raises Unreadable. `named`: the user named it, so it may be a link."""
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if named else os.O_NOFOLLOW)  # Opening a pipe must not wait for a writer.
    try:
        with open(os.open(path, flags), "rb", closefd=True) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise Unreadable("not a regular file")
            if about.st_size > MAX_BYTES:
                raise Unreadable(f"the file has more than {MAX_BYTES >> 20} MiB")
            return file.read(about.st_size)  # Not more, should it grow meanwhile.
    except OSError as error:
        raise Unreadable(f"the file can't be read: {error.strerror}") from None


def shown(path):
    """Return `path` as text for one line of output: whatever can't be printed, line breaks too, as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in path)
