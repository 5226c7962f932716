"""Real nodes of this process on loopback: made in a line, ended with the test."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import dafka
from dafka.config import TowerAddress
from tests.support.async_facade import Facade

LOOPBACK = "tcp://127.0.0.1:*"


class Nodes:
    """Starts nodes and stops what is left of them, in reverse order, when the test ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made = 0
        self._stack = ExitStack()
        self.tower: TowerAddress | list[TowerAddress]
        """The tower of nodes that are not given another one: the first that was started."""

    def add(self, node: Any) -> Any:
        """Start a node and see to its end."""
        node.start()
        self._stack.callback(_end, node)
        return node

    def towered(self, **settings: Any) -> dafka.Tower:
        """A tower; later nodes that name none use it."""
        tower = self.add(dafka.Tower(**{"sub": LOOPBACK, "pub": LOOPBACK, **settings}))
        self.tower = tower.address
        return tower

    def store(self, data: Path | None = None, **settings: Any) -> dafka.Store:
        """A store in a directory of its own, or in `data`."""
        self._made += 1
        data = data or self._directory / f"store{self._made}"
        return self.add(dafka.Store(data=str(data), **self._with(settings)))

    def producer(self, topic: str = "t", **settings: Any) -> dafka.Producer:
        """A producer, of topic "t" unless told."""
        return self.add(dafka.Producer(topic, **self._with(settings)))

    def consumer(self, *topics: str, **settings: Any) -> dafka.Consumer:
        """A consumer, of topic "t" and from the earliest record unless told; brisk in asking."""
        settings = {"start": "earliest", "fetch_timeout_s": 0.1, **settings}
        return self.add(dafka.Consumer(*(topics or ("t",)), **self._with(settings)))

    def cluster(self) -> Nodes:
        """A tower and a store."""
        self.towered()
        self.store()
        return self

    def end(self) -> None:
        """Stop everything that runs."""
        self._stack.close()

    def _with(self, settings: dict[str, Any]) -> dict[str, Any]:
        if "tower" not in settings:
            settings["tower"] = self.tower
        return {"bind": LOOPBACK, **settings}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def tower_on(ports: list[int]) -> TowerAddress:
    """The address of a tower that listens, or will listen, on these two ports."""
    sub, pub = ports
    return TowerAddress(f"tcp://127.0.0.1:{sub}", f"tcp://127.0.0.1:{pub}")


def fill(producer: dafka.Producer, count: int, first: int = 0) -> list[bytes]:
    """Publish `count` records that name their offsets; return the contents."""
    contents = [b"%d" % offset for offset in range(first, first + count)]
    publish_each(producer, contents)
    return contents


def publish_each(producer: Any, contents: list[bytes]) -> None:
    """Publish contents one by one; in one go where each call would cross over to another thread."""
    if isinstance(producer, Facade):
        producer.publish_each(contents)
        return
    for content in contents:
        producer.publish(content)


def _end(node: Any) -> None:
    with suppress(Exception):  # a test that made a node fail has looked at how
        node.stop(0.2)
