"""A world in memory: real machines, joined by links with seeded faults and a virtual clock.

Everything that is said travels as the frames of `protocol`, to whoever has subscribed to a
prefix of them, as between ZeroMQ sockets. Discovery is simplified: the world introduces nodes,
and tells the others a few seconds later that one has gone. What must hold at any time is
checked while it happens; a failure names the seed, and the same seed repeats it.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random
from typing import Any, TypeVar

from dafka.config import ConsumerConfig, ProducerConfig, StoreConfig
from dafka.core import actions as act
from dafka.core.consumer import Consumer
from dafka.core.producer import Producer
from dafka.core.run import Origin, Run
from simulation.c_producer import CProducer
from simulation.c_store import CStoreNode
from simulation.links import Faults
from simulation.nodes import ConsumerNode, Key, Node, ProducerNode, StoreNode

__all__ = [
    "CStoreNode",
    "ConsumerNode",
    "Faults",
    "Key",
    "Node",
    "ProducerNode",
    "StoreNode",
    "World",
]

AnyNode = TypeVar("AnyNode", bound=Node)

MOST_STEPS = 20_000
"""So much work without time passing is an endless loop."""


class World:
    """Nodes, the network between them, and the time."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0
        self.faults = Faults()
        self.blocking = 0.0
        """How often a requester takes only a part of an answer for now."""
        self.nodes: list[Node] = []
        self.stores: list[StoreNode] = []
        self.c_stores: list[CStoreNode] = []
        self.truth: dict[Key, list[bytes]] = defaultdict(list)
        self.warnings: list[act.Warn] = []
        self.messages = 0
        """Messages and slices of records that were said."""
        self.on_delivery: Callable[[Run], object] = lambda run: None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._steps = 0

    # People

    def producer(self, topic: str, **settings: Any) -> ProducerNode:
        """A new producer."""
        node = ProducerNode(self, Producer(topic, self.address(), ProducerConfig(**settings)))
        node.perform(node.machine.start(self.now))
        return self.introduce(node)

    def c_producer(self, topic: str) -> ProducerNode:
        """A new producer that behaves like the C one."""
        node = ProducerNode(self, CProducer(topic, self.address()))
        node.perform(node.machine.start(self.now))
        return self.introduce(node)

    def consumer(self, *topics: str, patience: float = 0.01, **settings: Any) -> ConsumerNode:
        """A new consumer, whose user takes up to `patience` seconds for each run."""
        direct = self.address()
        machine = Consumer(self.address(), ConsumerConfig(**settings), direct)
        node = ConsumerNode(self, machine, direct, topics, patience)
        node.perform(machine.start(self.now))
        for topic in topics:
            node.perform(machine.subscribe(topic, self.now))
        return self.introduce(node)

    def store(self, **settings: Any) -> StoreNode:
        """A new store with an empty disk."""
        store = StoreNode(self, StoreConfig(**settings))
        self.stores.append(store)
        store.start()
        return store

    def c_store(self) -> CStoreNode:
        """A new store that behaves like the C one."""
        store = CStoreNode(self)
        self.c_stores.append(store)
        store.start()
        return store

    def address(self) -> str:
        """A new node's identity."""
        return f"{self.random.getrandbits(128):032X}"

    def living(self) -> list[Node]:
        """The nodes that have not crashed."""
        return [node for node in self.nodes if node.alive]

    def introduce(self, new: AnyNode) -> AnyNode:
        """Let everybody and a newcomer find each other, soon."""
        for old in self.living():
            if old is not new:
                for one, other in ((old, new), (new, old)):
                    self.after(self.random.uniform(0.001, 0.2), self._meeting(one, other))
        return new

    def _meeting(self, listener: Node, speaker: Node) -> Callable[[], None]:
        def meet() -> None:
            if listener.alive and speaker.alive:
                found = listener.machine.peer_found(speaker.address, speaker.endpoint, self.now)
                listener.perform(found)
                listener.listen(speaker, Origin.LIVE)

        return meet

    def crash(self, gone: Node) -> None:
        """End a node at once; the others notice by its silence."""
        gone.alive = False
        self.nodes.remove(gone)
        for connection in [*gone.sources]:
            connection.close()
        for connection in [*gone.listeners]:
            listener = connection.listener
            connection.open = False
            if connection.origin is Origin.LIVE:
                self.after(self.random.uniform(4, 5), partial(listener.lose, gone))

    # Time

    def arrival(self) -> float:
        """When something sent now arrives, by chance."""
        return self.now + self.random.uniform(0.0001, self.faults.delay)

    def at(self, when: float, do: Callable[[], Any]) -> None:
        """Do something at a time."""
        heapq.heappush(self._events, (when, next(self._number), do))

    def after(self, pause: float, do: Callable[[], Any]) -> None:
        """Do something after a pause in seconds."""
        self.at(self.now + pause, do)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            when = self._events[0][0] if self._events else end + 1
            due = [n for n in self.nodes if n.deadline is not None and n.deadline < when]
            node = min(due, key=lambda n: n.deadline or 0, default=None)
            when = min(when, node.deadline or 0) if node else when
            if when > end:
                break
            self._steps = 0 if when > self.now else self._steps + 1
            self.check(self._steps < MOST_STEPS, "time goes on", node and node.machine)
            self.now = max(self.now, when)
            node.tick() if node else heapq.heappop(self._events)[2]()
        self.now = end

    def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Let time pass until something holds, which it must within so many seconds."""
        end = self.now + seconds
        while not condition():
            self.check(self.now < end, f"within {seconds} s", condition)
            self.run(0.25)

    def check(self, holds: bool, what: str, *where: object) -> None:
        """Fail with the seed unless something holds."""
        assert holds, f"seed {self.seed}, after {self.now:.3f} s: {what}: {where}"
