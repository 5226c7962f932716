"""The steps of the sink that publishes exactly once.

`PlaceBatch` gives records their partition and offset and remembers in Beam's state where the next
ones go. The runner keeps what it gave out before anything is published. `WriteBatch` publishes
each record at its place, in order, and waits for acknowledgements. A retry publishes the same at
the same offsets, and stores keep one of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.metrics import Metrics
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec

from dafka.beam.nodes import Reader, Settings, Writer, inventory, new_partition
from dafka.beam.records import Batch, BatchCoder
from dafka.beam.source import stored_head
from dafka.core.run import Run
from dafka.errors import DafkaError, PublishTimeout, RecordsExpired

IDLE_S = 10.0
"""Producers that have not been used for so long are closed: another worker may have theirs."""

_PLACE = coders.TupleCoder([coders.StrUtf8Coder(), coders.VarIntCoder()])


class ConflictingOutput(DafkaError):
    """Stores have other records than those to be published, at the same offsets of a partition.

    The runner has not kept what was given out before a retry, so output cannot be exactly once.
    """

    def __init__(self, topic: str, partition: str, offset: int) -> None:
        super().__init__(
            f"topic {topic} partition {partition} offset {offset}: stores have another record "
            "there than the one to be published: this runner does not keep its steps' results "
            "over a retry, so use WriteToDafka without exactly_once"
        )
        self.topic, self.partition, self.offset = topic, partition, offset


class PlaceBatch(beam.DoFn):
    """Gives each record of a shard the next offset of the shard's partition."""

    STATE = ReadModifyWriteStateSpec("place", _PLACE)

    def __init__(self, batch_records: int) -> None:
        self._batch_records = batch_records

    def process(
        self,
        element: tuple[int, Iterable[bytes]],
        state: Any = beam.DoFn.StateParam(STATE),
    ) -> Iterator[tuple[str, Batch]]:
        """Batches at their places, under their partition's name, which is made with the first."""
        partition, at = state.read() or (new_partition(), 0)
        contents = iter(element[1])
        while part := tuple(islice(contents, self._batch_records)):
            yield partition, Batch(partition, at, part)
            at += len(part)
        state.write((partition, at))


class WriteBatch(beam.DoFn):
    """Publishes batches of a partition, one behind the other."""

    NEXT = ReadModifyWriteStateSpec("next", coders.VarIntCoder())
    WAITING = BagStateSpec("waiting", BatchCoder())

    def __init__(self, topic: str, timeout: float, settings: Settings) -> None:
        self._topic, self._timeout, self._settings = topic, timeout, settings
        self._written = Metrics.counter("dafka", "records_written")

    def setup(self) -> None:
        """Let the producers of this process live."""
        _lines.join()

    def teardown(self) -> None:
        """Close them with the last that uses them."""
        _lines.leave()

    def process(
        self,
        element: tuple[str, Batch],
        next_offset: Any = beam.DoFn.StateParam(NEXT),
        waiting: Any = beam.DoFn.StateParam(WAITING),
    ) -> None:
        """Publish a batch once all before it have been, or keep it until then."""
        at = next_offset.read() or 0
        batch = element[1]
        if batch.first > at:
            waiting.add(batch)
            return
        kept = sorted(waiting.read())
        for one in (batch, *kept):
            if one.first == at:
                self._publish(one)
                at += len(one.contents)
        next_offset.write(at)
        if kept:
            waiting.clear()
            for one in kept:
                if one.first > at:
                    waiting.add(one)

    def _publish(self, batch: Batch) -> None:
        line = _lines.take(self._topic, batch, self._settings, self._timeout)
        try:
            line.publish(batch, self._timeout)
        except BaseException:
            line.stop()
            raise
        _lines.give_back(line)
        self._written.inc(len(batch.contents))


class Line:
    """Publishes to a partition from one place on, over what an earlier attempt has published."""

    def __init__(self, topic: str, batch: Batch, settings: Settings, timeout: float) -> None:
        """Looks how far stores have got; takes a bit more than a second."""
        self._topic, self._settings = topic, settings
        self.key = topic, batch.partition
        self.next = batch.first
        self._stored = _stored(topic, batch.partition, settings, timeout)
        self._writer: Writer | None = None
        self._reader: Reader | None = None

    def publish(self, batch: Batch, timeout: float) -> None:
        """Return once stores have the batch, which begins at `next`; `ConflictingOutput`."""
        end = batch.first + len(batch.contents)
        if batch.first < self._stored:  # before consumers could see something else
            self._check(batch, min(end, self._stored), timeout)
        if end > self._stored:
            if self._writer is None:
                place = {"partition": batch.partition, "first": batch.first}
                self._writer = Writer(self._topic, self._settings, **place)
                self._writer.start()
            self._writer.publish(batch.contents, timeout)
            self._writer.flush(timeout)
        else:
            self._wait_for_copies(end, timeout)
        self.next = end

    def stop(self) -> None:
        """Close the nodes; what is not acknowledged is published no more."""
        if self._writer is not None:
            self._writer.stop(0)
        if self._reader is not None:
            self._reader.stop()

    def _wait_for_copies(self, end: int, timeout: float) -> None:
        """Return once as many stores as the user wants have what an earlier attempt published."""
        copies = self._settings.get("min_store_acks", 1)
        until = time.monotonic() + timeout
        while copies > 1:
            stored = _stored(*self.key, self._settings, timeout, copies)
            if stored >= end:
                return
            if time.monotonic() >= until:
                raise PublishTimeout(
                    f"topic {self._topic} partition {self.key[1]}: fewer than {copies} stores have "
                    f"the records before offset {end} after {timeout:g} s",
                    end - stored,
                )

    def _check(self, batch: Batch, end: int, timeout: float) -> None:
        """Read back what stores had already; `ConflictingOutput` if it is something else."""
        reader = self._reader
        if reader is None:
            reader = self._reader = Reader((self._topic,), _shared(self._settings))
            reader.start()
        reader.go(*self.key, batch.first)
        at, until = batch.first, time.monotonic() + timeout
        while at < end:
            item = reader.take(max(0.0, until - time.monotonic()))
            if item is None:
                raise DafkaError(
                    f"topic {self._topic} partition {batch.partition}: what was published at "
                    f"offset {at} could not be read back within {timeout:g} s"
                )
            at = item.end if isinstance(item, RecordsExpired) else item.next
            if isinstance(item, Run):
                _compare(batch, item)
                reader.give_back(item.since(end))


def _stored(topic: str, partition: str, settings: Settings, timeout: float, copies: int = 1) -> int:
    """How far so many stores have got."""
    (found,) = inventory((topic,), _shared(settings), timeout)
    heads = {state.partition: stored_head(state, copies) for state in found.partitions}
    return heads.get(partition, 0)


_OF_READERS = (
    *("tower", "bind", "host", "beacon_interval_s", "peer_timeout_s", "max_peers"),
    "high_water_mark",
)
"""Settings that producers and consumers have in common."""


def _shared(settings: Settings) -> Settings:
    return {name: settings[name] for name in settings if name in _OF_READERS}


def _compare(batch: Batch, run: Run) -> None:
    for offset, content in enumerate(run.contents, run.first):
        at = offset - batch.first
        if at < len(batch.contents) and batch.contents[at] != content:
            raise ConflictingOutput(run.topic, batch.partition, offset)


class _Lines:
    """The producers of a process: a partition is published to by one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._idle: dict[tuple[str, str], tuple[Line, float]] = {}

    def join(self) -> None:
        """There is one more step that uses them."""
        with self._lock:
            self._users += 1

    def leave(self) -> None:
        """A step uses them no more."""
        with self._lock:
            self._users -= 1
            gone = self._old(0.0) if not self._users else []
        _stop(gone)

    def take(self, topic: str, batch: Batch, settings: Settings, timeout: float) -> Line:
        """The line that goes on where a batch belongs, or a new one."""
        with self._lock:
            gone = self._old(IDLE_S)
            line, _ = self._idle.pop((topic, batch.partition), (None, 0.0))
        if line is not None and line.next != batch.first:
            gone.append(line)
            line = None
        _stop(gone)
        return line or Line(topic, batch, settings, timeout)

    def give_back(self, line: Line) -> None:
        """Keep a line of which everything is acknowledged."""
        with self._lock:
            self._idle[line.key] = line, time.monotonic()

    def _old(self, idle_s: float) -> list[Line]:
        late = time.monotonic() - idle_s
        keys = [key for key, (_, used) in self._idle.items() if used <= late]
        return [self._idle.pop(key)[0] for key in keys]


def _stop(lines: list[Line]) -> None:
    for line in lines:
        line.stop()


_lines = _Lines()
