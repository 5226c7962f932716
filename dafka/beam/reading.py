"""Reads spans of partitions: what is claimed is given out, the rest is left to a later bundle."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import apache_beam as beam
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from dafka.beam.arrivals import Arrivals
from dafka.beam.discovery import CLOCKS_S
from dafka.beam.nodes import Reader
from dafka.beam.records import Place, Record
from dafka.beam.source import Source
from dafka.beam.spans import Spans, note_head
from dafka.core.run import Run
from dafka.errors import DafkaError, RecordsExpired

NAMESPACE = "dafka"
"""Of the metrics: `records_read`, `records_expired`, `records_written`."""

_IDLE_S = 0.1
"""A reader that has nothing to read waits so long before it leaves its thread to others."""
_SLICE_S = 1.0
_HEAD_S = 1.0

logger = logging.getLogger("dafka.beam")


def _now_ms() -> int:
    return int(time.time() * 1000)


class ReadSpan(beam.DoFn):
    """Reads what has an end."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._reader: Reader | None = None
        self._read = Metrics.counter(NAMESPACE, "records_read")
        self._expired = Metrics.counter(NAMESPACE, "records_expired")

    def setup(self) -> None:
        """Open a reader."""
        self._open()

    def teardown(self) -> None:
        """Close it."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()

    def process(
        self,
        element: Place,
        stamp: Timestamp = beam.DoFn.TimestampParam,
        tracker: Any = beam.DoFn.RestrictionParam(Spans()),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(
            ManualWatermarkEstimator.default_provider()
        ),
    ) -> Iterator[bytes | Record]:
        """The records of a span, each at the time of its arrival."""
        return _Reading(self._source, self._open(), element, stamp, tracker, watermark).run(
            self._read, self._expired
        )

    def _open(self) -> Reader:
        # Not every runner calls `setup` of a splittable function.
        if self._reader is None:
            reader = Reader(self._source.topics, self._source.settings)
            reader.start()
            self._reader = reader
        return self._reader


class FollowSpan(ReadSpan):
    """Reads on and on, a bundle at a time."""

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: Place,
        stamp: Timestamp = beam.DoFn.TimestampParam,
        tracker: Any = beam.DoFn.RestrictionParam(Spans()),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(
            ManualWatermarkEstimator.default_provider()
        ),
    ) -> Iterator[bytes | Record]:
        """The records of a span, each at the time of its arrival."""
        return super().process(element, stamp, tracker, watermark)


class _Reading:
    """What is read of one span in one bundle."""

    def __init__(
        self,
        source: Source,
        reader: Reader,
        place: Place,
        stamp: Timestamp,
        tracker: Any,
        watermark: Any,
    ) -> None:
        self._source, self._reader, self._place = source, reader, place
        self._tracker, self._watermark = tracker, watermark
        so_far = watermark.current_watermark()
        self._floor = stamp if so_far is None else max(stamp, so_far)
        """Nothing is given out with an earlier time, so nothing is late."""
        self._at: int = tracker.current_restriction().start
        self._arrivals = Arrivals(
            lambda ms: reader.offset_at(place.topic, place.partition, ms),
            _now_ms,
            0 if so_far is None else so_far.micros // 1000,
        )
        self._count, self._began = 0, time.monotonic()
        self._waiting_since = self._began
        self._head_at = 0.0
        self._end: int | None = None
        """Where to end once time is up."""

    def run(self, read: Any, expired: Any) -> Iterator[bytes | Record]:
        """Read until the span ends, nothing has come, or the bundle is large enough."""
        place, source = self._place, self._source
        self._reader.go(place.topic, place.partition, self._at)
        while not self._is_over():
            item = self._reader.take(_SLICE_S if source.bounded else _IDLE_S)
            self._look_ahead()
            if item is None:
                if self._waits_in_vain():
                    return
                continue
            self._waiting_since = time.monotonic()
            if isinstance(item, RecordsExpired):
                if not self._skip(item, expired):
                    return
                continue
            before = self._count
            yield from self._give(item)
            read.inc(self._count - before)
            if self._at < item.next:
                self._reader.give_back(item.since(self._at))
                if self._tracker.current_restriction().stop <= self._at:
                    return
            if not source.bounded and self._is_enough():
                self._tracker.defer_remainder()
                return

    # Inside

    def _give(self, run: Run) -> Iterator[bytes | Record]:
        """The records of a run that can be claimed, with their times."""
        place, most = self._place, self._most()
        times = [*self._arrivals.of(run.first, run.next), (run.next, 0)]
        for (first, ms), (end, _) in pairwise(times):
            stamp = max(self._floor, Timestamp(micros=ms * 1000))
            self._advance(stamp)
            for offset in range(first, end):
                if self._count >= most or not self._tracker.try_claim(offset):
                    return
                self._at, self._count = offset + 1, self._count + 1
                content = run.contents[offset - run.first]
                value = (
                    Record(place.topic, place.partition, offset, content, ms)
                    if self._source.with_metadata
                    else content
                )
                yield TimestampedValue(value, stamp)

    def _skip(self, gone: RecordsExpired, expired: Any) -> bool:
        """Go on behind what no store keeps any more; False if nothing is left of the span."""
        stop = self._tracker.current_restriction().stop
        end = min(gone.end, stop)
        if end <= self._at:
            return bool(self._at < stop)
        self._tracker.try_claim(end - 1)
        # A split may have come in between: what belongs to another span is counted there.
        stop = self._tracker.current_restriction().stop
        end = min(end, stop)
        expired.inc(end - self._at)
        logger.warning("%s", RecordsExpired(gone.topic, gone.partition, self._at, end))
        self._at = end
        return bool(end < stop)

    def _is_over(self) -> bool:
        """Whether the span has been read, or time is up and what had come by then was read."""
        stop = self._tracker.current_restriction().stop
        if self._at >= stop:
            return True
        until = self._place.until
        if until is None or time.time() < until:
            return False
        if self._end is None:
            self._end = max(self._place.head, self._reader.head(self._place.partition))
        if self._at < self._end:
            return False
        self._tracker.try_claim(stop - 1)
        return True

    def _waits_in_vain(self) -> bool:
        """Nothing has come: put the rest off, or wait on where records are known to exist."""
        source, place = self._source, self._place
        if not source.bounded and self._end is None:
            self._rest()
            self._tracker.defer_remainder(Duration.of(source.poll_s))
            return True
        if time.monotonic() - self._waiting_since < source.timeout:
            return False
        if self._end is not None and self._at >= place.head:
            # Time is up, and what was announced since has reached no store.
            self._tracker.try_claim(self._tracker.current_restriction().stop - 1)
            return True
        raise DafkaError(
            f"topic {place.topic} partition {place.partition}: the record at offset {self._at} "
            f"has not come within {source.timeout:g} s: is a store running that has it?"
        )

    def _rest(self) -> None:
        """Time goes on, unless a record is on its way that came before."""
        moment = _now_ms() - int(CLOCKS_S * 1000)
        if not self._arrivals.came_before(moment, self._at):
            self._advance(max(self._floor, Timestamp(micros=moment * 1000)))

    def _advance(self, stamp: Timestamp) -> None:
        so_far = self._watermark.current_watermark()
        if so_far is None or stamp > so_far:
            self._watermark.set_watermark(stamp)

    def _look_ahead(self) -> None:
        """Let the tracker know how far the partition goes."""
        now = time.monotonic()
        if now - self._head_at >= _HEAD_S:
            self._head_at = now
            place = self._place
            head = max(place.head, self._reader.head(place.partition))
            note_head(place.topic, place.partition, head)

    def _most(self) -> float:
        return float("inf") if self._source.bounded else self._source.bundle_records

    def _is_enough(self) -> bool:
        return self._count >= self._most() or (
            time.monotonic() - self._began >= self._source.bundle_s
        )
