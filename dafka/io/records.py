"""What a consumer's user is given, beside runs. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, repeat
from typing import NamedTuple

from dafka.core.run import Run


class Record(NamedTuple):
    """One record: where it is (topic, partition, offset) and what it says."""

    topic: str
    partition: str
    offset: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a partition: the next offset."""

    topic: str
    partition: str
    offset: int


def records_of(run: Run, begin: int, end: int) -> Iterator[Record]:
    """The records of a run whose contents have the indices `begin` up to `end`, made in C."""
    rows = zip(
        repeat(run.topic),
        repeat(run.partition),
        count(run.first + begin),
        run.contents[begin:end],
    )
    return map(tuple.__new__, repeat(Record), rows)
