"""Who may use a log's directory: recognises our own, refuses foreign ones, admits one process.

Reads the database at most; creating and changing it is `log.py`'s.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from dafka.errors import StoreError
from dafka.io.files import make_directory, sync_directory, why
from dafka.io.log_connections import WHAT_EMPTY_MEANS
from dafka.io.log_format import VERSION, VERSION_KEY

DATABASE = "cache.db"
LOCK = "lock"
MARK = "dafka-log"
"""The file that tells, from the moment its database is on the disk, that here is a log."""

_MARK_TEXT = f"""\
Dafka keeps records in this directory: in {DATABASE} and, while it is in use, in {DATABASE}-wal.
With this file, a {DATABASE} that is missing or empty is a loss, and not a new log.
"""
# A file system's own directory: an empty disk mounted as data directory is not a foreign one.
_NOT_OURS_NOR_FOREIGN = {"lost+found"}
_HEADER = b"SQLite format 3\0"
_UNFINISHED = sqlite3.SQLITE_READONLY_ROLLBACK


class DirectoryLock:
    """The right to use a directory, from construction until `release` or the end of the process.

    It is a lock of the kernel's, so it never outlives its process, not even after a kill -9.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            if isinstance(error, BlockingIOError):
                raise StoreError(
                    f"{directory} is in use by process {owner or 'unknown'}:"
                    " stop that process, or use another directory"
                ) from error
            raise

    def sign(self) -> None:
        """Write this process's number into the lock file, for those who come next."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._file)


def take(directory: Path) -> DirectoryLock:
    """Create the directory if need be, make sure that it is ours, and lock it.

    Raises `StoreError`; a foreign directory is left exactly as it is.
    """
    try:
        make_directory(directory)
        began = (directory / LOCK).exists()
        if not began:
            _recognise(directory, began)
        lock = DirectoryLock(directory)
        try:
            if began:
                _recognise(directory, began)
            lock.sign()
        except BaseException:
            lock.release()
            raise
    except OSError as error:
        raise StoreError(
            f"{directory} cannot be used as data directory: {why(error)}."
            " Give a directory that this user can read and write"
        ) from error
    return lock


def mark(directory: Path) -> None:
    """Tell from now on that the directory holds a log, also after a power failure."""
    with (directory / MARK).open("w") as file:
        file.write(_MARK_TEXT)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(directory)


def is_marked(directory: Path) -> bool:
    """Whether the directory has held a log."""
    return (directory / MARK).exists()


def _recognise(directory: Path, began: bool) -> None:
    """Raise `StoreError` unless the directory is empty or ours.

    Only where we `began`, and left our lock, may its log be unfinished.
    """
    names = set(os.listdir(directory)) - _NOT_OURS_NOR_FOREIGN
    if names <= {LOCK}:
        return
    marked = MARK in names
    if marked and DATABASE not in names:
        raise _lost(directory, "missing")
    if DATABASE not in names:
        raise StoreError(
            f"{directory} holds other files, such as {min(names - {LOCK})!r}, and no Dafka log:"
            " give an empty directory, or one that Dafka has kept records in"
        )
    try:
        version = _version(directory / DATABASE, began)
        if version is None and not (began or marked):
            raise sqlite3.DatabaseError("it has no entry that tells its format")
    except sqlite3.Error as error:
        raise StoreError(
            f"{directory / DATABASE} is not the database of a Dafka log, or it is damaged"
            f" ({error}): give another directory, or restore this one from a copy"
        ) from error
    if marked and version is None:
        raise _lost(directory, "empty")
    if version is not None and version != VERSION:
        raise StoreError(
            f"{directory} holds a Dafka log of the unknown format {version!r}; this Dafka knows"
            f" {VERSION!r}: use the Dafka that wrote it, or give another directory"
        )


def _lost(directory: Path, state: str) -> StoreError:
    return StoreError(
        f"{directory} has held the records of a Dafka log, but its {DATABASE} is {state}: restore"
        f" the directory from a copy, or empty it to begin a new log: {WHAT_EMPTY_MEANS}"
    )


def _version(database: Path, began: bool) -> object:
    """The format in a database; None if it was never finished; sqlite3.Error if it is no log."""
    try:
        return _read_version(database, "ro")
    except sqlite3.Error as error:
        if not began or getattr(error, "sqlite_errorcode", None) != _UNFINISHED:
            raise
    # We were killed while we created it: what that began must be taken back before it is read.
    return _read_version(database, "rw")


def _read_version(database: Path, mode: str) -> object:
    with database.open("rb") as file:
        header = file.read(len(_HEADER))
    if not header:
        return None
    if header != _HEADER:
        raise sqlite3.DatabaseError("it does not begin as SQLite's databases do")
    uri = f"{database.absolute().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        if tables and "Settings" not in tables:
            raise sqlite3.DatabaseError("it has other tables")
        if "Cache" not in tables:
            return None
        versions = connection.execute("SELECT value FROM Cache WHERE key = ?", (VERSION_KEY,))
        row = versions.fetchone()
        if row is not None:
            return row[0]
        if connection.execute("SELECT 1 FROM Cache LIMIT 1").fetchone() is not None:
            raise sqlite3.DatabaseError("it has entries, but none that tells their format")
    return None
