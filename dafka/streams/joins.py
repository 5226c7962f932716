"""Joins two streams whose records lie near each other in time.

What is paired does not depend on which side was read first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Any

from dafka.streams.batch import Batch, each
from dafka.streams.errors import Fault
from dafka.streams.keyed_state import Store, in_order
from dafka.streams.operators import Operator

LEFT, RIGHT = 0, 1

_TIME, _BOUND, _MATCHED, _VALUE = range(4)

Entry = tuple[float, float, bool, Any]
"""A record that is kept: its time, its bound, whether it has been paired, and its value."""


class StreamJoin(Operator):
    """Pairs of records of one key whose times differ by at most `within` seconds.

    `kind` "inner" gives pairs only; "left" also what found nothing, with None for the other side,
    once nothing can come any more; "outer" does so for both sides.
    """

    def __init__(
        self,
        name: str,
        on_fault: Callable[[Fault], None],
        combine: Callable[[Any, Any], Any],
        within: float,
        lateness: float,
        kind: str,
        types: tuple[Any, Any],
        *,
        delay: float,
    ) -> None:
        """`delay`: how far event time lags behind that of the sources, here."""
        super().__init__(name, on_fault)
        kinds: dict[Any, Any] = {LEFT: _entry(types[LEFT]), RIGHT: _entry(types[RIGHT])}
        self.store: Store = Store(name, kinds=kinds)
        self._combine = combine
        self._within = within
        self._lateness = lateness
        self._tolerance = lateness + delay
        self._alone = {"inner": (), "left": (LEFT,), "outer": (LEFT, RIGHT)}[kind]
        self._closed = -inf
        self._next = 0
        self._by_key: tuple[dict[Any, list[int]], dict[Any, list[int]]] = ({}, {})
        self._ends: list[tuple[float, int, int, Any]] = []

    def loaded(self) -> None:
        """Index what an earlier life left."""
        for side in (LEFT, RIGHT):
            for key, number in self.store.groups.get(side, {}):
                self._enter(side, key, number)
                self._next = max(self._next, number + 1)

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Pair the records with those of the other side, and keep them."""
        pairs: list[tuple[Any, Any]] = []
        indices: list[int] = []
        moments: list[tuple[float, float]] = []
        times = batch.times or ()
        rows = zip(times, batch.bounds or times, batch.keys or (), batch.values, strict=True)
        for index, (time, bound, key, value) in enumerate(rows):
            if time + self._within < self._closed or time + self._tolerance < bound:
                self.counts.late += 1
                continue
            partners = self._partners(1 - port, key, time)
            for other in partners:
                pair = (value, other[_VALUE]) if port == LEFT else (other[_VALUE], value)
                pairs.append(pair)
                indices.append(index)
                moments.append((max(time, other[_TIME]), max(bound, other[_BOUND])))
            self._keep(port, key, (time, bound, bool(partners), value))
        led = batch.at(indices)
        led.times = [time for time, _ in moments]
        led.bounds = [bound for _, bound in moments]
        values, bad = each(lambda pair: self._combine(*pair), pairs, self.failing(led))
        return (led.without(bad).with_values(values),)

    def advance(self, watermark: float) -> Batch | None:
        """Forget what nothing can be paired with any more."""
        closed = self._closed = watermark - self._lateness
        gone: list[tuple[float, int, Any, Any]] = []
        while self._ends and self._ends[0][0] < closed:
            _, side, number, key = heappop(self._ends)
            time, _, matched, value = self.store.groups[side][key, number]
            self.store.remove(side, (key, number))
            numbers = self._by_key[side][key]
            numbers.remove(number)
            if not numbers:
                del self._by_key[side][key]
            if not matched and side in self._alone:
                gone.append((time, side, key, value))
        if not gone:
            return None
        gone = _sorted(gone)
        alone = Batch(
            [(value, None) if side == LEFT else (None, value) for _, side, _, value in gone],
            keys=[key for _, _, key, _ in gone],
            times=[time for time, _, _, _ in gone],
        )
        values, bad = each(lambda pair: self._combine(*pair), alone.values, self.failing(alone))
        return alone.without(bad).with_values(values)

    def _partners(self, side: int, key: Any, time: float) -> list[Entry]:
        bucket = self.store.groups.get(side, {})
        found = []
        for number in self._by_key[side].get(key, ()):
            entry = bucket[key, number]
            if abs(entry[_TIME] - time) <= self._within:
                found.append(entry)
                if not entry[_MATCHED]:
                    self.store.put(side, (key, number), (*entry[:_MATCHED], True, entry[_VALUE]))
        return found

    def _keep(self, side: int, key: Any, entry: Entry) -> None:
        number = self._next
        self._next += 1
        self.store.put(side, (key, number), entry)
        self._enter(side, key, number)

    def _enter(self, side: int, key: Any, number: int) -> None:
        time = self.store.groups[side][key, number][_TIME]
        self._by_key[side].setdefault(key, []).append(number)
        heappush(self._ends, (time + self._within, side, number, key))


def _sorted(gone: list[tuple[float, int, Any, Any]]) -> list[tuple[float, int, Any, Any]]:
    """By time, side and key: not by who came first."""
    rank = {key: at for at, key in enumerate(in_order(dict.fromkeys(key for _, _, key, _ in gone)))}
    return sorted(gone, key=lambda one: (one[0], one[1], rank[one[2]]))


def _entry(kind: Any) -> Any:
    """The type of an entry whose values have this type."""
    return tuple[float, float, bool, kind]
