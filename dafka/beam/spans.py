"""Decides what of a partition belongs to which piece of work, and how pieces are split.

A span is a stretch of offsets of one partition. An open one has no end: how far its partition
goes is estimated by what a reader of this process has heard last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from apache_beam import coders
from apache_beam.io.iobase import RestrictionProgress
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.transforms.core import RestrictionProvider

from dafka.beam.records import Place

OPEN = (1 << 63) - 1
"""Where a span stops that has no end: no partition gets so far."""

SPLIT_RECORDS = 250_000
"""A longer span with an end is split before it is read, for several workers."""

_heads: dict[tuple[str, str], int] = {}


def note_head(topic: str, partition: str, head: int) -> None:
    """A partition is known to go as far as this; the next record will be at `head`."""
    key = topic, partition
    _heads[key] = max(head, _heads.get(key, 0))


class Span(OffsetRange):
    """The records of a partition from `start` to before `stop`."""

    start: int
    stop: int

    def __init__(self, topic: str, partition: str, start: int, stop: int) -> None:
        super().__init__(start, stop)
        self.topic, self.partition = topic, partition

    @property
    def fields(self) -> tuple[str, str, int, int]:
        """All that makes a span."""
        return self.topic, self.partition, self.start, self.stop

    @property
    def is_open(self) -> bool:
        """Whether it has no end."""
        return self.stop == OPEN

    def part(self, start: int, stop: int) -> Span:
        """Some of it."""
        return Span(self.topic, self.partition, start, stop)

    def split_at(self, split_pos: int) -> tuple[Span, Span]:
        """What comes before an offset, and what comes from there on."""
        return self.part(self.start, split_pos), self.part(split_pos, self.stop)

    def size(self) -> int:
        """Records in it, those of an open one as far as they are known."""
        end = self.stop if not self.is_open else _heads.get((self.topic, self.partition), 0)
        return max(0, end - self.start)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Span) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.fields)

    def __repr__(self) -> str:
        end = "" if self.is_open else self.stop
        return f"Span({self.topic} {self.partition} [{self.start}:{end}])"


class SpanCoder(coders.Coder):
    """Encodes a span."""

    _fields = coders.TupleCoder(
        [coders.StrUtf8Coder(), coders.StrUtf8Coder(), coders.VarIntCoder(), coders.VarIntCoder()]
    )

    def encode(self, value: Span) -> bytes:
        """A span as bytes."""
        return self._fields.encode(value.fields)  # type: ignore[no-any-return]

    def decode(self, encoded: bytes) -> Span:
        """A span from bytes."""
        return Span(*self._fields.decode(encoded))

    def is_deterministic(self) -> bool:
        """Equal spans are equal bytes."""
        return True


class SpanTracker(OffsetRestrictionTracker):
    """Which records of a span were claimed; splits off the rest of it, also of an open one."""

    _range: Span

    def __init__(self, span: Span, head: Callable[[], int] | None = None) -> None:
        """`head` estimates how far the partition goes; by default, what this process has heard."""
        super().__init__(span)
        self._head = head or (lambda: span.start + span.size())

    def try_split(self, fraction_of_remainder: float) -> tuple[Span, Span] | None:
        """Keep a fraction of what is known to be left; give back both parts, or None."""
        span = self._range
        if not span.is_open or fraction_of_remainder == 0:
            return super().try_split(fraction_of_remainder)  # type: ignore[no-any-return]
        last = self._last_claim_attempt
        at = span.start - 1 if last is None else last
        cut = at + max(1, int((self._head() - at) * fraction_of_remainder))
        if self._checkpointed or cut >= self._head():
            return None
        kept, given = span.split_at(cut)
        self._range = kept
        return kept, given

    def current_progress(self) -> RestrictionProgress:
        """How many records were claimed, and how many are known to be left."""
        span = self._range
        at = self._current_position
        done = 0 if at is None else at + 1 - span.start
        end = self._head() if span.is_open else span.stop
        return RestrictionProgress(
            completed=float(done), remaining=float(max(0, end - span.start - done))
        )

    def is_bounded(self) -> bool:
        """Whether the span has an end."""
        return not self._range.is_open


class Spans(RestrictionProvider):
    """Makes spans of places, and trackers of spans."""

    def initial_restriction(self, element: Place) -> Span:
        """All that is to be read of a place."""
        return Span(element.topic, element.partition, element.first, element.stop)

    def create_tracker(self, restriction: Span) -> SpanTracker:
        """A tracker of a span of which nothing was claimed."""
        return SpanTracker(restriction)

    def restriction_coder(self) -> SpanCoder:
        """How spans are encoded."""
        return SpanCoder()

    def restriction_size(self, element: Place, restriction: Span) -> int:
        """Records in a span."""
        return restriction.size()

    def split(self, element: Place, restriction: Span) -> Iterator[Span]:
        """Parts that several workers can read."""
        if restriction.is_open:
            yield restriction
            return
        for part in OffsetRange.split(restriction, SPLIT_RECORDS):
            yield restriction.part(part.start, part.stop)
