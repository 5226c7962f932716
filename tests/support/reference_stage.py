"""What the tests with emulated reference nodes stand on: start, wait, collect, stop, verify.

The fixture `stage` is in `reference_fixture`, which a test module names in its `pytest_plugins`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import gevent

import dafka
from tests.support.reference_consumer import ReferenceConsumer
from tests.support.reference_producer import ReferenceProducer
from tests.support.reference_store import ReferenceStore
from tests.support.reference_tower import ReferenceTower

LOOPBACK = "tcp://127.0.0.1:*"
TOPIC = "metrics"

Value = TypeVar("Value")
Node = TypeVar("Node")


def until(condition: Callable[[], Value], timeout: float = 10.0) -> Value:
    """Wait for `condition` to become true, and return its value."""
    deadline = monotonic() + timeout
    while not (value := condition()):
        assert monotonic() < deadline, f"did not come true within {timeout} s"
        gevent.sleep(0.005)
    return value


def stays(condition: Callable[[], bool], seconds: float) -> None:
    """Verify that `condition` is true all the time."""
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        assert condition()
        gevent.sleep(0.01)


def take(consumer: dafka.Consumer, number: int, timeout: float = 10.0) -> list[dafka.Record]:
    """The next `number` records, or fewer if they do not come within `timeout` (s)."""
    records: list[dafka.Record] = []
    deadline = monotonic() + timeout
    while len(records) < number:
        record = consumer.poll(timeout=max(0.0, deadline - monotonic()))
        if record is None:
            break
        records.append(record)
    return records


def drain(consumer: dafka.Consumer, quiet: float) -> list[dafka.Record]:
    """All records that come until none has come for `quiet` seconds."""
    records = []
    while (record := consumer.poll(timeout=quiet)) is not None:
        records.append(record)
    return records


def values(number: int, first: int = 0) -> list[bytes]:
    """Contents that tell which record they belong to."""
    return [b"value %d" % i for i in range(first, first + number)]


def stored(store: dafka.Store, topic: str, partition: str) -> list[bytes]:
    """What one of our stores has on disk of a partition."""
    contents: list[bytes] = []
    while True:
        run = store._log.read(
            topic, partition, first=len(contents), max_records=100_000, max_bytes=1 << 30
        )
        if run is None or not run.contents:
            return contents
        contents += run.contents


SUBSCRIPTIONS: WeakKeyDictionary[dafka.Producer, list[bytes]] = WeakKeyDictionary()
"""What peers have subscribed to at our own producers."""


class Stage:
    """Starts nodes of both kinds at one tower; stops them in reverse order."""

    def __init__(self, path: Path) -> None:
        self.tower: Any = None
        self.pace = 0.3
        """How long emulated nodes wait for their HEADs and subscriptions; the reference: 1 s."""
        self._path = path
        self._numbers = itertools.count()
        self._nodes: list[Any] = []

    def start(self, node: Node) -> Node:
        node.start()  # type: ignore[attr-defined]
        self._nodes.append(node)
        return node

    def stop(self) -> None:
        """End every node; emulated ones must have found nothing to complain of."""
        faults: list[str] = []
        for node in reversed(self._nodes):
            node.stop(0) if isinstance(node, dafka.Producer) else node.stop()
            faults += getattr(node, "faults", [])
        assert faults == []

    # Towers

    def our_tower(self) -> dafka.Tower:
        tower = self.start(dafka.Tower(sub=LOOPBACK, pub=LOOPBACK))
        self.tower = tower.address
        return tower

    def reference_tower(self, host: str = "127.0.0.1") -> ReferenceTower:
        self.tower = self.start(ReferenceTower(host))
        return self.tower

    def any_tower(self, kind: str) -> None:
        self.our_tower() if kind == "ours" else self.reference_tower()

    # Our nodes

    def producer(self, topic: str = TOPIC, **settings: Any) -> dafka.Producer:
        producer = dafka.Producer(topic, **self._settings(settings))
        machine, seen = producer._machine, SUBSCRIPTIONS.setdefault(producer, [])
        react = machine.subscribed
        machine.subscribed = lambda prefix, now: seen.append(prefix) or react(prefix, now)
        return self.start(producer)

    def consumer(self, *topics: str, **settings: Any) -> dafka.Consumer:
        return self.start(dafka.Consumer(*(topics or (TOPIC,)), **self._settings(settings)))

    def store(self, **settings: Any) -> dafka.Store:
        settings.setdefault("data", str(self._path / f"store-{next(self._numbers)}"))
        return self.start(dafka.Store(**self._settings(settings)))

    def _settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {"tower": str(self.tower), "bind": LOOPBACK, **settings}

    # Emulated nodes

    def reference_producer(self, topic: str = TOPIC) -> ReferenceProducer:
        return self.start(ReferenceProducer(self.tower, topic, self.pace))

    def reference_consumer(self, *topics: str, earliest: bool = False) -> ReferenceConsumer:
        return self.start(
            ReferenceConsumer(
                self.tower,
                *(topics or (TOPIC,)),
                earliest=earliest,
                subscribe_after_s=self.pace,
            )
        )

    def reference_store(self, **settings: Any) -> ReferenceStore:
        return self.start(ReferenceStore(self.tower, **settings))


def listeners(node: Any, kinds: str = "MR", topic: str = TOPIC) -> int:
    """How many subscriptions at a node's own socket let its messages of these kinds through.

    Usually records: C nodes subscribe to RECORD, our own nodes to RECORDS of our producers.
    """
    wanted = [f"{kind}{topic}\0".encode() for kind in kinds]
    seen = node.subscriptions if hasattr(node, "subscriptions") else SUBSCRIPTIONS[node]
    return sum(one.startswith(prefix) for prefix in seen for one in wanted)


def acquainted(store: ReferenceStore, producer: Any) -> bool:
    """Whether a store hears a producer and is heard by it: the reference repeats no ACK."""
    return listeners(producer) > 0 and f"K{producer.address}".encode() in store.writer.subscriptions
