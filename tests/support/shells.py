"""What the contract tests ask of every kind of producer and consumer, and each kind's adapter.

A shell with other names than `dafka.Producer` and `dafka.Consumer` is wrapped: the tests call the
names of those two, and block. Towers and stores run in another thread: nothing blocks them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import gevent

import dafka
from dafka import threads
from tests.support.async_facade import AsyncioShell
from tests.support.backstage import Backstage
from tests.support.live_nodes import Nodes
from tests.support.threaded import Threaded


class Task(Protocol):
    """A call that goes on beside the test."""

    def ready(self) -> bool:
        """Whether it has ended."""

    def get(self, timeout: float | None = None) -> Any:
        """Wait for its end, and return or raise what it returned or raised."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""


class Shell(Protocol):
    """One kind of producer and consumer."""

    producer: Callable[..., Any]
    """Makes a producer, of `dafka.Producer`'s arguments; it is not started."""
    consumer: Callable[..., Any]
    """Makes a consumer, of `dafka.Consumer`'s arguments; it is not started."""

    def spawn(self, function: Callable[..., Any], *arguments: Any) -> Task:
        """Call a function that uses nodes beside the test, as this shell's users would."""

    def sleep(self, seconds: float) -> None:
        """Let the nodes work."""

    def end(self) -> None:
        """Nothing of it is used any more."""


class GeventShell:
    """`dafka.Producer` and `dafka.Consumer` as they are."""

    producer = dafka.Producer
    consumer = dafka.Consumer
    spawn = staticmethod(gevent.spawn)
    sleep = staticmethod(gevent.sleep)

    def end(self) -> None:
        """There is nothing to end."""


class ThreadShell:
    """`dafka.threads`, used by ordinary threads."""

    producer = threads.Producer
    consumer = threads.Consumer
    sleep = staticmethod(time.sleep)

    def spawn(self, function: Callable[..., Any], *arguments: Any) -> Task:
        """Call a function in a thread."""
        return Threaded(function, *arguments)

    def end(self) -> None:
        """There is nothing to end."""


SHELLS: dict[str, Callable[[], Shell]] = {
    "gevent": GeventShell,
    "threads": ThreadShell,
    "asyncio": AsyncioShell,
}
"""Every shell keeps the same contract."""


class ShellNodes(Nodes):
    """Nodes as other tests have them, with producers and consumers of one shell."""

    def __init__(self, directory: Path, shell: Shell) -> None:
        super().__init__(directory)
        self.shell = shell
        self.spawn, self.sleep = shell.spawn, shell.sleep
        self._backstage = Backstage()
        self._there = Nodes(directory)

    def towered(self, **settings: Any) -> Any:
        """A tower, in the other thread."""
        tower = self._backstage.call(lambda: self._there.towered(**settings))
        self.tower = self._there.tower
        return self._backstage.hold(tower)

    def store(self, data: Path | None = None, **settings: Any) -> Any:
        """A store, in the other thread."""
        settings = self._with(settings)
        store = self._backstage.call(lambda: self._there.store(data, **settings))
        return self._backstage.hold(store)

    def make_producer(self, topic: str = "t", **settings: Any) -> Any:
        """A producer that is not started."""
        return self.shell.producer(topic, **self._with(settings))

    def make_consumer(self, *topics: str, **settings: Any) -> Any:
        """A consumer that is not started."""
        return self.shell.consumer(*(topics or ("t",)), **self._with(settings))

    def producer(self, topic: str = "t", **settings: Any) -> Any:
        """A producer, as `Nodes` makes it."""
        return self.add(self.make_producer(topic, **settings))

    def consumer(self, *topics: str, **settings: Any) -> Any:
        """A consumer, as `Nodes` makes it."""
        settings = {"start": "earliest", "fetch_timeout_s": 0.1, **settings}
        return self.add(self.make_consumer(*topics, **settings))

    def end(self) -> None:
        """Stop everything, what belongs to the shell first."""
        super().end()
        self._backstage.call(self._there.end)
        self._backstage.end()
        self.shell.end()
