"""What a consumer's user is given, beside runs. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
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
