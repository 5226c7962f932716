"""The state of an application on disk: positions, what operators keep, and what is to be published.

Beside `dafka.io.log` the only importer of diskcache. A record log takes runs; here rows of any
kind change together in one transaction, which a log cannot do. Plain blocking code, to be called
by one thread. Nothing is ever unpickled.

    "a"                       the format, the application's name, and its worker and all workers
    "n"                       numbers of the operators that keep something, and what they keep
    "i" topic, partition      the next offset, the greatest event time, whether it is idle, or final
    "w" source                how far its event time has come
    "s" number:u16 group, key what an operator keeps
    "p" topic                 number and name of the partition that is written, its next offset
    "o" number:u16 first:u64  contents that wait to be acknowledged
"""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diskcache
import msgspec

from dafka.core.run import RECORD_COST
from dafka.errors import ConfigError, StoreError
from dafka.io.log_connections import SYNCHRONOUS
from dafka.io.log_directory import DATABASE, LOCK, MARK, DirectoryLock
from dafka.streams.engine import Changes
from dafka.streams.layout import Known, lay_out
from dafka.streams.topology import Topology

_FORMAT = 3
_NAME, _NUMBERS = b"a", b"n"
_CHUNK_BYTES = 1 << 20
_SETTINGS = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 1 << 62,
    "statistics": 0,
    "tag_index": 0,
    "disk_min_file_size": 1 << 40,
    "sqlite_journal_mode": "wal",
    "sqlite_auto_vacuum": 0,
    "sqlite_mmap_size": 0,
    "sqlite_cache_size": 1 << 13,
    "sqlite_synchronous": 1,
}
_FAILURES = (sqlite3.Error, OSError, diskcache.Timeout)

_PUT = (
    "INSERT INTO Cache (key, raw, store_time, access_time, mode, value) VALUES (?, 1, 0, 0, 1, ?)"
    " ON CONFLICT (key, raw) DO UPDATE SET value = excluded.value"
)
_DELETE = "DELETE FROM Cache WHERE key = ? AND raw = 1"
_ALL = "SELECT key, value FROM Cache WHERE key >= ? AND key < ? AND raw = 1 ORDER BY key"

_encode = msgspec.msgpack.Encoder().encode
_contents = msgspec.msgpack.Decoder(list[bytes])


class _BytesDisk(diskcache.Disk):  # type: ignore[misc]
    """Bytes in, bytes out: no pickles, no side files."""

    def put(self, key: bytes) -> tuple[bytes, bool]:
        return key, True

    def store(self, value: bytes, read: bool, key: object = None) -> tuple[int, int, None, bytes]:
        return 0, diskcache.core.MODE_RAW, None, value

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> bytes:
        if mode != diskcache.core.MODE_RAW or filename is not None or type(value) is not bytes:
            raise sqlite3.DatabaseError("it has an entry that is not of an application's state")
        return value

    def remove(self, file_path: str) -> None:
        """Leave alone what only a foreign entry can have named."""


@dataclass(slots=True)
class Outgoing:
    """One partition that is written: what of it waits to be acknowledged."""

    number: int
    partition: str
    next: int
    waiting: deque[tuple[int, list[bytes]]] = field(default_factory=deque)
    """Offsets and contents, at the start; afterwards the offsets alone count."""


class State:
    """The rows of one application in a directory, which one process uses at a time."""

    def __init__(
        self,
        directory: str,
        name: str,
        durability: str,
        new_name: Callable[[], str],
        place: Sequence[str] = (),
    ) -> None:
        """Opens nothing. `new_name` makes the names of partitions.

        `place`: which worker of the application this is, and all their names; nothing if it has
        none.
        """
        self.directory = Path(directory).absolute()
        self.known: Known = {}
        self.outgoing: dict[str, Outgoing] = {}
        self._name = name
        self._place = list(place)
        self._synchronous = SYNCHRONOUS[durability]
        self._new_name = new_name
        self._lock: DirectoryLock | None = None
        self._cache: Any = None

    def open(self, topology: Topology, topics: list[str]) -> None:
        """Create the directory if need be, and lock it; `topics` are those that are written.

        Raises `StoreError` if it cannot be used or is in use, `ConfigError` if it belongs to
        another application, and `StreamError` if to another topology.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._refuse_foreign()
            self._lock = DirectoryLock(self.directory)
            self._lock.sign()
            self._cache = diskcache.Cache(str(self.directory), 10, _BytesDisk, **_SETTINGS)
            self._cache.reset("sqlite_synchronous", self._synchronous)
            self._check_name()
            self._load_outgoing()
            self._settle(topology, topics)
        except BaseException as error:
            self.close()
            if isinstance(error, _FAILURES):
                raise StoreError(
                    f"the state in {self.directory} cannot be opened: {error}. Give a directory "
                    "that this user can read and write"
                ) from error
            raise

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """All rows of positions, event times and operators."""
        for first, after in ((b"i", b"j"), (b"s", b"t"), (b"w", b"x")):
            yield from self._cache._sql(_ALL, (first, after))

    def commit(self, changes: Changes, acknowledged: dict[str, int]) -> dict[str, int]:
        """Write it all down in one transaction, and remove output that is acknowledged.

        `acknowledged` tells by topic before which offset everything is. Returns the first offset
        of the new contents of each topic.
        """
        put = [(key, value) for key, value in changes.rows if value is not None]
        gone = [(key,) for key, value in changes.rows if value is None]
        firsts = {}
        for topic, contents in changes.outputs.items():
            out = self.outgoing[topic]
            firsts[topic] = out.next
            for chunk in portions(contents, _CHUNK_BYTES):
                put.append((_waiting_key(out.number, out.next), _encode(chunk)))
                out.waiting.append((out.next, chunk))
                out.next += len(chunk)
            put.append(_outgoing_row(topic, out))
        for topic, end in acknowledged.items():
            waiting = self.outgoing[topic].waiting
            while waiting and waiting[0][0] + len(waiting[0][1]) <= end:
                first, _ = waiting.popleft()
                gone.append((_waiting_key(self.outgoing[topic].number, first),))
        self._write(put, gone)
        return firsts

    def _write(self, put: list[tuple[bytes, bytes]], gone: list[tuple[bytes]]) -> None:
        try:
            with self._cache.transact():
                self._cache._con.executemany(_PUT, put)
                self._cache._con.executemany(_DELETE, gone)
        except _FAILURES as error:
            raise StoreError(
                f"the state in {self.directory} cannot be written: {error.__context__ or error}. "
                "What was not saved is done again at the next start"
            ) from error

    def close(self) -> None:
        """Let go of the directory."""
        cache, self._cache = self._cache, None
        lock, self._lock = self._lock, None
        try:
            if cache is not None:
                cache.close()
        finally:
            if lock is not None:
                lock.release()

    # Opening

    def _refuse_foreign(self) -> None:
        names = set(os.listdir(self.directory)) - {"lost+found"}
        if names and not names & {DATABASE, LOCK}:
            raise StoreError(
                f"{self.directory} holds other files, such as {min(names)!r}: give an empty "
                "directory, or one that this application has made"
            )
        if MARK in names:
            raise StoreError(
                f"{self.directory} holds the records of a store or an outbox: give the application "
                "a directory of its own"
            )

    def _check_name(self) -> None:
        row = self._cache.get(_NAME)
        if row is None:
            if self._cache._sql("SELECT 1 FROM Cache LIMIT 1").fetchone() is not None:
                raise StoreError(
                    f"{self.directory} has another program's data: give the application a "
                    "directory of its own"
                )
            self._write([(_NAME, _encode((_FORMAT, self._name, *self._place)))], [])
            return
        form, name, *place = msgspec.msgpack.decode(row)
        if form != _FORMAT:
            raise StoreError(
                f"{self.directory} has the unknown format {form!r}: use the Dafka that wrote it"
            )
        if name != self._name:
            raise ConfigError(
                f"{self.directory} is the state of application {name!r}, not {self._name!r}: each "
                "application needs a directory of its own"
            )
        if place != self._place:
            raise ConfigError(
                f"{self.directory} is the state of {_called(place)}, not of {_called(self._place)}"
                ": each worker needs a directory of its own, and another list of workers new ones, "
                "for all of them: they begin at the earliest records"
            )

    def _load_outgoing(self) -> None:
        for key, value in self._cache._sql(_ALL, (b"p", b"q")):
            self.outgoing[key[1:].decode()] = Outgoing(*msgspec.msgpack.decode(value))
        by_number = {out.number: out for out in self.outgoing.values()}
        for key, value in self._cache._sql(_ALL, (b"o", b"p")):
            out = by_number[int.from_bytes(key[1:3], "big")]
            out.waiting.append((int.from_bytes(key[3:], "big"), _contents.decode(value)))

    def _settle(self, topology: Topology, topics: list[str]) -> None:
        """Give a number to every operator that keeps something, and a partition to every sink."""
        row = self._cache.get(_NUMBERS)
        known = {} if row is None else msgspec.msgpack.decode(row)
        self.known = lay_out(
            topology, {name: tuple(one) for name, one in known.items()}, str(self.directory)
        )
        put = [(_NUMBERS, _encode(self.known))]
        for topic in topics:
            if topic not in self.outgoing:
                out = self.outgoing[topic] = Outgoing(len(self.outgoing), self._new_name(), 0)
                put.append(_outgoing_row(topic, out))
        self._write(put, [])


def _called(place: Sequence[str]) -> str:
    return f"worker {place[0]!r} of {', '.join(place[1:])}" if place else "an application alone"


def _outgoing_row(topic: str, out: Outgoing) -> tuple[bytes, bytes]:
    return b"p" + topic.encode(), _encode((out.number, out.partition, out.next))


def _waiting_key(number: int, first: int) -> bytes:
    return b"o" + number.to_bytes(2, "big") + first.to_bytes(8, "big")


def portions(contents: list[bytes], most: int) -> Iterator[list[bytes]]:
    """Contents in portions of `most` bytes, with what keeping them costs; larger ones alone."""
    if sum(map(len, contents)) + RECORD_COST * len(contents) <= most:
        if contents:
            yield contents
        return
    portion: list[bytes] = []
    size = 0
    for content in contents:
        if portion and size + len(content) + RECORD_COST > most:
            yield portion
            portion, size = [], 0
        portion.append(content)
        size += len(content) + RECORD_COST
    if portion:
        yield portion
