"""Where photos are kept: files named by the hash of their content, and an SQLite database of what they are.

Everything is in one folder:

    files/<sha256>.<ending>   originals, crops and thumbnails; never changed once they have this name
    gallery.sqlite3           one row a photo, in the order of arrival
    incoming/                 files that are still being written
    lock                      held by the one server that uses the folder

A photo's files reach the disk before its row does, and the row before the answer to the uploader. So
whenever the server dies, each row has its files, and what was acknowledged is there.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import threading
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS photos (
    seq    INTEGER PRIMARY KEY,   -- 1, 2, 3, ... without gaps, as no row is ever removed
    id     TEXT NOT NULL UNIQUE,  -- the uploader's key
    record TEXT NOT NULL          -- the rest as JSON; see gallery.views.upload
) STRICT;
PRAGMA user_version = 1;
"""

# The places in a record that name files.
FILES = ("original.file", "original.thumbnail", "cropped.file", "cropped.thumbnail")


class Unusable(Exception):
    """The data folder cannot be used; the message says why and what to do."""


class Store:
    """The photos in one folder. Methods may be called from any thread."""

    def __init__(self, folder: Path):
        """Open `folder`, make what it lacks, and sweep what a server that died has left half done.

        Raises Unusable if it cannot be written to, or if another server uses it.
        """
        self.files = folder / "files"
        self.incoming = folder / "incoming"
        self._path = folder / "gallery.sqlite3"
        self._mutex = threading.Lock()
        self._readers = []
        self._mine = threading.local()
        try:
            self.files.mkdir(parents=True, exist_ok=True)
            self._lock = open(folder / "lock", "w")
        except OSError as error:
            raise Unusable(
                f"The data folder {folder} cannot be written to by user {os.getuid()}: {error.strerror}. "
                "Mount a volume there that this user owns, or set DATA_DIR."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise Unusable(f"Another server uses the data folder {folder}: stop it first.") from error
        try:
            self._open()
            shutil.rmtree(self.incoming, ignore_errors=True)
            self.incoming.mkdir()
            for orphan in {file.name for file in os.scandir(self.files)} - self._referenced():
                (self.files / orphan).unlink()
            _sync(self.files)
            _sync(folder)
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise Unusable(f"The data folder {folder} cannot be used: {error}.") from error

    def _open(self):
        self._db = self._connect()
        self._db.execute("PRAGMA journal_mode = WAL")
        # The default may lose the last transactions of a WAL database when the machine loses its power.
        self._db.execute("PRAGMA synchronous = FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, 1):
            raise sqlite3.DatabaseError(f"{self._path.name} was written by a newer version of this server")
        self._db.executescript(SCHEMA)

    def _connect(self):
        # In autocommit mode each statement is a transaction of its own.
        return sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)

    def _referenced(self):
        columns = ", ".join(f"json_extract(record, '$.{place}')" for place in FILES)
        return {name for row in self._query(f"SELECT {columns} FROM photos") for name in row}

    def close(self):
        """Close the database and let another server have the folder."""
        with contextlib.suppress(AttributeError):  # opening it has failed
            for database in (*self._readers, self._db):
                database.close()
        self._lock.close()

    def _query(self, sql, *values):
        # Each thread reads through a connection of its own: readers of a WAL database wait for nobody. Sharing
        # one, they queued for it, and fifty clients were served a tenth as fast as two.
        if not hasattr(self._mine, "db"):
            self._mine.db = self._connect()
            self._readers.append(self._mine.db)
        return self._mine.db.execute(sql, values).fetchall()

    def count(self) -> int:
        """The number of photos, which is also the newest one's `seq`. Takes the same time however many."""
        return self._query("SELECT max(seq) FROM photos")[0][0] or 0

    def find(self, photo_id: str) -> dict | None:
        """The photo with this id, or None."""
        photos = self._photos("WHERE id = ?", photo_id)
        return photos[0] if photos else None

    def page(self, before: int, limit: int) -> list[dict]:
        """At most `limit` photos whose `seq` is below `before`, newest first."""
        return self._photos("WHERE seq < ? ORDER BY seq DESC LIMIT ?", before, limit)

    def _photos(self, which, *values):
        rows = self._query(f"SELECT seq, id, record FROM photos {which}", *values)
        return [{"seq": seq, "id": photo_id, **json.loads(record)} for seq, photo_id, record in rows]

    def add(self, photo_id: str, record: dict, contents: dict) -> bool:
        """Keep a photo: its files first, then its row. Both are on the disk when this returns.

        `contents` maps the file names that `record` refers to (see `name_of`) to binary streams.
        Returns False, with nothing changed, if a photo with this id is there already.
        """
        for name, stream in contents.items():
            # Even if the file is there: another request may have made it that has not synced it yet.
            with tempfile.NamedTemporaryFile(dir=self.incoming, delete=False) as file:
                try:
                    shutil.copyfileobj(stream, file, 1 << 20)
                    file.flush()
                    os.fsync(file.fileno())
                    os.rename(file.name, self.files / name)
                except BaseException:
                    os.unlink(file.name)
                    raise
        _sync(self.files)
        with self._mutex:
            cursor = self._db.execute(
                "INSERT INTO photos (id, record) VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
                (photo_id, json.dumps(record)),
            )
        return cursor.rowcount == 1


def name_of(stream, suffix: str) -> str:
    """The name under which the content of `stream` (binary, rewound at the end) is kept."""
    stream.seek(0)
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    stream.seek(0)
    return digest + suffix


def _sync(folder):
    """Have the names in `folder` on the disk; syncing the files themselves does not do that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
