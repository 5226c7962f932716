"""How far event time has come: per source, the least of what its partitions have reached.

Decides when a partition that says nothing is waited for no longer. Time is counted in seconds of
waiting: while there is anything left to read, silence means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

import msgspec

Key = tuple[str, str]
"""Topic and partition."""


@dataclass(slots=True)
class Mark:
    """How far a partition has come."""

    next: int = 0
    """The offset of the next record to process."""
    maximum: float = -inf
    """The greatest event time so far."""
    idle: bool = False
    """Not waited for until it says something."""
    final: bool = False
    """It will say nothing more, it has said."""
    heard: float = 0.0
    changed: bool = False


class Told(msgspec.Struct, array_like=True, frozen=True):
    """How far event time has come somewhere, as it is told to others."""

    time: float
    idle: bool
    """Nothing is waited for there."""
    final: bool
    """All has been read, and nothing more will be."""


class Watermark:
    """The event time of one source: records that are older are not expected any more."""

    def __init__(self, idle_s: float, settle_s: float, partitions: int) -> None:
        """`partitions`: so many have to be there first; `settle_s`: seconds to learn of others."""
        self.time = -inf
        self.marks: dict[Key, Mark] = {}
        self._idle_s = idle_s
        self._settle_s = settle_s
        self._least = partitions
        self._waited = 0.0
        self._began: float | None = None
        self.others: dict[str, int] = {}
        """By topic, partitions that are known to be read by other workers."""

    def mark(self, key: Key) -> Mark:
        """A partition's mark, which begins with this call if it is new."""
        mark = self.marks.get(key)
        if mark is None:
            mark = self.marks[key] = Mark(heard=self._waited)
        return mark

    def know(self, keys: Iterable[Key]) -> None:
        """These partitions exist: their first records are waited for."""
        for key in keys:
            self.mark(key)

    def saw(self, mark: Mark, maximum: float) -> None:
        """A partition's records have come, and their greatest event time is this."""
        mark.heard, mark.idle, mark.changed = self._waited, False, True
        mark.maximum = max(mark.maximum, maximum)

    @property
    def idle(self) -> bool:
        """Whether nothing is waited for: no partition has said anything for long."""
        if not self.marks and 0 < self._least <= sum(self.others.values()):
            return True  # there is none for us, and never will be
        return self._waited >= self._idle_s and all(mark.idle for mark in self.marks.values())

    def waited(self, seconds: float) -> None:
        """Nothing was left to read for so long."""
        self._waited += seconds

    def advance(self, now: float) -> float:
        """How far event time has come by now; it never goes back. `now`: monotonic seconds."""
        if self._began is None and any(mark.maximum > -inf for mark in self.marks.values()):
            self._began = now
        for mark in self.marks.values():
            if not mark.idle and self._waited - mark.heard >= self._idle_s:
                mark.idle = mark.changed = True
        if self._began is None or now - self._began < self._settle_s:
            return self.time
        if len(self.marks) + sum(self.others.values()) >= self._least:
            active = [mark.maximum for mark in self.marks.values() if not mark.idle]
            # Where nobody is waited for, whoever has come furthest counts.
            time = min(active) if active else max(mark.maximum for mark in self.marks.values())
            self.time = max(self.time, time)
        return self.time


class Relayed(Watermark):
    """The event time of what workers hand over: the least of what they have told."""

    def __init__(self, workers: int) -> None:
        super().__init__(inf, 0.0, workers)

    def spoke(self, mark: Mark) -> None:
        """A worker has handed over records: more may come."""
        mark.idle, mark.final, mark.changed = False, False, True

    def told(self, mark: Mark, told: Told) -> None:
        """A worker has told how far it has come."""
        mark.maximum = max(mark.maximum, told.time)
        mark.idle, mark.final, mark.changed = told.idle, told.final, True

    @property
    def idle(self) -> bool:
        """Whether all workers wait for nothing."""
        return self._complete and all(mark.idle for mark in self.marks.values())

    @property
    def final(self) -> bool:
        """Whether nothing more will come."""
        return self._complete and all(mark.final for mark in self.marks.values())

    @property
    def _complete(self) -> bool:
        return len(self.marks) >= self._least
