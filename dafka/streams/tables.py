"""Tables, the latest value of each key, and the joins of a stream with one.

Where both have event times, a record meets the table as it was at the record's time, whichever was
read first. Otherwise it meets what the table says at the moment.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Any

from dafka.streams.aggregates import EVER
from dafka.streams.batch import Batch, each
from dafka.streams.errors import Fault
from dafka.streams.joins import LEFT, RIGHT
from dafka.streams.keyed_state import Store, in_order
from dafka.streams.operators import Operator

Version = tuple[float, str, int, Any]
"""What a table says of a key: since when, by which record, and the value; None if it is deleted."""


class Latest(Operator):
    """A table: the latest value of each key, by event time where there is one. None deletes."""

    def __init__(self, name: str, on_fault: Callable[[Fault], None], kind: Any) -> None:
        super().__init__(name, on_fault)
        self.store: Store = Store(name, tuple[float, str, int, kind | None])

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Remember, and hand on every change."""
        partition = batch.partition
        times = batch.times or [0.0] * len(batch)
        offsets = batch.offsets or range(len(batch))
        ordered = batch.times is not None
        rows = zip(batch.keys or (), times, offsets, batch.values, strict=True)
        bucket = self.store.groups.setdefault(EVER, {})
        for key, time, offset, value in rows:
            known = bucket.get(key)
            if ordered and known is not None and (time, partition, offset) < known[:3]:
                continue
            bucket[key] = (time, partition, offset, value)
            self.store.dirty.add((EVER, key))
        return (batch,)


class Lookup(Operator):
    """A stream's records with what a table says at this moment."""

    def __init__(
        self,
        name: str,
        on_fault: Callable[[Fault], None],
        combine: Callable[[Any, Any], Any],
        table: Store,
        kind: str,
    ) -> None:
        super().__init__(name, on_fault)
        self._combine = combine
        self._table = table
        self._inner = kind == "inner"

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Join; what comes from the table itself is only looked up."""
        if port == RIGHT:
            return ()
        bucket = self._table.groups.get(EVER, {})
        found = [self._value(bucket.get(key)) for key in batch.keys or ()]
        return (_combined(self, self._combine, batch, found, inner=self._inner),)

    def _value(self, entry: Any) -> Any:
        return entry


class LatestLookup(Lookup):
    """The same where the table is a `Latest`."""

    def _value(self, entry: Any) -> Any:
        return None if entry is None else entry[3]


Change = tuple[float, str, int, Any, float]
"""A version, and from which event time on it can be seen: later than its own, if it came late."""


class TemporalJoin(Operator):
    """A stream's records with what a table said at their event time.

    They wait until the table's event time has passed them. A change of the table is never left
    out: one that comes too late counts from then on: from the event time that its own partition
    had reached, less what may be late. Whatever is read first, no record that old has gone.
    """

    def __init__(
        self,
        name: str,
        on_fault: Callable[[Fault], None],
        combine: Callable[[Any, Any], Any],
        lateness: float,
        kind: str,
        types: tuple[Any, Any],
        *,
        delay: float,
    ) -> None:
        """`delay`: how far event time lags behind that of the sources, here."""
        super().__init__(name, on_fault)
        left, right = types
        kinds = {
            LEFT: tuple[float, float, left],  # type: ignore[valid-type]
            RIGHT: list[tuple[float, str, int, right | None, float]],  # type: ignore[valid-type]
        }
        self.store: Store = Store(name, kinds=kinds)
        self._combine = combine
        self._lateness = lateness
        self._tolerance = lateness + delay
        self._inner = kind == "inner"
        self._closed = -inf
        self._next = 0
        self._waiting: list[tuple[float, int, Any]] = []
        self._several: set[Any] = set()
        """Keys of which more than one version is kept."""

    def loaded(self) -> None:
        """Know what an earlier life left waiting."""
        for (key, number), (time, _, _) in self.store.groups.get(LEFT, {}).items():
            heappush(self._waiting, (time, number, key))
            self._next = max(self._next, number + 1)
        versions = self.store.groups.get(RIGHT, {})
        self._several = {key for key, some in versions.items() if len(some) > 1}

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Keep the records, and the versions of the table."""
        times = batch.times or ()
        rows = zip(times, batch.bounds or times, batch.keys or (), batch.values, strict=True)
        partition = batch.partition
        offsets = batch.offsets or range(len(batch))
        for (time, bound, key, value), offset in zip(rows, offsets, strict=True):
            is_late = time < self._closed or time + self._tolerance < bound
            self.counts.late += is_late
            if port == RIGHT:
                since = max(time, bound - self._tolerance)
                self._change(key, (time, partition, offset, value, since))
            elif not is_late:
                self.store.put(LEFT, (key, self._next), (time, bound, value))
                heappush(self._waiting, (time, self._next, key))
                self._next += 1
        return ()

    def advance(self, watermark: float) -> Batch | None:
        """Join the records that no change of the table can come for any more."""
        closed = self._closed = watermark - self._lateness
        ready = []
        while self._waiting and self._waiting[0][0] < closed:
            time, number, key = heappop(self._waiting)
            _, bound, value = self.store.groups[LEFT][key, number]
            self.store.remove(LEFT, (key, number))
            ready.append((time, bound, key, value))
        rank = {key: at for at, key in enumerate(in_order(dict.fromkeys(k for *_, k, _ in ready)))}
        ready.sort(key=lambda one: (one[0], rank[one[2]]))
        found = [self._at(key, time) for time, _, key, _ in ready]
        self._prune(closed)
        if not ready:
            return None
        batch = Batch(
            [value for *_, value in ready],
            keys=[key for *_, key, _ in ready],
            times=[time for time, *_ in ready],
            bounds=[bound for _, bound, *_ in ready],
        )
        return _combined(self, self._combine, batch, found, inner=self._inner)

    def _change(self, key: Any, version: Change) -> None:
        versions: list[Change] = self.store.get(RIGHT, key) or []
        # By time; among equal times by partition and offset, whichever came first.
        at = bisect_right(versions, version[:3], key=lambda known: known[:3])
        versions = [*versions[:at], version, *versions[at:]]
        self.store.put(RIGHT, key, versions)
        if len(versions) > 1:
            self._several.add(key)

    def _at(self, key: Any, time: float) -> Any:
        versions: list[Change] = self.store.get(RIGHT, key) or []
        at = _seen(versions, time)
        return None if at < 0 else versions[at][3]

    def _prune(self, closed: float) -> None:
        """Of the versions that are older, only the newest is asked for."""
        for key in list(self._several):
            versions: list[Change] = self.store.get(RIGHT, key)
            at = _seen(versions, closed)
            if at > 0:
                self.store.put(RIGHT, key, versions[at:])
            if len(versions) - max(at, 0) < 2:
                self._several.discard(key)


def _seen(versions: Sequence[Change], time: float) -> int:
    """Which of the versions counts at a time; -1: none."""
    at = bisect_right(versions, time, key=lambda known: known[0]) - 1
    while at >= 0 and versions[at][4] > time:
        at -= 1
    return at


def _combined(
    operator: Operator,
    combine: Callable[[Any, Any], Any],
    batch: Batch,
    found: list[Any],
    *,
    inner: bool,
) -> Batch:
    if inner:
        chosen = [one is not None for one in found]
        batch = batch.select(chosen)
        found = [one for one in found if one is not None]
    pairs = list(zip(batch.values, found, strict=True))
    values, bad = each(lambda pair: combine(*pair), pairs, operator.failing(batch))
    return batch.without(bad).with_values(values)
