"""`dafka export`: writes the records of a running cluster into an archive."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import click

import dafka
from dafka.cli import nodes
from dafka.cli.options import Command, Fault, of_cluster, reach
from dafka.cli.progress import progress
from dafka.cli.signals import INTERRUPTED
from dafka.cli.snapshot import Snapshot, look, snapshot
from dafka.cli.stdio import Unprintable, done_all_the_same
from dafka.cli.tables import count
from dafka.cli.texts import document
from dafka.config import ConsumerConfig
from dafka.core.run import Run
from dafka.io.archive import ArchiveWriter, Part
from dafka.io.refusals import records
from dafka.io.threads import Threads

NEVER = 1 << 63
"""Above every offset that an archive can hold."""

TIMEOUT_S = 30.0


class Only(Mapping[str, int]):
    """Where a consumer begins: at these offsets, and with all other partitions never."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._offsets: dict[str, int] = {}
        for part in parts:
            # A partition's name can occur in several topics.
            known = self._offsets.get(part.partition, NEVER)
            self._offsets[part.partition] = min(known, part.first)

    def __getitem__(self, partition: str) -> int:
        return self._offsets.get(partition, NEVER)

    def __iter__(self) -> Iterator[str]:
        return iter(self._offsets)

    def __len__(self) -> int:
        return len(self._offsets)


@dataclass
class Exporting:
    """Takes what an archive lacks from a consumer, and writes it."""

    writer: ArchiveWriter
    threads: Threads
    bar: Any
    left: int
    timeout: float

    def run(self, consumer: dafka.Consumer) -> None:
        """Go on until nothing is lacking; `Fault` after `timeout` seconds of silence."""
        heard = time.monotonic()
        while self.left:
            run = next(consumer.runs(timeout=min(self.timeout, 1.0)), None)
            if run is not None:
                if self._add(run):
                    heard = time.monotonic()
            elif time.monotonic() - heard >= self.timeout:
                raise Fault(self._silence())

    def _add(self, run: Run) -> bool:
        """Write what belongs into the archive, if anything does."""
        contents, key = self.writer.contents, (run.topic, run.partition)
        part = contents.parts.get(key)
        if part is None or contents.positions[key] >= part.next:
            return False
        position = contents.positions[key]
        wanted = run.since(position).until(part.next)
        if run.next <= position:
            return False
        if not wanted.contents or (wanted.first > position > part.first):
            raise Fault(
                f"topic {part.topic!r}, partition {part.partition}: the records from offset "
                f"{position} on have expired meanwhile: delete {self.writer.path} and export again"
            )
        self.threads.run(self.writer.add, wanted)
        self.left -= wanted.next - position
        self.bar.update(wanted.next - position)
        return True

    def _silence(self) -> str:
        part = self.writer.contents.lacking()[0]
        return (
            f"no store gave topic {part.topic!r}, partition {part.partition}, offset {part.first} "
            f"within {self.timeout:g} s: is it damaged there? See 'dafka check'; "
            "then go on with --resume"
        )


def begin(file: str, snapshot: Snapshot, threads: Threads) -> ArchiveWriter:
    """A new archive for what the stores hold at this moment."""
    if not snapshot.parts:
        raise Fault("no store holds any record of that: there is nothing to export")
    return threads.run(ArchiveWriter.create, file, snapshot.parts)


def take_up(file: str, threads: Threads) -> ArchiveWriter:
    """An archive that was begun before, verified."""
    size = os.path.getsize(file) if os.path.isfile(file) else 0
    with progress(None, keep=False) as bar:
        bar.set_description(f"reading {size:,} bytes")
        return threads.run(ArchiveWriter.resume, file, lambda run: bar.update(len(run)))


def fill(writer: ArchiveWriter, config: ConsumerConfig, timeout: float, threads: Threads) -> None:
    """Get what an archive lacks from the stores."""
    lacking = writer.contents.lacking()
    if not lacking:
        return
    left = sum(part.next - part.first for part in lacking)
    total = writer.contents.total
    topics = dict.fromkeys(part.topic for part in lacking)
    consumer = dafka.Consumer(*topics, config=replace(config, start=Only(lacking), name=""))
    nodes.start(consumer)
    try:
        with progress(total, initial=total - left) as bar:
            Exporting(writer, threads, bar, left, timeout).run(consumer)
    finally:
        consumer.stop(timeout=nodes.STOP_TIMEOUT_S)


def export_records(
    file: str, config: ConsumerConfig, topics: tuple[str, ...], *, resume: bool, timeout: float
) -> tuple[ArchiveWriter, list[str]]:
    """Write an archive to its end, or continue one; `Fault` if it stays unfinished.

    Also returns why partitions were left out.
    """
    if not resume and os.path.lexists(file):
        raise Fault(f"{file} exists already: give another name, or continue it with --resume")
    threads, writer, left_out = Threads(1), None, []
    with nodes.Interrupts() as interrupts:
        try:
            if resume:
                writer = take_up(file, threads)
            else:
                found = snapshot(look(config, timeout), topics)
                left_out = found.left_out
                writer = begin(file, found, threads)
            fill(writer, config, timeout, threads)
        except nodes.Stopped:
            if writer is None:
                raise Fault("interrupted", INTERRUPTED) from None
            raise Fault(f"interrupted: {_done(writer)}; go on with --resume") from None
        finally:
            interrupts.disarm()
            if writer is not None:
                # In the same thread, behind what it may still be writing.
                threads.run(writer.close)
            threads.close()
    return writer, left_out


def _done(writer: ArchiveWriter) -> str:
    lacking = sum(part.next - part.first for part in writer.contents.lacking())
    total = writer.contents.total
    return f"exported {total - lacking} of {records(total)} into {writer.path} so far"


def report(writer: ArchiveWriter, seconds: float, as_json: bool) -> None:
    """Tell what the archive holds now."""
    contents, size = writer.contents, writer.path.stat().st_size
    topics = len({part.topic for part in contents.parts.values()})
    if as_json:
        numbers = {
            "file": str(writer.path),
            "bytes": size,
            "topics": topics,
            "partitions": len(contents.parts),
            "records": contents.total,
            "seconds": round(seconds, 6),
        }
        with done_all_the_same(f"exported {records(contents.total)} into {writer.path}"):
            click.echo(document(numbers))
        return
    click.echo(
        f"exported {records(contents.total)} of {count(len(contents.parts), 'partition')} in "
        f"{count(topics, 'topic')} into {writer.path} ({size:,} bytes, {seconds:.1f} s)",
        err=True,
    )


@click.command(cls=Command)
@of_cluster(TIMEOUT_S, "Give up after S seconds in which no store gave a record.")
@click.argument("file", type=click.Path())
@click.option("--topic", "topics", multiple=True, help="Only this topic; may be repeated.")
@click.option("--resume", is_flag=True, help="Continue FILE, which an interrupted export left.")
def export(
    file: str,
    topics: tuple[str, ...],
    resume: bool,
    timeout: float,
    as_json: bool,
    **given: Any,
) -> None:
    """Write all records of a running cluster, or of some topics, into FILE.

    What the stores hold when the command starts is exported: each partition up to its newest
    record at that moment. Nothing has to stop meanwhile. FILE is an Avro object container file,
    which many programs can read; docs/operations.md describes it.

    Exit code 0: FILE is complete; 1: it is not, and stderr says why. --resume then goes on with
    the same records, without asking for those that FILE has.

    \b
    Example:
      dafka export backup.avro
      dafka export flights.avro --topic flights --topic airports
      dafka export backup.avro --resume
    """
    if resume and topics:
        raise click.UsageError("FILE tells which topics it is for: leave out --topic.")
    settings = reach(ConsumerConfig, given)
    began = time.monotonic()
    writer, left_out = export_records(file, settings, topics, resume=resume, timeout=timeout)
    faults = []
    try:
        report(writer, time.monotonic() - began, as_json)
    except Unprintable as error:
        faults.append(str(error))
    if left_out:
        faults.append(
            f"{count(len(left_out), 'partition')} left out, such as this one: {left_out[0]}"
        )
    if faults:
        raise Fault("; ".join(faults))
