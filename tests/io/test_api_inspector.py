"""What a tool finds out about a running cluster, of our nodes and of emulated reference nodes."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

import dafka
from dafka.config import NodeConfig
from dafka.core.actions import Action, Send, Subscribe
from dafka.core.role import Role, named_in
from dafka.core.run import Arrival, Origin
from dafka.errors import Closed, ConfigError
from dafka.io.driver import Driver
from dafka.io.green import GREEN, GreenLife
from dafka.io.inspector import Inspector, logger
from dafka.io.life import new_address
from dafka.io.node import Wiring
from dafka.io.shell import at_once
from protocol import (
    ConsumerHello,
    DeleteTopic,
    DirectHead,
    Message,
    StoreHello,
    TopicDeleted,
    subscription,
)
from tests.support.live_nodes import LOOPBACK, Nodes, fill, free_ports, tower_on
from tests.support.reference_stage import Stage, values
from tests.support.waiting import until

pytest_plugins = ["tests.support.reference_fixture"]
pytestmark = pytest.mark.io

LONG_S = 20.0
"""Nobody waits for so long unless something is broken."""
DEAD = "DEAD" * 8


class DeletingStore(Role, GreenLife):
    """The reader of a store of ours that has records, as far as tools can see."""

    def __init__(self, tower: Any, records: int, *, obeys: bool = True) -> None:
        self.address = new_address()
        self.asked = 0
        self._config = NodeConfig(tower=tower, bind=LOOPBACK)
        self._records, self._obeys = records, obeys

    def start(self) -> DeletingStore:
        driver = Driver("deleting store", logger, GREEN)
        self._wiring = Wiring("store", self.address, self._config, self, driver)
        at_once(self._wiring.open(driver.now()))
        wanted = (subscription(ConsumerHello, self.address), subscription(DeleteTopic))
        driver.perform([Subscribe(prefix) for prefix in wanted])
        driver.start()
        self.drivers = (driver,)
        return self

    def stop(self, timeout: float | None = None) -> None:
        at_once(self.driver.stop(timeout))
        at_once(self._wiring.close())

    def subscribed(self, prefix: bytes, now: float) -> list[Action]:
        tool = named_in(prefix, StoreHello)
        return [Send(StoreHello(tool, self.address))] if tool else []

    def receive(
        self, message: Message | Arrival, now: float, origin: Origin = Origin.LIVE
    ) -> list[Action]:
        match message:
            case ConsumerHello():
                (topic,) = message.subjects
                answer = DirectHead(message.address, DEAD, topic or "t", self._records - 1, 0)
                return [Send(answer)] if self._records else []
            case DeleteTopic():
                self.asked += 1
                deleted, self._records = self._records, 0
                answer = TopicDeleted(message.address, self.address, message.topic, deleted)
                return [Send(answer)] if self._obeys else []
            case _:
                return []

    def tick(self, now: float) -> list[Action]:
        return []

    def next_deadline(self) -> float | None:
        return None


def inspector(nodes: Nodes, topic: str | None = "") -> Inspector:
    return nodes.add(Inspector(topic, tower=nodes.tower, bind=LOOPBACK))


def test_topics_of_a_living_cluster(nodes: Nodes) -> None:
    nodes.cluster()
    nodes.store()
    producers = [nodes.producer(topic, min_store_acks=2) for topic in ("a", "ab", "ab")]
    for number, producer in enumerate(producers, 1):
        fill(producer, number)
        producer.flush(timeout=LONG_S)
    assert producers.pop().stop(LONG_S) == 0
    tool, narrow = inspector(nodes), inspector(nodes, "a")
    found = tool.gather(LONG_S)
    assert found.complete
    assert [(t.topic, t.partitions, t.records) for t in found.topics()] == [
        ("a", 1, 1),
        ("ab", 2, 5),
    ]
    assert all(copy.lag == 0 for partition in found.partitions for copy in partition.copies)
    alive = {partition.partition for partition in found.partitions if partition.alive}
    assert alive >= {producer.address for producer in producers}
    assert len(found.stores) == 2
    assert all(store.name and store.answered for store in found.stores)
    only = narrow.gather(LONG_S)
    assert only.complete
    assert [(p.topic, p.partition) for p in only.partitions] == [("a", producers[0].address)]


def test_without_a_store_producers_are_believed(nodes: Nodes) -> None:
    nodes.towered()
    fill(nodes.producer("t"), 3)
    found = inspector(nodes).gather(LONG_S)
    assert found.complete
    assert found.stores == ()
    assert [(p.alive, p.next, p.copies) for p in found.partitions] == [(True, 3, ())]


def test_nodes_and_what_they_are(nodes: Nodes) -> None:
    nodes.cluster()
    store = nodes.store()
    producer, consumer = nodes.producer(), nodes.consumer()
    tool = inspector(nodes, None)
    assert tool.gather(LONG_S).complete
    found = {node.address: node for node in tool.nodes()}
    assert len(found) == 6
    assert found[producer.address].role == "producer"
    assert found[producer.address].endpoint == producer.endpoint
    assert found[consumer.address].role == "consumer"
    assert found[store.address].role == "store writer"
    assert found[store.reader_address].role == "store reader"
    assert {node.version for node in found.values()} == {dafka.__version__}
    assert all(0 <= node.seen_s < LONG_S for node in found.values())


def test_tools_see_each_other(nodes: Nodes) -> None:
    nodes.towered()
    first = inspector(nodes, None)
    second = inspector(nodes, None)
    until(lambda: [node.role for node in second.nodes()] == ["tool"])
    assert second.nodes()[0].address == first.address


def test_without_a_tower_time_runs_out(nodes: Nodes) -> None:
    nodes.tower = tower_on(free_ports(2))
    tool = inspector(nodes)
    began = monotonic()
    found = tool.gather(0.2)
    assert monotonic() - began >= 0.2
    assert not tool.introduced
    assert (found.complete, found.stores, found.partitions) == (False, (), ())
    assert tool.nodes() == []


def test_life_of_an_inspector(nodes: Nodes) -> None:
    nodes.towered()
    with pytest.raises(ConfigError, match="NUL"):
        Inspector("a\0b")
    tool = Inspector(tower=nodes.tower)
    with pytest.raises(Closed, match="not been started"):
        tool.gather(0)
    tool.stop()
    with tool, pytest.raises(Closed, match="once"):
        tool.start()
    tool.stop()
    with pytest.raises(ConfigError, match="empty"):
        tool.delete(1)


def test_failed_loop_is_not_taken_for_an_answer(nodes: Nodes) -> None:
    nodes.towered()
    tool = inspector(nodes)
    tool.driver.fail(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        tool.gather(LONG_S)


class TestReferenceNodes:
    def test_roles_and_heads_of_a_reference_cluster(self, stage: Stage) -> None:
        tower = stage.reference_tower()
        stores = [stage.reference_store(), stage.reference_store()]
        stores[0].database.fill("metrics", DEAD, values(7))
        stores[1].database.fill("metrics", DEAD, values(4))
        stores[1].database.fill("metrics2", DEAD, values(9))
        producer = stage.reference_producer()
        consumer = stage.reference_consumer()
        producer.publish(*values(3))
        until(lambda: all(s.contents("metrics", producer.address) for s in stores))
        tool = stage.start(Inspector("metrics", tower=str(tower), bind=LOOPBACK))
        found = tool.gather(LONG_S)
        assert found.complete
        assert all(store.name is None and store.answered for store in found.stores)
        lags = {
            (p.partition, c.store.address): (c.next, c.lag)
            for p in found.partitions
            for c in p.copies
        }
        one, two = (store.reader.address for store in stores)
        assert lags == {
            (DEAD, one): (7, 0),
            (DEAD, two): (4, 3),
            (producer.address, one): (3, 0),
            (producer.address, two): (3, 0),
        }
        assert {p.partition: p.alive for p in found.partitions} == {
            DEAD: False,
            producer.address: True,
        }
        roles = {node.address: (node.role, node.version) for node in tool.nodes()}
        assert roles == {
            producer.address: ("producer", None),
            consumer.address: ("consumer", None),
            one: ("store reader", None),
            two: ("store reader", None),
            stores[0].writer.address: ("store writer", None),
            stores[1].writer.address: ("store writer", None),
        }
        # Where nobody can delete, nobody is waited for.
        began = monotonic()
        assert [(one.able, one.records) for one in tool.delete(LONG_S)] == [(False, None)] * 2
        assert monotonic() - began < LONG_S / 2

    def test_reference_store_cannot_delete_and_is_not_asked_to(self, stage: Stage) -> None:
        tower = stage.our_tower()
        store = stage.reference_store()
        store.database.fill("t", DEAD, values(3))
        ours = stage.start(DeletingStore(tower.address, 5))
        tool = stage.start(Inspector("t", tower=str(tower.address), bind=LOOPBACK))
        assert len(tool.gather(LONG_S).stores) == 2
        done = {one.store.address: (one.able, one.records) for one in tool.delete(LONG_S)}
        assert done == {store.reader.address: (False, None), ours.address: (True, 5)}
        assert store.contents("t", DEAD) == values(3)


def test_deletion_is_over_when_all_stores_have_confirmed(nodes: Nodes) -> None:
    nodes.towered()
    stores = [nodes.add(DeletingStore(nodes.tower, records)) for records in (5, 0)]
    tool = inspector(nodes, "t")
    assert [p.next for p in tool.gather(LONG_S).partitions] == [5]
    began = monotonic()
    done = {one.store.address: one.records for one in tool.delete(LONG_S)}
    assert monotonic() - began < LONG_S / 2
    assert done == {stores[0].address: 5, stores[1].address: 0}


def test_store_that_does_not_confirm_is_told_from_one_that_cannot(nodes: Nodes) -> None:
    nodes.towered()
    store = nodes.add(DeletingStore(nodes.tower, 5, obeys=False))
    tool = inspector(nodes, "t")
    tool.gather(LONG_S)
    assert [(one.able, one.records) for one in tool.delete(0.3)] == [(True, None)]
    assert store.asked == 1
