"""Aggregates: what is known of a key so far, in windows that close, or for ever.

A record counts in a window unless it is late. Whether it is, is decided by its own partition: it
lies so far behind the greatest time there that the window must have been closed. So which records
count does not depend on how partitions were interleaved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from dafka.streams.batch import Batch
from dafka.streams.errors import Fault
from dafka.streams.keyed_state import Store, in_order
from dafka.streams.operators import Operator
from dafka.streams.windows import Hopping, Result, Tumbling, last_moment

EVER = 0
"""The group of what has no window."""


@dataclass(frozen=True, slots=True)
class Fold:
    """How values become one: `first` of one value, `add` another one, `merge` two of them."""

    first: Callable[[Any], Any]
    add: Callable[[Any, Any], Any]
    merge: Callable[[Any, Any], Any] | None = None
    counts: bool = False
    """It only counts, for which there is a faster way."""
    kind: Any = Any
    """The type of what is remembered."""


COUNT = Fold(lambda _: 1, lambda count, _: count + 1, lambda a, b: a + b, counts=True)

Cell = tuple[float, Any]
"""A window's start and a key."""


class Windowed(Operator):
    """One aggregate per key and window, given out when the window closes, or at each update."""

    def __init__(
        self,
        name: str,
        on_fault: Callable[[Fault], None],
        fold: Fold,
        window: Tumbling | Hopping,
        lateness: float,
        *,
        delay: float,
        each_update: bool,
    ) -> None:
        """`delay`: how far event time lags behind that of the sources, here."""
        super().__init__(name, on_fault)
        self.store: Store = Store(name, fold.kind)
        self._fold = fold
        self._window = window
        self._lateness = lateness
        self._tolerance = lateness + delay
        self._each_update = each_update
        self._closed = -inf

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Add the records to their windows."""
        indices, starts = self._window.assign(batch.times or ())
        if indices is not None:
            batch = batch.at(indices)
        batch, starts = self._in_time(batch, starts)
        keys = batch.keys or ()
        touched = self._count(starts, keys) if self._fold.counts else self._add(starts, batch)
        if not self._each_update:
            return ()
        store = self.store.groups
        return (self._results([(start, key, store[start][key]) for start, key in touched]),)

    def advance(self, watermark: float) -> Batch | None:
        """Close windows."""
        self._closed = watermark - self._lateness
        groups, size = self.store.groups, self._window.size
        ready = sorted(start for start in groups if start + size <= self._closed)
        if not ready:
            return None
        results = []
        for start in ready:
            bucket = self.store.pop(start)
            results += [(start, key, bucket[key]) for key in in_order(bucket)]
        return None if self._each_update else self._results(results)

    def _in_time(self, batch: Batch, starts: list[float]) -> tuple[Batch, list[float]]:
        """Those records whose window is open."""
        if not starts:
            return batch, starts
        size, tolerance = self._window.size, self._tolerance
        open_ = min(starts) + size > self._closed
        if open_ and batch.bounds is None:
            return batch, starts
        bounds = batch.bounds or [-inf] * len(starts)
        chosen = [
            start + size > self._closed and start + size + tolerance > bound
            for start, bound in zip(starts, bounds, strict=True)
        ]
        late = chosen.count(False)
        if not late:
            return batch, starts
        self.counts.late += late
        return batch.select(chosen), [s for s, one in zip(starts, chosen, strict=True) if one]

    def _count(self, starts: list[float], keys: Sequence[Any]) -> Iterable[Cell]:
        counted = Counter(zip(starts, keys, strict=True))
        store = self.store
        for (start, key), number in counted.items():
            store.put(start, key, (store.get(start, key) or 0) + number)
        return counted

    def _add(self, starts: list[float], batch: Batch) -> Iterable[Cell]:
        fold, groups, failed = self._fold, self.store.groups, self.failing(batch)
        touched: dict[Cell, None] = {}
        cells = zip(starts, batch.keys or (), strict=True)
        for index, (cell, value) in enumerate(zip(cells, batch.values, strict=True)):
            start, key = cell
            bucket = groups.get(start)
            try:
                if bucket is not None and key in bucket:
                    result = fold.add(bucket[key], value)
                else:
                    result = fold.first(value)
            except Exception as error:
                failed(index, error)
                continue
            if bucket is None:
                bucket = groups[start] = {}
            bucket[key] = result
            touched[cell] = None
        self.store.dirty.update(touched)
        return touched

    def _results(self, found: Sequence[tuple[float, Any, Any]]) -> Batch:
        size = self._window.size
        return Batch(
            [Result(key, start, start + size, value) for start, key, value in found],
            keys=[key for _, key, _ in found],
            times=[last_moment(start + size) for start, _, _ in found],
        )


class Running(Operator):
    """One aggregate per key, for ever; each batch gives out those that it has changed."""

    def __init__(self, name: str, on_fault: Callable[[Fault], None], fold: Fold) -> None:
        super().__init__(name, on_fault)
        self.store: Store = Store(name, fold.kind)
        self._fold = fold

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Add the records."""
        fold, failed = self._fold, self.failing(batch)
        bucket = self.store.groups.setdefault(EVER, {})
        touched: dict[Any, int] = {}
        for index, (key, value) in enumerate(zip(batch.keys or (), batch.values, strict=True)):
            try:
                bucket[key] = fold.add(bucket[key], value) if key in bucket else fold.first(value)
            except Exception as error:
                failed(index, error)
                continue
            touched[key] = index
        self.store.dirty.update((EVER, key) for key in touched)
        changed = batch.at(list(touched.values()))
        return (changed.with_values([bucket[key] for key in touched]),)
