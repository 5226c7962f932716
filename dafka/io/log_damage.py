"""What is wrong with a log: how it is told, and which records are known to be damaged."""

from __future__ import annotations

import threading
from bisect import bisect_left
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

    def add(self, damage: Damage) -> bool:
        """Note a range; False if all of it was noted before."""
        with self._lock:
            name = damage.topic, damage.partition
            ranges = self._ranges.get(name, [])
            if any(known.first <= damage.first and damage.last <= known.last for known in ranges):
                return False
            ranges = [*_without(ranges, damage.first, damage.last), damage]
            self._ranges[name] = sorted(ranges, key=_first)
            return True

    def remove(self, topic: str, partition: str, first: int, last: int) -> None:
        """These offsets are damaged no longer, or are forgotten."""
        with self._lock:
            name = topic, partition
            if name not in self._ranges:
                return
            self._ranges[name] = _without(self._ranges[name], first, last)
            if not self._ranges[name]:
                del self._ranges[name]

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


def _without(ranges: list[Damage], first: int, last: int) -> list[Damage]:
    """The ranges less the offsets from `first` to `last`."""
    left = []
    for damage in ranges:
        if damage.last < first or damage.first > last:
            left.append(damage)
            continue
        if damage.first < first:
            left.append(replace(damage, last=first - 1))
        if damage.last > last:
            left.append(replace(damage, first=last + 1))
    return left
