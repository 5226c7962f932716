"""What an archive holds: its schema, its list of partitions, and which record comes next.

Decides what belongs into an archive; knows no files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any
from zlib import crc32

from dafka.core.run import Run
from dafka.errors import DafkaError
from dafka.names import check_partition, check_topic

VERSION = "1"
VERSION_KEY = "dafka.archive"
PARTS_KEY = "dafka.parts"

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Record",
    "namespace": "dafka",
    "fields": [
        {"name": "topic", "type": "string"},
        {"name": "partition", "type": "string"},
        {"name": "offset", "type": "long"},
        {"name": "content", "type": "bytes"},
        {"name": "crc32", "type": "long", "doc": "CRC-32 of the content, as zlib's crc32"},
    ],
}

MAX_OFFSET = (1 << 63) - 1
"""Avro's largest `long`."""

Key = tuple[str, str]
"""Topic and partition."""


class ArchiveError(DafkaError):
    """A file that cannot be used as archive."""


class Incomplete(ArchiveError):
    """An archive whose beginning is good, and whose rest is damaged or was never written."""


@dataclass(frozen=True, slots=True)
class Part:
    """What an archive holds of a partition: the records from `first` up to, but without, `next`."""

    topic: str
    partition: str
    first: int
    next: int

    @property
    def key(self) -> Key:
        """Topic and partition."""
        return self.topic, self.partition


class Contents:
    """What an archive promises to hold, and how much of it has passed by."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts = {part.key: part for part in parts}
        self.positions = {key: part.first for key, part in self.parts.items()}
        """The offset that comes next, of every partition."""

    def advance(self, *runs: Run) -> None:
        """Count runs, all or none; `ValueError` if one is not what comes next.

        A partition's oldest records may be missing: retention can have taken them meanwhile.
        """
        keys = {(run.topic, run.partition) for run in runs} & self.positions.keys()
        before = {key: self.positions[key] for key in keys}
        for run in runs:
            key = (run.topic, run.partition)
            if not self._fits(key, run):
                self.positions.update(before)
                raise ValueError(
                    f"topic {run.topic!r}, partition {run.partition}, offset {run.first} does not "
                    "belong there"
                )
            self.positions[key] = run.next

    def _fits(self, key: Key, run: Run) -> bool:
        part = self.parts.get(key)
        if part is None or run.next > part.next:
            return False
        position = self.positions[key]
        return run.first == position or run.first > position == part.first

    def lacking(self) -> list[Part]:
        """What has not passed by yet."""
        positions = self.positions.items()
        rest = (Part(*key, at, self.parts[key].next) for key, at in positions)
        return [part for part in rest if part.first < part.next]

    @property
    def total(self) -> int:
        """Records of all parts."""
        return sum(part.next - part.first for part in self.parts.values())


def encode_parts(parts: Iterable[Part]) -> dict[str, str]:
    """The entries of an archive's header that are ours."""
    return {VERSION_KEY: VERSION, PARTS_KEY: json.dumps([astuple(part) for part in parts])}


def decode_parts(metadata: Mapping[str, str]) -> Iterator[Part]:
    """What `encode_parts` wrote; `ValueError` if it is something else."""
    for topic, partition, first, end in json.loads(metadata.get(PARTS_KEY, "null")) or ():
        check_topic(topic)
        check_partition(partition)
        if not (type(first) is type(end) is int and 0 <= first <= end):
            raise ValueError(f"offsets {first!r} to {end!r}")
        yield Part(topic, partition, first, end)


def encode(run: Run) -> Iterator[dict[str, object]]:
    """The entries of an archive that hold a run."""
    for offset, content in enumerate(run.contents, run.first):
        yield {
            "topic": run.topic,
            "partition": run.partition,
            "offset": offset,
            "content": content,
            "crc32": crc32(content),
        }


def decode(records: Iterable[Any]) -> Iterator[Run]:
    """The runs that entries hold; `ValueError` if a content is damaged."""
    contents: list[bytes] = []
    run = Run("", "", 0, contents)
    for record in records:
        content = record["content"]
        if crc32(content) != record["crc32"]:
            raise ValueError(f"the checksum of offset {record['offset']} is wrong")
        name, offset = (record["topic"], record["partition"]), record["offset"]
        if name != (run.topic, run.partition) or offset != run.next:
            if run.contents:
                yield run
            contents = []
            run = Run(*name, offset, contents)
        contents.append(content)
    if run.contents:
        yield run
