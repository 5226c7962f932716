"""A store that behaves like the reference implementation's, as virtual nodes of a world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dafka.core.actions import Action, Send, SendDirect, Subscribe
from dafka.core.role import Role, named_in
from dafka.core.run import Arrival, Origin, Run
from protocol import (
    Ack,
    ConsumerHello,
    DirectHead,
    DirectRecord,
    Fetch,
    GetHeads,
    Head,
    Message,
    Record,
    StoreHello,
    subscription,
)
from simulation.nodes import Key, Node

if TYPE_CHECKING:
    from simulation.world import World

_BLOCK = 100_000


class _CWriter(Role):
    """Stores only the next record; asks at most once a second, and only when something comes;
    acknowledges without a name, and never twice (shared/wire, "Store writer").
    """

    def __init__(self, store: CStoreNode, address: str) -> None:
        self.address = address
        self._store = store
        self._asked: set[tuple[Key, int, int]] = set()

    def start(self) -> list[Action]:
        """Let everything in."""
        own = subscription(DirectRecord, self.address)
        return [Subscribe(own), Subscribe(subscription(Record)), Subscribe(subscription(Head))]

    def receive(
        self, message: Message | Arrival, now: float, origin: Origin = Origin.LIVE
    ) -> list[Action]:
        """Take records and heads."""
        if isinstance(message, Arrival):
            return self._on_run(message.run, now)
        if isinstance(message, Head):
            key = (message.subject, message.address)
            return self._fetch(key, now) if message.sequence >= self._end(key) else []
        return []

    def next_deadline(self) -> float | None:
        """It has no clock of its own."""
        return None

    def _on_run(self, run: Run, now: float) -> list[Action]:
        key = (run.topic, run.partition)
        if run.first > self._end(key):
            return self._fetch(key, now)
        if run.next <= self._end(key):
            return []
        self._store.write(run.since(self._end(key)))
        return [Send(Ack(run.partition, run.topic, run.next - 1))]

    def _fetch(self, key: Key, now: float) -> list[Action]:
        first = self._end(key)
        slot = (key, first // _BLOCK, int(now))
        if slot in self._asked:
            return []
        self._asked.add(slot)
        return [Send(Fetch(key[1], self.address, key[0], first, _BLOCK - first % _BLOCK))]

    def _end(self, key: Key) -> int:
        return len(self._store.disk.get(key, ()))


class _CReader(Role):
    """Answers with one record more than was asked for, and takes topics for prefixes of topics;
    knows no extension (shared/wire, "Store reader").
    """

    def __init__(self, store: CStoreNode, address: str, writer: str) -> None:
        self.address = address
        self._store, self._writer = store, writer

    def start(self) -> list[Action]:
        """Let requests in."""
        hello = subscription(ConsumerHello, self.address)
        return [Subscribe(p) for p in (subscription(Fetch), subscription(GetHeads), hello)]

    def subscribed(self, prefix: bytes, now: float) -> list[Action]:
        """Greet a consumer."""
        consumer = named_in(prefix, StoreHello)
        return [Send(StoreHello(consumer, self.address))] if consumer else []

    def receive(
        self, message: Message | Arrival, now: float, origin: Origin = Origin.LIVE
    ) -> list[Action]:
        """Answer a request."""
        match message:
            case Fetch() if message.address != self._writer:
                return self._on_fetch(message)
            case GetHeads():
                return self._heads(message.address, message.topic)
            case ConsumerHello():
                return [
                    a for topic in message.subjects for a in self._heads(message.address, topic)
                ]
            case _:
                return []

    def blocked(self, answer: SendDirect, sent: int, now: float) -> list[Action]:
        """What a requester does not take is lost."""
        return []

    def next_deadline(self) -> float | None:
        """It has no clock of its own."""
        return None

    def _on_fetch(self, fetch: Fetch) -> list[Action]:
        records = self._store.disk.get((fetch.subject, fetch.topic), [])
        found = records[fetch.sequence : fetch.sequence + fetch.count + 1]
        run = Run(fetch.subject, fetch.topic, fetch.sequence, found)
        return [SendDirect(fetch.address, run)] if found else []

    def _heads(self, requester: str, prefix: str) -> list[Action]:
        return [
            Send(DirectHead(requester, partition, topic, len(records) - 1))
            for (topic, partition), records in self._store.disk.items()
            if topic.startswith(prefix) and requester != self._writer
        ]


class CStoreNode:
    """A C store's two halves and its disk, which outlives them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.process = world.process("C store")
        self.disk: dict[Key, list[bytes]] = {}
        self.alive = False

    def start(self) -> None:
        """Begin with what is on disk."""
        world, self.alive = self.world, True
        writer = _CWriter(self, world.address())
        reader = _CReader(self, world.address(), writer.address)
        self.writer = Node(world, writer, process=self.process)
        self.reader = Node(world, reader, process=self.process)
        world.note(self.writer, "starts")
        for node in (self.writer, self.reader):
            node.perform(node.machine.start())
            world.introduce(node)

    def crash(self) -> None:
        """End at once."""
        self.alive = False
        self.world.crash(self.writer)
        self.world.crash(self.reader)
        self.process.ended()

    def write(self, run: Run) -> None:
        """Keep the next records of a partition."""
        key = (run.topic, run.partition)
        records = self.disk.setdefault(key, [])
        truth = self.world.truth[key][run.first : run.next]
        self.world.check(run.first == len(records), "no gap on a C store's disk", run)
        self.world.check(run.contents == truth, "right contents on a C store's disk", run)
        records += run.contents
        self.world.durable[key][""] = max(len(records), self.world.durable[key].get("", 0))
