"""The source of a pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from apache_beam.transforms.display import DisplayDataItem

import dafka
from dafka.beam.discovery import FindPartitions, ListPartitions
from dafka.beam.reading import FollowSpan, ReadSpan
from dafka.beam.records import Place, Record
from dafka.beam.source import Source
from dafka.beginning import Start, parse_start
from dafka.errors import ConfigError


class ReadFromDafka(beam.PTransform):
    """Reads the records of topics: contents as bytes or, `with_metadata`, as `Record`s.

    Each has the time of its arrival at a store as its timestamp, and is read once however the
    runner splits the work. A partition that is read by one worker is read in order; Beam keeps no
    order from there on.
    """

    def __init__(
        self,
        topics: str | Iterable[str],
        *,
        start: Start = "earliest",
        bounded: bool = False,
        with_metadata: bool = False,
        max_records: int | None = None,
        max_read_s: float | None = None,
        discovery_s: float | None = 10.0,
        poll_s: float = 1.0,
        bundle_records: int = 100_000,
        bundle_s: float = 5.0,
        timeout: float = 60.0,
        **settings: Any,
    ) -> None:
        """Opens nothing. `settings` are those of a consumer (`tower`, `bind`, `host`, …).

        `bounded`: up to what stores have when the pipeline begins; otherwise for ever, or until
        `max_records` of each partition that is there at the start have been read, or `max_read_s`
        seconds are over. New partitions are looked for every `discovery_s` seconds (None: never).

        A bundle of an unbounded read ends after `bundle_records` or `bundle_s` seconds; a
        partition without news is looked at again after `poll_s`. `timeout`: seconds to wait for
        stores, and for records that they have; then the bundle fails, for the runner to retry.
        """
        super().__init__()
        names = (topics,) if isinstance(topics, str) else tuple(topics)
        for name in ("name", "offsets", "auto_commit", "commit_interval_s"):
            if name in settings:
                raise ConfigError(f"{name} is given, but a pipeline's positions are Beam's")
        # One that is never started: its topics and settings are those of all the readers to come.
        topics = dafka.Consumer(names, **settings).topics
        for name, value in (
            ("max_records", max_records),
            ("max_read_s", max_read_s),
            ("discovery_s", discovery_s),
            *(("poll_s", poll_s), ("bundle_records", bundle_records)),
            *(("bundle_s", bundle_s), ("timeout", timeout)),
        ):
            if value is not None and value <= 0:
                raise ConfigError(f"{name} is {value}: it must be more than 0")
        self._source = Source(
            *(topics, parse_start(start), bounded, with_metadata, max_records, max_read_s),
            *(discovery_s, poll_s, bundle_records, bundle_s, timeout),
            settings,
        )

    def expand(self, begin: Any) -> Any:
        """Find partitions, spread them over the workers, and read them."""
        source = self._source
        finding = ListPartitions(source) if source.looks_once else FindPartitions(source)
        reading = ReadSpan(source) if source.bounded else FollowSpan(source)
        return (
            begin
            | beam.Impulse()
            | "Find partitions" >> beam.ParDo(finding).with_output_types(Place)
            | beam.Reshuffle()
            | "Read"
            >> beam.ParDo(reading).with_output_types(Record if source.with_metadata else bytes)
        )

    def default_label(self) -> str:
        """How the step is called where its user gives no name."""
        return f"ReadFromDafka({', '.join(self._source.topics)})"

    def display_data(self) -> dict[str, Any]:
        """What is shown of the step."""
        source = self._source
        given = {
            "topics": ", ".join(source.topics),
            "start": str(source.start),
            "bounded": source.bounded,
            "with_metadata": source.with_metadata,
            "tower": str(source.settings.get("tower", "")),
            "max_records": source.max_records,
        }
        return {
            name: DisplayDataItem(value, label=name)
            for name, value in given.items()
            if value not in (None, "")
        }
