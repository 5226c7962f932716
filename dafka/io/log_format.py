"""The bytes of the record log: keys, partition entries and values, and how they are verified.

Decides the format on disk; knows neither files nor SQLite. All integers are big-endian.

    key of a value            "r" partition-number:u32 first-offset:u64 count:u32 size:u32
    key of a partition        "p" partition-number:u32
    key of a floor            "f" partition-number:u32
    key of the format         "v"
    key of the identity       "i"
    value                     "DFKA" version:u8 crc32:u32 count:u32 arrivals:u32
                              arrivals times arrival-ms:u64 count:u32
                              count times length:u32, then the contents
    entry of a partition      crc32:u32 topic-length:u32 topic partition
    entry of a floor          crc32:u32 earliest-offset:u72 deleted-before:u72

A checksum covers its key as well, so that a value under a wrong key is not taken for another one.
Lengths and contents are as in the frame of RECORDS (`protocol.contents`), so records can pass
through a store without being taken apart. Count and size are in the key so that the index can be
loaded from the keys alone. A size is the bytes of the lengths and the contents: it does not depend
on how records are cut into values. A floor may be one more than the largest offset, which takes
more than 64 bits.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from dafka.core.packed import Packed
from protocol.contents import COUNT_BYTES, LENGTH_BYTES, complaint

VERSION_KEY = b"v"
VERSION = b"1"
IDENTITY_KEY = b"i"

VALUE_BYTES = 1 << 20
"""Values are cut so that they hold at most this much, unless one record alone is larger."""
MAX_CONTENT_BYTES = 512 << 20
"""The largest content of one record: SQLite's values end at 1,000,000,000 bytes."""
MAX_PARTITIONS = 1 << 32
MAX_OFFSET = (1 << 64) - 1

_MAGIC = b"DFKA"
_VALUE_VERSION = 1
_RECORD_KEY = Struct(">cIQII")
_PARTITION_KEY = Struct(">cI")
_ENTRY = Struct(">II")
_FLOOR_BYTES = 9
_CRC_BYTES = 4
_HEAD = Struct(">4sBI")
_META = Struct(">II")
_ARRIVAL = Struct(">QI")
RECORD_KEY_BYTES = _RECORD_KEY.size
PARTITION_KEY_BYTES = _PARTITION_KEY.size
_ARRIVALS_AT = _HEAD.size + _META.size
MAX_ARRIVALS = 1024
"""So many times of arrival a value keeps at most: merging a day of records keeps the hours."""

Arrivals = Sequence[tuple[int, int]]
"""When the records of a value arrived: milliseconds since 1970, and how many then."""


class BadValue(ValueError):
    """Bytes that are not what was written; the text says why, and only the caller knows where."""


@dataclass(frozen=True, slots=True)
class Value:
    """A verified value."""

    arrivals: Arrivals
    packed: Packed

    def __len__(self) -> int:
        return len(self.packed)

    @property
    def arrival_ms(self) -> int:
        """When the newest of its records arrived."""
        return max([moment for moment, _ in self.arrivals])

    def arrived_since(self, moment_ms: int) -> int:
        """How many of its records come before the first that arrived at a moment or later."""
        before = 0
        for arrival_ms, count in self.arrivals:
            if arrival_ms >= moment_ms:
                break
            before += count
        return before

    def contents(self, skip: int, max_records: int, max_bytes: int, at_least: int) -> Packed:
        """Contents after the first `skip`: what fits both bounds, but `at_least` so many."""
        fitting = self.packed.fitting(skip, max_bytes, lengths=False)
        return self.packed.between(skip, skip + max(at_least, min(fitting, max_records)))


def record_key(number: int, first: int, count: int, size: int) -> bytes:
    """The key of the value with `count` records from offset `first` of partition `number`."""
    return _RECORD_KEY.pack(b"r", number, first, count, size)


def parse_record_key(key: bytes) -> tuple[int, int, int, int] | None:
    """Partition number, first offset, count and size of a value's key; None if it is not one."""
    if len(key) != RECORD_KEY_BYTES or key[:1] != b"r":
        return None
    _, number, first, count, size = _RECORD_KEY.unpack(key)
    if count == 0 or first + count - 1 > MAX_OFFSET:
        return None
    return number, first, count, size


def key_size(key: bytes) -> int:
    """The size in the key of a value."""
    return int.from_bytes(key[17:], "big")


def columns(keys: Sequence[bytes]) -> tuple[array[int], array[int], array[int], array[int]]:
    """Partition numbers, first offsets, counts and sizes of values' keys, without an object each.

    The keys must have the length of a value's key.
    """
    data = b"".join(keys)
    number, first, count, size = (
        _column(data, "I", 1),
        _column(data, "Q", 5),
        _column(data, "I", 13),
        _column(data, "I", 17),
    )
    return number, first, count, size


def _column(data: bytes, code: str, at: int) -> array[int]:
    """The integers at one place of all keys in `data`: each of their bytes is copied at once."""
    column = array(code)
    width = column.itemsize
    raw = bytearray(len(data) // RECORD_KEY_BYTES * width)
    for i in range(width):
        raw[i::width] = data[at + i :: RECORD_KEY_BYTES]
    column.frombytes(raw)
    if sys.byteorder == "little":
        column.byteswap()
    return column


def partition_key(number: int) -> bytes:
    """The key of the entry that names partition `number`."""
    return _PARTITION_KEY.pack(b"p", number)


def floor_key(number: int) -> bytes:
    """The key of the entry that tells the earliest offset kept of partition `number`."""
    return _PARTITION_KEY.pack(b"f", number)


def partition_number(key: bytes) -> int:
    """The partition number in a key of a value, a partition or a floor."""
    return int.from_bytes(key[1:5], "big")


def parse_partition_key(key: bytes) -> int | None:
    """The partition number of a partition's or a floor's key; None if it is neither."""
    is_one = len(key) == PARTITION_KEY_BYTES and key[:1] in (b"p", b"f")
    return partition_number(key) if is_one else None


def encode_partition(key: bytes, topic: str, partition: str) -> bytes:
    """The entry that tells topic and partition of a partition number."""
    name = topic.encode("utf-8", "surrogateescape")
    rest = name + partition.encode("utf-8", "surrogateescape")
    return _ENTRY.pack(crc32(rest, crc32(key)), len(name)) + rest


def decode_partition(key: bytes, entry: bytes) -> tuple[str, str]:
    """Topic and partition of an entry; raises `BadValue`."""
    if len(entry) < _ENTRY.size:
        raise BadValue(f"a partition entry has only {len(entry)} bytes")
    checksum, size = _ENTRY.unpack_from(entry)
    rest = entry[_ENTRY.size :]
    if crc32(rest, crc32(key)) != checksum or size > len(rest):
        raise BadValue("the checksum of a partition entry is wrong")
    topic = rest[:size].decode("utf-8", "surrogateescape")
    return topic, rest[size:].decode("utf-8", "surrogateescape")


class Floor(NamedTuple):
    """The earliest offset kept of a partition, and before which one records were deleted."""

    earliest: int
    deleted: int = 0


def encode_floor(key: bytes, floor: Floor) -> bytes:
    """The entry that tells where a partition begins."""
    rest = b"".join(offset.to_bytes(_FLOOR_BYTES, "big") for offset in floor)
    return crc32(rest, crc32(key)).to_bytes(_CRC_BYTES, "big") + rest


def decode_floor(key: bytes, entry: bytes) -> Floor:
    """What a floor's entry tells; raises `BadValue`."""
    rest = entry[_CRC_BYTES:]
    wanted = crc32(rest, crc32(key)).to_bytes(_CRC_BYTES, "big")
    if len(rest) != 2 * _FLOOR_BYTES or entry[:_CRC_BYTES] != wanted:
        raise BadValue("the entry that tells a partition's earliest offset is damaged")
    earliest, deleted = rest[:_FLOOR_BYTES], rest[_FLOOR_BYTES:]
    return Floor(int.from_bytes(earliest, "big"), int.from_bytes(deleted, "big"))


def join_arrivals(arrivals: Iterable[tuple[int, int]]) -> Arrivals:
    """The same with neighbours joined where there are too many; the later time counts for both."""
    joined = list(arrivals)
    while len(joined) > MAX_ARRIVALS:
        pairs = zip_longest(joined[::2], joined[1::2], fillvalue=(0, 0))
        joined = [(max(a, b), m + n) for (a, m), (b, n) in pairs]
    return joined


def encode_value(key: bytes, arrivals: Arrivals, contents: Sequence[bytes]) -> bytes:
    """One value with these contents, to be stored under `key`."""
    packed = Packed.of(contents)
    times = b"".join([_ARRIVAL.pack(*arrival) for arrival in arrivals])
    meta = _META.pack(len(packed), len(arrivals)) + times
    body = memoryview(packed.frame)[COUNT_BYTES:]
    checksum = crc32(body, crc32(meta, crc32(key)))
    return b"".join((_HEAD.pack(_MAGIC, _VALUE_VERSION, checksum), meta, body))


def decode_value(key: bytes, data: bytes) -> Value:
    """Verify a value completely and find its contents; raises `BadValue`."""
    if not data:
        raise BadValue("they are missing")
    if len(data) < _ARRIVALS_AT:
        raise BadValue(f"a value has only {len(data)} bytes")
    magic, version, checksum = _HEAD.unpack_from(data)
    if magic != _MAGIC or version != _VALUE_VERSION:
        raise BadValue("a value does not begin as values do")
    if crc32(memoryview(data)[_HEAD.size :], crc32(key)) != checksum:
        raise BadValue("the checksum of a value is wrong")
    return _parse_value(key, data)


def _parse_value(key: bytes, data: bytes) -> Value:
    *_, told, size = _RECORD_KEY.unpack(key)
    count, times = _META.unpack_from(data, _HEAD.size)
    if count != told:
        raise BadValue("a value does not hold the number of records its key tells")
    lengths_at = _ARRIVALS_AT + _ARRIVAL.size * times
    contents_at = lengths_at + LENGTH_BYTES * count
    if contents_at > len(data):
        raise BadValue("a value ends among its lengths")
    arrivals = list(_ARRIVAL.iter_unpack(data[_ARRIVALS_AT:lengths_at]))
    if sum([number for _, number in arrivals]) != count:
        raise BadValue("the arrivals in a value do not add up to its records")
    frame = b"".join((data[_HEAD.size : _HEAD.size + COUNT_BYTES], memoryview(data)[lengths_at:]))
    if len(data) - lengths_at != size or complaint(frame):
        raise BadValue("the lengths in a value do not add up to its size")
    return Value(arrivals, Packed(frame))
