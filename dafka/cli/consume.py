"""`dafka consume`: the records of a topic on standard output."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import click

import dafka
from dafka.cli import nodes
from dafka.cli.options import (
    Command,
    Fault,
    Seconds,
    Setting,
    Whole,
    common,
    json_option,
    offsets_option,
    reach,
    time_option,
    towers,
)
from dafka.cli.stdio import Output
from dafka.cli.texts import member
from dafka.config import ConsumerConfig
from dafka.core.run import Run
from dafka.io.refusals import records

BATCH_BYTES = 1 << 20
"""Output is written at the latest after so much, and whenever no more records are ready."""


def as_text(run: Run) -> bytes:
    """The lines of the C console consumer: topic, producer's address, content as it is."""
    prefix = f"{run.topic} {run.partition} ".encode(errors="surrogateescape")
    return b"".join([prefix + content + b"\n" for content in run.contents])


def as_raw(run: Run) -> bytes:
    """Each content and a newline."""
    return b"\n".join([*run.contents, b""])


def as_json_lines(run: Run) -> bytes:
    """An object per line; what is no UTF-8 text, such as a content, as content_base64."""
    key = member("topic", run.topic) | member("partition", run.partition)
    lines = [
        json.dumps({**key, "offset": offset, **member("content", content)})
        for offset, content in enumerate(run.contents, run.first)
    ]
    return ("\n".join(lines) + "\n").encode()


FORMATS: dict[str, Callable[[Run], bytes]] = {
    "text": as_text,
    "json": as_json_lines,
    "raw": as_raw,
}


class Printing:
    """Prints runs until enough records came, or none came for too long.

    A record was handled, as positions count it, once it has been written to the output.
    """

    def __init__(
        self,
        consumer: dafka.Consumer,
        form: Callable[[Run], bytes],
        *,
        count: int | None = None,
        timeout: float | None = None,
        commits: bool = False,
    ) -> None:
        self._consumer = consumer
        self._commits = commits
        self._form = form
        self._left = count
        self._timeout = timeout
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._runs: list[Run] = []

    def run(self, interrupts: nodes.Interrupts) -> None:
        """Print; `Fault` if silence ended it before there were enough records."""
        output = Output(closed=interrupts.interrupt)
        while self._left is None or self._left > 0:
            run = self._next_run(0.0 if self._buffer else self._timeout)
            if run is not None:
                self._add(run)
            elif not self._buffer:
                break
            if self._buffer and (run is None or self._buffered >= BATCH_BYTES or self._left == 0):
                output.write(b"".join(self._buffer))
                self._buffer, self._buffered = [], 0
                self._commit()
        if self._left != 0:
            self._check_silence(self._left, self._consumer.behind())

    def _check_silence(self, left: int | None, behind: int) -> None:
        """Silence is as good an end as any, unless something is lacking, or nobody was asked."""
        if not self._consumer.introduced:
            raise Fault(f"{nodes.no_tower(self._consumer.config)} within {self._timeout:g} s")
        lacking = left or behind
        if lacking:
            verb = "is" if lacking == 1 else "are"
            known = "" if left else f" that {verb} known to exist"
            raise Fault(
                f"{records(lacking)}{known} {verb} missing after {self._timeout:g} s of silence"
            )

    def _next_run(self, timeout: float | None) -> Run | None:
        return next(self._consumer.runs(timeout=timeout), None)

    def _commit(self) -> None:
        runs, self._runs = self._runs, []
        for run in runs:
            self._consumer.commit(run, wait=False)

    def _add(self, run: Run) -> None:
        if self._left is not None:
            run = run.until(run.first + self._left)
            self._left -= len(run)
        if run.contents:
            text = self._form(run)
            self._buffer.append(text)
            self._buffered += len(text)
            if self._commits:
                self._runs.append(run)


def _start(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | int | None:
    if value is None or value in ("earliest", "latest"):
        return value
    if value.isascii() and value.isdecimal() and len(value) <= 20 and int(value) < 2**64:
        return int(value)
    raise click.BadParameter(f"{value!r} is neither earliest, latest nor an offset.")


def print_records(
    topics: Sequence[str],
    config: ConsumerConfig,
    form: str,
    *,
    patterns: Sequence[str] = (),
    count: int | None = None,
    timeout: float | None = None,
) -> None:
    """Print the records of topics until a signal, `count` or `timeout` ends it."""
    commits = bool(config.name) and config.auto_commit
    consumer = dafka.Consumer(topics, pattern=patterns, config=replace(config, auto_commit=False))
    printing = Printing(consumer, FORMATS[form], count=count, timeout=timeout, commits=commits)
    nodes.run(consumer, printing.run)


@click.command(cls=Command, kinds=[ConsumerConfig])
@common
@towers
@click.argument("topics", nargs=-1, metavar="TOPIC...")
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Topics that match as well, also those that come later: such as 'sensor.*'; may be "
    "repeated.",
)
@click.option(
    "--from",
    "start",
    cls=Setting,
    setting="start",
    callback=_start,
    metavar="[earliest|latest|OFFSET]",
    help="Where to begin: an offset counts for every partition; default: latest.",
)
@time_option("--from-time", "Begin with the first record that reached a store at TIME or later.")
@click.option(
    "--name",
    cls=Setting,
    setting="name",
    metavar="NAME",
    help="Go on where the consumer of this name was, and save how far this one comes.",
)
@offsets_option
@click.option("--count", type=Whole(min=1), metavar="N", help="End after N records.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="text",
    show_default=True,
    help="text: topic, partition, content; raw: the content; json: see above.",
)
@json_option
@click.option(
    "--timeout",
    type=Seconds(),
    metavar="S",
    help="End after S seconds without a record; exit code 1 if --count was not reached, if "
    "records that are known to exist have not come, or if no tower answered.",
)
def consume(
    topics: tuple[str, ...],
    patterns: tuple[str, ...],
    start: str | int | None,
    from_time: datetime | None,
    name: str | None,
    offsets: str | None,
    count: int | None,
    form: str,
    as_json: bool,
    timeout: float | None,
    **given: Any,
) -> None:
    """Print the records of TOPIC, or of several, each as a line.

    --format json prints an object per line with topic, partition, offset and content; where a
    content is not valid UTF-8, content_base64 takes the place of content (and partition_base64
    that of the partition of a foreign producer). --json is short for it.
    The other formats print contents as they are, byte by byte.

    With --name, a record counts as handled once it has been printed. After kill -9 some are
    printed again, and none is left out. `dafka offsets` shows and sets positions.

    Runs until Ctrl-C, SIGTERM or SIGHUP, or until its output is closed (exit code 0).

    \b
    Example:
      dafka consume hello --from earliest
      dafka consume hello --from 100 --count 10 --json | jq .content
      dafka consume --pattern 'sensor.*' --name billing
    """
    if not topics and not patterns:
        raise click.MissingParameter(param_hint="'TOPIC'", param_type="argument")
    if start is not None and from_time is not None:
        raise click.UsageError("Give either --from or --from-time.")
    begin = start if from_time is None else from_time
    settings = reach(ConsumerConfig, given, start=begin, name=name, offsets=offsets)
    if offsets and not settings.name:
        raise click.UsageError("--offsets needs --name: positions are kept by name.")
    print_records(
        topics,
        settings,
        "json" if as_json else form,
        patterns=patterns,
        count=count,
        timeout=timeout,
    )
