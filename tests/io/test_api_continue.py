"""Partitions that are continued, and records that several stores must have."""

from __future__ import annotations

import gevent
import pytest

import dafka
from dafka.core import producer as core
from dafka.core.run import RECORD_COST
from dafka.io.refusals import obstacle
from protocol import Ack
from tests.support.live_nodes import fill
from tests.support.waiting import during, take, until

pytestmark = pytest.mark.io

PARTITION = "0123456789ABCDEF0123456789ABCDEF"


def numbers(records: list[dafka.Record]) -> list[tuple[int, int]]:
    return [(record.offset, int(record.content)) for record in records]


# partition= and first=


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"partition": "p"}, "partition 'p' is not a producer's address"),
        ({"partition": PARTITION.lower()}, "32 upper-case hex digits"),
        ({"first": 3}, "no partition is given"),
        ({"partition": PARTITION, "first": -1}, "first is -1"),
        ({"partition": PARTITION, "first": 1 << 63}, "it must be an offset"),
        ({"partition": PARTITION, "first": "3"}, "first is '3'"),
        ({"partition": PARTITION, "first": True}, "first is True"),
        ({"partition": PARTITION, "first": 3, "earliest": 4}, "an offset up to first, 3"),
        ({"partition": PARTITION, "earliest": -1}, "earliest is -1"),
        ({"partition": PARTITION, "first": 3, "earliest": True}, "earliest is True"),
        ({"partition": PARTITION, "outbox": "box"}, "either a partition or an outbox"),
    ],
)
def test_what_cannot_be_continued_is_refused(settings, message):
    with pytest.raises(dafka.ConfigError, match=message):
        dafka.Producer("t", **settings)


def test_consumer_of_the_latest_records_does_not_take_a_continued_partition_for_a_new_one(
    nodes, tmp_path
):
    """It subscribes while the producer is dead, and knows nothing of the partition."""
    nodes.cluster()
    outbox = tmp_path / "outbox"
    producer = nodes.producer(outbox=outbox)
    fill(producer, 100)
    assert producer.stop(20) == 0
    consumer = nodes.consumer(start="latest")
    other = nodes.producer("u")
    other.publish(b"x")
    other.flush(20)
    # Until whoever is introduced from now on counts as a newcomer.
    during(1.2, lambda: consumer.poll(0) is None)
    producer = nodes.producer(outbox=outbox)
    until(lambda: len(consumer.position()) == 1, what="the consumer knows the partition")
    assert producer.publish(b"100") == 100
    assert numbers(take(consumer, 1)) == [(100, 100)]


# min_store_acks


def test_records_are_kept_until_two_stores_have_them(nodes):
    nodes.towered()
    nodes.store()
    size = 1 + RECORD_COST
    producer = nodes.producer(min_store_acks=2, buffer_bytes=10 * size, stop_timeout_s=0.1)
    fill(producer, 10)
    until(lambda: producer._machine.stores == 1, what="one store acknowledges")
    assert (producer.acknowledged, producer.unacknowledged) == (0, 10)
    wanted = r"1 of 2 distinct stores \(min_store_acks\) has offset 0: start more stores"
    with pytest.raises(dafka.PublishTimeout, match=f"10 records fill buffer_bytes.*{wanted}"):
        producer.publish(b"x", timeout=0.05)
    with pytest.raises(dafka.PublishTimeout, match=f"10 records from offset 0 on.*{wanted}"):
        producer.flush(0.05)
    blocked = gevent.spawn(producer.publish, b"10"[:1])
    gevent.sleep(0)
    assert not blocked.ready()
    second = nodes.store()
    assert blocked.get(timeout=20) == 10
    producer.flush(20)
    assert [extent.next for extent in second.partitions()] == [11]


@pytest.mark.parametrize(
    ("wanted", "have", "there", "told"),
    [
        (1, 0, 0, "is a store running at this tower? 'dafka server' starts one"),
        (1, 0, 1, "a store is there, but does not acknowledge: see its log, "),
        (2, 0, 1, "0 of 2 distinct stores (min_store_acks) have offset 0: start more stores at "),
        (2, 1, 1, "1 of 2 distinct stores (min_store_acks) has offset 0: start more stores at "),
        (2, 1, 2, "1 of 2 distinct stores (min_store_acks) has offset 0: another store is there, "),
        (2, 0, 2, "0 of 2 distinct stores (min_store_acks) have offset 0: a store is there, but "),
    ],
)
def test_what_is_known_of_the_stores_is_told(wanted, have, there, told):
    machine = core.Producer("t", "A" * 32, dafka.ProducerConfig(min_store_acks=wanted))
    machine.publish([b"x"], 0.0)
    for store in range(have):
        machine.receive(Ack("A" * 32, "t", 0, f"{store:032}"), 0.0)
    assert obstacle(machine, there).startswith(told)


def test_without_any_store_none_of_those_asked_for_is_told(nodes, caplog):
    nodes.towered()
    producer = nodes.producer(min_store_acks=3)
    fill(producer, 2)
    assert producer.stop(0.1) == 2
    assert "0 of 3 distinct stores (min_store_acks) have offset 0" in caplog.text


def test_a_store_that_comes_back_counts_once_and_nothing_is_lost(nodes, tmp_path):
    nodes.towered()
    first, second = nodes.store(tmp_path / "a"), nodes.store(tmp_path / "b")
    producer = nodes.producer(min_store_acks=2, stop_timeout_s=0.1)
    fill(producer, 20)
    producer.flush(20)
    second.stop()
    fill(producer, 20, first=20)
    until(lambda: producer._machine._acks[first._log.identity] == 40)
    first.stop()
    first = nodes.store(tmp_path / "a")
    during(0.3, lambda: producer.acknowledged == 20)
    with pytest.raises(dafka.PublishTimeout, match="not acknowledged yet; 1 of 2 distinct stores"):
        producer.flush(0)
    second = nodes.store(tmp_path / "b")
    producer.flush(20)
    for store in (first, second):
        assert [extent.next for extent in store.partitions()] == [40]
    assert numbers(take(nodes.consumer(), 40)) == [(n, n) for n in range(40)]


def test_an_outbox_keeps_what_only_one_of_two_stores_has(nodes, tmp_path):
    nodes.towered()
    nodes.store()
    settings = {"outbox": tmp_path / "outbox", "min_store_acks": 2, "stop_timeout_s": 0.1}
    producer = nodes.producer(**settings)
    fill(producer, 5)
    until(lambda: producer._machine.stores == 1)
    assert producer.stop() == 5
    producer = nodes.producer(**settings)
    assert producer.unacknowledged == 5
    nodes.store()
    producer.flush(20)
