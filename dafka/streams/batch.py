"""Records on their way through a topology: many at a time, in columns.

An operator that works on columns spends its time in the user's functions, not between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

from dafka.core.run import Run

Failed = Callable[[int, Exception], None]
"""Told that a function failed at the record with this index; raises if that is to stop it all."""


@dataclass(slots=True)
class Batch:
    """Some records in the order of one partition, or results that operators made."""

    values: list[Any]
    keys: list[Any] | None = None
    times: list[float] | None = None
    """Event times, in seconds since 1970."""
    bounds: list[float] | None = None
    """The greatest event time of each record's partition so far: how late it is. None: no record
    is behind another one."""
    offsets: Sequence[int] = ()
    run: Run | None = None
    """Where the records come from; None if they are results, which no single record has led to."""
    origin: tuple[str, str] | None = None
    """The same, by topic and partition, of what another worker has read."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def place(self) -> tuple[str, str] | None:
        """The topic and the partition that the records come from."""
        return self.origin if self.run is None else (self.run.topic, self.run.partition)

    @property
    def partition(self) -> str:
        """The partition that the records come from, or nothing."""
        place = self.place
        return "" if place is None else place[1]

    def select(self, chosen: Sequence[Any]) -> Batch:
        """The records whose place in `chosen` is true."""
        return replace(
            self,
            values=list(compress(self.values, chosen)),
            keys=_some(self.keys, chosen),
            times=_some(self.times, chosen),
            bounds=_some(self.bounds, chosen),
            offsets=list(compress(self.offsets, chosen)),
        )

    def at(self, indices: Sequence[int]) -> Batch:
        """The records with these indices, as often and in the order as they are named."""
        return replace(
            self,
            values=[self.values[i] for i in indices],
            keys=_named(self.keys, indices),
            times=_named(self.times, indices),
            bounds=_named(self.bounds, indices),
            offsets=[self.offsets[i] for i in indices] if self.offsets else (),
        )

    def without(self, indices: Sequence[int]) -> Batch:
        """All but the records with these indices."""
        if not indices:
            return self
        chosen = [True] * len(self)
        for index in indices:
            chosen[index] = False
        return self.select(chosen)

    def with_values(self, values: list[Any]) -> Batch:
        """The same records with other values."""
        return replace(self, values=values)

    def with_keys(self, keys: list[Any]) -> Batch:
        """The same records with other keys."""
        return replace(self, keys=keys)


def _some(column: list[Any] | None, chosen: Sequence[Any]) -> list[Any] | None:
    return None if column is None else list(compress(column, chosen))


def _named(column: list[Any] | None, indices: Sequence[int]) -> list[Any] | None:
    return None if column is None else [column[i] for i in indices]


def each(
    function: Callable[..., Any], column: Sequence[Any], failed: Failed
) -> tuple[list[Any], list[int]]:
    """What `function` makes of each item, and the indices of the items that it failed at.

    The calls are made by `map` and `extend`, not by a loop of ours: `extend` keeps what came
    before an exception, and `map` goes on behind it.
    """
    results: list[Any] = []
    bad: list[int] = []
    calls = map(function, column)
    while True:
        try:
            results.extend(calls)
        except Exception as error:
            reason = error
        else:
            if len(results) + len(bad) == len(column):
                return results, bad
            # `extend` takes it for the end.
            reason = RuntimeError("it raised StopIteration")
        at = len(results) + len(bad)
        failed(at, reason)
        bad.append(at)
