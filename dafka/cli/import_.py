"""`dafka import`: publishes the records of an archive into a cluster, under their own offsets."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import click

import dafka
from dafka.cli import logs, nodes
from dafka.cli.options import Command, Fault, acks_option, of_cluster, reach
from dafka.cli.progress import progress
from dafka.cli.signals import INTERRUPTED
from dafka.cli.snapshot import Held, held, look
from dafka.cli.stdio import done_all_the_same
from dafka.cli.texts import document
from dafka.config import MIB, ProducerConfig
from dafka.core.run import RECORD_COST, Run
from dafka.errors import PublishTimeout
from dafka.io.archive import ArchiveReader
from dafka.io.refusals import records
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
        self._begins: dict[Key, int] = {}
        self.skipped = 0

    def publish(self, run: Run) -> None:
        """Publish what the cluster lacks of a run; blocks while too much is unacknowledged."""
        key = (run.topic, run.partition)
        rest = run.since(self._position(key, run))
        self.skipped += len(run) - len(rest)
        if rest.contents:
            producer = self._producer(key, rest)
            for content in rest.contents:
                try:
                    producer.publish(content, timeout=0.0)
                except PublishTimeout:
                    self._patiently(producer, partial(producer.publish, content))
        self._bar.update(len(run))

    def _position(self, key: Key, run: Run) -> int:
        """The offset that the cluster lacks first; `Fault` if this archive cannot give it."""
        stored = self._stored.get(key)
        position = stored.next if stored else 0
        name = f"topic {run.topic!r}, partition {run.partition}"
        begins = self._begins.setdefault(key, run.first)
        if key not in self._open and run.first > position > 0:
            raise Fault(
                f"{name} begins at offset {begins} in this file, but the stores lack it from "
                f"offset {position} on: import an older export first"
            )
        if stored and stored.alive and run.next > position and key not in self._open:
            raise Fault(
                f"{name} is being written by its own producer in this cluster: stop that, or "
                "import into another cluster"
            )
        return position

    def finish(self) -> None:
        """Wait until everything is acknowledged."""
        while self._open:
            self._close_oldest()

    def abandon(self) -> None:
        """Stop without waiting: the next import goes on where the stores are."""
        with logs.without_warnings("dafka.producer"):
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
            producer = dafka.Producer(
                topic,
                config,
                partition=partition,
                first=run.first,
                earliest=self._begins[key],
            )
            nodes.start(producer)
            self._open[key] = producer
        self._open.move_to_end(key)
        return producer

    def _close_oldest(self) -> None:
        key, producer = next(iter(self._open.items()))
        self._patiently(producer, producer.flush)
        del self._open[key]
        self._stored[key] = Held(producer.next_offset, alive=False)
        producer.stop(timeout=0)

    def _patiently(self, producer: dafka.Producer, call: Callable[[float | None], object]) -> None:
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


def check_deleted(deleted: Collection[str], reader: ArchiveReader) -> None:
    """`Fault` if the cluster has been told to forget one of the topics."""
    for part in reader.contents.parts.values():
        if part.topic in deleted:
            raise Fault(
                f"topic {part.topic!r} was deleted from this cluster for good, so its partitions "
                "cannot come back: import into another cluster"
            )


def check_kept(stored: Mapping[Key, Held], reader: ArchiveReader) -> None:
    """`Fault` if the stores have acknowledged a partition, but did not keep it."""
    for part in reader.contents.parts.values():
        known = stored.get(part.key)
        if part.first < part.next and (known is None or known.next < part.next):
            raise Fault(
                f"topic {part.topic!r}, partition {part.partition} was imported, but the stores do "
                f"not keep it up to offset {part.next - 1}: it was deleted there, or retention has "
                "taken it"
            )


def import_records(
    file: str, config: ProducerConfig, timeout: float
) -> tuple[ArchiveReader, Importing]:
    """Publish a whole archive, and wait until all is acknowledged; `Fault` otherwise."""
    threads = Threads(1)
    with nodes.Interrupts() as interrupts, ArchiveReader(file) as reader:
        importing: Importing | None = None
        try:
            inventory = look(config, timeout)
            check_deleted(inventory.deleted, reader)
            stored = held(inventory, config.min_store_acks)
            with progress(reader.contents.total) as bar:
                importing = Importing(config, stored, timeout, bar)
                runs = reader.runs()
                while (run := threads.run(next, runs, None)) is not None:
                    importing.publish(run)
                importing.finish()
            check_kept(held(look(config, timeout), config.min_store_acks), reader)
        except nodes.Stopped:
            if importing is None:
                raise Fault("interrupted", INTERRUPTED) from None
            raise Fault("interrupted: run the same import again to go on") from None
        finally:
            interrupts.disarm()
            if importing is not None:
                importing.abandon()
            threads.close()
    return reader, importing


@click.command("import", cls=Command)
@of_cluster(TIMEOUT_S, "Give up after S seconds in which no store acknowledged anything.")
@click.argument("file", type=click.Path())
@acks_option
def import_(file: str, acks: int | None, timeout: float, as_json: bool, **given: Any) -> None:
    """Publish the records of FILE, which 'dafka export' wrote, into a cluster.

    Each record gets into the partition and to the offset that it had, so that positions of
    consumers stay right. What the stores have already is not published again: an interrupted
    import is continued by the same command.

    Exit code 0: all records are acknowledged; 1: some are not, and stderr says why.

    \b
    Example:
      dafka import backup.avro --tower newhost
    """
    settings = reach(ProducerConfig, given, min_store_acks=acks)
    began = time.monotonic()
    reader, importing = import_records(file, settings, timeout)
    seconds, total = time.monotonic() - began, reader.contents.total
    if as_json:
        numbers = {
            "file": file,
            "partitions": len(reader.contents.parts),
            "records": total,
            "present": importing.skipped,
            "seconds": round(seconds, 6),
        }
        with done_all_the_same(f"imported {records(total)} of {file}"):
            click.echo(document(numbers))
        return
    present = f", {importing.skipped} of them before" if importing.skipped else ""
    click.echo(f"imported {records(total)} of {file}{present} ({seconds:.1f} s)", err=True)
