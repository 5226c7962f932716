"""What replaces the values that hold damaged records: theirs from elsewhere, and what was sound.

Decides which values take the place of a row; writes nothing.
"""

from __future__ import annotations

from dafka.core.packed import Packed
from dafka.core.run import Run
from dafka.io import log_format as fmt
from dafka.io.log_damage import Damaged
from dafka.io.log_plan import Piece, Row, pieces
from dafka.io.log_reading import Reader

Patch = list[tuple[Piece, fmt.Arrivals]]


def patched(reader: Reader, row: Row, part: Run, earliest: int, now_ms: int) -> Patch:
    """The values for a row, with the records of `part` in place of its own.

    Records of a damaged value which the part does not have stay missing, as a value without data:
    so the partition keeps its extent, and they can be repaired later.
    """
    before: Patch = []
    after: Patch = []
    value = None
    if row.spans:
        first, last = row.spans[0], row.spans[-1]
        if last.last >= part.next:
            value = _sound(reader, row, -1)
            after = _rest(row.number, part.next, last.last + 1, value, part.next - last.first)
        value = _sound(reader, row, 0)
        if first.first < part.first:
            start = first.first if value else max(first.first, earliest)
            before = _rest(row.number, start, part.first, value, start - first.first)
    arrival = value.arrival_ms if value else _neighbours_arrival(reader, part, now_ms)
    middle = pieces(row.number, part.first, [Packed.of(part.contents)])
    return [*before, *((piece, [(arrival, piece.count)]) for piece in middle), *after]


def _sound(reader: Reader, row: Row, at: int) -> fmt.Value | None:
    """A value of the row if it can be read."""
    try:
        return reader.value(row.topic, row.partition, row.spans[at])
    except Damaged:
        return None


def _rest(number: int, start: int, stop: int, value: fmt.Value | None, skip: int) -> Patch:
    """The records from `start` to before `stop`, found in a value after `skip` others."""
    if stop <= start:
        return []
    count = stop - start
    if value is None:
        return [(Piece(number, start, missing=count), [])]
    contents = value.packed.between(skip, skip + count)
    return [(Piece(number, start, [contents]), [(value.arrival_ms, count)])]


def _neighbours_arrival(reader: Reader, part: Run, now_ms: int) -> int:
    """When records arrived whose value no longer tells: when their sound neighbours did."""
    for offset in (part.first - 1, part.next):
        arrival = reader.arrival_ms(part.topic, part.partition, offset)
        if arrival is not None:
            return arrival
    return now_ms
