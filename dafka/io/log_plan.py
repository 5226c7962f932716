"""What a change will write, before it is written: nothing here is entered or on disk yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dafka.core.packed import Packed
from dafka.core.run import Run
from dafka.io import log_format as fmt
from dafka.io.log_values import Span


@dataclass(frozen=True, slots=True)
class Piece:
    """Records that make one value; or so many that are `missing`, and then nothing else.

    They stay in the `parts` in which they came until they are written: a large change must not
    take its size once more in memory.
    """

    number: int
    first: int
    parts: Sequence[Packed] = ()
    missing: int = 0

    @property
    def contents(self) -> Packed:
        """All of them."""
        return Packed.join(self.parts)

    @property
    def size(self) -> int:
        """The bytes of its lengths and contents."""
        return sum([part.weight for part in self.parts])

    @property
    def count(self) -> int:
        """How many records it stands for."""
        return self.missing or sum(map(len, self.parts))

    @property
    def key(self) -> bytes:
        """The key of the value."""
        return fmt.record_key(self.number, self.first, self.count, self.size)

    def encode(self, arrivals: fmt.Arrivals) -> bytes:
        """The value; nothing can be taken for that of missing records."""
        return b"" if self.missing else fmt.encode_value(self.key, arrivals, self.contents)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one change writes: values, names of partitions seen for the first time, and floors."""

    pieces: list[Piece] = field(default_factory=list)
    newcomers: dict[int, tuple[str, str]] = field(default_factory=dict)
    floors: dict[int, fmt.Floor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """Neighbouring values of a partition, at these positions until the next change."""

    topic: str
    partition: str
    number: int
    positions: range
    spans: list[Span]


def pieces(number: int, first: int, parts: Iterable[Packed]) -> list[Piece]:
    """Records cut into values as large as they may be, joined where parts are smaller."""
    made: list[Piece] = []
    value: list[Packed] = []
    room = fmt.VALUE_BYTES
    for part in parts:
        at = 0
        while at < len(part):
            fit = part.fitting(at, room) or (0 if value else 1)
            if fit:
                value.append(part.between(at, at + fit))
                room -= value[-1].weight
                at += fit
            if at < len(part):
                made.append(Piece(number, first, value))
                first = made[-1].first + made[-1].count
                value, room = [], fmt.VALUE_BYTES
    return [*made, Piece(number, first, value)] if value else made


def check_contents(run: Run) -> None:
    """Raise `ValueError` for a content that no value can hold."""
    if run.size <= fmt.MAX_CONTENT_BYTES or run.largest <= fmt.MAX_CONTENT_BYTES:
        return
    for offset, content in enumerate(run.contents, run.first):
        if len(content) > fmt.MAX_CONTENT_BYTES:
            raise ValueError(
                f"the record of topic {run.topic!r}, partition {run.partition}, offset {offset} has"
                f" {len(content)} bytes: a log can keep at most {fmt.MAX_CONTENT_BYTES}"
            )
