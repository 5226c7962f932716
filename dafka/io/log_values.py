"""Where the values of one partition are: their offsets and sizes, held in memory.

Decides which value holds an offset, which values go when old records are forgotten, and which
small neighbours are worth merging. Touches no disk. A value costs 16 bytes, so 100 million records
of 100 bytes in full values cost about 170 kB. Not for several threads at once: `Index` locks.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from dafka.io import log_format as fmt

MERGE_FACTOR = 8
"""A value is merged into one that is at least so many times as large. So a record is written again
log8(VALUE_BYTES / its size) times at most, and no more than 7 values of a size stay apart."""
MERGE_VALUES = 1024
"""So many values are merged at once at most."""
_ENTRY_COST = 64
"""What a value costs beyond its size, which makes even empty records worth merging."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What is kept of a partition: the offsets from `earliest` up to, but without, `next`.

    Both are equal where no record is kept. `bytes` counts contents, and four bytes a record for
    its length; it tells nothing about where records are, and is no part of comparisons.
    """

    topic: str
    partition: str
    earliest: int
    next: int
    bytes: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Span:
    """The offsets of one value; `key` is None where there should be one, but is not."""

    key: bytes | None
    first: int
    last: int


class Values:
    """The values of a partition in order.

    `earliest` is the first offset kept, None while nothing tells it. Values before it, the first
    `forgotten` ones, are only there until they are removed.
    """

    def __init__(self, number: int, topic: str, partition: str) -> None:
        self.number = number
        self.topic = topic
        self.partition = partition
        self.firsts = array("Q")
        self.counts = array("I")
        self.sizes = array("I")
        self.earliest: int | None = None
        self.next = 0
        self.forgotten = 0
        self.bytes = 0
        self.scanned = 0

    def __len__(self) -> int:
        return len(self.firsts)

    def add(self, first: int, count: int, size: int) -> None:
        """Enter the value that comes next."""
        self.firsts.append(first)
        self.counts.append(count)
        self.sizes.append(size)
        self.bytes += size
        if self.earliest is None:
            self.earliest = first
        self.next = max(self.next, first + count)

    def load(self, firsts: array[int], counts: array[int], sizes: array[int]) -> None:
        """Enter values that were stored before, in order; `settle` when all are."""
        self.firsts.extend(firsts)
        self.counts.extend(counts)
        self.sizes.extend(sizes)

    def settle(self) -> None:
        """Work out what follows from the values and the floor that were loaded."""
        if self.earliest is None and self.firsts:
            self.earliest = self.firsts[0]
        self.bytes = sum(self.sizes)
        self.next = max(map(int.__add__, self.firsts, self.counts), default=0)
        if self.earliest is not None:
            self.set_floor(self.earliest)

    def extent(self) -> Extent | None:
        """What is kept; None while nothing tells where the partition is."""
        if self.earliest is None:
            return None
        return Extent(self.topic, self.partition, self.earliest, self.next, self.bytes)

    def key(self, at: int) -> bytes:
        """The key of the value at a position."""
        return fmt.record_key(self.number, self.firsts[at], self.counts[at], self.sizes[at])

    def span(self, at: int) -> Span:
        """The value at a position."""
        first = self.firsts[at]
        return Span(self.key(at), first, first + self.counts[at] - 1)

    def _last(self, at: int) -> int:
        return self.firsts[at] + self.counts[at] - 1

    def find(self, offset: int) -> Span | None:
        """The value that holds `offset`; None if the offset is not kept."""
        if self.earliest is None or not self.earliest <= offset < self.next:
            return None
        at = bisect_right(self.firsts, offset) - 1
        hole = self.earliest
        if at >= self.forgotten:
            if offset <= self._last(at):
                return self.span(at)
            hole = max(hole, self._last(at) + 1)
        following = self.firsts[at + 1] if at + 1 < len(self) else self.next
        return Span(None, hole, following - 1)

    def spans(self) -> Iterator[Span]:
        """The values kept at this moment, in order; changes made meanwhile do not show."""
        kept = Values(self.number, self.topic, self.partition)
        since = self.forgotten
        kept.load(self.firsts[since:], self.counts[since:], self.sizes[since:])
        return map(kept.span, range(len(kept)))

    def holds(self, span: Span) -> bool:
        """Whether this very value, or this very hole, is still one of the partition's."""
        if span.key is None:
            return self.find(span.first) == span
        at = max(bisect_left(self.firsts, span.first), self.forgotten)
        while at < len(self) and self.firsts[at] == span.first:
            if self.key(at) == span.key:
                return True
            at += 1
        return False

    # Forgetting

    def floor(self, before: int, exact: bool) -> int | None:
        """What `earliest` becomes if the records before an offset are forgotten; None: nothing.

        If not `exact`, a value is forgotten as a whole or not at all.
        """
        if exact:
            return max(before, self.earliest or 0)
        if self.earliest is None:
            return None
        before = min(before, self.next)
        at = max(bisect_right(self.firsts, before) - 1, self.forgotten)
        if at < len(self) and self._last(at) < before:
            at += 1
        kept = self.firsts[at] if at < len(self) else self.next
        return max(self.earliest, min(kept, before))

    def set_floor(self, earliest: int) -> None:
        """Forget what is before an offset, which may lie beyond everything stored."""
        self.earliest = earliest
        self.next = max(self.next, earliest)
        while self.forgotten < len(self) and self._last(self.forgotten) < earliest:
            self.bytes -= self.sizes[self.forgotten]
            self.forgotten += 1

    def unused(self, earliest: int, most: int) -> list[bytes]:
        """Keys of the first values that lie before an offset altogether."""
        keys: list[bytes] = []
        while len(keys) < min(most, len(self)) and self._last(len(keys)) < earliest:
            keys.append(self.key(len(keys)))
        return keys

    def remove(self, count: int) -> None:
        """The first values, all of them forgotten, are no longer stored."""
        for column in (self.firsts, self.counts, self.sizes):
            del column[:count]
        self.forgotten -= count
        self.scanned = max(0, self.scanned - count)

    def cut(self, keep_bytes: int | None, keep_records: int | None) -> int:
        """The offset before which whole values can go; the newest value always stays."""
        at, left, boundary = self.forgotten, self.bytes, self.earliest or 0
        if keep_records is not None and at < len(self):
            # Where the first values are missing, what is left of them goes like a value.
            kept = self.next - self.firsts[at]
            boundary = max(boundary, self.firsts[at]) if kept >= keep_records else boundary
        while at + 1 < len(self):
            following = self.firsts[at + 1]
            too_large = keep_bytes is not None and left > keep_bytes
            too_many = keep_records is not None and self.next - following >= keep_records
            if not (too_large or too_many):
                break
            left -= self.sizes[at]
            boundary = following
            at += 1
        return boundary

    # Replacing

    def positions(self, first: int, last: int) -> range:
        """The positions of the kept values that have any of these offsets."""
        start = max(bisect_right(self.firsts, first) - 1, self.forgotten)
        while start < len(self) and self._last(start) < first:
            start += 1
        return range(start, max(start, bisect_right(self.firsts, last)))

    def replace(self, at: range, values: Iterable[tuple[int, int, int]]) -> None:
        """Values at neighbouring positions are now these: first offsets, counts and sizes."""
        rows = list(values)
        self.bytes += sum(row[2] for row in rows) - sum(self.sizes[at.start : at.stop])
        for column, new in zip(
            (self.firsts, self.counts, self.sizes), zip(*rows, strict=True), strict=True
        ):
            column[at.start : at.stop] = array(column.typecode, new)
        self.scanned = min(self.scanned, at.start)

    # Merging

    def mergeable(
        self, max_bytes: int, steps: int, damaged: Callable[[int, int], bool]
    ) -> tuple[range | None, int]:
        """Positions of neighbours worth merging, or None; and how many of `steps` are left.

        Goes on where the last call ended, so a value that is not merged is looked at once.
        """
        end = max(self.scanned, self.forgotten)
        while end < len(self) and steps > 0:
            steps -= 1
            start = self._start(end, max_bytes, damaged)
            if start is not None:
                self.scanned = end
                return range(start, self._stop(start, end + 1, max_bytes, damaged)), steps
            end += 1
        self.scanned = end
        return None, steps

    def _start(self, end: int, max_bytes: int, damaged: Callable[[int, int], bool]) -> int | None:
        """Where the longest row of neighbours that is worth merging and ends here begins."""
        found = None
        total = largest = size = 0
        for at in range(end, max(self.forgotten, end + 1 - MERGE_VALUES) - 1, -1):
            size += self.sizes[at]
            if size > max_bytes or not self._neighbours(at, end) or self._spoilt(at, damaged):
                break
            cost = self.sizes[at] + _ENTRY_COST
            total += cost
            largest = max(largest, cost)
            if MERGE_FACTOR * largest > max_bytes + _ENTRY_COST * MERGE_VALUES:
                break
            if total >= MERGE_FACTOR * largest:
                found = at
        return found

    def _stop(
        self, start: int, stop: int, max_bytes: int, damaged: Callable[[int, int], bool]
    ) -> int:
        """Where a row worth merging ends if following values that keep it so are joined to it."""
        size = sum(self.sizes[start:stop])
        while stop < len(self) and stop - start < MERGE_VALUES:
            size += self.sizes[stop]
            total = size + _ENTRY_COST * (stop + 1 - start)
            if MERGE_FACTOR * (self.sizes[stop] + _ENTRY_COST) > total or size > max_bytes:
                break
            if not self._neighbours(stop - 1, stop) or self._spoilt(stop, damaged):
                break
            stop += 1
        return stop

    def _neighbours(self, at: int, end: int) -> bool:
        """Whether the next value, if it is in the row, begins where this one ends."""
        return at == end or self._last(at) + 1 == self.firsts[at + 1]

    def _spoilt(self, at: int, damaged: Callable[[int, int], bool]) -> bool:
        return damaged(self.firsts[at], self._last(at))
