"""What every operator is, and those without a memory: map, filter, flat_map, key_by, branch, …"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate, chain
from math import isfinite
from typing import Any

from dafka.core.run import Run
from dafka.streams.batch import Batch, Failed, each
from dafka.streams.codecs import Codec
from dafka.streams.errors import Fault
from dafka.streams.keyed_state import Store, check_keys

_NUMBERS = frozenset({int, float})


@dataclass(slots=True)
class Counts:
    """What an operator has done since the start."""

    records_in: int = 0
    records_out: int = 0
    errors: int = 0
    late: int = 0
    """Records that were left out because their window was closed."""
    seconds: float = 0.0


class Operator:
    """Takes batches, and gives one batch for each of its outputs."""

    store: Store | None = None
    """What it remembers, if anything."""

    def __init__(self, name: str, on_fault: Callable[[Fault], None]) -> None:
        self.name = name
        self.counts = Counts()
        self._on_fault = on_fault

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Take records at an input; returns those that leave, by output."""
        raise NotImplementedError

    def advance(self, watermark: float) -> Batch | None:
        """Event time has come so far: no older records are expected. Returns what leaves."""
        return None

    def loaded(self) -> None:
        """Its store has been filled with what an earlier life left."""

    def failing(self, batch: Batch) -> Failed:
        """What to call when the user's code fails at a record of `batch`."""

        def failed(index: int, error: Exception) -> None:
            self.counts.errors += 1
            place, run = batch.place, batch.run
            if place is None or not batch.offsets:
                self._on_fault(Fault(self.name, error))
                return
            offset = batch.offsets[index]
            content = None if run is None else run.contents[offset - run.first]
            self._on_fault(Fault(self.name, error, *place, offset, content))

        return failed

    def asked(self, function: Callable[[Any], Any], batch: Batch) -> tuple[Batch, list[bool]]:
        """The records that `function` says yes or no to, and which it says."""
        said, bad = each(function, batch.values, self.failing(batch))
        batch = batch.without(bad)
        chosen, bad = each(bool, said, self.failing(batch))
        return batch.without(bad), chosen


class Source(Operator):
    """Makes values of contents, and finds out when they happened."""

    def __init__(
        self,
        name: str,
        on_fault: Callable[[Fault], None],
        codec: Codec[Any],
        time: Callable[[Any], Any] | None,
    ) -> None:
        super().__init__(name, on_fault)
        self._decode = codec.decode
        self._time = time

    def read(self, run: Run, maximum: float) -> tuple[Batch, float]:
        """The records of a run, and the greatest event time of their partition from now on.

        `maximum` is the greatest so far.
        """
        raw = Batch(list(run.contents), offsets=range(run.first, run.next), run=run)
        self.counts.records_in += len(raw)
        values, bad = each(self._decode, raw.values, self.failing(raw))
        batch = raw.without(bad).with_values(values)
        if self._time is not None and values:
            batch = self._timed(batch, self._time)
            if batch.times:
                running = list(accumulate(batch.times, max, initial=maximum))[1:]
                maximum = running[-1]
                if running != batch.times:
                    batch.bounds = running
        self.counts.records_out += len(batch)
        return batch, maximum

    def _timed(self, batch: Batch, time: Callable[[Any], Any]) -> Batch:
        failed = self.failing(batch)
        times, bad = each(time, batch.values, failed)
        batch = batch.without(bad)
        if not set(map(type, times)) <= _NUMBERS or not isfinite(sum(times)):
            times, bad = each(_moment, times, self.failing(batch))
            batch = batch.without(bad)
        return replace(batch, times=list(map(float, times)))


def _moment(time: Any) -> float:
    """An event time as seconds since 1970."""
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise ValueError(f"the event time {time} has no time zone")
        return time.timestamp()
    if isinstance(time, bool) or not isinstance(time, int | float) or not isfinite(time):
        raise ValueError(f"the event time {time!r} is neither seconds since 1970 nor a datetime")
    return time


class Map(Operator):
    """Another value for each."""

    def __init__(
        self, name: str, on_fault: Callable[[Fault], None], function: Callable[[Any], Any]
    ) -> None:
        super().__init__(name, on_fault)
        self._function = function

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Replace the values."""
        values, bad = each(self._function, batch.values, self.failing(batch))
        return (batch.without(bad).with_values(values),)


class Filter(Map):
    """Only those that a function says yes to."""

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Keep some."""
        batch, chosen = self.asked(self._function, batch)
        return (batch.select(chosen),)


class FlatMap(Map):
    """Any number of values for each."""

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Replace each value by several."""
        function = self._function
        several, bad = each(lambda value: list(function(value)), batch.values, self.failing(batch))
        batch = batch.without(bad)
        indices = [index for index, some in enumerate(several) for _ in some]
        return (batch.at(indices).with_values(list(chain.from_iterable(several))),)


class KeyBy(Map):
    """A key for each."""

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Set the keys."""
        keys, bad = each(self._function, batch.values, self.failing(batch))
        batch = batch.without(bad)
        try:
            check_keys(keys)
        except TypeError:
            _, bad = each(lambda key: check_keys([key]), keys, self.failing(batch))
            batch, keys = batch.without(bad), batch.with_keys(keys).without(bad).keys or []
        return (batch.with_keys(keys),)


class Branch(Operator):
    """Each to the output of the first function that says yes to it, or to the last output."""

    def __init__(
        self,
        name: str,
        on_fault: Callable[[Fault], None],
        functions: Sequence[Callable[[Any], Any]],
    ) -> None:
        super().__init__(name, on_fault)
        self._functions = functions

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Share out."""
        outputs = []
        for function in self._functions:
            batch, chosen = self.asked(function, batch)
            outputs.append(batch.select(chosen))
            batch = batch.select([not one for one in chosen])
        return (*outputs, batch)


class Merge(Operator):
    """All that comes."""

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Hand on."""
        return (batch,)


class Sink(Operator):
    """Contents for a topic."""

    def __init__(
        self,
        name: str,
        on_fault: Callable[[Fault], None],
        codec: Codec[Any],
        out: list[bytes],
        largest: int,
    ) -> None:
        """`out` takes the contents; none of them may be larger than `largest` bytes."""
        super().__init__(name, on_fault)
        self._codec = codec.encode
        self._out = out
        self._largest = largest

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Encode."""
        contents, _ = each(self._encode, batch.values, self.failing(batch))
        self._out += contents
        self.counts.records_out += len(contents)
        return ()

    def _encode(self, value: Any) -> bytes:
        content = self._codec(value)
        if len(content) > self._largest:
            raise ValueError(f"a record of {len(content)} bytes: at most {self._largest} fit")
        return content
