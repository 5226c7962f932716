"""Publishing: offsets, acknowledgements, and what happens at the buffer's bound."""

from __future__ import annotations

from time import monotonic

import gevent
import pytest

import dafka
from dafka.core.actions import SendRun
from dafka.core.run import RECORD_COST
from tests.support.live_nodes import LOOPBACK, fill
from tests.support.waiting import during, take, until

pytestmark = pytest.mark.io


def full_producer(nodes, records: int = 10, **settings) -> dafka.Producer:
    """A producer without a store whose buffer is filled by so many records of 36 bytes."""
    cost = 36 + RECORD_COST
    producer = nodes.producer(buffer_bytes=records * cost, stop_timeout_s=0.1, **settings)
    for at in range(records):
        assert producer.publish(b"%036d" % at) == at
    return producer


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


def test_offsets_count_from_zero_and_a_flush_acknowledges_them_all(nodes):
    producer = nodes.cluster().producer()
    assert [producer.publish(b"x") for _ in range(1000)] == list(range(1000))
    assert producer.next_offset == 1000
    producer.flush(20)
    assert (producer.acknowledged, producer.unacknowledged) == (1000, 0)
    assert producer.publish(b"x") == 1000
    assert producer.next_offset == 1001


def test_a_flush_of_nothing_returns_at_once_without_a_store(nodes):
    nodes.towered()
    nodes.producer().flush(timeout=0)


def test_what_a_flush_has_seen_is_stored(nodes):
    nodes.towered()
    store = nodes.store()
    producer = nodes.producer()
    fill(producer, 300)
    producer.flush(20)
    (extent,) = store.partitions()
    assert (extent.topic, extent.partition) == ("t", producer.partition)
    assert (extent.earliest, extent.next) == (0, 300)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_bytes_like_contents_are_copied_when_they_are_published(nodes, kind):
    nodes.cluster()
    producer, consumer = nodes.producer(), nodes.consumer()
    changing = bytearray(b"before")
    producer.publish(kind(changing))
    changing[:] = b"after!"
    assert take(consumer, 1)[0].content == b"before"


def test_text_is_refused_with_the_advice_to_encode_it(nodes):
    producer = nodes.cluster().producer()
    with pytest.raises(dafka.ConfigError, match="encode"):
        producer.publish("text")
    for wrong in (7, None, [b"x"]):
        with pytest.raises(dafka.ConfigError, match=f"not {type(wrong).__name__}"):
            producer.publish(wrong)
    assert producer.publish(b"next") == 0


def test_a_record_larger_than_the_buffer_is_refused_and_takes_no_offset(nodes):
    producer = nodes.cluster().producer(buffer_bytes=1000)
    largest = 1000 - RECORD_COST
    with pytest.raises(dafka.ConfigError, match=rf"{largest + 1} bytes .*buffer_bytes \(1000\)"):
        producer.publish(bytes(largest + 1))
    assert producer.publish(bytes(largest), timeout=20) == 0
    producer.flush(20)


def test_publish_gives_up_after_its_timeout_and_accepted_nothing(nodes):
    nodes.towered()
    producer = full_producer(nodes, 10)
    began = monotonic()
    with pytest.raises(dafka.PublishTimeout, match="10 records fill buffer_bytes") as caught:
        producer.publish(b"too much" * 5, timeout=0.2)
    assert 0.19 <= monotonic() - began < 5
    assert caught.value.unacknowledged == 10
    assert isinstance(caught.value, TimeoutError)
    assert producer.next_offset == 10


@pytest.mark.alone
def test_publish_with_a_zero_timeout_does_not_wait(nodes):
    nodes.towered()
    producer = full_producer(nodes, 10)
    began = monotonic()
    with pytest.raises(dafka.PublishTimeout):
        producer.publish(bytes(36), timeout=0)
    assert monotonic() - began < 0.5


def test_everything_accepted_arrives_when_a_store_appears_at_last(nodes):
    nodes.towered()
    producer = full_producer(nodes, 10)
    with pytest.raises(dafka.PublishTimeout):
        producer.publish(bytes(36), timeout=0.1)
    blocked = gevent.spawn(producer.publish, b"%036d" % 10)
    during(0.3, lambda: not blocked.ready(), "the publish that has to wait")
    nodes.store()
    assert blocked.get(timeout=20) == 10
    producer.flush(20)
    records = take(nodes.consumer(), 11)
    assert [(r.offset, int(r.content)) for r in records] == [(n, n) for n in range(11)]


def test_a_flush_that_times_out_tells_how_many_are_left_and_gives_nothing_up(nodes):
    nodes.towered()
    producer = nodes.producer(stop_timeout_s=0.1)
    fill(producer, 7)
    began = monotonic()
    with pytest.raises(dafka.PublishTimeout, match="7 records from offset 0") as caught:
        producer.flush(timeout=0.2)
    assert 0.19 <= monotonic() - began < 5
    assert caught.value.unacknowledged == 7
    nodes.store()
    producer.flush(20)
    assert producer.unacknowledged == 0


def test_the_count_of_a_flush_is_what_stores_lack_not_all_that_was_published(nodes):
    nodes.towered()
    store = nodes.store()
    producer = nodes.producer(stop_timeout_s=0.1)
    fill(producer, 5)
    producer.flush(20)
    store.stop()
    fill(producer, 3)
    with pytest.raises(dafka.PublishTimeout, match="3 records from offset 5") as caught:
        producer.flush(timeout=0.2)
    assert caught.value.unacknowledged == 3


def test_a_blocked_publish_goes_on_as_soon_as_there_is_room_again_and_again(nodes):
    nodes.cluster()
    producer = nodes.producer(buffer_bytes=20 * (4 + RECORD_COST))
    for at in range(2000):
        assert producer.publish(b"%04d" % at, timeout=20) == at
    producer.flush(20)
    records = take(nodes.consumer(), 2000)
    assert [int(record.content) for record in records] == list(range(2000))


def test_several_greenlets_that_wait_for_room_all_get_their_turn(nodes):
    nodes.towered()
    producer = full_producer(nodes, 10)
    blocked = [gevent.spawn(producer.publish, b"%036d" % at, 20) for at in range(10, 30)]
    gevent.sleep(0)
    assert not any(greenlet.ready() for greenlet in blocked)
    nodes.store()
    offsets = [greenlet.get(timeout=20) for greenlet in blocked]
    assert sorted(offsets) == list(range(10, 30))
    producer.flush(20)
    contents = [int(record.content) for record in take(nodes.consumer(), 30)]
    assert contents[:10] == list(range(10))
    assert sorted(contents) == list(range(30))


def test_publish_returns_while_nobody_is_there_and_the_records_wait(nodes):
    nodes.towered()
    producer = nodes.producer()
    fill(producer, 5000)
    nodes.store()
    producer.flush(20)
    assert until(lambda: producer.acknowledged == 5000)


def test_stop_returns_the_number_of_records_left_and_warns(nodes, caplog):
    nodes.towered()
    producer = nodes.producer()
    fill(producer, 4)
    assert producer.stop(timeout=0.1) == 4
    assert "4 records from offset 0" in caplog.text
    assert producer.stop() == 4


def test_stop_waits_for_acknowledgements_and_then_returns_zero(nodes, caplog):
    producer = nodes.cluster().producer()
    fill(producer, 5000)
    assert producer.stop(20) == 0
    assert caplog.text == ""


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
