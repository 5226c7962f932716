"""Which windows of event time a record belongs to. Seconds since 1970, as floats; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import inf, isfinite, nextafter
from typing import Any, Generic, TypeVar

import msgspec

from dafka.errors import ConfigError
from dafka.streams.keyed_state import hashable

K = TypeVar("K")
R = TypeVar("R")

Duration = float | timedelta
"""Seconds, or a `timedelta`."""


class Result(msgspec.Struct, Generic[K, R], frozen=True):
    """What an aggregate says of one key in one window: all times with start <= time < end."""

    key: K
    start: float
    end: float
    value: R

    def __post_init__(self) -> None:
        if type(self.key) is list:  # a tuple that was written down
            msgspec.structs.force_setattr(self, "key", hashable(self.key))


@dataclass(frozen=True, slots=True)
class Tumbling:
    """Windows of one size, one behind the other, from 1970 on."""

    size: float

    def __str__(self) -> str:
        return f"tumbling({self.size:g} s)"

    def assign(self, times: Sequence[float]) -> tuple[None, list[float]]:
        """Each record's window, by its start."""
        size = self.size
        return None, [time // size * size for time in times]


@dataclass(frozen=True, slots=True)
class Hopping:
    """Windows of one size, one beginning `every` so many seconds: a record is in several."""

    size: float
    every: float

    def __str__(self) -> str:
        return f"hopping({self.size:g} s every {self.every:g} s)"

    def assign(self, times: Sequence[float]) -> tuple[list[int], list[float]]:
        """Pairs of a record's index and a window's start, in two lists."""
        size, every = self.size, self.every
        indices, starts = [], []
        for index, time in enumerate(times):
            number = time // every
            while (start := number * every) + size > time:
                indices.append(index)
                starts.append(start)
                number -= 1
        return indices, starts


@dataclass(frozen=True, slots=True)
class Session:
    """A key's records without a pause of `gap` seconds; it ends `gap` after the last of them."""

    gap: float

    def __str__(self) -> str:
        return f"session({self.gap:g} s)"


Window = Tumbling | Hopping | Session


def tumbling(size: Duration) -> Tumbling:
    """Windows of `size` (seconds or `timedelta`), one behind the other."""
    return Tumbling(seconds(size, "the size of a window"))


def hopping(size: Duration, every: Duration) -> Hopping:
    """Windows of `size`, one beginning `every` so often; with every=size they are tumbling."""
    window = Hopping(
        seconds(size, "the size of a window"), seconds(every, "the time between two windows")
    )
    if window.every > window.size:
        raise ConfigError(
            f"windows of {window.size:g} s every {window.every:g} s would leave records out: "
            "`every` is at most the size"
        )
    return window


def session(gap: Duration) -> Session:
    """Windows that last as long as a key's records have no pause of `gap`."""
    return Session(seconds(gap, "the gap between two sessions"))


def seconds(duration: Any, what: str, *, zero: bool = False) -> float:
    """A duration as seconds; `ConfigError`, naming `what` it is, unless it can be one."""
    if isinstance(duration, timedelta):
        duration = duration.total_seconds()
    known = isinstance(duration, int | float) and not isinstance(duration, bool)
    if not known or not isfinite(duration) or duration < 0 or (not zero and duration == 0):
        least = "0 or more" if zero else "more than 0"
        raise ConfigError(f"{what} is {duration!r}: it must be {least} seconds, or a timedelta")
    return float(duration)


def last_moment(end: float) -> float:
    """The last moment of a window that ends at `end`: the event time of its result."""
    return nextafter(end, -inf)
