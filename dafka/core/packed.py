"""Contents of many records in one piece of memory, which costs the same however many they are.

What comes in one message is kept, written to disk and sent on as one, and only taken apart for
who wants single records. The bytes are those of `protocol.contents`, on the wire and on disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from protocol import contents as wire


class Packed(Sequence[bytes]):
    """Contents of consecutive records: a list of bytes in all but that it cannot be changed."""

    __slots__ = ("_count", "frame")

    def __init__(self, frame: bytes) -> None:
        """`frame` is sound: nothing is checked here (see `protocol.contents.complaint`)."""
        self.frame = frame
        self._count = wire.count_in(frame)

    @classmethod
    def of(cls, contents: Sequence[bytes]) -> Packed:
        """The same contents, packed."""
        return contents if isinstance(contents, Packed) else cls(wire.pack(contents))

    @classmethod
    def join(cls, parts: Sequence[Packed]) -> Packed:
        """The contents of all parts, of which there is one at least, in order."""
        return parts[0] if len(parts) == 1 else cls(wire.join([part.frame for part in parts]))

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """Bytes of all contents together."""
        return len(self.frame) - wire.COUNT_BYTES - wire.LENGTH_BYTES * self._count

    @property
    def weight(self) -> int:
        """Bytes of all contents and their lengths."""
        return len(self.frame) - wire.COUNT_BYTES

    @property
    def largest(self) -> int:
        """Bytes of the largest content."""
        each = wire.common_length(self.frame) if self._count else 0
        return max(wire.lengths_in(self.frame)) if each is None else each

    def split(self) -> list[bytes]:
        """The contents one by one."""
        return wire.split(self.frame) if self._count else []

    def fitting(self, first: int, most_bytes: int, *, lengths: bool = True) -> int:
        """How many contents from position `first` on have at most so many bytes.

        With `lengths`, those of their lengths count as well.
        """
        cost = wire.LENGTH_BYTES if lengths else 0
        weight = self.weight if lengths else self.size
        if weight <= most_bytes:
            return self._count - first
        return wire.fitting(self.frame, first, most_bytes, cost)

    def parts(self, most_bytes: int) -> Iterator[Packed]:
        """The same contents in parts of at most so many bytes with their lengths.

        A content that is larger alone is a part.
        """
        if self._count and self.weight <= most_bytes:
            yield self
        elif self._count:
            yield from map(Packed, wire.parts(self.frame, most_bytes))

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...

    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(at, int):
            first = range(self._count)[at]
            return wire.cut(self.frame, first, first + 1)[wire.COUNT_BYTES + wire.LENGTH_BYTES :]
        first, end, step = at.indices(self._count)
        return self.between(first, end) if step == 1 else self.split()[at]

    def between(self, first: int, end: int) -> Packed:
        """The contents from position `first` to before `end`, or to the last one."""
        end = min(end, self._count)
        if first == 0 and end == self._count:
            return self
        return Packed(wire.cut(self.frame, first, max(first, end)))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.split())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Packed):
            return self.frame == other.frame
        return self.split() == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Packed({self.split()!r})"


def size_of(contents: Sequence[bytes]) -> int:
    """Bytes of all contents together."""
    return contents.size if isinstance(contents, Packed) else sum(map(len, contents))


def largest_of(contents: Sequence[bytes]) -> int:
    """Bytes of the largest content."""
    if isinstance(contents, Packed):
        return contents.largest
    return max(map(len, contents), default=0)
