"""Whose directory it is: ours, another process's, or none of ours."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import diskcache
import pytest

from dafka.core.run import Run
from dafka.errors import StoreError
from dafka.io import log_directory
from dafka.io.log import Log

A = "A" * 32

HOLD = """
import sys
from dafka.io.log import Log
log = Log(sys.argv[1])
log.open()
print("open", flush=True)
sys.stdin.read()
"""


def snapshot(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def refused(directory: Path, match: str) -> None:
    """Opening fails with this sentence, names the directory, and can be tried again."""
    log = Log(directory)
    for _ in range(2):
        with pytest.raises(StoreError, match=match) as error:
            log.open()
        assert str(directory) in str(error.value)


def test_the_directory_is_created_with_its_parents(tmp_path):
    with Log(tmp_path / "a" / "b" / "c"):
        assert sorted(snapshot(tmp_path / "a" / "b" / "c"))[:1] == ["cache.db"]


def test_a_relative_directory_is_one_of_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Log("data") as log:
        assert log.directory == tmp_path / "data"
        monkeypatch.chdir("/")
        log.append([Run("t", A, 0, [b"x"])])
    assert (tmp_path / "data" / "cache.db").exists()


def test_the_lock_names_its_process_and_is_released(tmp_path):
    log = Log(tmp_path)
    for _ in range(2):
        with log:
            assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
            refused(tmp_path, f"in use by process {os.getpid()}: stop that process")
            log.append([])


def test_another_process_holds_the_lock_until_it_is_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        refused(tmp_path, f"in use by process {holder.pid}: stop that process")
        holder.kill()
        holder.wait()
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, [b"x"])])


def test_a_directory_without_locks_is_refused(tmp_path, monkeypatch):
    def flock(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(log_directory.fcntl, "flock", flock)
    refused(tmp_path, "No locks available")


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "file").write_text("precious")
    refused(tmp_path / "file", "cannot be used as data directory: .*Give a directory")
    refused(tmp_path / "file" / "below", "cannot be used as data directory")
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    refused(tmp_path, "cannot be used as data directory: Permission denied")
    tmp_path.chmod(0o700)


def test_a_database_that_cannot_be_opened_is_reported(tmp_path, monkeypatch):
    def connect(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", connect)
    refused(tmp_path, "cannot be opened: unable to open database file")


def test_other_files_make_a_directory_foreign(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    refused(tmp_path, "holds other files, such as 'thesis.txt', and no Dafka log")
    assert snapshot(tmp_path) == {"thesis.txt": b"precious"}


def test_a_foreign_lock_file_is_left_as_it_is(tmp_path):
    (tmp_path / "lock").write_text("not yours")
    (tmp_path / "thesis.txt").write_text("precious")
    refused(tmp_path, "holds other files")
    assert snapshot(tmp_path) == {"lock": b"not yours", "thesis.txt": b"precious"}


def test_a_fresh_file_system_is_an_empty_directory(tmp_path):
    (tmp_path / "lost+found").mkdir()
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, [b"x"])])


@pytest.mark.parametrize("content", [b"hello", b"\0" * 8192, b"SQLite format 3\0" + b"x" * 8000])
@pytest.mark.parametrize("locked", [False, True])
def test_a_database_that_is_none_is_refused(tmp_path, content, locked):
    (tmp_path / "cache.db").write_bytes(content)
    if locked:
        (tmp_path / "lock").write_bytes(b"1\n")
    before = snapshot(tmp_path)
    refused(tmp_path, r"cache\.db is not the database of a Dafka log, or it is damaged")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_database_of_somebody_else_is_refused(tmp_path, journal):
    with closing(sqlite3.connect(tmp_path / "cache.db")) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("CREATE TABLE precious (value)")
        connection.commit()
    before = snapshot(tmp_path)
    refused(tmp_path, "it has other tables")
    after = snapshot(tmp_path)
    assert {name: after[name] for name in before} == before
    assert "lock" not in after


@pytest.mark.parametrize("entries", [0, 1])
@pytest.mark.parametrize("locked", [False, True])
def test_a_cache_of_somebody_else_is_refused(tmp_path, entries, locked):
    with closing(diskcache.Cache(tmp_path)) as cache:
        for i in range(entries):
            cache[i] = "precious"
    if locked and entries:
        (tmp_path / "lock").touch()
    refused(tmp_path, "no entry that tells|none that tells")
    with closing(diskcache.Cache(tmp_path)) as cache:
        assert cache.eviction_policy == "least-recently-stored"
        assert [cache[key] for key in cache] == ["precious"] * entries


def test_a_log_of_another_format_is_refused(tmp_path):
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, [b"x"])])
    with closing(sqlite3.connect(tmp_path / "cache.db")) as connection:
        connection.execute("UPDATE Cache SET value = ? WHERE key = ?", (b"2", b"v"))
        connection.commit()
    refused(tmp_path, r"unknown format b'2'; this Dafka knows b'1'")


def test_a_log_whose_lock_file_was_deleted_is_still_ours(tmp_path):
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, [b"x"])])
    (tmp_path / "lock").unlink()
    with Log(tmp_path) as log:
        assert len(log.partitions()) == 1


def test_a_log_whose_creation_was_cut_short_is_finished(tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / "cache.db").touch()
    with Log(tmp_path):
        pass
    (tmp_path / "dafka-log").unlink()
    with closing(sqlite3.connect(tmp_path / "cache.db")) as connection:
        connection.execute("DELETE FROM Cache")
        connection.commit()
    with Log(tmp_path):
        pass
    (tmp_path / "dafka-log").unlink()
    with closing(sqlite3.connect(tmp_path / "cache.db")) as connection:
        connection.execute("DROP TABLE Cache")
        connection.commit()
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, [b"x"])])


def _delete_entries(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM Cache")
        connection.commit()


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize(
    ("lose", "state"),
    [
        (lambda database: os.truncate(database, 0), "empty"),
        (_delete_entries, "empty"),
        (Path.unlink, "missing"),
    ],
)
def test_a_log_that_has_lost_its_records_is_not_taken_for_a_new_one(tmp_path, lose, state, locked):
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, [b"x"])])
    if not locked:
        (tmp_path / "lock").unlink()
    lose(tmp_path / "cache.db")
    before = snapshot(tmp_path)
    refused(tmp_path, rf"has held the records of a Dafka log, but its cache\.db is {state}")
    after = {**snapshot(tmp_path), "lock": before.get("lock")}
    assert {name: after[name] for name in before} == before
    for path in tmp_path.iterdir():
        path.unlink()
    with Log(tmp_path) as log:
        assert log.partitions() == []


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_a_log_is_marked_when_its_database_alone_tells_what_it_is(
    tmp_path, monkeypatch, durability
):
    def copy(directory: Path) -> None:
        (tmp_path / "copy").mkdir()
        shutil.copy(directory / "cache.db", tmp_path / "copy")

    with monkeypatch.context() as patch:
        patch.setattr("dafka.io.log.mark", copy)
        with Log(tmp_path / "log", durability=durability) as log:
            identity = log.identity
    with Log(tmp_path / "copy") as log:
        assert log.identity == identity


def test_a_log_from_before_there_were_marks_is_marked(tmp_path):
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, [b"x"])])
    (tmp_path / "dafka-log").unlink()
    with Log(tmp_path) as log:
        assert len(log.partitions()) == 1
        assert (tmp_path / "dafka-log").exists()


def test_a_name_that_diskcache_would_expand_is_refused(tmp_path):
    (tmp_path / "$HOME").mkdir()
    refused(tmp_path / "$HOME", "names a variable")
    assert not list((tmp_path / "$HOME").iterdir())


def test_a_name_with_unusual_characters_is_fine(tmp_path):
    directory = tmp_path / "a %20?b#c ü~"
    for _ in range(2):
        with Log(directory):
            pass
    assert (directory / "cache.db").exists()
