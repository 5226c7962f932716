"""Session windows: what a key's records are as long as they do not pause."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Any

from dafka.streams.aggregates import EVER, Fold
from dafka.streams.batch import Batch
from dafka.streams.errors import Fault
from dafka.streams.keyed_state import Store, in_order
from dafka.streams.operators import Operator
from dafka.streams.windows import Result, Session, last_moment

Span = tuple[float, float, Any]
"""The times of a session's first and last record, and the aggregate of all."""


class Sessions(Operator):
    """One aggregate per key and session, given out when the session has ended."""

    def __init__(
        self,
        name: str,
        on_fault: Callable[[Fault], None],
        fold: Fold,
        window: Session,
        lateness: float,
        *,
        delay: float,
        each_update: bool,
    ) -> None:
        """`delay`: how far event time lags behind that of the sources, here."""
        super().__init__(name, on_fault)
        self.store: Store = Store(name, list[tuple[float, float, fold.kind]])  # type: ignore[name-defined]
        self._fold = fold
        self._gap = window.gap
        self._lateness = lateness
        self._tolerance = lateness + delay
        self._each_update = each_update
        self._closed = -inf
        self._ends: list[tuple[float, int, Any]] = []
        """When which key is to be looked at; the number keeps keys from being compared."""
        self._due: dict[Any, float] = {}
        """The entry of each key that counts."""
        self._number = 0

    def loaded(self) -> None:
        """Know when the sessions of an earlier life end."""
        for key, spans in self.store.groups.get(EVER, {}).items():
            self._look(key, spans)

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Add the records to their sessions, begin new ones, and join those that meet."""
        failed = self.failing(batch)
        times = batch.times or ()
        bounds = batch.bounds or times
        changed: dict[Any, dict[float, Span]] = {}
        rows = zip(times, bounds, batch.keys or (), batch.values, strict=True)
        for index, (time, bound, key, value) in enumerate(rows):
            end = time + self._gap
            if end <= self._closed or end + self._tolerance <= bound:
                self.counts.late += 1
                continue
            try:
                span = self._add(key, time, value)
            except Exception as error:
                failed(index, error)
                continue
            if self._each_update:
                changed.setdefault(key, {})[span[0]] = span
        if not self._each_update:
            return ()
        bucket = self.store.groups.get(EVER, {})
        live = [(key, span) for key in changed for span in bucket[key] if span[0] in changed[key]]
        return (self._results(live),)

    def advance(self, watermark: float) -> Batch | None:
        """End sessions that nothing can join any more.

        That is a gap later than one might think: a record that is just in time, its own session
        being open, may lie so far back that it meets one that has ended.
        """
        self._closed = watermark - self._lateness
        over = self._closed - self._gap
        keys: dict[Any, None] = {}
        while self._ends and self._ends[0][0] <= over:
            end, _, key = heappop(self._ends)
            if self._due.get(key) == end:
                del self._due[key]
                keys[key] = None
        ended: list[tuple[Any, Span]] = []
        for key in in_order(keys):
            spans = self.store.get(EVER, key) or []
            ended += [(key, span) for span in spans if span[1] + self._gap <= over]
            rest = [span for span in spans if span[1] + self._gap > over]
            if len(rest) == len(spans):
                self._look(key, rest)
            elif rest:
                self.store.put(EVER, key, rest)
                self._look(key, rest)
            else:
                self.store.remove(EVER, key)
        if not ended or self._each_update:
            return None
        ended.sort(key=lambda one: one[1][:2])
        return self._results(ended)

    def _add(self, key: Any, time: float, value: Any) -> Span:
        fold, gap = self._fold, self._gap
        spans: list[Span] = self.store.get(EVER, key) or []
        before = [span for span in spans if span[1] + gap <= time]
        after = [span for span in spans if time + gap <= span[0]]
        met = spans[len(before) : len(spans) - len(after)]
        if not met:
            span = (time, time, fold.first(value))
        else:
            total = met[0][2]
            for _, _, other in met[1:]:
                assert fold.merge is not None
                total = fold.merge(total, other)
            total = fold.add(total, value)
            span = (min(time, met[0][0]), max(time, met[-1][1]), total)
        spans = [*before, span, *after]
        self.store.put(EVER, key, spans)
        if key not in self._due or spans[0][1] + gap < self._due[key]:
            self._look(key, spans)
        return span

    def _look(self, key: Any, spans: Sequence[Span]) -> None:
        if not spans:
            return
        end = self._due[key] = spans[0][1] + self._gap
        self._number += 1
        heappush(self._ends, (end, self._number, key))

    def _results(self, found: Sequence[tuple[Any, Span]]) -> Batch:
        gap = self._gap
        return Batch(
            [Result(key, first, last + gap, value) for key, (first, last, value) in found],
            keys=[key for key, _ in found],
            times=[last_moment(last + gap) for _, (_, last, _) in found],
        )
