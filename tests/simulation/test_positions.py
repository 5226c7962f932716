"""Consumers that die and go on, that pause, and that begin at a time, where things get lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dafka.config import ConsumerConfig
from dafka.core.consumer import Consumer
from simulation.world import ConsumerNode, Faults, Key, World

PATIENCE_S = 120.0


def named(
    world: World, saved: dict[Key, int], since: float | None, *, settled: bool, **settings: Any
) -> ConsumerNode:
    """A new life of a named consumer of `metrics`, which has saved these positions."""
    direct = world.address()
    machine = Consumer(world.address(), ConsumerConfig(**settings), direct)
    machine.remember(saved)
    node = ConsumerNode(world, machine, direct, ("metrics",), 0.01, world.process("consumer"))
    node.next |= saved
    node.perform(machine.start(node.now))
    node.perform(machine.subscribe("metrics", node.now, since, settled=settled))
    return world.introduce(node)


@pytest.mark.parametrize("seed", range(12))
def test_all_lives_of_a_named_consumer_together_get_everything(seed: int) -> None:
    world = World(seed)
    chance = world.random
    world.faults = Faults(loss=0.05, duplication=0.05, delay=0.2)
    world.store()
    world.store()
    producers = [world.producer("metrics") for _ in range(2)]
    world.run(2)
    for producer in producers:
        producer.publish(50)
    world.run(2)
    start = chance.choice(("latest", "earliest"))
    first, saved, settled = world.now, {}, False
    before: dict[Key, int] = {}
    begun: dict[Key, int] = {}
    for life in range(6):
        node = named(world, saved, first if life else None, settled=settled, start=start)
        # For a later life, all that came since the first one is new.
        before = node.before = before if life else node.before
        for _ in range(chance.randrange(1, 8)):
            chance.choice(producers).publish(chance.randrange(1, 40))
            world.run(chance.uniform(0.0, 1.5))
        if life == 0:
            world.until(lambda n=node: n.settled and len(n.begun) == 2, PATIENCE_S)
        settled = settled or node.settled
        begun = node.begun | begun
        # What was saved was handled; something handled was not saved.
        saved = {
            key: max(at, node.next.get(key, at) - chance.randrange(20))
            for key, at in (node.begun | saved).items()
        }
        world.crash(node)
        if chance.random() < 0.7:
            producers.append(world.producer("metrics"))
            producers[-1].publish(chance.randrange(1, 40))
        if chance.random() < 0.5:
            world.run(chance.uniform(0.0, 8.0))
    world.faults = Faults()
    last = named(world, saved, first, settled=settled, start=start)
    last.before = before
    ends = {("metrics", producer.address): producer.machine.next for producer in producers}
    world.until(lambda: ends.items() <= last.next.items(), PATIENCE_S)
    begun = last.begun | begun
    for producer in producers[2:]:
        assert begun["metrics", producer.address] == 0


def test_paused_partitions_catch_up_and_cost_nothing_meanwhile() -> None:
    world = World(3)
    world.faults = Faults(loss=0.05, delay=0.1)
    world.store()
    producers = [world.producer("metrics") for _ in range(3)]
    keys = [("metrics", producer.address) for producer in producers]
    world.run(2)
    node = world.consumer("metrics", start="earliest", buffer_bytes=100_000)
    for producer in producers:
        producer.publish(100)
    world.until(lambda: all(node.next.get(key) == 100 for key in keys), PATIENCE_S)
    world.run(1)
    machine = node.machine
    node.perform(machine.pause(None, keys[0][1], {keys[0]: 100}))
    fetches = machine.stats.fetches
    for _ in range(20):
        producers[0].publish(100)
        world.run(0.5)
    assert node.next[keys[0]] == 100
    assert machine.stats.fetches == fetches
    producers[1].publish(50)
    world.until(lambda: node.next[keys[1]] == 150, PATIENCE_S)
    assert machine.behind() == 2000
    node.perform(machine.resume(None, None, node.now))
    world.until(lambda: node.next[keys[0]] == 2100, PATIENCE_S)


@pytest.mark.parametrize("seed", range(6))
def test_consumer_that_begins_at_a_time_misses_nothing_that_came_since(seed: int) -> None:
    world = World(seed)
    world.faults = Faults(loss=0.1, delay=0.2)
    world.store()
    producer = world.producer("metrics")
    key = ("metrics", producer.address)
    world.run(2)
    for _ in range(10):
        producer.publish(20)
        world.run(1)
    world.until(lambda: not producer.machine.unacknowledged, PATIENCE_S)
    world.run(1)
    when = datetime.fromtimestamp(world.now, UTC)
    world.run(1)
    producer.publish(30)
    world.until(lambda: not producer.machine.unacknowledged, PATIENCE_S)
    world.store(compare_interval_s=1.0)  # it has got everything later
    world.run(5)
    node = world.consumer("metrics", start=when)
    world.until(lambda: node.next.get(key) == 230, PATIENCE_S)
    assert node.begun[key] <= 200
    assert node.delivered >= 30
