"""`dafka produce`: a record for each line of a file or of stdin."""

from __future__ import annotations

import os
import time

import click

import dafka
from dafka.cli import logs, nodes
from dafka.cli.options import (
    Command,
    Fault,
    Seconds,
    Setting,
    acks_option,
    common,
    configure,
    json_option,
    towers,
)
from dafka.cli.publishing import Publishing, skip, stores
from dafka.cli.stdio import STDIN, Unprintable, open_input, read_lines
from dafka.cli.texts import document
from dafka.config import ProducerConfig
from dafka.core.run import RECORD_COST
from dafka.errors import ConfigError, PublishTimeout
from dafka.io.refusals import records


def publish_lines(
    topic: str,
    file: str | None,
    config: ProducerConfig,
    *,
    timeout: float | None = None,
    progress: bool = False,
    report: str | None = None,
    resume: bool = False,
) -> None:
    """Publish a file's lines; `report` is "text", "json" or None. `Fault` if some were not kept.

    `resume`: without as many lines at the beginning as the outbox's partition has records.
    """
    if resume and not config.outbox:
        raise ConfigError("--resume goes on where an outbox tells: give --outbox DIR as well")
    if timeout is None and config.stop_timeout_s == 0:
        timeout = 0.0  # The C nodes' producer/terminate_unacked.
    producer = dafka.Producer(topic, config)
    descriptor = open_input(file)
    began = time.monotonic()
    task = Publishing(producer, topic, timeout)
    patience = nodes.STOP_TIMEOUT_S
    with nodes.Interrupts() as interrupts:
        try:
            nodes.start(producer)
            task.begin()
            if progress:
                task.show_progress()
            lines = read_lines(descriptor, max(0, config.buffer_bytes - RECORD_COST))
            task.run(skip(lines, task.first) if resume else lines)
        except nodes.Stopped:
            pass
        except PublishTimeout:
            patience = 0.0
        finally:
            interrupts.disarm()
            task.close()
            with logs.without_warnings("dafka.producer"):
                left = producer.stop(timeout=patience)
    _report(report, task, time.monotonic() - began, left, skipped=task.first if resume else 0)
    if descriptor != STDIN:
        os.close(descriptor)
        if not task.finished and not left:
            again = "; --resume goes on there" if config.outbox else ""
            number = records(task.published)
            raise Fault(f"interrupted after {number}, before the end of {file}{again}")


def _report(
    report: str | None, task: Publishing, seconds: float, left: int, *, skipped: int
) -> None:
    """Tell the result; `Fault` if records are not acknowledged, or a line was refused."""
    published, shown = task.published, ""
    rate = published / seconds if seconds > 0 else 0.0
    if report == "json":
        numbers = {
            "topic": task.topic,
            "partition": task.producer.partition,
            "records": published,
            "acknowledged": max(0, published - left),
            "seconds": round(seconds, 6),
            "records_per_s": round(rate, 1),
        }
        if task.producer.config.outbox:
            numbers |= {"first": task.first, "skipped": skipped, "unacknowledged": left}
        shown = document(numbers)
    elif report == "text" and not left:
        before = f" after {skipped} that were published before" if skipped else ""
        click.echo(
            f"{records(published)} acknowledged in {seconds:.3f} s ({rate:,.0f} records/s){before}",
            err=True,
        )
    faults = [] if task.refused is None else [str(task.refused)]
    if left:
        faults.append(_left(task, left))
    if shown:
        try:
            click.echo(shown)
        except Unprintable as error:
            done = "" if left else f"{records(published)} acknowledged, but "
            faults.append(f"{done}{error}")
    if faults:
        raise Fault("; ".join(faults), 1 if task.refused is None else 2)


def _left(task: Publishing, left: int) -> str:
    """What is not acknowledged, and what becomes of it."""
    producer = task.producer
    by = f"not acknowledged by {stores(producer.config.min_store_acks)}"
    if not producer.introduced:
        by += f", since {nodes.no_tower(producer.config)}"
    if not producer.config.outbox:
        return f"topic {task.topic!r}: {left} of {records(task.published)} {by}"
    lost = producer.next_offset - producer.saved
    loss = f", {records(lost)} could not be written: {producer.trouble}" if lost else ""
    return (
        f"topic {task.topic!r}: {records(left)} {by}{loss}; what the outbox "
        f"{producer.config.outbox} has is sent when it is used again"
    )


@click.command(cls=Command, kinds=[ProducerConfig])
@common
@towers
@click.argument("topic")
@click.argument("file", required=False)
@acks_option
@click.option(
    "--outbox",
    cls=Setting,
    setting="outbox",
    metavar="DIR",
    help="Keep records in DIR until they are acknowledged, and continue its partition.",
)
@click.option(
    "--resume", is_flag=True, help="Skip as many lines as the outbox's partition has records."
)
@click.option("--progress", is_flag=True, help="Draw a progress bar, if stderr is a terminal.")
@click.option(
    "--timeout",
    type=Seconds(),
    metavar="S",
    help="Give up after S seconds in which no store acknowledged anything; default: never.",
)
@json_option
def produce(
    config: str | None,
    verbose: bool,
    tower: tuple[str, ...],
    sub: str | None,
    pub: str | None,
    topic: str,
    file: str | None,
    acks: int | None,
    outbox: str | None,
    resume: bool,
    progress: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Publish a record for each line of FILE, or of standard input if FILE is missing or "-".

    A record is the line's bytes without the line end (a newline, and carriage returns before it).
    Empty lines are records. A line that is typed is published at once.

    At the end of the input the command waits until stores have acknowledged every record, and
    reports to stderr. Exit code 0: all are acknowledged; 1: some are not, by Ctrl-C, SIGTERM,
    SIGHUP or --timeout, and stderr says how many; 2: a line is too long, and only those before it
    count.

    With --outbox, records are on disk before they are sent. Whatever ends the command, even kill
    -9 or power loss, the next one with the same DIR continues the same partition and sends what is
    not acknowledged; an outbox serves one topic, and one producer at a time. Lines are published
    again if they are given again: to go on with an input that was cut short, give it again from
    its beginning with --resume. Exit code 1 also tells that records wait in the outbox.

    \b
    Example:
      echo 'A first event' | dafka produce hello
      dafka produce flights flights.csv --progress
      dafka produce flights flights.csv --outbox flights.outbox --resume
    """
    if outbox == "":
        raise ConfigError("--outbox is empty: give the directory's name")
    flags = {"tower": tower, "sub": sub, "pub": pub, "min_store_acks": acks, "outbox": outbox}
    publish_lines(
        topic,
        file,
        configure(ProducerConfig, config, verbose, flags),
        timeout=timeout,
        progress=progress,
        report="json" if as_json else "text",
        resume=resume,
    )
