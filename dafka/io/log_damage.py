"""What is wrong with a log: how it is told, and which records are known to be damaged."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace

from dafka.errors import StoreError


@dataclass(frozen=True, slots=True)
class Damage:
    """Something wrong in a log; where it is of no known partition, the names are empty.

    `last` is below `first` where no offsets are known.
    """

    topic: str
    partition: str
    first: int
    last: int
    reason: str


class Damaged(StoreError):
    """Records that are stored, but cannot be read: offsets `first` to `last` of a partition."""

    def __init__(self, topic: str, partition: str, first: int, last: int, reason: str) -> None:
        super().__init__(
            f"records of topic {topic!r}, partition {partition}, offsets {first} to {last}"
            f" are damaged: {reason}"
        )
        self.topic = topic
        self.partition = partition
        self.first = first
        self.last = last
        self.reason = reason


class Quarantine:
    """The damaged ranges of all partitions; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ranges: dict[tuple[str, str], list[Damage]] = {}

    def add(self, damage: Damage) -> None:
        """Note a range; what was noted of it before is told by this one from now on."""
        with self._lock:
            ranges = self._ranges.setdefault((damage.topic, damage.partition), [])
            at = _cut_out(ranges, damage.first, damage.last)
            ranges.insert(at, damage)

    def remove(self, topic: str, partition: str, first: int, last: int) -> None:
        """These offsets are damaged no longer, or are forgotten."""
        with self._lock:
            ranges = self._ranges.get((topic, partition), [])
            _cut_out(ranges, first, last)
            if not ranges:
                self._ranges.pop((topic, partition), None)

    def following(self, topic: str, partition: str, offset: int) -> Damage | None:
        """The damaged range that holds an offset, or else the next one after it."""
        with self._lock:
            ranges = self._ranges.get((topic, partition))
            if ranges is None:
                return None
            at = bisect_left(ranges, offset, key=_last)
            return ranges[at] if at < len(ranges) else None

    def overlaps(self, topic: str, partition: str, first: int, last: int) -> bool:
        """Whether any of these offsets is damaged."""
        damage = self.following(topic, partition, first)
        return damage is not None and damage.first <= last

    def ranges(self) -> list[Damage]:
        """All damaged ranges, those of a partition in order."""
        with self._lock:
            return [damage for ranges in self._ranges.values() for damage in ranges]


def _first(damage: Damage) -> int:
    return damage.first


def _last(damage: Damage) -> int:
    return damage.last


def _cut_out(ranges: list[Damage], first: int, last: int) -> int:
    """Take offsets out of ranges; the position where a range of these offsets would be."""
    start = bisect_left(ranges, first, key=_last)
    stop = bisect_right(ranges, last, key=_first)
    met = ranges[start:stop]
    before = [replace(met[0], last=first - 1)] if met and met[0].first < first else []
    after = [replace(met[-1], first=last + 1)] if met and met[-1].last > last else []
    ranges[start:stop] = before + after
    return start + len(before)
