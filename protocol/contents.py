"""Contents of consecutive records in one frame: how they are joined, checked and split again.

Everything here runs at the speed of C for however many records. `dafka` passes such frames on, and
writes them to disk, without ever taking them apart.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise
from struct import Struct
from typing import Any, BinaryIO

from construct import CheckError, Construct, StreamError

MAX_RECORDS = 1 << 18
"""Most records in one message: as many empty ones as a store's value of 1 MiB holds."""

COUNT_BYTES = 4
LENGTH_BYTES = 4
"""What a record costs in the frame beyond its content."""

_COUNT = Struct(">I")
_LARGEST = (1 << 32) - 1


def pack(contents: Sequence[bytes]) -> bytes:
    """Return the frame of these contents, of which there must be 1 to `MAX_RECORDS`."""
    lengths = array("I", map(len, contents))
    if sys.byteorder == "little":
        lengths.byteswap()
    return b"".join((_COUNT.pack(len(contents)), lengths, *contents))


def complaint(frame: bytes) -> str:
    """Return what is wrong with a frame of contents; empty if nothing is.

    Count, lengths and the size of the frame must agree; no length is believed before.
    """
    if len(frame) < COUNT_BYTES:
        return f"a count of 4 bytes is expected, {len(frame)} follow"
    (count,) = _COUNT.unpack_from(frame)
    if not 0 < count <= MAX_RECORDS:
        return f"{count} records, from 1 to {MAX_RECORDS} are allowed"
    begin = COUNT_BYTES + LENGTH_BYTES * count
    if begin > len(frame):
        return f"{count} lengths are announced, {len(frame) - COUNT_BYTES} bytes follow"
    announced, there = sum(lengths_in(frame)), len(frame) - begin
    return "" if announced == there else f"{announced} bytes are announced, {there} follow"


def count_in(frame: bytes) -> int:
    """Return how many records a sound frame holds."""
    return int.from_bytes(frame[:COUNT_BYTES], "big")


def lengths_in(frame: bytes) -> array[int]:
    """Return the lengths of the contents of a sound frame."""
    lengths = array("I")
    lengths.frombytes(frame[COUNT_BYTES : COUNT_BYTES + LENGTH_BYTES * count_in(frame)])
    if sys.byteorder == "little":
        lengths.byteswap()
    return lengths


def split(frame: bytes) -> list[bytes]:
    """Return the contents in a sound frame."""
    lengths = lengths_in(frame)
    begin = COUNT_BYTES + LENGTH_BYTES * len(lengths)
    if lengths[0] and lengths.count(lengths[0]) == len(lengths):
        return list(Struct(f"{lengths[0]}s" * len(lengths)).unpack_from(frame, begin))
    return [frame[a:b] for a, b in pairwise(accumulate(lengths, initial=begin))]


class Joined(Construct):  # type: ignore[misc]
    """Contents behind their number and their lengths, up to the end of the frame."""

    def _parse(self, stream: BinaryIO, context: Any, path: str) -> tuple[bytes, ...]:
        frame = stream.read()
        if reason := complaint(frame):
            raise StreamError(reason, path)
        return tuple(split(frame))

    def _build(self, obj: Any, stream: BinaryIO, context: Any, path: str) -> Any:
        if not isinstance(obj, Sequence) or not all(isinstance(one, bytes) for one in obj):
            raise CheckError("contents are a sequence of bytes", path)
        if not 0 < len(obj) <= MAX_RECORDS:
            raise CheckError(f"{len(obj)} records, from 1 to {MAX_RECORDS} are allowed", path)
        if max(map(len, obj)) > _LARGEST:
            raise CheckError(f"a content of more than {_LARGEST} bytes", path)
        stream.write(pack(obj))
        return obj


# contents = number-4 *number-4 *OCTET    ; how many, the length of each, then all of them joined
Contents = Joined()
