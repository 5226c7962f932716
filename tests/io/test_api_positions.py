"""Positions: where a consumer is, exactly, and going elsewhere at any time."""

from __future__ import annotations

import gevent
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
    def test_an_unknown_partition_has_none(self, nodes):
        consumer = nodes.cluster().consumer()
        assert consumer.position() == {}
        assert consumer.position(NOBODY) is None

    def test_it_is_the_next_offset_after_every_poll(self, nodes, stored):
        consumer = nodes.consumer()
        knows(consumer, stored)
        assert consumer.position(stored.partition) == 0
        for at in range(1000):
            assert consumer.position(stored.partition) == at
            assert take(consumer, 1)[0].offset == at
            assert consumer.position() == {stored.partition: at + 1}

    def test_it_does_not_count_what_only_waits_to_be_taken(self, nodes, stored):
        consumer = nodes.consumer()
        until(lambda: consumer.stats().records == 1000, what="all records received")
        assert consumer.position(stored.partition) == 0
        take(consumer, 3)
        assert consumer.position(stored.partition) == 3

    def test_it_counts_a_run_once_it_is_given(self, nodes, stored):
        consumer = nodes.consumer()
        take(consumer, 5)
        run = next(consumer.runs(20))
        assert run.first == 5
        assert consumer.position(stored.partition) == run.next

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

    def test_it_can_be_asked_for_after_stop(self, nodes, stored):
        consumer = nodes.consumer()
        take(consumer, 10)
        consumer.stop()
        assert consumer.position(stored.partition) == 10

    def test_behind_is_zero_once_everything_was_received(self, nodes, stored):
        consumer = nodes.consumer()
        take(consumer, 1000)
        assert consumer.behind() == 0


class TestSeek:
    def test_back_and_ahead(self, nodes, stored):
        consumer = nodes.consumer()
        take(consumer, 100)
        for offset in (0, 999, 50, 50, 500, 998):
            consumer.seek(stored.partition, offset)
            assert consumer.position(stored.partition) == offset
            count = min(7, 1000 - offset)
            assert offsets(take(consumer, count)) == list(range(offset, offset + count))
            assert consumer.position(stored.partition) == offset + count

    def test_in_the_middle_of_a_run(self, nodes, stored):
        consumer = nodes.consumer()
        until(lambda: consumer.stats().records == 1000)
        assert offsets(take(consumer, 2)) == [0, 1]
        consumer.seek(stored.partition, 700)
        assert consumer.poll(0) is None or consumer.position(stored.partition) == 701
        consumer.seek(stored.partition, 1)
        assert offsets(take(consumer, 999)) == list(range(1, 1000))
        during(0.1, lambda: consumer.poll(0) is None)

    def test_after_part_of_the_runs(self, nodes, stored):
        consumer = nodes.consumer()
        runs = consumer.runs(20)
        first = next(runs)
        consumer.seek(stored.partition, first.first)
        again = next(runs)
        assert again.first == first.first
        assert again.contents[0] == first.contents[0]

    def test_back_and_ahead_while_records_keep_coming(self, nodes, stored):
        consumer = nodes.consumer()
        ended = False

        def publish():
            at = 1000
            while not ended:
                stored.publish(b"%d" % at)
                at += 1
                if not at % 20:
                    gevent.sleep(0.001)

        publishing = gevent.spawn(publish)
        try:
            for turn in range(30):
                offset = (turn * 137) % 1000
                consumer.seek(stored.partition, offset)
                for at, record in enumerate(take(consumer, 150), offset):
                    assert (record.offset, record.content) == (at, b"%d" % at)
        finally:
            ended = True
            publishing.join()
        stored.flush(20)
        last = stored.next_offset
        at = consumer.position(stored.partition)
        assert offsets(take(consumer, last - at)) == list(range(at, last))

    def test_to_a_partition_that_is_not_known_yet(self, nodes):
        consumer = nodes.cluster().consumer()
        early = dafka.Producer("t", tower=nodes.tower, bind="tcp://127.0.0.1:*")
        consumer.seek(early.partition, 40)
        assert consumer.position(early.partition) == 40
        nodes.add(early)
        fill(early, 100)
        assert offsets(take(consumer, 60)) == list(range(40, 100))

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

    def test_beyond_the_end_waits_for_that_offset(self, nodes, stored):
        consumer = nodes.consumer()
        consumer.seek(stored.partition, 1005)
        fill(stored, 10, first=1000)
        assert offsets(take(consumer, 5)) == list(range(1005, 1010))

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

    def test_refuses_a_negative_offset(self, nodes):
        consumer = nodes.cluster().consumer()
        with pytest.raises(dafka.ConfigError, match="offset -1 is no offset"):
            consumer.seek(NOBODY, -1)

    def test_before_the_start_is_refused(self, nodes):
        nodes.cluster()
        consumer = dafka.Consumer("t", tower=nodes.tower)
        with pytest.raises(dafka.Closed, match="has not been started"):
            consumer.seek(NOBODY, 0)

    @pytest.mark.parametrize("call", ["seek", "seek_to_earliest", "seek_to_latest"])
    def test_after_the_stop_is_refused(self, nodes, stored, call):
        consumer = nodes.consumer()
        take(consumer, 1)
        consumer.stop()
        with pytest.raises(dafka.Closed):
            getattr(consumer, call)(*((stored.partition, 0) if call == "seek" else ()))


class TestSeekAll:
    def test_to_earliest_gives_every_partition_again(self, nodes, stored):
        other = nodes.producer()
        fill(other, 100)
        other.flush(20)
        consumer = nodes.consumer()
        first = take(consumer, 1100)
        consumer.seek_to_earliest()
        assert consumer.position() == {stored.partition: 0, other.partition: 0}
        again = take(consumer, 1100)
        for producer in (stored, other):
            mine = [
                [r for r in half if r.partition == producer.partition] for half in (first, again)
            ]
            assert mine[0] == mine[1]
        during(0.1, lambda: consumer.poll(0) is None)

    def test_to_earliest_of_a_latest_consumer_finds_old_partitions(self, nodes):
        nodes.cluster()
        dead = nodes.producer()
        fill(dead, 50)
        dead.stop(20)
        consumer = nodes.consumer(start="latest")
        during(0.3, lambda: consumer.poll(0) is None)
        consumer.seek_to_earliest()
        assert offsets(take(consumer, 50)) == list(range(50))

    def test_to_latest_skips_what_is_known(self, nodes, stored):
        consumer = nodes.consumer()
        take(consumer, 10)
        until(lambda: consumer.stats().records == 1000)
        consumer.seek_to_latest()
        assert consumer.position() == {stored.partition: 1000}
        during(0.1, lambda: consumer.poll(0) is None)
        fill(stored, 5, first=1000)
        assert offsets(take(consumer, 5)) == list(range(1000, 1005))

    def test_to_latest_and_to_earliest_in_turn(self, nodes, stored):
        consumer = nodes.consumer()
        take(consumer, 1)
        for _ in range(5):
            consumer.seek_to_latest()
            until(lambda: consumer.position(stored.partition) == 1000)
            consumer.seek_to_earliest()
            assert offsets(take(consumer, 20)) == list(range(20))

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
