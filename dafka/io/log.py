"""The durable record log of a node: appends runs, reads runs, checks what is on disk.

The only importer of diskcache. Plain blocking code, to be called in threads: one change at a time,
any number of reads beside it. Decides when records are durable; what to append, when to
acknowledge and what to do about damage is the caller's to decide.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import diskcache

from dafka.core.extent import Extent
from dafka.core.run import Run
from dafka.errors import Closed, ConfigError, StoreError
from dafka.io import log_format as fmt
from dafka.io.log_check import check
from dafka.io.log_connections import (
    BUSY_TIMEOUT_S,
    FAILURES,
    PRAGMAS,
    SYNCHRONOUS,
    Connections,
    Moved,
    cause,
)
from dafka.io.log_damage import Damage, Damaged, Quarantine
from dafka.io.log_directory import DATABASE, DirectoryLock, is_marked, mark, take
from dafka.io.log_format import MAX_CONTENT_BYTES, BadValue
from dafka.io.log_index import Index
from dafka.io.log_load import load
from dafka.io.log_reading import Oldest, Reader
from dafka.io.log_writing import Writer

__all__ = ["MAX_CONTENT_BYTES", "Damage", "Damaged", "Database", "Extent", "Log", "Moved", "Oldest"]

_SETTINGS = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 1 << 62,
    "statistics": 0,
    "tag_index": 0,
    "disk_min_file_size": 1 << 40,
    # While it opens only: diskcache commits some thirty times, and NORMAL loses no record by it.
    "sqlite_synchronous": 1,
    # INCREMENTAL: free pages are given back when asked to, not at every commit. Not among PRAGMAS,
    # since it is a property of the database, and setting it takes a lock.
    "sqlite_auto_vacuum": 2,
    **{f"sqlite_{name}": value for name, value in PRAGMAS.items()},
}


_UNUSED = (
    "Cache_expire_time",
    "Settings_count_insert",
    "Settings_count_delete",
    "Settings_size_insert",
    "Settings_size_update",
    "Settings_size_delete",
)
"""What diskcache would keep up to date with every record, for questions that nobody asks here: half
of the pages that a small transaction writes."""


class _BytesDisk(diskcache.Disk):  # type: ignore[misc]
    """Bytes in, bytes out, all inside the database: no pickles and no side files."""

    def put(self, key: bytes) -> tuple[bytes, bool]:
        if type(key) is not bytes:
            raise TypeError(f"a key of the log is bytes, not {type(key).__name__}")
        return key, True

    def get(self, key: object, raw: object) -> bytes:
        raise NotImplementedError("keys are read by the log's own queries")

    def store(self, value: bytes, read: bool, key: object = None) -> tuple[int, int, None, bytes]:
        if type(value) is not bytes or read:
            raise TypeError(f"a value of the log is bytes, not {type(value).__name__}")
        return 0, diskcache.core.MODE_RAW, None, value

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> bytes:
        if mode != diskcache.core.MODE_RAW or filename is not None or type(value) is not bytes:
            raise BadValue("an entry is not one of the log's: it is left alone, unread")
        return value

    def remove(self, file_path: str) -> None:
        """Leave alone what only a foreign entry can have named."""


class Database(diskcache.Cache):  # type: ignore[misc]
    """A Cache that uses connections lent to it, never its own once it has been opened.

    Raises what the system and SQLite raise (`log_connections.FAILURES`), `Moved` and `Closed`.
    """

    def __init__(self, directory: Path, synchronous: int) -> None:
        """`synchronous` is that of SQLite (see `log_connections.SYNCHRONOUS`)."""
        try:
            super().__init__(str(directory), BUSY_TIMEOUT_S, _BytesDisk, **_SETTINGS)
            self.reset("sqlite_synchronous", synchronous)
            known = self._sql("SELECT type, name FROM sqlite_master").fetchall()
            for kind, name in known:
                if name in _UNUSED:  # made by an older version, or by diskcache itself
                    self._sql(f"DROP {kind} {name}")
        finally:
            self.close()
        self.connections = Connections(directory / DATABASE, synchronous)

    @property
    def _sql_retry(self) -> Callable[..., Any]:
        execute = super()._sql_retry

        def made(statement: str, *arguments: Any, **options: Any) -> Any:
            if statement.startswith("CREATE") and any(name in statement for name in _UNUSED):
                return None
            return execute(statement, *arguments, **options)

        return made

    @contextmanager
    def lend(self) -> Iterator[Database]:
        """This Cache with a connection for the calling thread."""
        with self.connections.lend() as connection:
            self._local.pid, self._local.con = os.getpid(), connection
            try:
                yield self
            finally:
                del self._local.con

    @contextmanager
    def change(self) -> Iterator[Database]:
        """The same within a transaction, which is durable when this ends without an error."""
        try:
            # Before as well: a connection that is opened now would be one to other files.
            self.connections.check_place()
            with self.lend(), self.transact():
                yield self
            self.connections.check_place()
        except diskcache.Timeout as error:
            # Its name hides what the database said.
            raise sqlite3.OperationalError(cause(error)) from error


class Log:
    """The records of all partitions in one directory, which one process uses at a time.

    `durability="fsync"` has every change on the disk when it returns. With `"os"` it is in the
    hands of the operating system: kept if the process dies, even by kill -9, but the last changes
    may be lost (never torn) if the machine loses power. `clock` returns seconds since 1970.

    What changes the log (`append`, `drop`, `merge`, `repair`, `vacuum`) is called by one thread at
    a time, everything else by any. Raises `StoreError` for what cannot be read or written now, and
    `Moved` for what is not to be tried again.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        durability: str = "fsync",
        clock: Callable[[], float] = time.time,
    ) -> None:
        if durability not in SYNCHRONOUS:
            raise ConfigError(f'durability is "fsync" or "os", not {durability!r}')
        self.directory = Path(directory).absolute()
        self._synchronous = SYNCHRONOUS[durability]
        self.identity = ""
        """Names this directory's records, over restarts: what stores are told apart by. Known
        once the log is open."""
        self._clock = clock
        self._lock: DirectoryLock | None = None
        self._cache: Database | None = None
        self._begin()

    def _begin(self) -> None:
        """Know of nothing stored."""
        self._index = Index()
        self._quarantine = Quarantine()
        self._reader = Reader(self.directory, self._index, self._quarantine, self._lend)
        self._writer = Writer(
            self.directory,
            self._index,
            self._quarantine,
            self._reader,
            self._change,
            self._lend,
            self._clock,
        )

    def open(self) -> None:
        """Create the directory if need be, lock it and load the index; raises `StoreError`."""
        if self._lock is not None:
            raise RuntimeError("the log is already open")
        if os.path.expandvars(self.directory) != str(self.directory):
            # diskcache would expand it and put the records elsewhere.
            raise StoreError(f"{self.directory} names a variable: give the directory itself")
        self._lock = take(self.directory)
        self._begin()
        try:
            self._cache = Database(self.directory, self._synchronous)
            with self._cache.lend() as cache:
                cache.add(fmt.VERSION_KEY, fmt.VERSION)
                cache.add(fmt.IDENTITY_KEY, uuid4().hex.upper().encode())
                self.identity = cache.get(fmt.IDENTITY_KEY).decode("ascii", "replace")
                if not is_marked(self.directory):
                    # With any durability: what is marked is on the disk, in the database itself.
                    cache._sql("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                    mark(self.directory)
                load(self._index, cache)
        except BaseException as error:
            self.close()
            if isinstance(error, FAILURES):
                reason = f"{self.directory} cannot be opened: {cause(error)}"
                raise StoreError(reason) from error
            raise

    def close(self) -> None:
        """Wait for calls that are under way and let go of the directory; harmless if not open."""
        cache, self._cache = self._cache, None
        lock, self._lock = self._lock, None
        try:
            if cache is not None:
                cache.connections.close()
        finally:
            if lock is not None:
                lock.release()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Changing

    def append(self, runs: Sequence[Run]) -> None:
        """Store runs durably in one transaction: all of them, or none if it raises.

        Each run continues its partition at the partition's next offset; the first run of an
        unknown partition may begin anywhere. Raises `StoreError` if they cannot be written now: a
        later attempt may succeed. Raises `ValueError` for what no attempt can store: a run that
        does not continue its partition, a content above `MAX_CONTENT_BYTES`.
        """
        self._opened()
        self._writer.append(runs)

    def drop(
        self,
        topic: str,
        partition: str,
        before: int,
        *,
        exact: bool = False,
        deleted: bool = False,
        max_values: int = 64,
    ) -> bool:
        """Forget the records before an offset, durably; the partition continues as before.

        A value is forgotten as a whole or, because of a record from `before` on, not at all. If
        `exact`, the earliest offset becomes `before` in any case: within a value, or beyond all
        records, where the partition then continues; an unknown partition is made to begin there.
        `deleted` (with `exact`) remembers for good that an operator wanted it, see `Extent`.

        Records are forgotten at once. Their values are removed bit by bit, `max_values` a call:
        True if some are left, which any later call for this partition removes, and `merge` too.
        """
        self._opened()
        return self._writer.drop(
            (topic, partition), before, exact=exact, deleted=deleted, max_values=max_values
        )

    def merge(self, max_bytes: int | None = None) -> bool:
        """Replace small neighbouring values by one, durably; True if there may be more to do.

        One bounded step. Records stay as they are; they only cost less to keep. Values that an
        interrupted `drop` left, perhaps in an earlier life, are removed first.
        """
        self._opened()
        return self._writer.merge(min(max_bytes or fmt.VALUE_BYTES, fmt.VALUE_BYTES))

    def repair(self, run: Run) -> None:
        """Replace quarantined records by those of a run, durably.

        Sound records stay as they are. Of a damaged value, what the run lacks stays quarantined.
        """
        self._opened()
        self._writer.repair(run)

    def check_place(self) -> None:
        """Raise `Moved` if the directory or its files were removed, renamed or replaced."""
        self._opened().connections.check_place()

    def vacuum(self, max_pages: int = 1024) -> bool:
        """Give space that is free back to the file system; True if there is more to do.

        One bounded step. Some free space stays in the file, for records to come.
        """
        self._opened()
        return self._writer.vacuum(max_pages)

    # Reading

    def read(
        self, topic: str, partition: str, first: int, *, max_records: int, max_bytes: int
    ) -> Run | None:
        """Stored records from offset `first` on; None if that offset is not stored.

        Ends at the bounds, but has at least one record; it may end earlier. Raises `Damaged` if
        the record at `first` is damaged, and `StoreError` if it cannot be read now.
        """
        return self._reader.read(topic, partition, first, max_records, max_bytes)

    def partitions(self) -> list[Extent]:
        """What is stored of every partition at this moment, also of those without records."""
        return list(self._index.extents().values())

    def extent(self, topic: str, partition: str) -> Extent | None:
        """What is stored of one partition; None if it is unknown."""
        return self._index.extent(topic, partition)

    def oldest(self, topic: str, partition: str) -> Oldest | None:
        """What is known of the oldest value of a partition; None if no record is kept.

        Reads the value the first time only.
        """
        return self._reader.oldest(topic, partition)

    def arrived(self, topic: str, partition: str, moment_ms: int) -> int | None:
        """The first record kept that arrived at a moment (milliseconds since 1970) or later.

        The next offset if there is none, None for an unknown partition. It may be some records
        earlier: of merged values only so many times are kept, and of damaged ones none. Takes the
        clock to have run forward. Raises `StoreError` for what cannot be read now.
        """
        return self._reader.arrived(topic, partition, moment_ms)

    def cut(
        self,
        topic: str,
        partition: str,
        *,
        keep_bytes: int | None = None,
        keep_records: int | None = None,
    ) -> int:
        """The offset to `drop` before, so that at most `keep_bytes` of whole values stay.

        Or so that at least `keep_records` stay, but no value more than that takes. Given both, the
        one that keeps less counts. The newest value always stays.
        """
        return self._index.cut(topic, partition, keep_bytes, keep_records)

    def digest(self, topic: str, partition: str) -> str:
        """A hash, in hex, of a partition's extent and every record's length and content.

        Two logs that keep the same records give the same, however these are cut into values.
        """
        return self._reader.digest(topic, partition)

    # Damage

    def quarantine(
        self,
        topic: str,
        partition: str,
        first: int,
        last: int,
        reason: str = "they were found to be wrong",
    ) -> None:
        """Note that records are damaged: reading them raises `Damaged` until they are repaired.

        Reading or checking a damaged value does so by itself. Forgotten when the log is closed.
        """
        self._quarantine.add(Damage(topic, partition, first, last, reason))

    def quarantined(self) -> list[Damage]:
        """The damaged ranges known, and partitions of which damage leaves no offset known."""
        lost = "the entry that tells where the partition continues is damaged or missing"
        return [
            *self._quarantine.ranges(),
            *(Damage(*name, 0, -1, lost) for name in self._index.unplaced()),
        ]

    def verify(self, topic: str, partition: str, offset: int) -> tuple[int, int] | None:
        """Verify the value at an offset: where the next one begins, and the size of this one.

        None if the offset is not kept. Raises `Damaged`, and remembers it; or `StoreError`.
        """
        return self._reader.verify(topic, partition, offset)

    def check(self, progress: Callable[[int], object] = lambda _: None) -> Iterator[Damage]:
        """Read and verify everything, yielding what is damaged; the log may be in use meanwhile.

        `progress` is called with numbers of records that have been verified.
        """
        return check(self._index, self._opened().lend, self._reader, progress)

    def _opened(self) -> Database:
        if self._cache is None:
            raise Closed(f"the log in {self.directory} is not open")
        return self._cache

    def _lend(self) -> AbstractContextManager[Database]:
        return self._opened().lend()

    def _change(self) -> AbstractContextManager[Database]:
        return self._opened().change()
