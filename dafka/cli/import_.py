"""`dafka import`: publishes the records of an archive into a cluster, under their own offsets."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import click

import dafka
from dafka.cli import nodes
from dafka.cli.options import Command, Fault, Seconds, common, configure, json_option, towers
from dafka.cli.produce import records
from dafka.cli.progress import progress
from dafka.cli.snapshot import Held, held
from dafka.config import MIB, ProducerConfig
from dafka.core.run import RECORD_COST, Run
from dafka.errors import PublishTimeout
from dafka.io.archive import ArchiveReader
from dafka.io.threads import Threads

MAX_OPEN = 64
"""Partitions that are written at the same time."""

BUFFER_BYTES = 4 * MIB
"""Unacknowledged contents of each of them, unless a single record is larger."""

TIMEOUT_S = 30.0

Key = tuple[str, str]


class Importing:
    """Publishes runs of many partitions, each with a producer that continues the partition."""

    def __init__(
        self, config: ProducerConfig, stored: dict[Key, Held], timeout: float, bar: Any
    ) -> None:
        """`stored` tells what the cluster has already: that is not published again."""
        self._config = config
        self._stored = stored
        self._timeout = timeout
        self._bar = bar
        self._open: OrderedDict[Key, dafka.Producer] = OrderedDict()
        self.skipped = 0

    def publish(self, run: Run) -> None:
        """Publish what the cluster lacks of a run; blocks while too much is unacknowledged."""
        key = (run.topic, run.partition)
        stored = self._stored.get(key)
        rest = run if stored is None else run.since(stored.next)
        self.skipped += len(run) - len(rest)
        if rest.contents:
            producer = self._producer(key, rest)
            for content in rest.contents:
                self._patiently(producer, lambda wait, c=content: producer.publish(c, timeout=wait))
        self._bar.update(len(run))

    def finish(self) -> None:
        """Wait until everything is acknowledged."""
        while self._open:
            self._close_oldest()

    def abandon(self) -> None:
        """Stop without waiting: the next import goes on where the stores are."""
        for producer in self._open.values():
            producer.stop(timeout=0)

    def _producer(self, key: Key, run: Run) -> dafka.Producer:
        size = max(BUFFER_BYTES, max(map(len, run.contents)) + RECORD_COST)
        producer = self._open.get(key)
        if producer is not None and producer.config.buffer_bytes < size:
            self._open.move_to_end(key, last=False)
            self._close_oldest()
            producer = None
        if producer is None:
            while len(self._open) >= MAX_OPEN:
                self._close_oldest()
            config = replace(self._config, buffer_bytes=size)
            topic, partition = key
            producer = dafka.Producer(topic, config, partition=partition, first=run.first)
            nodes.start(producer)
            self._open[key] = producer
        self._open.move_to_end(key)
        return producer

    def _close_oldest(self) -> None:
        key, producer = next(iter(self._open.items()))
        self._patiently(producer, producer.flush)
        del self._open[key]
        producer.stop(timeout=0)

    def _patiently(
        self, producer: dafka.Producer, call: Callable[[float | None], object]
    ) -> None:
        """Repeat a call that waits for acknowledgements, as long as some come."""
        while True:
            acknowledged = producer.acknowledged
            try:
                call(self._timeout)
            except PublishTimeout as error:
                if producer.acknowledged == acknowledged:
                    raise Fault(f"{error}; run the same import again to go on") from error
            else:
                return
