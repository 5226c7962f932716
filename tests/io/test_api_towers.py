"""Towers come late, go, come back, and are several; nodes that know each other do not mind."""

from __future__ import annotations

import gevent
import pytest

import dafka
from dafka.config import TowerAddress
from dafka.core import beacon
from dafka.io.sockets import Subscriber
from tests.support.live_nodes import LOOPBACK, fill, free_ports, tower_on
from tests.support.waiting import during, take, until

pytestmark = pytest.mark.io


def contents(records) -> list[bytes]:
    return [record.content for record in records]


def tower_at(nodes, address: TowerAddress) -> dafka.Tower:
    """A tower on given ports; they may be taken for a moment by a connection that is ending."""

    def start():
        try:
            return nodes.add(dafka.Tower(sub=address.sub, pub=address.pub))
        except dafka.ConfigError:
            return None

    return until(start, what=f"a tower on {address}")


@pytest.fixture
def address(nodes) -> TowerAddress:
    """Where a tower can be started; nodes that name no other tower look for it there."""
    nodes.tower = tower_on(free_ports(2))
    return nodes.tower


@pytest.mark.parametrize("free", ["tcp://127.0.0.1:0", LOOPBACK, "ipc://*"])
def test_a_tower_may_bind_two_endpoints_that_the_system_chooses(nodes, free):
    address = nodes.add(dafka.Tower(sub=free, pub=free)).address
    assert address.sub != address.pub


def test_nodes_can_be_there_before_any_tower(nodes, address):
    consumer, producer, store = nodes.consumer(), nodes.producer(), nodes.store()
    sent = fill(producer, 100)
    during(0.3, lambda: consumer.poll(0) is None and producer.acknowledged == 0)
    tower_at(nodes, address)
    producer.flush(20)
    assert contents(take(consumer, 100)) == sent
    assert [extent.next for extent in store.partitions()] == [100]


def test_who_finds_no_tower_says_so_once_and_where_it_looked(nodes, address, caplog, monkeypatch):
    monkeypatch.setattr(beacon, "TOWER_PATIENCE_S", 0.1)
    waiting = [nodes.consumer(), nodes.producer(), nodes.store()]
    until(lambda: len(caplog.records) >= 3)
    during(0.5, lambda: len(caplog.records) == 3)
    names = [record.name for record in caplog.records]
    assert sorted(names) == ["dafka.consumer", "dafka.producer", "dafka.store"]
    assert all(text.startswith(f"no tower answers at {address}: ") for text in caplog.messages)
    assert not any(node.introduced for node in waiting)
    tower_at(nodes, address)
    until(lambda: all(node.introduced for node in waiting))


def test_a_towers_welcome_is_heard_by_a_node_that_is_slow_to_start(nodes, address, monkeypatch):
    """A welcome comes once, as soon as the node is connected, and nothing else would follow."""
    subscribe = Subscriber.subscribe

    def slowly(self, prefix):
        gevent.sleep(0.05)
        subscribe(self, prefix)

    tower_at(nodes, address)
    monkeypatch.setattr(Subscriber, "subscribe", slowly)
    consumer = nodes.consumer(beacon_interval_s=600, peer_timeout_s=6000)
    until(lambda: consumer.introduced)


def test_nodes_that_know_each_other_go_on_without_a_tower(nodes, address):
    tower = tower_at(nodes, address)
    nodes.store()
    consumer, producer = nodes.consumer(), nodes.producer()
    fill(producer, 10)
    producer.flush(20)
    take(consumer, 10)
    tower.stop()
    sent = fill(producer, 1000, first=10)
    producer.flush(20)
    assert contents(take(consumer, 1000)) == sent


def test_nodes_without_a_tower_do_not_lose_each_other_when_their_peers_would_expire(nodes, address):
    tower = tower_at(nodes, address)
    patient = {"beacon_interval_s": 0.1, "peer_timeout_s": 0.4}
    nodes.store(**patient)
    consumer, producer = nodes.consumer(**patient), nodes.producer(**patient)
    fill(producer, 10)
    producer.flush(20)
    take(consumer, 10)
    tower.stop()
    during(1.5, lambda: consumer.poll(0) is None)
    sent = fill(producer, 100, first=10)
    producer.flush(3)
    assert contents(take(consumer, 100, 3)) == sent


def test_new_nodes_find_the_old_ones_when_the_tower_is_back(nodes, address):
    tower = tower_at(nodes, address)
    nodes.store()
    old_consumer, old_producer = nodes.consumer(), nodes.producer()
    fill(old_producer, 10)
    old_producer.flush(20)
    take(old_consumer, 10)
    tower.stop()
    new_consumer, new_producer = nodes.consumer(), nodes.producer()
    sent = fill(new_producer, 10)
    during(0.3, lambda: new_producer.acknowledged == 0 and old_consumer.poll(0) is None)
    tower_at(nodes, address)
    new_producer.flush(20)
    assert contents(take(old_consumer, 10)) == sent
    records = take(new_consumer, 20)
    for producer in (old_producer, new_producer):
        mine = [record.offset for record in records if record.partition == producer.partition]
        assert mine == list(range(10))
    news = fill(old_producer, 5, first=10)
    assert contents(take(new_consumer, 5)) == news
    assert contents(take(old_consumer, 5)) == news


def test_of_several_towers_one_may_be_dead(nodes):
    dead = tower_on(free_ports(2))
    nodes.towered()
    nodes.tower = [dead, nodes.tower]
    nodes.store()
    consumer, producer = nodes.consumer(), nodes.producer()
    sent = fill(producer, 100)
    producer.flush(20)
    assert contents(take(consumer, 100)) == sent


def test_of_several_towers_one_may_die_and_newcomers_still_find_everybody(nodes):
    first, second = nodes.towered(), nodes.towered()
    nodes.tower = [first.address, second.address]
    nodes.store()
    producer = nodes.producer()
    sent = fill(producer, 100)
    producer.flush(20)
    first.stop()
    consumer = nodes.consumer()
    assert contents(take(consumer, 100)) == sent
    more = fill(producer, 100, first=100)
    assert contents(take(consumer, 100)) == more


def test_two_towers_at_once_double_nothing(nodes):
    first, second = nodes.towered(), nodes.towered()
    nodes.tower = [first.address, second.address]
    nodes.store()
    consumer, producer = nodes.consumer(), nodes.producer()
    sent = fill(producer, 1000)
    producer.flush(20)
    assert contents(take(consumer, 1000)) == sent
    during(0.3, lambda: consumer.poll(0) is None)
    assert producer.stats().records == 1000


def test_nodes_of_different_towers_meet_through_one_they_share(nodes):
    first, second = nodes.towered(), nodes.towered()
    nodes.store(tower=[first.address, second.address])
    producer = nodes.producer(tower=first.address)
    consumer = nodes.consumer(tower=second.address)
    sent = fill(producer, 100)
    producer.flush(20)
    assert contents(take(consumer, 100)) == sent


@pytest.mark.parametrize("form", ["{sub},{pub}", "{host}:{port}", "tcp://{host}:{port}"])
def test_a_tower_can_be_named_in_several_ways(nodes, form):
    sub = free_pair()
    tower_at(nodes, tower_on([sub, sub + 1]))
    ends = tower_on([sub, sub + 1])
    nodes.tower = form.format(sub=ends.sub, pub=ends.pub, host="127.0.0.1", port=sub)
    nodes.store()
    producer = nodes.producer()
    producer.publish(b"x")
    producer.flush(20)


def test_a_tower_says_where_it_is_and_how_many_nodes_it_knows(nodes):
    tower = nodes.towered()
    assert tower.endpoint == f"{tower.address.sub},{tower.address.pub}"
    assert tower.address.sub.startswith("tcp://127.0.0.1:")
    nodes.store()
    nodes.producer()
    nodes.consumer()
    until(lambda: tower.stats().nodes == 4)  # a store is two nodes, a writer and a reader
    assert tower.malformed == 0
    assert tower.stats().refused == 0


def test_a_tower_that_listens_everywhere_names_an_address_that_works_here(nodes):
    nodes.towered(sub="tcp://*:*", pub="tcp://*:*")
    assert "0.0.0.0" not in str(nodes.tower)
    nodes.store()
    producer = nodes.producer()
    producer.publish(b"x")
    producer.flush(20)


def test_a_producer_that_went_silent_is_disconnected_and_heard_again_under_a_new_name(nodes):
    nodes.towered()
    brisk = {"beacon_interval_s": 0.1, "peer_timeout_s": 0.4}
    nodes.store(**brisk)
    consumer = nodes.consumer(**brisk)
    for turn in range(3):
        producer = nodes.producer(**brisk)
        sent = fill(producer, 50)
        assert contents(take(consumer, 50)) == sent
        assert len(consumer.position()) == turn + 1
        assert producer.stop(20) == 0
        # A store is two peers, a writer and a reader.
        until(lambda: len(consumer._wiring._connected) == 2, what="the producer's end")


def free_pair() -> int:
    """A port that is free together with the next one."""

    def pair():
        (port,) = free_ports(1)
        try:
            tower = dafka.Tower(sub=f"tcp://127.0.0.1:{port}", pub=f"tcp://127.0.0.1:{port + 1}")
            tower.start().stop()
        except dafka.ConfigError:
            return None
        return port

    return until(pair, what="two free ports in a row")
