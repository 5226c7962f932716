"""Decides which partitions may be asked for now, so that a node that lacks everything takes it in
bit by bit. Costs the same however many partitions wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from dafka.core.partition import Key, Partition

MAX_ASKING = 16
"""Partitions that are asked for at the same time."""


class Turns:
    """Partitions that lack something: those asked for, those that stayed silent, those in line."""

    def __init__(self) -> None:
        self._asked: dict[Key, Partition] = {}
        self._line: dict[Key, None] = {}
        self._silent: list[tuple[float, Key]] = []
        self._due: dict[Key, float] = {}

    @property
    def full(self) -> bool:
        """Whether no other partition may be asked for."""
        return len(self._asked) >= MAX_ASKING

    def place(self, key: Key, partition: Partition) -> None:
        """Put a partition where it belongs now; one that is new goes to the end of the line."""
        fetcher = partition.fetcher
        deadline = fetcher.next_deadline()
        if fetcher.waiting:
            self.remove(key)
            self._asked[key] = partition
        elif deadline is None:
            self._asked.pop(key, None)
            self._due.pop(key, None)
            self._line.setdefault(key)
        elif self._due.get(key) != deadline:
            self.remove(key)
            self._due[key] = deadline
            heappush(self._silent, (deadline, key))

    def remove(self, key: Key) -> None:
        """It lacks nothing any more."""
        self._asked.pop(key, None)
        self._line.pop(key, None)
        self._due.pop(key, None)

    def rebuild(self, partitions: Iterable[tuple[Key, Partition]]) -> None:
        """Begin anew with all of them."""
        for part in (self._asked, self._line, self._due):
            part.clear()
        self._silent.clear()
        for key, partition in partitions:
            self.place(key, partition)

    def asked(self) -> list[Partition]:
        """The partitions whose answers are awaited."""
        return list(self._asked.values())

    def next(self, now: float) -> Iterator[Key]:
        """Whose turn it is. The caller asks and calls `place` before it takes the next one."""
        yield from list(self._asked)
        while self._silent and self._silent[0][0] <= now:
            deadline, key = heappop(self._silent)
            if self._due.get(key) == deadline:
                del self._due[key]
                yield key
        for _ in range(len(self._line)):
            if self.full:
                return
            key = next(iter(self._line))
            del self._line[key]
            yield key

    def next_deadline(self) -> float | None:
        """When the next answer is overdue."""
        while self._silent and self._due.get(self._silent[0][1]) != self._silent[0][0]:
            heappop(self._silent)
        times = [partition.fetcher.next_deadline() for partition in self._asked.values()]
        times += [self._silent[0][0]] if self._silent else []
        return min((time for time in times if time is not None), default=None)
