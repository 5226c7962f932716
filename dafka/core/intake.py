"""Puts the runs of one partition in order and knows what is missing: the only gap bookkeeping.

Used by consumers and by store writers. Decides nothing about asking for what is missing.
"""

from __future__ import annotations

from bisect import bisect_right

from dafka.core.run import Run


class Intake:
    """One partition's records on their way in: everything below `next` has been handed on."""

    __slots__ = ("_waiting", "end", "next", "waiting_bytes")

    def __init__(self, first: int) -> None:
        self.next = first
        """The next offset to hand on."""
        self.end = first
        """One past the last offset known to exist, whoever said so."""
        self.waiting_bytes = 0
        """Bytes of the runs held back because something before them is missing."""
        self._waiting: list[Run] = []

    def announce(self, end: int) -> None:
        """Somebody has the records before `end`."""
        self.end = max(self.end, end)

    def offer(self, run: Run, room: int) -> list[Run]:
        """Take a run from anywhere; return the runs that can now be handed on, in order.

        What lies ahead of a gap is held back while the held bytes stay within `room`; beyond
        it, the run is forgotten, and `missing` will name it when its turn comes.
        """
        self.end = max(self.end, run.next)
        if run.first > self.next:
            self._hold(run, room)
            return []
        if run.next <= self.next:
            return []
        run = run.since(self.next)
        self.next = run.next
        return [run, *self._release()] if self._waiting else [run]

    def skip(self, offset: int) -> list[Run]:
        """Go on at `offset`: what comes before it is not to be had; as `offer` returns."""
        if offset <= self.next:
            return []
        self.next = offset
        self.end = max(self.end, offset)
        return self._release()

    def missing(self) -> tuple[int, int] | None:
        """The first range of offsets [first, end) that is known to exist but has not come."""
        if self.next >= self.end:
            return None
        return self.next, self._waiting[0].first if self._waiting else self.end

    def missing_after(self, offset: int) -> tuple[int, int] | None:
        """The first missing range at or after `offset`."""
        at = max(offset, self.next)
        for run in self._waiting:
            if at < run.first:
                return at, run.first
            at = max(at, run.next)
        return (at, self.end) if at < self.end else None

    def _hold(self, run: Run, room: int) -> None:
        held = self._waiting
        at = bisect_right(held, run.first, key=_first)
        if at:
            run = run.since(held[at - 1].next)
        if at < len(held):
            run = run.until(held[at].first)
        size = run.cost
        if run.contents and self.waiting_bytes + size <= room:
            held.insert(at, run)
            self.waiting_bytes += size

    def _release(self) -> list[Run]:
        released: list[Run] = []
        done = 0
        for run in self._waiting:
            if run.first > self.next:
                break
            done += 1
            self.waiting_bytes -= run.cost
            fresh = run.since(self.next)
            if fresh.contents:
                released.append(fresh)
                self.next = fresh.next
        del self._waiting[:done]
        return released


def _first(run: Run) -> int:
    return run.first
