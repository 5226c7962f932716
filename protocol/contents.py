"""Contents of consecutive records in one frame: how they are joined, checked and split again.

Everything here runs at the speed of C for however many records. `dafka` passes such frames on, and
writes them to disk, without ever taking them apart.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
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


def common_length(frame: bytes) -> int | None:
    """Return the length of every content in a sound frame; None if they differ."""
    count = count_in(frame)
    first = frame[COUNT_BYTES : COUNT_BYTES + LENGTH_BYTES]
    table = frame[COUNT_BYTES : COUNT_BYTES + LENGTH_BYTES * count]  # bytes compare much faster
    return int.from_bytes(first, "big") if table == first * count else None


def split(frame: bytes) -> list[bytes]:
    """Return the contents in a sound frame."""
    count, each = count_in(frame), common_length(frame)
    begin = COUNT_BYTES + LENGTH_BYTES * count
    if each:
        return list(Struct(f"{each}s" * count).unpack_from(frame, begin))
    return [frame[a:b] for a, b in pairwise(accumulate(lengths_in(frame), initial=begin))]


def cut(frame: bytes, first: int, end: int) -> bytes:
    """Return the frame of the contents from position `first` to before `end` of a sound one."""
    count, each = count_in(frame), common_length(frame)
    begin = COUNT_BYTES + LENGTH_BYTES * count
    if each is None:
        lengths = lengths_in(frame)
        start = begin + sum(lengths[:first])
        stop = start + sum(lengths[first:end])
    else:
        start, stop = begin + each * first, begin + each * end
    all_ = memoryview(frame)
    table = all_[COUNT_BYTES + LENGTH_BYTES * first : COUNT_BYTES + LENGTH_BYTES * end]
    return b"".join((_COUNT.pack(end - first), table, all_[start:stop]))


def parts(frame: bytes, most_bytes: int) -> Iterator[bytes]:
    """Return the frames into which `cuts` cuts a sound one: as `cut` does, but all in one go."""
    count, each = count_in(frame), common_length(frame)
    begin = COUNT_BYTES + LENGTH_BYTES * count
    places: Sequence[int]
    if each:
        places = range(begin, begin + each * count + 1, each)
    else:
        places = list(accumulate(lengths_in(frame), initial=begin))
    all_, first = memoryview(frame), 0
    for end in cuts(frame, most_bytes):
        table = all_[COUNT_BYTES + LENGTH_BYTES * first : COUNT_BYTES + LENGTH_BYTES * end]
        yield b"".join((_COUNT.pack(end - first), table, all_[places[first] : places[end]]))
        first = end


def join(frames: Sequence[bytes]) -> bytes:
    """Return the frame of the contents of all these sound frames, in order."""
    begins = [COUNT_BYTES + LENGTH_BYTES * count_in(frame) for frame in frames]
    views = [memoryview(frame) for frame in frames]
    tables = [view[COUNT_BYTES:at] for view, at in zip(views, begins, strict=True)]
    contents = [view[at:] for view, at in zip(views, begins, strict=True)]
    return b"".join((_COUNT.pack(sum(map(count_in, frames))), *tables, *contents))


def fitting(frame: bytes, first: int, most_bytes: int, cost: int = 0) -> int:
    """Return how many contents from position `first` on fit, if each has a `cost` beside its own.

    At most those that a sound frame has.
    """
    each = common_length(frame)
    if each is None:
        sizes = [length + cost for length in lengths_in(frame)[first:]]
        return bisect_right(list(accumulate(sizes)), most_bytes)
    there = count_in(frame) - first
    return min(there, max(0, most_bytes) // (each + cost)) if each + cost else there


def cuts(frame: bytes, most_bytes: int) -> list[int]:
    """Return where to cut contents and lengths into parts of at most so many bytes.

    Namely the position that each part ends before; a content that is larger alone is a part.
    """
    count, each = count_in(frame), common_length(frame)
    if each is not None:
        step = max(1, most_bytes // (each + LENGTH_BYTES))
        return [*range(step, count, step), count]
    sizes = [length + LENGTH_BYTES for length in lengths_in(frame)]
    ends = list(accumulate(sizes, initial=0))
    found = [0]
    while found[-1] < count:
        fit = bisect_right(ends, ends[found[-1]] + most_bytes) - 1
        found.append(max(fit, found[-1] + 1))
    return found[1:]


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
