"""Both towers introduce nodes of both kinds to each other."""

from __future__ import annotations

import pytest

from dafka.io.tower import own_host
from tests.support.reference_stage import Stage, acquainted, listeners, take, until, values

pytest_plugins = ["tests.support.reference_fixture"]
pytestmark = pytest.mark.io


@pytest.mark.parametrize("tower", ["ours", "reference"])
def test_reference_nodes_alone(stage: Stage, tower: str) -> None:
    """The emulators understand each other as the reference's nodes do (trace a)."""
    stage.pace = 1.0
    stage.any_tower(tower)
    store, consumer = stage.reference_store(), stage.reference_consumer()
    producer = stage.reference_producer()
    until(lambda: consumer.subscribed and listeners(producer) == 2)
    until(lambda: acquainted(store, producer))
    producer.publish(*values(5))
    producer.finish()
    until(lambda: not producer.running)
    assert producer.acks[-1] == 4
    assert store.contents("metrics", producer.address) == values(5)
    until(lambda: consumer.contents(producer.address) == values(5))


@pytest.mark.parametrize("tower", ["ours", "reference"])
def test_our_nodes_alone(stage: Stage, tower: str) -> None:
    stage.any_tower(tower)
    store, consumer, producer = stage.store(), stage.consumer(), stage.producer()
    until(lambda: listeners(producer) >= 2)
    for content in values(5):
        producer.publish(content)
    producer.flush(5)
    assert [record.content for record in take(consumer, 5)] == values(5)
    assert [extent.next for extent in store.partitions()] == [5]


def test_reference_tower_forwards_our_beacons_with_three_frames(stage: Stage) -> None:
    tower = stage.reference_tower()
    producer = stage.producer()
    until(lambda: tower.beacons)
    frames = tower.beacons[0]
    port = producer.endpoint.rpartition(":")[2]
    assert frames[:4] == [b"B", producer.address.encode(), b"", port.encode()]
    witness = stage.reference_store()
    until(lambda: f"tcp://127.0.0.1:{port}" in witness.writer.peers)


def test_reference_tower_that_names_the_address_of_an_interface(stage: Stage) -> None:
    """The reference's tower never says 127.0.0.1: our nodes must be reachable where it says."""
    stage.reference_tower(host=own_host())
    store = stage.store(bind="tcp://*:*")
    producer = stage.producer(bind="tcp://*:*")
    producer.publish(b"reached")
    producer.flush(5)
    assert [extent.next for extent in store.partitions()] == [1]


def test_nodes_of_two_towers_of_different_kind(stage: Stage) -> None:
    """Each reference node knows one tower; our nodes know both."""
    stage.reference_tower()
    producer = stage.reference_producer()
    theirs = stage.tower
    ours = stage.our_tower().address
    reference_store = stage.reference_store()
    store = stage.store(tower=[str(theirs), ours])
    until(lambda: listeners(producer) == 1)
    producer.publish(*values(3))
    until(lambda: producer.acknowledged == 3)
    assert [extent.next for extent in store.partitions()] == [3]
    own = stage.producer(tower=[str(theirs), ours])
    own.publish(b"to both")
    until(lambda: reference_store.contents("metrics", own.address) == [b"to both"])


def test_our_tower_survives_a_node_that_ends_and_introduces_the_next(stage: Stage) -> None:
    stage.our_tower()
    store = stage.store()
    for _ in range(2):
        producer = stage.reference_producer()
        until(lambda: listeners(producer) == 1)  # noqa: B023
        producer.publish(b"one")
        until(lambda: producer.acknowledged == 1)  # noqa: B023
        producer.stop()
    assert len(store.partitions()) == 2
