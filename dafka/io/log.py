"""The durable record log of a node: appends runs, reads runs, checks what is on disk.

The only importer of diskcache. Plain blocking code, to be called in threads: one `append` at a
time, any number of reads beside it. Decides when records are durable; what to append, when to
acknowledge and what to do about damage is the caller's to decide.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import diskcache

from dafka.core.run import Run
from dafka.errors import Closed, ConfigError, StoreError
from dafka.io import log_format as fmt
from dafka.io.log_check import Damage, Damaged, check
from dafka.io.log_connections import BUSY_TIMEOUT_S, PRAGMAS, SYNCHRONOUS, Connections
from dafka.io.log_directory import DATABASE, DirectoryLock, take
from dafka.io.log_format import MAX_CONTENT_BYTES, BadValue, Value
from dafka.io.log_index import Extent, Index, Plan, Recent, Span

__all__ = ["MAX_CONTENT_BYTES", "Damage", "Damaged", "Extent", "Log"]

_SETTINGS = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 1 << 62,
    "statistics": 0,
    "tag_index": 0,
    "disk_min_file_size": 1 << 40,
    # While it opens only: diskcache commits some thirty times, and NORMAL loses no record by it.
    "sqlite_synchronous": 1,
    **{f"sqlite_{name}": value for name, value in PRAGMAS.items()},
}
_KEYS_AT_ONCE = 10_000
_KEYS = (
    "SELECT key FROM Cache WHERE key >= ? AND key < ? AND length(key) = ? AND raw = 1 ORDER BY key"
)
_FAILURES = (sqlite3.Error, OSError, diskcache.Timeout)
_DAMAGE_CODES = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
}

logger = logging.getLogger("dafka.log")


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


class _Cache(diskcache.Cache):  # type: ignore[misc]
    """A Cache that uses connections lent to it, never its own once it has been opened."""

    def __init__(self, directory: Path, synchronous: int) -> None:
        try:
            super().__init__(str(directory), BUSY_TIMEOUT_S, _BytesDisk, **_SETTINGS)
            self.reset("sqlite_synchronous", synchronous)
        finally:
            self.close()
        self.connections = Connections(directory / DATABASE, synchronous)

    @contextmanager
    def lend(self) -> Iterator[_Cache]:
        """This Cache with a connection for the calling thread."""
        with self.connections.lend() as connection:
            self._local.pid, self._local.con = os.getpid(), connection
            try:
                yield self
            finally:
                del self._local.con


class Log:
    """The records of all partitions in one directory, which one process uses at a time.

    `durability="fsync"` has every append on the disk when it returns. With `"os"` it is in the
    hands of the operating system: kept if the process dies, even by kill -9, but the last appends
    may be lost (never torn) if the machine loses power. `clock` returns seconds since 1970.
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
        self._appending = threading.Lock()
        self._lock: DirectoryLock | None = None
        self._cache: _Cache | None = None
        self._index = Index()
        self._recent = Recent()

    def open(self) -> None:
        """Create the directory if need be, lock it and load the index; raises `StoreError`."""
        if self._lock is not None:
            raise RuntimeError("the log is already open")
        if os.path.expandvars(self.directory) != str(self.directory):
            # diskcache would expand it and put the records elsewhere.
            raise StoreError(f"{self.directory} names a variable: give the directory itself")
        self._lock = take(self.directory)
        self._index = Index()
        self._recent = Recent()
        try:
            self._cache = _Cache(self.directory, self._synchronous)
            with self._cache.lend() as cache:
                cache.add(fmt.VERSION_KEY, fmt.VERSION)
                cache.add(fmt.IDENTITY_KEY, uuid4().hex.upper().encode())
                self.identity = cache.get(fmt.IDENTITY_KEY).decode("ascii", "replace")
                self._load(cache)
        except BaseException as error:
            self.close()
            if isinstance(error, _FAILURES):
                reason = f"{self.directory} cannot be opened: {_cause(error)}"
                raise StoreError(reason) from error
            raise

    def _load(self, cache: Any) -> None:
        # Not iterkeys(), which asks for 100 keys at a time. This reads SQLite's index over the
        # keys and never a value.
        for (key,) in cache._sql(_KEYS, (b"p", b"q", fmt.PARTITION_KEY_BYTES)).fetchall():
            number = fmt.partition_number(key)
            try:
                topic, partition = fmt.decode_partition(key, cache.get(key) or b"")
                self._index.name(number, topic, partition)
            except BadValue as error:
                self._index.reserve(number)
                logger.warning("damaged_partition key=%s reason=%s", key.hex(), error)
        cursor = cache._sql(_KEYS, (b"r", b"s", fmt.RECORD_KEY_BYTES))
        while keys := [key for (key,) in cursor.fetchmany(_KEYS_AT_ONCE)]:
            for number, some in groupby(keys, fmt.partition_number):
                if not self._index.load(number, list(some)):
                    logger.warning("nameless_partition number=%d", number)

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

    def append(self, runs: Sequence[Run]) -> None:
        """Store runs durably in one transaction: all of them, or none if it raises.

        Each run continues its partition at the partition's next offset; the first run of an
        unknown partition may begin anywhere. Raises `StoreError` if they cannot be written now: a
        later attempt may succeed. Raises `ValueError` for what no attempt can store: a run that
        does not continue its partition, a content above `MAX_CONTENT_BYTES`.
        """
        cache = self._opened()
        if not self._appending.acquire(blocking=False):
            raise RuntimeError("only one append at a time: another one is still running")
        try:
            plan = self._index.plan(runs)
            if plan.pieces:
                self._write(cache, plan)
                self._index.extend(plan)
        finally:
            self._appending.release()

    def _write(self, cache: _Cache, plan: Plan) -> None:
        arrival_ms = int(self._clock() * 1000)
        try:
            # Not transact(retry=True): it would repeat a BEGIN that fails for any reason for ever.
            with cache.lend(), cache.transact():
                for number, name in plan.newcomers.items():
                    key = fmt.partition_key(number)
                    _add(cache, key, fmt.encode_partition(key, *name))
                for piece in plan.pieces:
                    key = fmt.record_key(piece.number, piece.first, len(piece.contents))
                    _add(cache, key, fmt.encode_value(key, arrival_ms, piece.contents))
        except _FAILURES as error:
            raise StoreError(
                f"records cannot be written to {self.directory}: {_cause(error)}"
            ) from error

    def read(
        self, topic: str, partition: str, first: int, *, max_records: int, max_bytes: int
    ) -> Run | None:
        """Stored records from offset `first` on; None if that offset is not stored.

        Ends at the bounds, but has at least one record; it may end earlier. Raises `Damaged` if
        the record at `first` is damaged, and `StoreError` if it cannot be read now.
        """
        contents: list[bytes] = []
        span = self._index.find(topic, partition, first)
        while span is not None:
            try:
                value = self._recent.take(span) or self._fetch(topic, partition, span)
            except Damaged:
                if contents:
                    break
                raise
            skip = first + len(contents) - span.first
            more = value.contents(
                skip, max_records - len(contents), max_bytes, at_least=0 if contents else 1
            )
            contents += more
            max_bytes -= sum(map(len, more))
            if skip + len(more) < len(value):
                self._recent.keep(span, value)
                break
            if max_bytes <= 0 or len(contents) >= max_records:
                break
            span = self._index.find(topic, partition, first + len(contents))
        return Run(topic, partition, first, contents) if contents else None

    def _fetch(self, topic: str, partition: str, span: Span) -> Value:
        """The value of a span, verified; raises `Damaged` or `StoreError`."""
        cache = self._opened()
        try:
            if span.key is None:
                raise BadValue("they are missing")
            with cache.lend():
                data = cache.get(span.key)
            if data is None:
                raise BadValue("they are missing")
            return fmt.decode_value(span.key, data)
        except BadValue as error:
            raise Damaged(topic, partition, span.first, span.last, str(error)) from error
        except _FAILURES as error:
            if getattr(error, "sqlite_errorcode", None) in _DAMAGE_CODES:
                reason = _cause(error)
                raise Damaged(topic, partition, span.first, span.last, reason) from error
            raise StoreError(f"{self.directory} cannot be read: {_cause(error)}") from error

    def partitions(self) -> list[Extent]:
        """What is stored of every partition at this moment."""
        return list(self._index.extents().values())

    def extent(self, topic: str, partition: str) -> Extent | None:
        """What is stored of one partition; None if it has no records."""
        return self._index.extent(topic, partition)

    def check(self, progress: Callable[[int], object] = lambda _: None) -> Iterator[Damage]:
        """Read and verify everything, yielding what is damaged; the log may be in use meanwhile.

        `progress` is called with a number of records that have been verified.
        """
        return check(self._index, self._opened().lend, self._fetch, progress)

    def _opened(self) -> _Cache:
        if self._cache is None:
            raise Closed(f"the log in {self.directory} is not open")
        return self._cache


def _add(cache: Any, key: bytes, value: bytes) -> None:
    """Store a new entry: nothing stored is ever overwritten."""
    if not cache.add(key, value):
        raise sqlite3.IntegrityError(f"there is already an entry for the new key {key.hex()}")


def _cause(error: BaseException) -> str:
    """What went wrong first: a Timeout or failed ROLLBACK hides the error that led to it."""
    while isinstance(error.__context__, _FAILURES):
        error = error.__context__
    return str(error) or type(error).__name__
