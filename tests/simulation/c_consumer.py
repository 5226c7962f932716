"""A consumer that behaves like the reference implementation's (shared/wire, "Consumer")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dafka.core.actions import Action, Deliver, Send, Subscribe
from dafka.core.role import Role, named_in
from dafka.core.run import Arrival, Origin, Run
from protocol import (
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

BLOCK = 100_000
SUBSCRIBE_AFTER_S = 1.0


class CConsumer(Role):
    """Drops what comes behind a gap, and asks for whole blocks, at most once a second; takes
    topics for prefixes of topics, and DIRECT-HEADs of any topic for its own.
    """

    def __init__(self, address: str, topic: str) -> None:
        self.address = address
        self.next: dict[Key, int] = {}
        self._topic = topic
        self._subscribe_at: float | None = None
        self._asked: dict[tuple[Key, int], int] = {}
        self._idle: set[Key] = set()
        """Asked for from the beginning, and nothing accepted yet: HEADs do not repeat that."""

    def start(self, now: float) -> list[Action]:
        """Let in what is meant for us."""
        self._subscribe_at = now + SUBSCRIBE_AFTER_S
        kinds = (DirectRecord, DirectHead, StoreHello)
        return [Subscribe(subscription(kind, self.address)) for kind in kinds]

    def subscribed(self, prefix: bytes, now: float) -> list[Action]:
        """Greet a store."""
        store = named_in(prefix, ConsumerHello)
        return [self._hello(store)] if store else []

    def tick(self, now: float) -> list[Action]:
        """Subscribe to the topic, a second after the start."""
        self._subscribe_at = None
        topics: list[Action] = [
            Subscribe(subscription(kind, self._topic)) for kind in (Record, Head)
        ]
        return [*topics, Send(GetHeads(self._topic, self.address))]

    def next_deadline(self) -> float | None:
        """It has no other clock."""
        return self._subscribe_at

    def receive(
        self, message: Message | Arrival, now: float, origin: Origin = Origin.LIVE
    ) -> list[Action]:
        """Take records, heads and hellos."""
        match message:
            case Arrival():
                return self._on_run(message.run, now)
            case Head() | DirectHead():
                return self._on_head((message.subject, message.address), message.sequence, now)
            case StoreHello():
                return [self._hello(message.address)]
            case _:
                return []

    def _on_run(self, run: Run, now: float) -> list[Action]:
        key = (run.topic, run.partition)
        expected = self.next.setdefault(key, 0)
        if run.first > expected:
            return self._fetch(key, expected, now)
        fresh = run.since(expected)
        if not fresh.contents:
            return []
        self.next[key] = fresh.next
        self._idle.discard(key)
        return [Deliver(fresh)]

    def _on_head(self, key: Key, sequence: int, now: float) -> list[Action]:
        first = self.next.get(key, 0)
        if key in self._idle or sequence < first:
            return []
        if key not in self.next:
            self.next[key] = 0
            self._idle.add(key)
        return self._fetch(key, first, now)

    def _fetch(self, key: Key, first: int, now: float) -> list[Action]:
        block = (key, first // BLOCK)
        if self._asked.get(block) == int(now):
            return []
        self._asked[block] = int(now)
        count = BLOCK - first % BLOCK
        return [Send(Fetch(key[1], self.address, key[0], first, count))]

    def _hello(self, store: str) -> Send:
        topics = () if self._subscribe_at is not None else (self._topic,)
        return Send(ConsumerHello(store, self.address, topics))


class CConsumerNode(Node):
    """A C consumer and its user."""

    def __init__(self, world: World, topic: str) -> None:
        super().__init__(
            world, CConsumer(world.address(), topic), process=world.process("C consumer")
        )
        self._at: dict[Key, int] = {}

    def _deliver(self, action: Deliver) -> None:
        run, world = action.run, self.world
        key = (run.topic, run.partition)
        world.check(run.first == self._at.get(key, 0), "in order, once, to a C consumer", run)
        self._at[key] = run.next
        truth = world.truth[key][run.first : run.next]
        right = key in world.inexact or run.contents == truth
        world.check(right, "right contents for a C consumer", run)
