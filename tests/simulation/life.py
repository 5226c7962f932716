"""The life of a cluster: what is planned happens, and in the end all must be well."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from dafka.core.actions import Action
from protocol import DeleteTopic
from simulation.bounds import check_bounds
from simulation.links import Faults
from simulation.plan import Plan
from simulation.trace import Trace
from simulation.world import ConsumerNode, CStoreNode, Key, OutboxProducer, StoreNode, World

Choice = TypeVar("Choice")

MOST_STORES = 3
MOST_NODES = 4
"""Producers or consumers."""

STORED_S = 60.0
"""Until every store has what living producers have published. Two comparisons of stores
(30 s) lie in it, and the longest pauses between requests (8 s)."""
ACKNOWLEDGED_S = 15.0
"""Then until all is acknowledged: a HEAD a second shows that an ACK was lost; a request for heads
follows two seconds later."""
DELIVERED_S = 90.0
"""Then until all is delivered: a consumer repeats its question for heads after 60 s at most."""
ALIKE_S = 90.0
"""Then until the stores are alike, also in what only one of them had."""


class Life:
    """A cluster and its people."""

    def __init__(self, plan: Plan, trace: Trace | None = None) -> None:
        self.plan = plan
        self.world = World(plan.seed, towers=plan.towers, older=plan.older, trace=trace)
        self.producers: list = []
        self.consumers: list[ConsumerNode] = []

    def live(self) -> None:
        """Let everything happen, and see whether all ends well."""
        for event in self.plan.events:
            self.world.note(None, f"{event}")
            getattr(self, f"_{event.kind}")(*event.chances)
            self.world.run(event.pause)
        check_bounds(self.world)
        self._calm()
        for holds, seconds in (
            (self._all_is_stored, STORED_S),
            (self._all_is_acknowledged, ACKNOWLEDGED_S),
            (self._all_is_delivered, DELIVERED_S),
            (self._stores_are_alike, ALIKE_S),
        ):
            self.world.until(holds, seconds)
        check_bounds(self.world)

    # Events: each takes the five chances of its event

    def _store(self, a: float, b: float, c: float, *_: float) -> None:
        if len(self.world.stores) < MOST_STORES:
            self.world.store(
                same_ports=c < 0.5,
                buffer_bytes=_pick((3_000, 1_000_000), a),
                fetch_records=_pick((7, 1000), b),
            )

    def _c_store(self, *_: float) -> None:
        self.world.c_store()

    def _producer(self, a: float, b: float, *_: float) -> None:
        if len(self.producers) < MOST_NODES:
            topic, settings = self._settings(a)[0], self._settings(b)[1]
            self.producers.append(self.world.producer(topic, **settings))

    def _outbox(self, a: float, b: float, *_: float) -> None:
        topic, settings = self._settings(a)[0], self._settings(b)[1]
        self.world.outbox_producer(topic, **settings)

    def _settings(self, chance: float) -> tuple[str, dict[str, int]]:
        buffer = _pick((20_000, 1_000_000), chance)
        settings = {"min_store_acks": self.plan.acks, "buffer_bytes": buffer}
        return _pick(("metrics", "metrics2"), chance), settings

    def _c_producer(self, a: float, *_: float) -> None:
        self.producers.append(self.world.c_producer(_pick(("metrics", "metrics2"), a)))

    def _c_consumer(self, a: float, *_: float) -> None:
        self.world.c_consumer(_pick(("metrics", "metrics2"), a))

    def _consumer(self, a: float, b: float, c: float, d: float, e: float) -> None:
        if len(self.consumers) < MOST_NODES:
            self.consumers.append(
                self.world.consumer(
                    *_pick((("metrics",), ("metrics", "metrics2")), a),
                    patience=_pick((0.001, 0.5), b),
                    start=_pick(("earliest", "earliest", "latest"), c),
                    buffer_bytes=_pick((2_000, 1_000_000), d),
                    fetch_records=_pick((5, 100), e),
                )
            )

    def _publish(self, a: float, b: float, *_: float) -> None:
        outboxes = [box.node for box in self.world.outboxes if box.alive]
        awake = [p for p in (*self.producers, *outboxes) if not p.process.standing]
        if awake:
            _pick(awake, a).publish(_pick((1, 3, 40), b))

    def _weather(self, a: float, b: float, c: float, d: float, e: float) -> None:
        chance = _pick((0.0, 0.02, 0.3), a)
        self.world.faults = Faults(
            loss=_pick((chance, chance, 1.0), b),
            duplication=chance,
            reordering=chance,
            delay=_pick((0.001, 0.05, 0.7), c),
            noise=_pick((0.0, 0.0, 0.2), d),
            high_water_mark=_pick((1 << 60, 1 << 60, 100, 5), e),
            bandwidth=_pick((0.0, 0.0, 20_000.0), (a + b) % 1),
        )
        self.world.blocking = chance
        self.world.blurred = self.world.blurred or bool(self.world.faults.noise)
        self.world.note(None, str(self.world.faults))

    def _end(self, a: float, b: float, *_: float) -> None:
        nodes = _pick((self.producers, self.producers, self.consumers), a)
        if len(nodes) > 1 or (nodes and nodes is self.producers):
            gone = nodes.pop(int(b * len(nodes)))
            self.world.crash(gone)
            gone.process.ended()

    def _restart_store(self, a: float, *_: float) -> None:
        if self._all_stores():
            store = _pick(self._all_stores(), a)
            (store.crash if store.alive else store.start)()

    def _lose_disk(self, a: float, *_: float) -> None:
        """Of a store whose records another one has: nothing is lost while that one survives."""
        if self.world.stores:
            store = _pick(self.world.stores, a)
            if not self._is_copied(store):
                return
            if store.alive:
                store.crash()
            if self._is_copied(store):
                self.world.note(store.process, "loses its disk")
                store.wipe()

    def _is_copied(self, one: StoreNode) -> bool:
        return any(
            other is not one
            and all(len(other.disk.get(key, ())) >= len(held) for key, held in one.disk.items())
            for other in self._all_stores()
        )

    def _restart_outbox(self, a: float, *_: float) -> None:
        if self.world.outboxes:
            outbox = _pick(self.world.outboxes, a)
            outbox.crash() if outbox.alive else outbox.start()

    def _restart_tower(self, a: float, *_: float) -> None:
        if self.world.towers:
            tower = _pick(self.world.towers, a)
            (tower.crash if tower.alive else tower.start)()

    def _seek(self, a: float, b: float, c: float, *_: float) -> None:
        begun = [c for c in self.consumers if c.next and not c.process.standing]
        if begun:
            consumer = _pick(begun, a)
            key = _pick(sorted(consumer.next), b)
            consumer.seek(key, round(c * len(self.world.truth[key])))

    def _cut(self, a: float, *_: float) -> None:
        random = Random(a)
        sides: tuple[list, list] = ([], [])
        for process in self._processes():
            random.choice(sides).append(process)
        self.world.note(None, f"cut off: {', '.join(p.name for p in sides[0])}")
        self.world.network.cut(*sides)

    def _deaf(self, a: float, b: float, c: float, *_: float) -> None:
        processes = self._processes()
        pair = (_pick(processes, a), _pick(processes, b))
        self.world.note(None, f"{pair[1].name} does not hear {pair[0].name}")
        self.world.network.deaf[pair] = _pick((0.5, 1.0), c)

    def _heal(self, *_: float) -> None:
        self.world.note(None, "the network is whole again")
        self.world.network.heal()

    def _stand(self, a: float, *_: float) -> None:
        _pick(self._processes(), a).stand()

    def _go_on(self, a: float, b: float, *_: float) -> None:
        standing = [process for process in self._processes() if process.standing]
        if standing:
            _pick(standing, a).go_on(slept=b < 0.3)

    def _leap(self, a: float, b: float, *_: float) -> None:
        _pick(self._processes(), a).leap(_pick((0.3, 5.0, 3600.0), b))

    def _trim(self, a: float, b: float, c: float, *_: float) -> None:
        held = [(store, key) for store in self.world.stores for key in sorted(store.disk)]
        if held:
            store, key = _pick(held, a)
            if key not in self.world.inexact:
                store.trim(key, round(b * c * len(store.disk[key])))

    def _delete(self, a: float, b: float, *_: float) -> None:
        running = [s for s in self.world.stores if s.alive and not s.process.standing]
        if running:
            reader = _pick(running, a).reader
            request = DeleteTopic(_pick(("metrics", "metrics2"), b), reader.address)
            actions: list[Action] = reader.machine.receive(request, reader.now)
            reader.perform(actions)

    def _processes(self) -> list:
        found = {node.process: None for node in self.world.living()}
        return [*found, *(tower.process for tower in self.world.towers)]

    # The end

    def _calm(self) -> None:
        """The faults end, and everybody is back."""
        world = self.world
        world.note(None, "calm")
        world.faults, world.blocking = Faults(), 0.0
        for process in self._processes():
            process.go_on()
        world.network.heal()
        for one in (*world.towers, *self._all_stores(), *world.outboxes):
            if not one.alive:
                one.start()
        while len(world.stores) < self.plan.acks:
            world.store()
        if not self._all_stores():
            world.store()

    def _all_stores(self) -> list[StoreNode | CStoreNode]:
        return [*self.world.stores, *self.world.c_stores]

    def _stores_of(self, key: Key) -> list[StoreNode | CStoreNode]:
        """A C store cannot begin with a partition whose first records are gone."""
        return self.world.stores[:] if self.world.dropped[key] else self._all_stores()

    def _stored(self, key: Key) -> int:
        return max(len(store.disk.get(key, ())) for store in self._all_stores())

    def _keys(self) -> list[Key]:
        return [key for key in self.world.truth if key not in self.world.inexact]

    def _published(self) -> list:
        nodes: list[OutboxProducer] = self.world.outboxes
        return [p for p in (*self.producers, *(box.node for box in nodes)) if p.key in self._keys()]

    def _all_is_stored(self) -> bool:
        """By every store, of every producer that lives."""
        return all(
            len(store.disk.get(producer.key, ())) >= len(self.world.truth[producer.key])
            for producer in self._published()
            for store in self._stores_of(producer.key)
        )

    def _all_is_acknowledged(self) -> bool:
        return not any(producer.machine.unacknowledged for producer in self._published())

    def _all_is_delivered(self) -> bool:
        """To every consumer that has begun with a partition, up to what a store has of it."""
        return all(
            consumer.position(key) >= self._stored(key)
            for consumer in self.consumers
            for key in self._keys()
            if key[0] in consumer.topics and (key in consumer.next or consumer.eager)
        )

    def _stores_are_alike(self) -> bool:
        """Also in the records of producers long dead, and in those that only a C store had."""
        stores = self.world.stores
        return all(
            len(store.disk.get(key, ())) == self._stored(key)
            and store.deleted.get(key, 0) == max(other.deleted.get(key, 0) for other in stores)
            for store in stores
            for key in self._keys()
        )


def _pick(options: Sequence[Choice], chance: float) -> Choice:
    return options[int(chance * len(options))]
