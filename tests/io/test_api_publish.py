"""Publishing: offsets, acknowledgements, and what happens at the buffer's bound."""

from __future__ import annotations

import gevent
import pytest

import dafka
from dafka.core.actions import SendRun
from tests.support.live_nodes import LOOPBACK, fill
from tests.support.waiting import take, until

pytestmark = pytest.mark.io


def test_the_quickstart_publishes_flushes_and_delivers(tmp_path):
    with dafka.Cluster(tmp_path) as cluster:
        with dafka.Producer("hello", tower=cluster.tower, bind=LOOPBACK) as producer:
            assert producer.publish(b"A first event") == 0
            producer.flush(timeout=20)
        with dafka.Consumer(
            "hello", start="earliest", tower=cluster.tower, bind=LOOPBACK
        ) as consumer:
            record = consumer.poll(timeout=20)
    assert record == dafka.Record("hello", producer.address, 0, b"A first event")


def test_what_a_flush_has_seen_is_stored(nodes):
    nodes.towered()
    store = nodes.store()
    producer = nodes.producer()
    fill(producer, 300)
    producer.flush(20)
    (extent,) = store.partitions()
    assert (extent.topic, extent.partition) == ("t", producer.partition)
    assert (extent.earliest, extent.next) == (0, 300)


def test_publish_returns_while_nobody_is_there_and_the_records_wait(nodes):
    nodes.towered()
    producer = nodes.producer()
    fill(producer, 5000)
    nodes.store()
    producer.flush(20)
    assert until(lambda: producer.acknowledged == 5000)


def test_a_record_that_no_store_takes_is_refused_whatever_the_buffer(nodes, monkeypatch):
    from dafka.io import refusals

    monkeypatch.setattr(refusals, "MAX_CONTENT_BYTES", 1000)
    producer = nodes.cluster().producer()
    with pytest.raises(dafka.ConfigError, match="1001 bytes is too large for every store"):
        producer.publish(bytes(1001))
    assert producer.publish(bytes(1000)) == 0
    producer.flush(20)


def test_what_another_greenlet_publishes_meanwhile_keeps_its_offsets(nodes):
    nodes.cluster()
    producer = nodes.producer()
    published = [(producer.publish(b"0"), b"0")]

    def publish(*contents: bytes) -> None:
        published.extend((producer.publish(content), content) for content in contents)

    gevent.sleep(0.01)  # so long that `publish_many` lets others work
    other = gevent.spawn(publish, b"1", b"2", b"3")
    first = producer.publish_many([b"many"] * 20)
    assert other.dead
    published += enumerate([b"many"] * 20, first)
    records = take(nodes.consumer(), 24)
    assert [(record.offset, record.content) for record in records] == sorted(published)


@pytest.mark.parametrize("part", range(3))
def test_an_interrupt_while_many_records_leave_keeps_the_rest_for_later(nodes, monkeypatch, part):
    nodes.cluster()
    producer = nodes.producer()
    send, calls = producer.driver.perform, [0]

    def interrupted(actions) -> None:
        if any(isinstance(action, SendRun) for action in actions):
            calls[0] += 1
            if calls[0] == 1 + part:
                raise KeyboardInterrupt
        send(actions)

    monkeypatch.setattr(producer.driver, "perform", interrupted)
    contents = [b"%d" % number * 1000 for number in range(200)]
    with pytest.raises(KeyboardInterrupt):
        producer.publish_many(contents)
    assert producer.next_offset == 200
    assert producer.publish(b"after") == 200
    producer.flush(5)
    records = take(nodes.consumer(), 201)
    assert [record.content for record in records] == [*contents, b"after"]
