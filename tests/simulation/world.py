"""A world in memory: real machines, joined by links with seeded faults and a virtual clock.

Everything that is said travels as the frames of `protocol`, to whoever has subscribed to a
prefix of them, as between ZeroMQ sockets. Nodes find each other by towers and beacons; in a world
without towers they are introduced, and told a few seconds later that one has gone. What must hold
at any time is checked while it happens; a failure names the seed, and the same seed repeats it.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random
from typing import Any, TypeVar

from dafka.config import ConsumerConfig, ProducerConfig, StoreConfig
from dafka.core import actions as act
from dafka.core.consumer import Consumer
from dafka.core.producer import Producer
from dafka.core.receiver import Receiver
from dafka.core.run import Origin, Run
from simulation.c_consumer import CConsumerNode
from simulation.c_producer import CProducer
from simulation.c_store import CStoreNode
from simulation.links import Faults, Network
from simulation.nodes import ConsumerNode, Key, Node, ProducerNode
from simulation.noise import Noise
from simulation.outbox import OutboxProducer
from simulation.process import Process
from simulation.stores import StoreNode
from simulation.towers import TowerNode
from simulation.trace import Trace
from simulation.where import where

__all__ = [
    "CConsumerNode",
    "CStoreNode",
    "ConsumerNode",
    "Faults",
    "Key",
    "Node",
    "OutboxProducer",
    "ProducerNode",
    "StoreNode",
    "TowerNode",
    "World",
]

AnyNode = TypeVar("AnyNode", bound=Node)

MOST_STEPS = 20_000
"""So much work without time passing is an endless loop."""


class World:
    """Nodes, the network between them, and the time."""

    def __init__(
        self, seed: int, *, towers: int = 0, older: float = 0.0, trace: Trace | None = None
    ) -> None:
        """`towers`: how many there are; without any, the world introduces nodes itself.

        `older` is the share of our nodes and towers which know nothing of RECORDS.
        """
        self.seed = seed
        self.random = Random(seed)
        self._older = older
        self.now = 0.0
        self.faults = Faults()
        self.blocking = 0.0
        """How often a requester takes only a part of an answer for now."""
        self.read_s = 0.01
        """How long a store takes at most to read a slice."""
        self.network = Network(self)
        self.noise = Noise(self)
        self.nodes: list[Node] = []
        self.stores: list[StoreNode] = []
        self.c_stores: list[CStoreNode] = []
        self.outboxes: list[OutboxProducer] = []
        self.strangers: tuple[type[Node], ...] = ()
        """Kinds of nodes that are not introduced to their like (in a world without towers)."""
        self.bound: dict[str, Node] = {}
        """Who listens at an endpoint."""
        self.truth: dict[Key, list[bytes]] = defaultdict(list)
        self.inexact: set[Key] = set()
        """The partitions of C producers, which may wait for ever for what nobody can give."""
        self.durable: dict[Key, dict[str, int]] = defaultdict(dict)
        """How many records each disk has had of a partition, by the store's name."""
        self.published: dict[Key, list[tuple[float, int]]] = defaultdict(list)
        """When how many records were published."""
        self.blurred = False
        """Nobody can say any more when something began: a clock was wrong, or messages were old,
        or a C producer has not said."""
        self.dropped: dict[Key, int] = defaultdict(int)
        """The highest offset before which some store has dropped what it had."""
        self.warnings: list[act.Warn] = []
        self.messages = 0
        """Messages and slices of records that were said."""
        self.on_delivery: Callable[[Run], object] = lambda run: None
        self.trace = trace
        if trace is not None:
            trace.world = self
        self.number = count()
        self.events: list[tuple[float, int, Callable[[], object]]] = []
        self._hosts: Counter[str] = Counter()
        self._ports = count(1)
        self._steps = 0
        self.towers = [TowerNode(self) for _ in range(towers)]
        for tower in self.towers:
            tower.start()

    # People

    def producer(self, topic: str, **settings: Any) -> ProducerNode:
        """A new producer."""
        machine = Producer(topic, self.address(), ProducerConfig(**settings))
        node = ProducerNode(self, machine, process=self.process("producer"), role="producer")
        self.note(node, "starts")
        node.perform(node.machine.start(node.now))
        return self.introduce(node)

    def outbox_producer(self, topic: str, **settings: Any) -> OutboxProducer:
        """A new producer with an outbox."""
        outbox = OutboxProducer(self, topic, ProducerConfig(**settings))
        self.outboxes.append(outbox)
        outbox.start()
        return outbox

    def c_producer(self, topic: str) -> ProducerNode:
        """A new producer that behaves like the C one."""
        machine = CProducer(topic, self.address())
        node = ProducerNode(self, machine, process=self.process("C producer"))
        self.inexact.add(node.key)
        self.blurred = True
        node.perform(node.machine.start(node.now))
        return self.introduce(node)

    def c_consumer(self, topic: str) -> CConsumerNode:
        """A new consumer that behaves like the C one, and reads from the beginning."""
        node = CConsumerNode(self, topic)
        node.perform(node.machine.start(node.now))
        return self.introduce(node)

    def consumer(self, *topics: str, patience: float = 0.01, **settings: Any) -> ConsumerNode:
        """A new consumer, whose user takes up to `patience` seconds for each run."""
        direct = self.address()
        machine = Consumer(self.address(), ConsumerConfig(**settings), direct)
        node = ConsumerNode(self, machine, direct, topics, patience, self.process("consumer"))
        self.note(node, "starts")
        node.perform(machine.start(node.now))
        for topic in topics:
            node.perform(machine.subscribe(topic, node.now))
        return self.introduce(node)

    def store(self, *, same_ports: bool = False, **settings: Any) -> StoreNode:
        """A new store with an empty disk."""
        store = StoreNode(self, StoreConfig(**settings), same_ports=same_ports)
        self.stores.append(store)
        store.start()
        return store

    def c_store(self) -> CStoreNode:
        """A new store that behaves like the C one."""
        store = CStoreNode(self)
        self.c_stores.append(store)
        store.start()
        return store

    def process(self, kind: str) -> Process:
        """A new process, on a host of its own."""
        self._hosts[kind] += 1
        return Process(self, f"{kind} {self._hosts[kind]}", sum(self._hosts.values()))

    def is_old(self) -> bool:
        """Whether a new node of ours is of an older version, by chance."""
        return bool(self._older) and self.random.random() < self._older

    def address(self) -> str:
        """A new node's identity."""
        return f"{self.random.getrandbits(128):032X}"

    def port(self) -> int:
        """A port that nobody uses."""
        return next(self._ports)

    def living(self) -> list[Node]:
        """The nodes that have not crashed."""
        return [node for node in self.nodes if node.alive]

    def bind(self, node: Node) -> None:
        """Let a node be reached at its endpoint."""
        self.bound[node.endpoint] = node
        for one in self.nodes:
            for connection in one.sources:
                if connection.endpoint == node.endpoint and connection.speaker is None:
                    self.after(self.random.uniform(0.05, 1.0), connection.reach)

    def introduce(self, new: AnyNode) -> AnyNode:
        """Let everybody and a newcomer find each other, soon."""
        if self.towers:
            new.enter()
            return new
        for old in self.living():
            alike = isinstance(new, self.strangers) and type(old) is type(new)
            if old is not new and not alike:
                for one, other in ((old, new), (new, old)):
                    self.after(self.random.uniform(0.001, 0.2), partial(self.meet, one, other))
        return new

    def meet(self, listener: Node, speaker: Node) -> None:
        """Introduce a node to another one, but not the other way round."""
        if listener.alive and speaker.alive:
            found = listener.machine.peer_found(speaker.address, speaker.endpoint, listener.now)
            listener.perform(found)
            runs = speaker.runs and isinstance(speaker, ProducerNode)
            listener.connect(speaker.endpoint, Origin.LIVE, runs=runs)

    def crash(self, gone: Node) -> None:
        """End a node at once; the others notice by its silence."""
        self.note(gone, "crashes")
        gone.alive = False
        self.nodes.remove(gone)
        if self.bound.get(gone.endpoint) is gone:
            del self.bound[gone.endpoint]
        for connection in [*gone.sources]:
            connection.close()
        for connection in [*gone.listeners]:
            connection.lost()
            if connection.origin is Origin.LIVE and not self.towers:
                pause = self.random.uniform(4, 5)
                self.after(pause, partial(self.lose, connection.listener, gone))

    def lose(self, listener: Node, gone: Node) -> None:
        """Let a node think that another one has gone."""
        if listener.alive:
            lost = listener.machine.peer_lost(gone.address, gone.endpoint, listener.now)
            listener.perform(lost)
            listener.disconnect(gone.endpoint, Origin.LIVE)

    # Time

    def arrival(self) -> float:
        """When something sent now arrives, by chance."""
        return self.now + self.random.uniform(0.0001, self.faults.delay)

    def at(self, when: float, do: Callable[[], object]) -> None:
        """Do something at a time."""
        heapq.heappush(self.events, (when, next(self.number), do))

    def after(self, pause: float, do: Callable[[], object]) -> None:
        """Do something after a pause in seconds."""
        self.at(self.now + pause, do)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        events = self.events
        while events and events[0][0] <= end:
            when, _, do = heapq.heappop(events)
            if when > self.now:
                self.now, self._steps = when, 0
            else:
                self._steps += 1
                self.check(self._steps < MOST_STEPS, "time goes on", do)
            do()
        self.now = end

    def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Let time pass until something holds, which it must within so many seconds."""
        end = self.now + seconds
        while not condition():
            name = condition.__name__.strip("_").replace("_", " ")
            self.check(self.now < end, f"{name} within {seconds:g} s", *where(self))
            self.run(0.25)

    # What must hold at any time

    def check(self, holds: bool, what: str, *where: object) -> None:
        """Fail with the seed unless something holds."""
        if not holds:  # no `assert`, which PYTHONOPTIMIZE leaves out
            raise AssertionError(f"seed {self.seed}, after {self.now:.3f} s: {what}: {where}")

    def audit(self, producer: ProducerNode) -> None:
        """What a producer takes for acknowledged was on so many disks."""
        acked = producer.machine.acked
        stored = self.durable[producer.key]
        if acked <= stored.get("audited", 0) or not isinstance(producer.machine, Producer):
            return
        wanted = producer.machine.config.min_store_acks
        disks = sum(end >= acked for name, end in stored.items() if name != "audited")
        self.check(
            disks >= wanted, "what is acknowledged is on enough disks", producer.key, acked, disks
        )
        stored["audited"] = acked

    def inspect(self, node: Node) -> None:
        """What a machine holds in memory stays within its bounds."""
        machine = node.machine
        if isinstance(machine, Receiver):
            bound = machine._buffer_bytes
            held, pending = machine._backlog._held, machine._pending
            self.check(0 <= held <= bound, "held back within the buffer", node.process.name, held)
            # What was held back is handed on at once when the gap is closed.
            most = 2 * bound + node.largest
            self.check(
                0 <= pending <= most, "taken in within the buffer", node.process.name, pending
            )

    def note(self, who: Any, text: str) -> None:
        """Something has happened to somebody, or (None) to all: for a chart, if one is drawn."""
        if self.trace is not None:
            self.trace.noted(who, text)
