"""A cluster beside a pipeline: its nodes live in a thread of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import dafka
from dafka.threads.background import Background
from tests.support.live_nodes import LOOPBACK, Nodes
from tests.support.waiting import take

T = TypeVar("T")


class BeamCluster:
    """A tower and a store, and settings by which pipelines reach them."""

    def __init__(self, directory: Path) -> None:
        self._hub = Background("beam cluster")
        self.nodes = Nodes(directory)
        self.call(self.nodes.cluster)
        self.settings: dict[str, Any] = {"tower": self.nodes.tower, "bind": LOOPBACK}

    def call(self, function: Callable[[], T]) -> T:
        """Do something with nodes of the cluster."""
        return self._hub.call(function)

    def publish(self, topic: str, contents: Sequence[bytes], at_once: int = 1 << 30) -> str:
        """Publish records to a partition of their own; return its name once stores have them.

        `at_once`: so many are written together.
        """

        def publish() -> str:
            with dafka.Producer(topic, **self.settings) as producer:
                for first in range(0, len(contents), at_once):
                    producer.publish_many(contents[first : first + at_once])
                    producer.flush(20)
                return producer.partition

        return self.call(publish)

    def records(self, topic: str, count: int) -> list[dafka.Record]:
        """The first records of a topic; and no more are there."""

        def read() -> list[dafka.Record]:
            with dafka.Consumer(topic, start="earliest", **self.settings) as consumer:
                found = take(consumer, count)
                more = consumer.poll(0.3)
                assert more is None, f"{more} was not expected"
                return found

        return self.call(read)

    def beside(self, topic: str, content: bytes) -> list[bytes]:
        """All contents of the partition that has this one."""

        def read() -> list[bytes]:
            found: dict[str, list[bytes]] = {}
            with dafka.Consumer(topic, start="earliest", **self.settings) as consumer:
                while not any(content in one for one in found.values()):
                    (record,) = take(consumer, 1)
                    found.setdefault(record.partition, []).append(record.content)
                while (more := consumer.poll(0.3)) is not None:
                    found.setdefault(more.partition, []).append(more.content)
            return next(one for one in found.values() if content in one)

        return self.call(read)

    def end(self) -> None:
        """Stop all."""
        self.call(self.nodes.end)
        self._hub.close(2)
