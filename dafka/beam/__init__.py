"""Topics as sources and sinks of Apache Beam pipelines (extra `beam`).

`ReadFromDafka` reads topics, bounded or for ever; `WriteToDafka` publishes. Both work in ordinary
threads: their nodes live in a background thread of each worker process.
"""

from __future__ import annotations

from dafka.beam.read import ReadFromDafka
from dafka.beam.records import Record
from dafka.beam.write import ConflictingOutput, WriteToDafka

__all__ = ["ConflictingOutput", "ReadFromDafka", "Record", "WriteToDafka"]
