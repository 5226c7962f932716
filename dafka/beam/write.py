"""The sinks of a pipeline: at least once, or exactly once."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.display import DisplayDataItem
from apache_beam.transforms.util import ReshufflePerKey
from apache_beam.transforms.window import GlobalWindows

import dafka
from dafka.beam.exactly import ConflictingOutput, PlaceBatch, WriteBatch
from dafka.beam.nodes import Settings, Writer
from dafka.beam.records import Batch
from dafka.core.run import RECORD_COST
from dafka.errors import ConfigError

__all__ = ["ConflictingOutput", "WriteToDafka"]

SPOOL_BYTES = 64 << 20
"""A bundle up to this size is published when it is complete; a larger one is begun before."""


class WriteToDafka(beam.PTransform):
    """Publishes bytes to a topic; a bundle is done once stores have acknowledged all of it.

    By default each worker publishes to a partition of its own, and a bundle that is retried after
    it was published is published again. With `exactly_once` a record gets its partition and
    offset first, and these are kept by the runner, so whatever is retried is published at the
    same offsets, where stores recognise it.
    """

    def __init__(
        self,
        topic: str,
        *,
        exactly_once: int = 0,
        batch_records: int = 1_000,
        batch_s: float = 1.0,
        timeout: float = 60.0,
        **settings: Any,
    ) -> None:
        """Opens nothing. `settings` are those of a producer (`tower`, `bind`, `min_store_acks`, …).

        `exactly_once`: the number of partitions (shards) to publish to, as many as shall work side
        by side; each publishes `batch_records` at once, or what has come within `batch_s` seconds.
        `timeout`: seconds to wait for acknowledgements; then the bundle fails with
        `PublishTimeout`, for the runner to retry.
        """
        super().__init__()
        if "outbox" in settings:
            raise ConfigError("outbox is given, but what a pipeline has not published is Beam's")
        self._topic = dafka.Producer(topic, **settings).topic
        for name, value, least in (
            *(("exactly_once", exactly_once, 0), ("batch_records", batch_records, 1)),
            *(("batch_s", batch_s, 0.001), ("timeout", timeout, 0.001)),
        ):
            if value < least:
                raise ConfigError(f"topic {topic}: {name} is {value}: it must be at least {least}")
        self._shards, self._batch_records, self._batch_s = exactly_once, batch_records, batch_s
        self._timeout, self._settings = timeout, settings

    def expand(self, records: Any) -> Any:
        """Publish; what comes out is empty."""
        if not self._shards:
            return records | "Publish" >> beam.ParDo(
                WriteBundle(self._topic, self._timeout, self._settings)
            ).with_input_types(bytes).with_output_types(None)
        grouping = (
            beam.GroupByKey()
            if records.is_bounded
            else beam.GroupIntoBatches(self._batch_records, self._batch_s)
        )
        return (
            records
            | "Shard"
            >> beam.ParDo(Shard(self._topic, self._shards))
            .with_input_types(bytes)
            .with_output_types(tuple[int, bytes])
            | "Forget windows" >> beam.WindowInto(GlobalWindows())
            | "Group" >> grouping
            | "Place"
            >> beam.ParDo(PlaceBatch(self._batch_records)).with_output_types(tuple[str, Batch])
            # From here on a record has its place: a retry meets the same records at the same ones.
            | "Keep places" >> ReshufflePerKey()
            | "Publish"
            >> beam.ParDo(WriteBatch(self._topic, self._timeout, self._settings)).with_output_types(
                None
            )
        )

    def default_label(self) -> str:
        """How the step is called where its user gives no name."""
        return f"WriteToDafka({self._topic})"

    def display_data(self) -> dict[str, Any]:
        """What is shown of the step."""
        given = {
            "topic": self._topic,
            "exactly_once": self._shards,
            "tower": str(self._settings.get("tower", "")),
        }
        return {name: DisplayDataItem(value, label=name) for name, value in given.items() if value}


class Shard(beam.DoFn):
    """Deals records out to shards in turn."""

    def __init__(self, topic: str, shards: int) -> None:
        self._topic, self._shards = topic, shards

    def setup(self) -> None:
        """Workers begin with different shards."""
        self._turns = itertools.count(random.randrange(self._shards))

    def process(self, element: bytes) -> Iterator[tuple[int, bytes]]:
        """A record with its shard."""
        yield next(self._turns) % self._shards, checked(self._topic, element)


class WriteBundle(beam.DoFn):
    """Publishes each bundle as a whole, as far as it fits into memory.

    So a bundle that fails halfway, in whatever step, has published nothing.
    """

    def __init__(self, topic: str, timeout: float, settings: Settings) -> None:
        self._topic, self._timeout, self._settings = topic, timeout, settings
        self._written = Metrics.counter("dafka", "records_written")
        self._writer: Writer | None = None

    def start_bundle(self) -> None:
        """Begin with nothing: a bundle that failed is given again."""
        self._waiting: list[bytes] = []
        self._size, self._count = 0, 0

    def process(self, element: bytes) -> None:
        """Keep a record for the end of the bundle."""
        content = checked(self._topic, element)
        self._waiting.append(content)
        self._size += len(content) + RECORD_COST
        self._count += 1
        if self._size >= SPOOL_BYTES:
            self._publish(flush=False)

    def finish_bundle(self) -> None:
        """Publish, and wait until stores have acknowledged all."""
        if self._count:
            self._publish(flush=True)
            self._written.inc(self._count)

    def teardown(self) -> None:
        """Close the producer."""
        self._end(self._timeout)

    def _publish(self, *, flush: bool) -> None:
        try:
            if self._writer is None:
                self._writer = Writer(self._topic, self._settings)
                self._writer.start()
            contents, self._waiting, self._size = self._waiting, [], 0
            self._writer.publish(contents, self._timeout)
            if flush:
                self._writer.flush(self._timeout)
        except BaseException:
            # The bundle will be given again: nothing of this attempt shall be sent later on.
            self._end(0)
            raise

    def _end(self, timeout: float) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.stop(timeout)


def checked(topic: str, element: object) -> bytes:
    """An element that can be published; `ConfigError` for any other."""
    if isinstance(element, bytes):
        return element
    raise ConfigError(
        f"topic {topic}: a {type(element).__name__} came to WriteToDafka, which takes bytes: "
        "encode elements before"
    )
