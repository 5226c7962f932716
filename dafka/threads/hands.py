"""What the threads of a consumer have in hand: how far all that was given has been handled.

A thread has handled what it was given once it comes back for more; one that ends before has not.
Decides nothing about saving, and takes no lock: its user does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from dafka.core.partition import Key
from dafka.core.run import Run


class Thread(Protocol):
    """What has records in hand: not its number, which is given again when it has ended."""

    def is_alive(self) -> bool:
        """Whether it may still come back."""


class Hands:
    """One place in hand for each thread, and the ends of what was given."""

    def __init__(self) -> None:
        self._held: dict[Thread, tuple[Run, int]] = {}
        self._lost: dict[Key, int] = {}
        """The first record of each partition that was in hand when its thread ended."""
        self._ends: dict[Key, int] = {}
        self._told: dict[Key, int] = {}

    def hold(self, thread: Thread, run: Run, at: int) -> None:
        """A thread was given the record at this place of a run, or all from there on."""
        self._held[thread] = run, at

    def back(self, thread: Thread) -> None:
        """A thread came back: what it had in hand was handled."""
        self._held.pop(thread, None)

    def commit(self, thread: Thread, key: Key, end: int) -> None:
        """A thread says that it has handled what comes before `end` of a partition."""
        self._told.pop(key, None)
        run, at = self._held.get(thread, (None, 0))
        if run is not None and (run.topic, run.partition) == key and run.first + at < end:
            del self._held[thread]
        if self._lost.get(key, end) < end:
            del self._lost[key]

    def lose(self) -> list[tuple[Key, int]]:
        """See which threads have ended: what they had in hand stays unhandled.

        Returns the record's place for each partition that this is new of.
        """
        news = []
        for thread in [one for one in self._held if not one.is_alive()]:
            run, at = self._held.pop(thread)
            key, offset = (run.topic, run.partition), run.first + at
            if key not in self._lost:
                news.append((key, offset))
            self._lost[key] = min(offset, self._lost.get(key, offset))
        return news

    def all_back(self) -> None:
        """Everything that was given was handled."""
        self._held.clear()
        self._lost.clear()

    def gave(self, key: Key, end: int) -> None:
        """All before `end` was given to somebody."""
        self._ends[key] = end

    def forget(self, keys: Iterable[Key] | None) -> None:
        """Of these partitions, or of all, other records come next: what is in hand says nothing."""
        gone = set(self._ends) | set(self._told) | set(self._lost) if keys is None else set(keys)
        for key in gone:
            self._ends.pop(key, None)
            self._told.pop(key, None)
            self._lost.pop(key, None)
        self._held = {
            thread: (run, at)
            for thread, (run, at) in self._held.items()
            if keys is not None and (run.topic, run.partition) not in gone
        }

    def handled(self) -> dict[Key, int]:
        """How far partitions were handled, as far as that is news."""
        first = dict(self._lost)
        for run, at in self._held.values():
            key, offset = (run.topic, run.partition), run.first + at
            first[key] = min(offset, first.get(key, offset))
        news = {key: min(end, first.get(key, end)) for key, end in self._ends.items()}
        news = {key: end for key, end in news.items() if self._told.get(key) != end}
        self._told |= news
        self._ends = {key: end for key, end in self._ends.items() if key in first}
        return news

    @property
    def any(self) -> bool:
        """Whether anybody has anything in hand."""
        return bool(self._held)
