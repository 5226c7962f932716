"""Where the records are: every value's offsets, held in memory.

Decides what continues a partition and which value holds an offset; touches no disk. A value costs
12 bytes, so 100 million records of 100 bytes in full values cost about 130 kB.
"""

from __future__ import annotations

import sys
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from dafka.core.run import Run
from dafka.io import log_format as fmt

_RECENT_VALUES = 8


@dataclass(frozen=True, slots=True)
class Extent:
    """What is stored of a partition: the offsets from `earliest` up to, but without, `next`."""

    topic: str
    partition: str
    earliest: int
    next: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Records that make one value."""

    number: int
    first: int
    contents: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one append writes: values, and entries for partitions seen for the first time."""

    pieces: list[Piece]
    newcomers: dict[int, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Span:
    """The offsets of one value; `key` is None where there should be one, but is not."""

    key: bytes | None
    first: int
    last: int


@dataclass(slots=True)
class _Partition:
    topic: str
    partition: str
    firsts: array[int] = field(default_factory=lambda: array("Q"))
    counts: array[int] = field(default_factory=lambda: array("I"))
    next: int = 0

    def add(self, first: int, count: int) -> None:
        self.firsts.append(first)
        self.counts.append(count)
        self.next = max(self.next, first + count)

    def span(self, number: int, at: int) -> Span:
        first, count = self.firsts[at], self.counts[at]
        return Span(fmt.record_key(number, first, count), first, first + count - 1)


class Index:
    """The values of all partitions; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._partitions: dict[int, _Partition] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._next_number = 0

    def name(self, number: int, topic: str, partition: str) -> None:
        """Enter a partition that has no values yet; `BadValue` if it has another number already."""
        with self._lock:
            if (topic, partition) in self._numbers:
                raise fmt.BadValue("another entry names the same partition")
            self._partitions[number] = _Partition(topic, partition)
            self._numbers[topic, partition] = number
            self._next_number = max(self._next_number, number + 1)

    def knows(self, number: int) -> bool:
        """Whether a partition has this number, or may get it while another thread appends."""
        with self._lock:
            return number in self._partitions or number >= self._next_number

    def reserve(self, number: int) -> None:
        """Never give this number to a new partition: one whose name is lost has it."""
        with self._lock:
            self._next_number = max(self._next_number, number + 1)

    def load(self, number: int, keys: Sequence[bytes]) -> bool:
        """Enter values of a partition from their keys, in the keys' order.

        False if no partition has this number; it will not be given to a new one either.
        """
        firsts = array("Q", b"".join([key[5:13] for key in keys]))
        counts = array("I", b"".join([key[13:17] for key in keys]))
        if sys.byteorder == "little":
            firsts.byteswap()
            counts.byteswap()
        ends = list(map(int.__add__, firsts, counts))
        if 0 in counts or max(ends, default=0) - 1 > fmt.MAX_OFFSET:
            return self.load(number, [key for key in keys if fmt.parse_record_key(key)])
        self.reserve(number)
        with self._lock:
            found = self._partitions.get(number)
            if found is None:
                return False
            found.firsts.extend(firsts)
            found.counts.extend(counts)
            found.next = max(found.next, max(ends, default=0))
            return True

    def plan(self, runs: Iterable[Run]) -> Plan:
        """Join runs that follow each other and cut them into values; changes nothing.

        Raises `ValueError` for a run that does not continue its partition, and for contents that
        are too large.
        """
        joined: dict[tuple[str, str], list[Run]] = {}
        for run in runs:
            if run.contents:
                _check_contents(run)
                joined.setdefault((run.topic, run.partition), []).append(run)
        plan = Plan([], {})
        for name, parts in joined.items():
            number = self._continue(name, parts, plan)
            contents = parts[0].contents
            if len(parts) > 1:
                contents = [content for part in parts for content in part.contents]
            start = 0
            for stop in fmt.cut(contents):
                plan.pieces.append(Piece(number, parts[0].first + start, contents[start:stop]))
                start = stop
        return plan

    def _continue(self, name: tuple[str, str], parts: list[Run], plan: Plan) -> int:
        """The partition's number, a new one for a new partition; every part must fit."""
        with self._lock:
            number = self._numbers.get(name)
            stored = None if number is None else self._partitions[number]
            expected = stored.next if stored and stored.firsts else parts[0].first
            if number is None:
                number = self._next_number + len(plan.newcomers)
                if number >= fmt.MAX_PARTITIONS:
                    raise ValueError("no more partitions are possible in this log")
                plan.newcomers[number] = name
        for part in parts:
            if part.first != expected or part.first < 0 or part.next - 1 > fmt.MAX_OFFSET:
                raise ValueError(
                    f"records of topic {part.topic!r}, partition {part.partition} from offset"
                    f" {part.first} to {part.next - 1} cannot be appended: {expected} comes next"
                )
            expected = part.next
        return number

    def extend(self, plan: Plan) -> None:
        """Enter what has been written."""
        for number, (topic, partition) in plan.newcomers.items():
            self.name(number, topic, partition)
        with self._lock:
            for piece in plan.pieces:
                self._partitions[piece.number].add(piece.first, len(piece.contents))

    def find(self, topic: str, partition: str, offset: int) -> Span | None:
        """The value that holds `offset`; None if the offset is not in the partition's extent."""
        with self._lock:
            number = self._numbers.get((topic, partition))
            if number is None:
                return None
            found = self._partitions[number]
            at = bisect_right(found.firsts, offset) - 1
            if at < 0 or offset >= found.next:
                return None
            span = found.span(number, at)
            if offset <= span.last:
                return span
            following = found.firsts[at + 1] if at + 1 < len(found.firsts) else found.next
            return Span(None, span.last + 1, following - 1)

    def spans(self, number: int) -> Iterator[Span]:
        """The values of a partition in order; those appended meanwhile follow."""
        with self._lock:
            found = self._partitions[number]
        for at in count():
            with self._lock:
                if at >= len(found.firsts):
                    return
                span = found.span(number, at)
            yield span

    def extents(self) -> dict[int, Extent]:
        """What is stored of each partition that has records, by partition number."""
        with self._lock:
            return {
                number: Extent(found.topic, found.partition, found.firsts[0], found.next)
                for number, found in self._partitions.items()
                if found.firsts
            }

    def extent(self, topic: str, partition: str) -> Extent | None:
        """What is stored of one partition; None if it has no records."""
        with self._lock:
            number = self._numbers.get((topic, partition))
            found = None if number is None else self._partitions[number]
            if found is None or not found.firsts:
                return None
            return Extent(topic, partition, found.firsts[0], found.next)


class Recent:
    """The last few verified values of which only a part was read: the rest is asked for next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[bytes | None, fmt.Value] = {}

    def take(self, span: Span) -> fmt.Value | None:
        """The value of a span, which is then forgotten; None if it is not here."""
        with self._lock:
            return self._values.pop(span.key, None)

    def keep(self, span: Span, value: fmt.Value) -> None:
        """Remember a value unless it is very large; the oldest one makes room."""
        if len(value.data) > 2 * fmt.VALUE_BYTES:
            return
        with self._lock:
            self._values[span.key] = value
            if len(self._values) > _RECENT_VALUES:
                del self._values[next(iter(self._values))]


def _check_contents(run: Run) -> None:
    """Raise `ValueError` for a content that no value can hold."""
    if max(map(len, run.contents)) <= fmt.MAX_CONTENT_BYTES:
        return
    for offset, content in enumerate(run.contents, run.first):
        if len(content) > fmt.MAX_CONTENT_BYTES:
            raise ValueError(
                f"the record of topic {run.topic!r}, partition {run.partition}, offset {offset} has"
                f" {len(content)} bytes: a log can keep at most {fmt.MAX_CONTENT_BYTES}"
            )
