"""Positions: where a consumer is, exactly, and going elsewhere at any time."""

from __future__ import annotations

import pytest

import dafka
from tests.support.live_nodes import fill
from tests.support.waiting import during, take, until

pytestmark = pytest.mark.io

NOBODY = "0123456789ABCDEF" * 2


def offsets(records) -> list[int]:
    return [record.offset for record in records]


@pytest.fixture
def stored(nodes):
    """A producer with 1,000 stored records."""
    producer = nodes.cluster().producer()
    fill(producer, 1000)
    producer.flush(20)
    return producer


def knows(consumer: dafka.Consumer, *producers: dafka.Producer) -> None:
    until(lambda: all(consumer.position(p.partition) is not None for p in producers))


class TestPosition:
    def test_it_is_kept_per_partition(self, nodes, stored):
        other = nodes.producer()
        fill(other, 100)
        other.flush(20)
        consumer = nodes.consumer()
        seen = {stored.partition: 0, other.partition: 0}
        knows(consumer, stored, other)
        for _ in range(1100):
            (record,) = take(consumer, 1)
            assert record.offset == seen[record.partition]
            seen[record.partition] += 1
            assert consumer.position() == seen
        assert seen == {stored.partition: 1000, other.partition: 100}


class TestSeek:
    def test_of_a_latest_consumer_to_a_stored_partition_it_has_not_met(self, nodes, stored):
        consumer = nodes.consumer(start="latest")
        consumer.seek(stored.partition, 990)
        assert offsets(take(consumer, 10)) == list(range(990, 1000))

    def test_to_the_end_waits_for_what_comes(self, nodes, stored):
        consumer = nodes.consumer()
        consumer.seek(stored.partition, 1000)
        during(0.1, lambda: consumer.poll(0) is None)
        stored.publish(b"news")
        assert take(consumer, 1)[0].content == b"news"

    def test_of_one_partition_leaves_the_others_alone(self, nodes, stored):
        other = nodes.producer()
        fill(other, 100)
        other.flush(20)
        consumer = nodes.consumer()
        take(consumer, 1100)
        consumer.seek(other.partition, 90)
        records = take(consumer, 10)
        assert {record.partition for record in records} == {other.partition}
        assert offsets(records) == list(range(90, 100))
        assert consumer.position() == {stored.partition: 1000, other.partition: 100}
        during(0.1, lambda: consumer.poll(0) is None)

    def test_of_a_full_consumer_lets_it_read_again(self, nodes, stored):
        consumer = nodes.consumer(buffer_bytes=5000)
        until(lambda: consumer.stats().records >= 50)
        consumer.seek(stored.partition, 900)
        assert offsets(take(consumer, 100)) == list(range(900, 1000))

    def test_names_the_topic_where_it_could_be_any(self, nodes):
        consumer = nodes.cluster().consumer("red", "green")
        with pytest.raises(dafka.ConfigError, match="name its topic"):
            consumer.seek(NOBODY, 0)
        with pytest.raises(dafka.ConfigError, match="'blue' is not one of this consumer's topics"):
            consumer.seek(NOBODY, 0, topic="blue")
        producer = nodes.producer("green")
        consumer.seek(producer.partition, 5, topic="green")
        fill(producer, 10)
        assert offsets(take(consumer, 5)) == list(range(5, 10))

    @pytest.mark.parametrize("partition", ["", "0123", NOBODY.lower(), NOBODY + "0", None])
    def test_refuses_what_is_no_partition(self, nodes, partition):
        consumer = nodes.cluster().consumer()
        with pytest.raises(dafka.ConfigError, match="32 upper-case hex digits"):
            consumer.seek(partition, 0)


class TestSeekAll:
    def test_to_earliest_of_a_latest_consumer_finds_old_partitions(self, nodes):
        nodes.cluster()
        dead = nodes.producer()
        fill(dead, 50)
        dead.stop(20)
        consumer = nodes.consumer(start="latest")
        during(0.3, lambda: consumer.poll(0) is None)
        consumer.seek_to_earliest()
        assert offsets(take(consumer, 50)) == list(range(50))

    def test_to_latest_delivers_a_producer_that_starts_later(self, nodes, stored):
        consumer = nodes.consumer()
        take(consumer, 1000)
        consumer.seek_to_latest()
        newcomer = nodes.producer()
        fill(newcomer, 30)
        records = take(consumer, 30)
        assert {record.partition for record in records} == {newcomer.partition}
        assert offsets(records) == list(range(30))


def test_the_end_that_is_known_is_not_where_somebody_sought(nodes):
    producer = nodes.cluster().producer()
    for number in range(4):
        producer.publish(b"%d" % number)
    producer.flush(20)
    consumer = nodes.consumer()
    assert [record.offset for record in take(consumer, 4)] == [0, 1, 2, 3]
    consumer.seek(producer.partition, 100)
    consumer.seek_to_latest()
    assert consumer.position(producer.partition) == 4
    producer.publish(b"new")
    assert [record.offset for record in take(consumer, 1)] == [4]
    consumer.seek(producer.partition, 100)
    consumer.seek_to_earliest()
    assert [record.offset for record in take(consumer, 5)] == [0, 1, 2, 3, 4]
    assert consumer.behind() == 0


@pytest.mark.parametrize("offset", [-1, 1.0, "1", True, 1 << 64, None])
def test_what_is_no_offset_is_refused_in_a_sentence(nodes, offset):
    consumer = nodes.cluster().consumer()
    with pytest.raises(dafka.ConfigError, match="is no offset"):
        consumer.seek("A" * 32, offset)
    with pytest.raises(dafka.ConfigError, match="is no offset"):
        dafka.Consumer("t", start={"A" * 32: offset})
