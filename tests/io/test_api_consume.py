"""Delivery: in order, once, of exactly the topics asked for, from where it was asked for."""

from __future__ import annotations

from collections import defaultdict
from time import monotonic

import gevent
import pytest

import dafka
from tests.support.live_nodes import fill
from tests.support.waiting import during, take, until

pytestmark = pytest.mark.io


def contents(records) -> list[bytes]:
    return [record.content for record in records]


def offsets(records) -> list[int]:
    return [record.offset for record in records]


def knows(consumer: dafka.Consumer, producer: dafka.Producer) -> None:
    """Wait until a consumer has found a producer's partition."""
    until(lambda: consumer.position(producer.partition) is not None, what="the partition")


class TestDelivery:
    def test_sixteen_producers_interleaved_arrive_in_order_per_partition(self, nodes):
        nodes.cluster()
        consumer = nodes.consumer()
        producers = [nodes.producer() for _ in range(16)]

        def publish(producer):
            for at in range(2000):
                assert producer.publish(b"%d %s" % (at, producer.address.encode())) == at
                if not at % 50:
                    gevent.sleep(0)

        publishing = [gevent.spawn(publish, producer) for producer in producers]
        seen = defaultdict(int)
        switches, last = 0, None
        for record in take(consumer, 32_000, 40):
            assert record.offset == seen[record.partition]
            assert record.content == b"%d %s" % (record.offset, record.partition.encode())
            seen[record.partition] += 1
            switches += record.partition != last
            last = record.partition
        gevent.joinall(publishing, raise_error=True)
        assert seen == {producer.address: 2000 for producer in producers}
        assert switches > 16  # they were interleaved
        assert consumer.poll(0) is None

    @pytest.mark.parametrize("topic", ["ä topic with späces", "x" * 255, "a/b.c*", "\x01\x7f"])
    def test_unusual_topics_work(self, nodes, topic):
        nodes.cluster()
        consumer, producer = nodes.consumer(topic), nodes.producer(topic)
        producer.publish(b"x")
        assert take(consumer, 1) == [dafka.Record(topic, producer.partition, 0, b"x")]

    def test_a_topic_given_twice_counts_once(self, nodes):
        nodes.cluster()
        consumer, producer = nodes.consumer("t", "t"), nodes.producer()
        fill(producer, 10)
        assert offsets(take(consumer, 10)) == list(range(10))
        assert consumer.poll(0.1) is None

    def test_records_of_ten_megabytes_survive_live_and_in_replay(self, nodes):
        nodes.cluster()
        live, producer = nodes.consumer(), nodes.producer()
        sent = [bytes([at]) * 10_000_000 + b"end %d" % at for at in range(3)]
        for content in sent:
            producer.publish(content, timeout=20)
        producer.flush(30)
        assert contents(take(live, 3)) == sent
        assert contents(take(nodes.consumer(), 3, 30)) == sent

    def test_a_slow_consumer_loses_at_its_mark_and_still_gets_everything_once(self, nodes):
        def content(at: int) -> bytes:
            return (b"%d " % at).ljust(2_000, b".")

        nodes.cluster()
        # At most 200 messages of 64 KiB wait for it, which are less than half of all records.
        consumer = nodes.consumer(buffer_bytes=200_000, high_water_mark=100)
        producer = nodes.producer(high_water_mark=100)
        producer.publish(content(0))
        assert take(consumer, 1)[0].content == content(0)
        fetches = consumer.stats().fetches
        for at in range(1, 16_000):
            producer.publish(content(at))
        producer.flush(30)
        for at, record in enumerate(take(consumer, 15_999, 40), 1):
            assert (record.offset, record.content) == (at, content(at))
        assert consumer.stats().fetches > fetches, "nothing was lost, so nothing was shown"
        during(0.1, lambda: consumer.poll(0) is None)


class TestStart:
    def test_earliest_begins_with_the_first_record(self, nodes):
        producer = nodes.cluster().producer()
        sent = fill(producer, 100)
        producer.flush(20)
        assert contents(take(nodes.consumer(start="earliest"), 100)) == sent

    def test_latest_is_the_default(self, nodes):
        producer = nodes.cluster().producer()
        fill(producer, 3)
        producer.flush(20)
        consumer = nodes.add(dafka.Consumer("t", tower=nodes.tower, bind="tcp://127.0.0.1:*"))
        knows(consumer, producer)
        producer.publish(b"news")
        assert take(consumer, 1)[0].content == b"news"

    def test_latest_does_not_deliver_what_a_dead_producer_left(self, nodes):
        nodes.cluster()
        dead = nodes.producer()
        fill(dead, 10)
        dead.stop(20)
        consumer, producer = nodes.consumer(start="latest"), nodes.producer()
        fill(producer, 5)
        assert {record.partition for record in take(consumer, 5)} == {producer.partition}
        during(0.3, lambda: consumer.poll(0) is None)

    def test_an_offset_is_where_every_partition_begins(self, nodes):
        nodes.cluster()
        producers = [nodes.producer() for _ in range(3)]
        for producer in producers:
            fill(producer, 50)
            producer.flush(20)
        consumer = nodes.consumer(start=40)
        records = take(consumer, 30)
        for producer in producers:
            mine = [r for r in records if r.partition == producer.partition]
            assert offsets(mine) == list(range(40, 50))

    def test_an_offset_ahead_of_the_partition_waits_for_it(self, nodes):
        producer = nodes.cluster().producer()
        fill(producer, 10)
        producer.flush(20)
        consumer = nodes.consumer(start=15)
        knows(consumer, producer)
        fill(producer, 10, first=10)
        assert offsets(take(consumer, 5)) == list(range(15, 20))


class TestPolling:
    def test_a_user_that_never_waits_still_lets_other_nodes_work(self, nodes):
        nodes.cluster()
        producer, consumer = nodes.producer(), nodes.consumer()
        fill(producer, 20_000)
        producer.flush(30)
        until(lambda: consumer.position(producer.partition) is not None)
        turns = 0

        def other():
            nonlocal turns
            while True:
                turns += 1
                gevent.sleep(0)

        beside = gevent.spawn(other)
        for _ in consumer.runs(timeout=0):
            end = monotonic() + 0.03
            while monotonic() < end:
                pass  # the user's own work
        for _ in range(3):
            consumer.poll(0)
        beside.kill()
        assert turns >= 3
