"""Finds the partitions of topics: those that are there, or also all that come later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Duration, Timestamp

from dafka.beam.nodes import Reader, inventory
from dafka.beam.records import Place
from dafka.beam.source import Source
from dafka.core.inventory import PartitionState

CLOCKS_S = 2.0
"""So much may the clocks of stores and workers differ."""


class Known(NamedTuple):
    """The partitions that have been given out; `until` is None before the first look."""

    names: tuple[str, ...] = ()
    looked: bool = False
    until: float | None = None


class KnownTracker(RestrictionTracker):
    """One look at a time: what it finds is claimed together; the rest are all later looks."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._over = False

    def try_claim(self, position: Known | None) -> bool:
        """Give out what a look has found, all `Known` by now; None: it was the last one."""
        if self._over:
            return False
        if position is None:
            self._over = True
        else:
            self._known = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Known, Known] | None:
        """Leave the later looks to somebody else; a look is not split."""
        if self._over or fraction_of_remainder:
            return None
        self._over = True
        return Known(), self._known

    def current_restriction(self) -> Known:
        """What is known."""
        return self._known

    def check_done(self) -> None:
        """Looking ends by a claim of None, or is left to somebody else."""
        if not self._over:
            raise ValueError("the search for partitions was neither ended nor put off")

    def current_progress(self) -> RestrictionProgress:
        """Nobody knows what will come."""
        return RestrictionProgress(completed=0.0, remaining=1.0)

    def is_bounded(self) -> bool:
        """There is always a later look."""
        return False


class Looks(RestrictionProvider):
    """Begins with nothing known."""

    def initial_restriction(self, element: Any) -> Known:
        """Nothing is known."""
        return Known()

    def create_tracker(self, restriction: Known) -> KnownTracker:
        """A tracker of the looks to come."""
        return KnownTracker(restriction)

    def restriction_size(self, element: Any, restriction: Known) -> int:
        """All looks are alike."""
        return 1


class ListPartitions(beam.DoFn):
    """Gives out the partitions there are."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def process(self, element: Any) -> Iterator[Place]:
        """All places, at the beginning of time: nothing of them is late."""
        until = _until(self._source)
        for place in look(self._source, Known(until=until)):
            yield TimestampedValue(place, MIN_TIMESTAMP)


class FindPartitions(beam.DoFn):
    """Gives out the partitions there are, and looks for new ones until it is drained."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: Any,
        tracker: Any = beam.DoFn.RestrictionParam(Looks()),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(
            ManualWatermarkEstimator.default_provider()
        ),
    ) -> Iterator[Place]:
        """New places, at times before anything of them can have come."""
        known: Known = tracker.current_restriction()
        begun = time.time()
        if not known.looked:
            known = known._replace(until=_until(self._source))
        places = look(self._source, known)
        names = (*known.names, *(place.partition for place in places))
        if not tracker.try_claim(Known(names, True, known.until)):
            return
        so_far = watermark.current_watermark()
        for place in places:
            yield TimestampedValue(place, so_far or MIN_TIMESTAMP)
        if known.until is not None and begun >= known.until:
            tracker.try_claim(None)
            return
        # What is stored before a look began was seen by it, or will be given out at this time.
        now = Timestamp.of(begun - CLOCKS_S)
        if so_far is None or now > so_far:
            watermark.set_watermark(now)
        tracker.defer_remainder(Duration.of(self._source.discovery_s))


def look(source: Source, known: Known) -> list[Place]:
    """The places of partitions that are not known; takes a bit more than a second."""
    found = inventory(source.topics, source.settings, source.timeout)
    states = _new([one for each in found for one in each.partitions], known)
    if not states:
        return []
    reader = Reader(source.topics, source.settings)
    reader.start()
    try:
        places = [
            source.place(state, reader.offset_at, known.until, is_new=known.looked)
            for state in states
        ]
    finally:
        reader.stop()
    return [place for place in places if place is not None]


def _new(states: list[PartitionState], known: Known) -> list[PartitionState]:
    """A partition's name is unique in a cluster."""
    return [state for state in states if state.partition not in known.names]


def _until(source: Source) -> float | None:
    return None if source.max_read_s is None else time.time() + source.max_read_s
