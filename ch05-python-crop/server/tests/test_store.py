"""The data folder: what is found again after the server has died, and what cannot be used."""

import io
import sqlite3
import threading
import time

import pytest
from gallery.settings import BadSetting, Settings
from gallery.store import Store, Unusable, name_of


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def open_store(folder):
    stores = []

    def make():
        stores.append(Store(folder))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def keep(store, key="a" * 64, content=b"content"):
    stream = io.BytesIO(content)
    name = name_of(stream, ".jpg")
    part = {"file": name, "thumbnail": None}
    return store.add(key, {"original": part, "cropped": part}, {name: stream}), name


def test_photos_are_there_again_after_a_restart(open_store):
    store = open_store()
    assert keep(store) == (True, keep(store)[1])
    store.close()
    again = open_store()
    assert again.count() == 1
    assert again.find("a" * 64)["original"]["file"] in {file.name for file in again.files.iterdir()}


def test_what_a_dead_server_left_half_done_is_swept(open_store):
    store = open_store()
    _, name = keep(store)
    (store.incoming / "half a file").write_bytes(b"hal")
    (store.files / "no row names this.jpg").write_bytes(b"whole, but the server died before it wrote the row")
    store.close()
    again = open_store()
    assert [file.name for file in again.files.iterdir()] == [name]
    assert list(again.incoming.iterdir()) == []


def test_readers_do_not_wait_for_a_writer(open_store, folder):
    store = open_store()
    slow = sqlite3.connect(folder / "gallery.sqlite3", isolation_level=None)
    slow.execute("BEGIN IMMEDIATE")  # as if the disk took its time
    uploader = threading.Thread(target=keep, args=[store])
    uploader.start()
    while uploader.is_alive() and not list(store.files.iterdir()):  # its files are there, now it waits to write its row
        time.sleep(0.01)
    started = time.monotonic()
    assert store.count() == 0 and store.find("a" * 64) is None
    assert time.monotonic() - started < 1 and uploader.is_alive()
    slow.execute("ROLLBACK")
    uploader.join()
    assert store.count() == 1
    slow.close()


def test_a_second_server_is_kept_out(open_store, folder):
    open_store()
    with pytest.raises(Unusable, match="Another server"):
        Store(folder)


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unusable, match="cannot be written to by user"):
        Store(tmp_path / "file" / "data")


@pytest.mark.parametrize("wrong", ["no database", "newer"])
def test_a_database_that_cannot_be_used(open_store, folder, wrong):
    open_store().close()
    if wrong == "newer":
        connection = sqlite3.connect(folder / "gallery.sqlite3")
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        (folder / "gallery.sqlite3").write_bytes(b"not a database, and long enough to be looked at" * 9)
    with pytest.raises(Unusable, match="newer version" if wrong == "newer" else "not a database"):
        Store(folder)


def test_settings_come_from_the_environment(tmp_path):
    settings = Settings.from_environment({"DATA_DIR": str(tmp_path), "PORT": "8000", "MAX_UPLOAD_MB": ""})
    assert (settings.data_dir, settings.port, settings.max_upload_mb) == (tmp_path, 8000, 64)


@pytest.mark.parametrize("name", ["PORT", "MAX_UPLOAD_MB", "MAX_MEGAPIXELS"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "65536", "²"])
def test_a_bad_setting_is_named(name, value):
    with pytest.raises(BadSetting, match=name):
        Settings.from_environment({name: value})
