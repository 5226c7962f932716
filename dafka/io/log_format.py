"""The bytes of the record log: keys, partition entries and values, and how they are verified.

Decides the format on disk; knows neither files nor SQLite. All integers are big-endian.

    key of a value            "r" partition-number:u32 first-offset:u64 count:u32
    key of a partition        "p" partition-number:u32
    key of the format         "v"
    key of the identity       "i"
    value                     "DFKA" version:u8 crc32:u32 arrival-ms:u64 count:u32
                              count times length:u32, then the contents
    entry of a partition      crc32:u32 topic-length:u32 topic partition

A checksum covers its key as well, so that a value under a wrong key is not taken for another one.
The count is in the key so that the index can be loaded from the keys alone.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from struct import Struct
from zlib import crc32

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
_RECORD_KEY = Struct(">cIQI")
_PARTITION_KEY = Struct(">cI")
_ENTRY = Struct(">II")
_HEAD = Struct(">4sBI")
_META = Struct(">QI")
RECORD_KEY_BYTES = _RECORD_KEY.size
PARTITION_KEY_BYTES = _PARTITION_KEY.size
_LENGTHS_AT = _HEAD.size + _META.size
_LENGTH_BYTES = 4


class BadValue(ValueError):
    """Bytes that are not what was written; the text says why, and only the caller knows where."""


@dataclass(frozen=True, slots=True)
class Value:
    """A verified value: `bounds` are the positions in `data` between its contents."""

    arrival_ms: int
    bounds: list[int]
    data: bytes

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def contents(self, skip: int, max_records: int, max_bytes: int, at_least: int) -> list[bytes]:
        """Contents after the first `skip`: what fits both bounds, but `at_least` so many."""
        fitting = bisect_right(self.bounds, self.bounds[skip] + max_bytes) - 1
        stop = min(len(self), max(skip + at_least, min(fitting, skip + max_records)))
        data = self.data
        return [data[start:end] for start, end in pairwise(self.bounds[skip : stop + 1])]


def record_key(number: int, first: int, count: int) -> bytes:
    """The key of the value with `count` records from offset `first` of partition `number`."""
    return _RECORD_KEY.pack(b"r", number, first, count)


def parse_record_key(key: bytes) -> tuple[int, int, int] | None:
    """Partition number, first offset and count of a value's key; None if it is not one."""
    if len(key) != RECORD_KEY_BYTES or key[:1] != b"r":
        return None
    _, number, first, count = _RECORD_KEY.unpack(key)
    if count == 0 or first + count - 1 > MAX_OFFSET:
        return None
    return number, first, count


def partition_key(number: int) -> bytes:
    """The key of the entry that names partition `number`."""
    return _PARTITION_KEY.pack(b"p", number)


def partition_number(key: bytes) -> int:
    """The partition number in a key of a value or of a partition."""
    return int.from_bytes(key[1:5], "big")


def parse_partition_key(key: bytes) -> int | None:
    """The partition number of a partition's key; None if it is not one."""
    is_one = len(key) == PARTITION_KEY_BYTES and key[:1] == b"p"
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


def encode_value(key: bytes, arrival_ms: int, contents: Sequence[bytes]) -> bytes:
    """One value with these contents, to be stored under `key`."""
    lengths = array("I", map(len, contents))
    if sys.byteorder == "little":
        lengths.byteswap()
    body = b"".join((_META.pack(arrival_ms, len(contents)), lengths.tobytes(), *contents))
    return _HEAD.pack(_MAGIC, _VALUE_VERSION, crc32(body, crc32(key))) + body


def decode_value(key: bytes, data: bytes) -> Value:
    """Verify a value completely and find its contents; raises `BadValue`."""
    if len(data) < _LENGTHS_AT:
        raise BadValue(f"a value has only {len(data)} bytes")
    magic, version, checksum = _HEAD.unpack_from(data)
    if magic != _MAGIC or version != _VALUE_VERSION:
        raise BadValue("a value does not begin as values do")
    if crc32(memoryview(data)[_HEAD.size :], crc32(key)) != checksum:
        raise BadValue("the checksum of a value is wrong")
    arrival_ms, count = _META.unpack_from(data, _HEAD.size)
    if key[-4:] != count.to_bytes(4, "big"):
        raise BadValue("a value does not hold the number of records its key tells")
    contents_at = _LENGTHS_AT + _LENGTH_BYTES * count
    if contents_at > len(data):
        raise BadValue("a value ends among its lengths")
    lengths = array("I")
    lengths.frombytes(data[_LENGTHS_AT:contents_at])
    if sys.byteorder == "little":
        lengths.byteswap()
    bounds = list(accumulate(lengths, initial=contents_at))
    if bounds[-1] != len(data):
        raise BadValue("the lengths in a value do not add up to its size")
    return Value(arrival_ms, bounds, data)


def cut(contents: Sequence[bytes]) -> list[int]:
    """Where to cut contents into values: the index after the last record of each value.

    The lengths count as well, so that empty contents cannot make a value of any number of records.
    """
    ends = list(accumulate([len(content) + _LENGTH_BYTES for content in contents], initial=0))
    cuts = [0]
    while cuts[-1] < len(contents):
        fitting = bisect_right(ends, ends[cuts[-1]] + VALUE_BYTES) - 1
        cuts.append(max(fitting, cuts[-1] + 1))
    return cuts[1:]
