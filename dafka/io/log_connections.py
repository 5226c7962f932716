"""SQLite connections of a log: how they are set up, who uses which, and that all are closed.

Decides durability, for it is a setting of each connection; knows nothing of what is stored.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from dafka.errors import Closed, StoreError

BUSY_TIMEOUT_S = 10
"""How long a foreign program, such as a backup, may lock the database before a write fails."""

SYNCHRONOUS = {"fsync": 2, "os": 1}
"""SQLite's `synchronous`: FULL syncs the write-ahead log at every commit, NORMAL does not."""

PRAGMAS = {
    "cache_size": 1000,
    "journal_mode": "wal",
    # What a large commit made of the write-ahead log is given back.
    "journal_size_limit": 64 << 20,
    # A disk error below mapped memory is a SIGBUS that kills the node, not an exception.
    "mmap_size": 0,
    "wal_autocheckpoint": 2000,
}


FAILURES = (sqlite3.Error, OSError)
"""What goes wrong between SQLite, the system and the disk."""
_DAMAGE_CODES = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
}


def is_damage(error: BaseException) -> bool:
    """Whether what is on disk is wrong, rather than that it cannot be read now."""
    return getattr(error, "sqlite_errorcode", None) in _DAMAGE_CODES


def cause(error: BaseException) -> str:
    """What went wrong first: a failed ROLLBACK hides the error that led to it."""
    while isinstance(error.__context__, FAILURES):
        error = error.__context__
    return str(error) or type(error).__name__


WHAT_EMPTY_MEANS = "other stores will fill that of a store; what only an outbox held is lost"
"""For whoever may have to begin without the records of a directory."""


class Moved(StoreError):
    """The files that are open are not those in the log's directory: what they get is lost."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"{directory} was removed, renamed or replaced while it was in use, so nothing is"
            " acknowledged any more: put back the directory that was there and start again, or"
            f" start with an empty one: {WHAT_EMPTY_MEANS}"
        )


class Connections:
    """As many connections as there are operations at the same time, each lent to one of them.

    A connection per thread, as diskcache has them, could be closed by that thread only; but
    threads of a pool come and go without telling.

    One more is open all the time and never lent. Where the last connection is closed, SQLite
    gives up its index of the write-ahead log, which the next one makes again from the file: then
    nothing could be read on a full disk, and a transaction would count whose sync has failed.
    """

    def __init__(self, database: Path, synchronous: int) -> None:
        """Raises `sqlite3.Error` if the database cannot be used."""
        self._database = database
        self._pragmas = {**PRAGMAS, "synchronous": synchronous}
        self._idle: list[sqlite3.Connection] = []
        self._lent = 0
        self._closed = False
        self._changed = threading.Condition()
        self._files = (str(database), f"{database}-wal")
        self._anchor = self._connect()
        self._places = self._find()

    @contextmanager
    def lend(self) -> Iterator[sqlite3.Connection]:
        """A connection for the calling thread, closed after an error; raises `Closed`.

        Closing it also rolls back: SQLite leaves the transaction of a failed COMMIT open.
        """
        with self._changed:
            if self._closed:
                raise Closed("the log was closed")
            self._lent += 1
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or self._connect()
            yield connection
        except BaseException:
            if connection is not None:
                connection.close()
            connection = None
            raise
        finally:
            with self._changed:
                if connection is not None:
                    self._idle.append(connection)
                self._lent -= 1
                self._changed.notify_all()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._database, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        # Text is nothing of ours; where damage makes it of a value, reading it must not fail.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            for name, value in self._pragmas.items():
                connection.execute(f"PRAGMA {name} = {value}").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def check_place(self) -> None:
        """Raise `Moved` unless the files that are open are still where they were.

        SQLite does not look: it would write into removed files for ever.
        """
        try:
            places = self._find()
        except OSError:
            places = []
        if places != self._places:
            raise Moved(self._database.parent)

    def _find(self) -> list[tuple[int, int]]:
        # Neither can be replaced by ourselves: both are kept as long as one connection is open.
        found = map(os.stat, self._files)
        return [(file.st_dev, file.st_ino) for file in found]

    def close(self) -> None:
        """Lend no more, wait for those that are lent, and close all."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._lent)
            while self._idle:
                self._idle.pop().close()
            self._anchor.close()
