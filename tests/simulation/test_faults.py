"""The faults of the simulated network and processes: each bites, and is survived."""

from __future__ import annotations

from typing import Any

import pytest

from simulation.world import Faults, World


def _cluster(seed: int, *, stores: int = 1) -> World:
    world = World(seed, towers=1)
    for _ in range(stores):
        world.store()
    world.producer("metrics")
    world.consumer("metrics", start="earliest", fetch_records=50)
    world.run(2)
    return world


def _producer(world: World) -> Any:
    return next(node for node in world.nodes if node.role == "producer")


def _consumer(world: World) -> Any:
    return next(node for node in world.nodes if node.role == "consumer")


@pytest.mark.parametrize(("seconds", "lives"), [(5.0, 0), (7.0, 1)])
def test_what_was_said_across_a_cut_arrives_unless_the_heartbeat_has_ended_the_connection(
    seconds: float, lives: int
) -> None:
    world = _cluster(1, stores=0)
    producer, consumer = _producer(world), _consumer(world)
    link = next(c for c in consumer.sources if c.speaker is producer)
    # The tower is not cut off, so both stay introduced.
    world.network.cut([producer.process], [consumer.process])
    producer.publish(10)
    world.run(seconds)
    assert consumer.next == {}
    world.network.heal()
    assert link.life == lives
    world.run(0.02)
    assert bool(consumer.next) is not bool(lives)
    world.until(lambda: consumer.next.get(producer.key) == 10, 10)


def test_what_exceeds_the_high_water_mark_is_dropped_and_fetched_later() -> None:
    world = _cluster(2)
    producer, consumer = _producer(world), _consumer(world)
    world.faults = Faults(high_water_mark=3)
    producer.publish(100)
    world.run(0.05)
    assert consumer.next.get(producer.key, 0) <= 50
    world.until(lambda: consumer.next.get(producer.key) == 100, 30)


def test_slow_link_delays_what_is_large() -> None:
    world = _cluster(3)
    producer, consumer = _producer(world), _consumer(world)
    world.faults = Faults(bandwidth=2_000.0)
    producer.publish(200)  # nearly 200 bytes for each ten, their headers included
    world.run(1.0)
    assert producer.key not in consumer.next
    world.until(lambda: consumer.next.get(producer.key) == 200, 30)


def test_process_that_stands_still_does_nothing_and_catches_up() -> None:
    world = _cluster(4)
    producer, consumer = _producer(world), _consumer(world)
    consumer.process.stand()
    heard = consumer.delivered
    producer.publish(50)
    world.run(8.0)
    assert consumer.delivered == heard
    assert consumer.address not in {peer.address for peer in producer.beacon.peers.values()}
    consumer.process.go_on()
    world.until(lambda: consumer.next.get(producer.key) == 50, 10)


def test_clock_of_a_computer_that_slept_stands_still() -> None:
    world = _cluster(5)
    consumer = _consumer(world)
    before = consumer.now
    consumer.process.stand()
    world.run(100.0)
    consumer.process.go_on(slept=True)
    assert consumer.now == pytest.approx(before)


def test_node_does_not_hear_a_peer_to_whom_it_can_speak() -> None:
    world = _cluster(6)
    producer, consumer = _producer(world), _consumer(world)
    world.network.deaf[producer.process, consumer.process] = 1.0
    producer.publish(10)
    # What the producer says is lost, so all comes from the store.
    world.until(lambda: consumer.next.get(producer.key) == 10, 30)
    assert world.stores[0].reader.machine.stats.records >= 10


def test_noise_is_counted_and_dropped() -> None:
    world = _cluster(7)
    producer, consumer = _producer(world), _consumer(world)
    world.faults = Faults(noise=0.9)
    for _ in range(40):
        producer.publish(2)
        world.run(0.25)
    world.faults = Faults()
    assert world.noise.made > 50
    assert sum(node.refused for node in world.nodes) > 10
    assert world.towers[0].malformed > 0
    world.until(lambda: consumer.next.get(producer.key) == 80, 30)


def test_tower_that_is_away_disturbs_nobody_who_is_introduced() -> None:
    world = _cluster(8)
    producer, consumer = _producer(world), _consumer(world)
    world.towers[0].crash()
    world.run(10.0)
    producer.publish(10)
    world.until(lambda: consumer.next.get(producer.key) == 10, 2)
    late = world.consumer("metrics", start="earliest")
    world.run(5.0)
    assert late.next == {}
    world.towers[0].start()
    world.until(lambda: late.next.get(producer.key) == 10, 5)


def test_outbox_producer_continues_its_partition_after_each_crash() -> None:
    world = World(9, towers=1)
    store = world.store()
    outbox = world.outbox_producer("metrics")
    key = ("metrics", outbox.address)
    world.run(1.0)
    for _ in range(20):
        assert outbox.node is not None
        outbox.node.publish(7)
        world.run(world.random.uniform(0.0, 0.05))
        outbox.crash()
        outbox.start()
    world.until(lambda: store.disk.get(key) == world.truth[key], 30)
    assert len(world.truth[key]) > 20
