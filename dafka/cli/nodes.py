"""Runs a node in the foreground until its work is done, it fails, or a signal ends it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

import click
import gevent

from dafka.cli.options import Fault
from dafka.cli.signals import ending
from dafka.cli.stdio import OutputClosed, Unprintable
from dafka.config import NodeConfig, TowerAddress, parse_tower
from dafka.errors import ConfigError

STOP_TIMEOUT_S = 1.5
"""A node asked to end is gone within two seconds."""

IMPATIENT_AFTER_S = 0.5
"""A further signal this long after the first one ends the process at once."""


class Node(Protocol):
    """What all nodes have in common."""

    def start(self) -> Any:
        """Open sockets and files and begin."""

    def stop(self, timeout: float | None = None) -> Any:
        """End, waiting at most so many seconds for what is under way."""


class Stopped(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP."""


class Interrupts:
    """While entered, signals that end a node raise `Stopped` in the greenlet that entered, once."""

    def __enter__(self) -> Interrupts:
        self._greenlet = gevent.getcurrent()
        self._armed = True
        self._first: float | None = None
        numbers = ending()
        self._previous = {number: signal.getsignal(number) for number in numbers}
        self._watchers = [gevent.signal_handler(number, self._signalled) for number in numbers]
        return self

    def disarm(self) -> None:
        """From now on the process is ending by itself; nothing is raised any more."""
        self._armed = False

    def interrupt(self, error: BaseException) -> None:
        """Raise `error` in the greenlet that entered, as soon as it waits for something."""
        gevent.get_hub().loop.run_callback(self._throw, error)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disarm()
        for watcher in self._watchers:
            watcher.cancel()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _throw(self, error: BaseException) -> None:
        if self._armed:
            self._armed = False
            self._greenlet.throw(error)

    def _signalled(self) -> None:
        now = time.monotonic()
        if self._first is not None and now - self._first > IMPATIENT_AFTER_S:
            os._exit(1)
        if self._first is None:
            self._first = now
        self.interrupt(Stopped())


def start(node: Node) -> None:
    """Start a node. What its configuration asks for may turn out to be taken: exit code 1."""
    try:
        node.start()
    except ConfigError as error:
        raise Fault(str(error)) from error


def run(node: Node, body: Callable[[Interrupts], object]) -> None:
    """Run `body` with the node started. Signals and a closed output end it as success."""
    with Interrupts() as interrupts:
        try:
            start(node)
        except Stopped:
            return
        try:
            body(interrupts)
        except (Stopped, OutputClosed):
            pass
        finally:
            interrupts.disarm()
            node.stop(timeout=STOP_TIMEOUT_S)


def announce(text: str) -> None:
    """Print that a node is ready: a courtesy, without which it goes on all the same.

    Somebody who closed standard output has asked for that; anything else is a warning.
    """
    try:
        click.echo(text)
    except Unprintable as error:
        if not error.closed:
            path = click.get_current_context().command_path
            click.echo(f"{path}: {error}; it runs all the same", err=True)


def no_tower(config: NodeConfig) -> str:
    """What went wrong if no tower has introduced a node."""
    return f"no tower answered at {' or '.join(map(notation, config.towers))}"


def notation(address: TowerAddress) -> str:
    """The shortest text that names a tower in `--tower`."""
    try:
        short = parse_tower(address.sub)
    except ConfigError:
        return str(address)
    return address.sub if short == address else str(address)
