"""Verifies a whole log: every value, every key, and SQLite's own structure.

Only finds damage; what to do about it is the caller's to decide.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from dafka.errors import StoreError
from dafka.io import log_format as fmt
from dafka.io.log_damage import Damage, Damaged
from dafka.io.log_index import Index
from dafka.io.log_reading import Lend, Reader
from dafka.io.log_values import Extent

_KEYS_AT_ONCE = 1000
_ODD_KEYS = "SELECT rowid FROM Cache WHERE raw IS NOT 1 OR typeof(key) <> 'blob' OR key = x''"
_NEXT_KEYS = "SELECT key FROM Cache WHERE raw = 1 AND key > ? ORDER BY key LIMIT ?"


def check(
    index: Index, lend: Lend, reader: Reader, progress: Callable[[int], object]
) -> Iterator[Damage]:
    """Everything that is wrong with the log that `index` describes."""
    try:
        yield from _structure(lend)
        yield from _keys(index, lend)
        yield from _floors(index, lend)
    except sqlite3.Error as error:
        yield _elsewhere(f"SQLite cannot read its database: {error}")
    for number, extent in index.extents().items():
        yield from _values(index, number, extent, reader, progress)


def _structure(lend: Lend) -> Iterator[Damage]:
    with lend() as cache:
        messages = cache._sql("PRAGMA integrity_check").fetchall()
    for (message,) in messages:
        if message != "ok":
            yield _elsewhere(f"SQLite's structure is damaged: {message}")


def _keys(index: Index, lend: Lend) -> Iterator[Damage]:
    with lend() as cache:
        odd = cache._sql(_ODD_KEYS).fetchall()
    for (row,) in odd:
        yield _elsewhere(f"row {row} of the database is not an entry of a log")
    key = b""
    while True:
        with lend() as cache:
            keys = cache._sql(_NEXT_KEYS, (key, _KEYS_AT_ONCE)).fetchall()
        if not keys:
            return
        for (key,) in keys:
            damage = _key(index, key)
            if damage is not None:
                yield damage


def _key(index: Index, key: bytes) -> Damage | None:
    if key in (fmt.VERSION_KEY, fmt.IDENTITY_KEY):
        return None
    record = fmt.parse_record_key(key)
    number = record[0] if record else fmt.parse_partition_key(key)
    if number is None:
        return _elsewhere(f"the key {key[:32].hex()} is unknown")
    if index.knows(number):
        return None
    if record is None:
        if key == fmt.floor_key(number):
            return None
        return _elsewhere(f"the entry of partition number {number} is damaged, or is a second one")
    first, count = record[1:3]
    reason = f"they belong to partition number {number}, which no entry names"
    return Damage("", "", first, first + count - 1, reason)


def _floors(index: Index, lend: Lend) -> Iterator[Damage]:
    """Partitions whose entry does not tell where they begin."""
    numbers = index.numbers()
    for number, (topic, partition) in numbers.items():
        key = fmt.floor_key(number)
        try:
            with lend() as cache:
                entry = cache.get(key)
            fmt.decode_floor(key, entry or b"")
        except fmt.BadValue as error:
            yield Damage(topic, partition, 0, -1, str(error))


def _values(
    index: Index, number: int, extent: Extent, reader: Reader, progress: Callable[[int], object]
) -> Iterator[Damage]:
    topic, partition = extent.topic, extent.partition
    expected = extent.earliest
    for span in index.spans(number):
        if span.first > expected:
            yield Damage(topic, partition, expected, span.first - 1, "they are missing")
        elif span.first < expected and expected > extent.earliest:
            last = min(span.last, expected - 1)
            yield Damage(topic, partition, span.first, last, "they are stored twice")
        expected = max(expected, span.last + 1)
        try:
            reader.value(topic, partition, span)
        except Damaged as error:
            yield Damage(topic, partition, error.first, error.last, error.reason)
        except StoreError as error:
            yield Damage(topic, partition, span.first, span.last, str(error))
        progress(span.last - span.first + 1)
    if expected < extent.next:
        yield Damage(topic, partition, expected, extent.next - 1, "they are missing")


def _elsewhere(reason: str) -> Damage:
    return Damage("", "", 0, -1, reason)
