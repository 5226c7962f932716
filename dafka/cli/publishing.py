"""Publishes lines, patiently: tells what is waited for, and how far it has come."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

import dafka
from dafka.cli.options import Fault
from dafka.errors import ConfigError, PublishTimeout
from dafka.io.refusals import records

if TYPE_CHECKING:
    from tqdm import tqdm

NOTICE_AFTER_S = 2.0
"""Patience before the user is told what is waited for."""

PROGRESS_S = 0.2
"""Time between two looks at how far it has come."""


class Publishing:
    """Publishes lines and waits until stores have acknowledged them all."""

    def __init__(self, producer: dafka.Producer, topic: str, timeout: float | None) -> None:
        self.producer = producer
        self.topic = topic
        self.timeout = timeout
        self.finished = False
        self.refused: ConfigError | None = None
        self.first = 0
        """The offset that the first line gets."""
        self._acknowledged = 0
        self._noticed = False
        self._lonely_until = time.monotonic()
        self._bar: tqdm[Any] | None = None

    def begin(self) -> None:
        """The producer has been started: with an outbox, its partition may have records."""
        self.first = self.producer.next_offset
        self._acknowledged = self.producer.acknowledged

    @property
    def published(self) -> int:
        """Records published by this run of the command."""
        return self.producer.next_offset - self.first

    def show_progress(self) -> None:
        """Draw a bar of the acknowledged records on stderr if that is a terminal."""
        from tqdm import tqdm  # not everybody's start should wait for it

        tqdm.monitor_interval = 0  # no thread beside gevent
        self._bar = tqdm(unit=" records", disable=None, mininterval=PROGRESS_S)

    def run(self, lines: Iterator[list[bytes]]) -> None:
        """Publish everything, or all before a line that is `refused`; wait till it is stored."""
        try:
            for some in lines:
                self._publish(some)
                self._update_bar()
        except ConfigError as error:
            self.refused = error
        self.finished = True
        self._wait()

    def close(self) -> None:
        """Leave the bar as it is now."""
        if self._bar is not None:
            self._update_bar()
            self._bar.close()

    def _publish(self, contents: list[bytes]) -> None:
        for content in contents:
            try:
                self.producer.publish(content, timeout=0.0)
            except PublishTimeout:
                self._publish_patiently(content)

    def _publish_patiently(self, content: bytes) -> None:
        deadline = _Deadline(self.timeout, self.producer)
        while True:
            try:
                self.producer.publish(content, timeout=deadline.slice(self._slice()))
            except PublishTimeout as error:
                self._go_on(deadline, error)
            else:
                return

    def _wait(self) -> None:
        deadline = _Deadline(self.timeout, self.producer)
        while True:
            try:
                self.producer.flush(deadline.slice(self._slice()))
            except PublishTimeout as error:
                self._go_on(deadline, error)
            else:
                return

    def _slice(self) -> float | None:
        if self.timeout is not None or (self._bar is not None and not self._bar.disable):
            return PROGRESS_S
        return None if self._noticed else NOTICE_AFTER_S

    def _go_on(self, deadline: _Deadline, error: PublishTimeout) -> None:
        """After a while without success: give up, or tell what is waited for and go on.

        While no tower has answered there is no store to wait for, and the node has said so.
        """
        if deadline.passed():
            raise error
        self._update_bar()
        if not self.producer.introduced:
            self._lonely_until = time.monotonic()
        patient = min(deadline.elapsed(), time.monotonic() - self._lonely_until)
        if not self._noticed and patient >= NOTICE_AFTER_S:
            self._noticed = True
            message = f"{click.get_current_context().command_path}: {self._awaited(error)}"
            if self._bar is None:
                click.echo(message, err=True)
            else:
                self._bar.write(message, file=sys.stderr)

    def _awaited(self, error: PublishTimeout) -> str:
        if self.producer.trouble:
            return f"waiting for a disk: {self.producer.trouble} (Ctrl-C gives up)"
        wanted = self.producer.config.min_store_acks
        return (
            f"waiting for {stores(wanted)} to acknowledge {records(error.unacknowledged)} of topic "
            f"{self.topic!r}: {self.producer.obstacle} (Ctrl-C gives up)"
        )

    def _update_bar(self) -> None:
        if self._bar is not None:
            if self.finished:
                self._bar.total = self.producer.next_offset - self._acknowledged
            done = self.producer.acknowledged - self._acknowledged
            self._bar.update(done - int(self._bar.n))


class _Deadline:
    """So many seconds in which no store has acknowledged anything."""

    def __init__(self, timeout: float | None, producer: dafka.Producer) -> None:
        self._timeout = timeout
        self._producer = producer
        self._acknowledged = producer.acknowledged
        self._began = time.monotonic()

    def elapsed(self) -> float:
        if self._acknowledged != self._producer.acknowledged:
            self._acknowledged = self._producer.acknowledged
            self._began = time.monotonic()
        return time.monotonic() - self._began

    def passed(self) -> bool:
        return self._timeout is not None and self.elapsed() >= self._timeout

    def slice(self, longest: float | None) -> float | None:
        if self._timeout is None:
            return longest
        left = max(0.0, self._timeout - self.elapsed())
        return left if longest is None else min(left, longest)


def stores(count: int) -> str:
    """A number of stores in words."""
    return "a store" if count == 1 else f"{count} stores"


def skip(lines: Iterator[list[bytes]], count: int) -> Iterator[list[bytes]]:
    """All but the first `count` lines, which were published before; `Fault` if there are fewer."""
    left = count
    for some in lines:
        if left < len(some):
            yield some[left:]
        left = max(0, left - len(some))
    if left:
        raise Fault(
            f"the input has only {count - left} lines, but {records(count)} of it were published "
            "before: it is not the input that this outbox was made from"
        )
