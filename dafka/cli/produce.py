"""`dafka produce`: a record for each line of a file or of stdin."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

import dafka
from dafka.cli import logs, nodes
from dafka.cli.options import Command, Fault, Seconds, common, configure, json_option, towers
from dafka.cli.stdio import STDIN, open_input, read_lines
from dafka.config import ProducerConfig
from dafka.errors import PublishTimeout

if TYPE_CHECKING:
    from tqdm import tqdm

NOTICE_AFTER_S = 2.0
"""Patience before the user is told what is waited for."""

PROGRESS_S = 0.2


class Publishing:
    """Publishes lines and waits until stores have acknowledged them all."""

    def __init__(self, producer: dafka.Producer, topic: str, timeout: float | None) -> None:
        self.producer = producer
        self.topic = topic
        self.timeout = timeout
        self.finished = False
        self._noticed = False
        self._bar: tqdm[Any] | None = None

    def show_progress(self) -> None:
        """Draw a bar of the acknowledged records on stderr if that is a terminal."""
        from tqdm import tqdm  # not everybody's start should wait for it

        tqdm.monitor_interval = 0  # no thread beside gevent
        self._bar = tqdm(unit=" records", disable=None, mininterval=PROGRESS_S)

    def run(self, lines: Iterator[list[bytes]]) -> None:
        """Publish everything and wait for the last acknowledgement."""
        for some in lines:
            for content in some:
                try:
                    self.producer.publish(content, timeout=0.0)
                except PublishTimeout:
                    self._publish_patiently(content)
            self._update_bar()
        self.finished = True
        self._wait()

    def close(self) -> None:
        """Leave the bar as it is now."""
        if self._bar is not None:
            self._update_bar()
            self._bar.close()

    def _publish_patiently(self, content: bytes) -> None:
        deadline = _Deadline(self.timeout)
        while True:
            try:
                self.producer.publish(content, timeout=deadline.slice(self._slice()))
            except PublishTimeout as error:
                self._go_on(deadline, error)
            else:
                return

    def _wait(self) -> None:
        deadline = _Deadline(self.timeout)
        while True:
            try:
                self.producer.flush(deadline.slice(self._slice()))
            except PublishTimeout as error:
                self._go_on(deadline, error)
            else:
                return

    def _slice(self) -> float | None:
        if self._bar is not None and not self._bar.disable:
            return PROGRESS_S
        return None if self._noticed else NOTICE_AFTER_S

    def _go_on(self, deadline: _Deadline, error: PublishTimeout) -> None:
        """After a while without success: give up, or tell what is waited for and go on."""
        if deadline.passed():
            raise error
        self._update_bar()
        if not self._noticed and deadline.elapsed() >= NOTICE_AFTER_S:
            self._noticed = True
            message = (
                f"{click.get_current_context().command_path}: waiting for a store to acknowledge "
                f"{records(error.unacknowledged)} of topic {self.topic!r}; one must be running, "
                "for example by 'dafka server' (Ctrl-C gives up)"
            )
            if self._bar is None:
                click.echo(message, err=True)
            else:
                self._bar.write(message, file=sys.stderr)

    def _update_bar(self) -> None:
        if self._bar is not None:
            if self.finished:
                self._bar.total = self.producer.next_offset
            self._bar.update(self.producer.acknowledged - int(self._bar.n))


class _Deadline:
    def __init__(self, timeout: float | None) -> None:
        self._began = time.monotonic()
        self._timeout = timeout

    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def passed(self) -> bool:
        return self._timeout is not None and self.elapsed() >= self._timeout

    def slice(self, longest: float | None) -> float | None:
        if self._timeout is None:
            return longest
        left = max(0.0, self._timeout - self.elapsed())
        return left if longest is None else min(left, longest)


def records(count: int) -> str:
    """A number of records in words."""
    return "1 record" if count == 1 else f"{count} records"


def publish_lines(
    topic: str,
    file: str | None,
    config: ProducerConfig,
    *,
    timeout: float | None = None,
    progress: bool = False,
    report: str | None = None,
) -> None:
    """Publish a file's lines; `report` is "text", "json" or None. `Fault` if some were not kept."""
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
            if progress:
                task.show_progress()
            task.run(read_lines(descriptor))
        except nodes.Stopped:
            pass
        except PublishTimeout:
            patience = 0.0
        finally:
            interrupts.disarm()
            task.close()
            with logs.without_warnings("dafka.producer"):
                left = producer.stop(timeout=patience)
    _report(report, task, time.monotonic() - began, left)
    if descriptor != STDIN:
        os.close(descriptor)
        if not task.finished and not left:
            number = records(producer.next_offset)
            raise Fault(f"interrupted after {number}, before the end of {file}")


def _report(report: str | None, task: Publishing, seconds: float, left: int) -> None:
    """Tell the result; `Fault` if records are not acknowledged."""
    published = task.producer.next_offset
    rate = published / seconds if seconds > 0 else 0.0
    if report == "json":
        numbers = {
            "topic": task.topic,
            "partition": task.producer.partition,
            "records": published,
            "acknowledged": published - left,
            "seconds": round(seconds, 6),
            "records_per_s": round(rate, 1),
        }
        click.echo(json.dumps(numbers))
    elif report == "text" and not left:
        text = f"{records(published)} acknowledged in {seconds:.3f} s ({rate:,.0f} records/s)"
        click.echo(text, err=True)
    if left:
        number = records(published)
        raise Fault(f"topic {task.topic!r}: {left} of {number} not acknowledged by a store")


@click.command(cls=Command)
@common
@towers
@click.argument("topic")
@click.argument("file", required=False)
@click.option(
    "--acks",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stores that must acknowledge each record.",
)
@click.option("--progress", is_flag=True, help="Draw a progress bar, if stderr is a terminal.")
@click.option(
    "--timeout",
    type=Seconds(),
    metavar="S",
    help="Give up after S seconds without acknowledgement; default: never.",
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
    progress: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Publish a record for each line of FILE, or of standard input if FILE is missing or "-".

    A record is the line's bytes without the line end (a newline, and carriage returns before it).
    Empty lines are records. A line that is typed is published at once.

    At the end of the input the command waits until stores have acknowledged every record, and
    reports to stderr. Exit code 0: all are acknowledged; 1: some are not, by Ctrl-C, SIGTERM or
    --timeout, and stderr says how many.

    \b
    Example:
      echo 'A first event' | dafka produce hello
      dafka produce flights flights.csv --progress
    """
    flags = {"tower": tower, "sub": sub, "pub": pub, "min_store_acks": acks}
    publish_lines(
        topic,
        file,
        configure(ProducerConfig, config, verbose, flags),
        timeout=timeout,
        progress=progress,
        report="json" if as_json else "text",
    )
