"""Decides when records arrived, by asking where a partition was at a time.

Stores tell for a time T an offset before which no record arrived at T or later. So a record at or
behind it has arrived at T or later, but for a bit: T is a lower bound. Such bounds never decrease
along a partition, which makes them both timestamps and watermarks.
"""

from __future__ import annotations

from collections.abc import Callable

RESOLUTION_MS = 100
"""Bounds are at most this much too low, unless a run took long to come."""

_MOST = 16
"""Times within one run that are told apart."""

Ask = Callable[[int], int | None]
"""Where a partition was at a time (milliseconds since 1970); None if nobody tells."""


class Arrivals:
    """The times at which the records of one partition arrived, in the order of offsets."""

    def __init__(self, ask: Ask, now: Callable[[], int], since: int = 0) -> None:
        """`since`: the first record that will be asked about arrived then or later."""
        self._ask, self._now, self._low = ask, now, since
        self._known: dict[int, int] = {}

    def of(self, first: int, end: int) -> list[tuple[int, int]]:
        """Where in a run times change: pairs of an offset, `first` at first, and a time.

        Without stores that tell, the time is now.
        """
        try:
            begin = self._of(first)
            last = self._of(end - 1) if end - first > 1 else begin
            times = [(first, begin)]
            if last - begin > RESOLUTION_MS:
                step = max(RESOLUTION_MS, (last - begin) // _MOST)
                for time in (*range(begin + step, last, step), last):
                    _note(times, self._at(time), time)
        except LookupError:
            return [(first, max(self._low, self._now()))]
        finally:
            self._known.clear()
        self._low = times[-1][1]
        return times

    def came_before(self, time: int, position: int) -> bool | None:
        """Whether a record at `position` or behind it may have come before `time`.

        None if nobody tells.
        """
        at = self._ask(time)
        return None if at is None else at > position

    # Inside

    def _of(self, offset: int) -> int:
        """The latest time, nearly, by which the record had not arrived."""
        low, high = self._bracket(offset)
        while high - low > RESOLUTION_MS:
            middle = (low + high) // 2
            if self._at(middle) > offset:
                high = middle
            else:
                low = middle
        self._low = low
        return low

    def _bracket(self, offset: int) -> tuple[int, int]:
        """A time by which the record had not arrived, and one by which it had."""
        now, step, low = self._now(), RESOLUTION_MS, self._low
        if self._at(now) <= offset:
            return now, now
        if not low:  # never asked: records are rather young than old
            high = now
            while high > step and self._at(high - step) > offset:
                high, step = high - step, step * 2
            return max(0, high - step), high
        while low + step < now and self._at(low + step) <= offset:
            low, step = low + step, step * 2
        return low, min(low + step, now)

    def _at(self, time: int) -> int:
        if time not in self._known:
            at = self._ask(time)
            if at is None:
                raise LookupError
            self._known[time] = at
        return self._known[time]


def _note(times: list[tuple[int, int]], offset: int, time: int) -> None:
    """The records from an offset on arrived at a time or later."""
    if offset <= times[-1][0]:
        times[-1] = times[-1][0], time
    else:
        times.append((offset, time))
