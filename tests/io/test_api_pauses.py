"""Several topics and patterns in one consumer, pausing, and seeking by the time of arrival."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import gevent
import pytest

import dafka
from tests.support.live_nodes import fill
from tests.support.waiting import during, take, until

pytestmark = pytest.mark.io


def offsets(records) -> list[int]:
    return [record.offset for record in records]


def by_topic(records) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record in records:
        found.setdefault(record.topic, []).append(record.offset)
    return found


def filled(nodes, topic: str, count: int) -> dafka.Producer:
    producer = nodes.producer(topic)
    fill(producer, count)
    producer.flush(20)
    return producer


class TestTopics:
    def test_they_can_be_a_list(self, nodes):
        nodes.cluster()
        for topic in ("red", "green", "blue"):
            filled(nodes, topic, 10)
        consumer = nodes.consumer(["red", "green"], "red")
        assert consumer.topics == ("red", "green")
        assert by_topic(take(consumer, 20)) == {"red": list(range(10)), "green": list(range(10))}
        during(0.1, lambda: consumer.poll(0) is None)

    def test_a_topic_whose_producer_has_gone_is_found_at_the_stores(self, nodes):
        nodes.cluster()
        producer = filled(nodes, "sensor.a", 10)
        assert producer.stop(20) == 0
        consumer = nodes.consumer("other", pattern=["sensor.[ab]", "log.*"])
        assert by_topic(take(consumer, 10)) == {"sensor.a": list(range(10))}

    def test_a_latest_consumer_of_a_pattern_gets_what_is_published_from_now_on(self, nodes):
        nodes.cluster()
        producer = filled(nodes, "sensor.a", 10)
        consumer = nodes.consumer("other", pattern="sensor.*", start="latest")
        until(lambda: consumer.position(producer.partition) == 10)
        fill(producer, 3, first=10)
        assert offsets(take(consumer, 3)) == [10, 11, 12]

    def test_nothing_at_all_is_refused(self):
        for topics in ((), ([],)):
            with pytest.raises(dafka.ConfigError, match="at least one topic, or a pattern"):
                dafka.Consumer(*topics)
        for pattern in ("a\0b", [""], [5]):
            with pytest.raises(dafka.ConfigError, match="not a pattern of topics"):
                dafka.Consumer("t", pattern=pattern)

    def test_seeking_in_a_topic_that_a_pattern_may_bring(self, nodes):
        nodes.cluster()
        consumer = nodes.consumer("other", pattern="sensor.*")
        producer = nodes.producer("sensor.a")
        with pytest.raises(dafka.ConfigError, match="name its topic"):
            consumer.seek("0" * 32, 5)
        with pytest.raises(dafka.ConfigError, match="not one of this consumer's topics"):
            consumer.seek("0" * 32, 5, topic="sensors")
        consumer.seek(producer.partition, 5, topic="sensor.a")
        fill(producer, 10)
        assert offsets(take(consumer, 5)) == [5, 6, 7, 8, 9]


class TestPausing:
    def test_it_costs_no_requests_and_no_memory(self, nodes):
        nodes.cluster()
        producer = nodes.producer()
        consumer = nodes.consumer()
        consumer.pause()
        fill(producer, 2000)
        producer.flush(20)
        until(lambda: consumer.behind() == 2000)
        fetches = consumer.stats().fetches
        during(0.5, lambda: consumer.poll(0) is None)
        assert consumer.stats().fetches == fetches
        assert consumer._machine._backlog._held == consumer._machine._pending == 0
        consumer.resume()
        assert offsets(take(consumer, 2000)) == list(range(2000))

    def test_of_a_full_consumer_lets_it_read_the_others(self, nodes):
        nodes.cluster()
        large = nodes.producer()
        for _ in range(100):
            large.publish(bytes(1000))
        large.flush(20)
        consumer = nodes.consumer(buffer_bytes=20_000)
        until(lambda: consumer._machine.full)
        consumer.pause(partition=large.partition)
        small = filled(nodes, "t", 10)
        records = take(consumer, 10)
        assert {record.partition for record in records} == {small.partition}
        consumer.resume()
        assert offsets(take(consumer, 100)) == list(range(100))

    def test_what_was_in_hand_counts_as_handled_once_the_user_comes_back(self, nodes, tmp_path):
        nodes.cluster()
        filled(nodes, "t", 100)
        settings = {"name": "x", "offsets": str(tmp_path / "o"), "commit_interval_s": 1000.0}
        consumer = nodes.consumer(**settings)
        take(consumer, 10)
        consumer.pause()
        assert consumer.poll(0) is None
        consumer.stop()
        consumer = nodes.consumer(**settings)
        assert take(consumer, 1)[0].offset == 10


class TestTime:
    """Stores' own clocks are used, so a test waits for them."""

    def test_local_time_is_meant_where_no_zone_is_given(self, nodes):
        nodes.cluster()
        producer = filled(nodes, "t", 100)
        consumer = nodes.consumer(start=datetime.now() + timedelta(seconds=30))
        until(lambda: consumer.position(producer.partition) == 100)

    def test_a_store_that_fetched_the_records_later_does_not_spoil_it(self, nodes):
        nodes.towered()
        nodes.store()
        producer = filled(nodes, "t", 100)
        gevent.sleep(0.02)
        when = datetime.now(UTC)
        gevent.sleep(0.02)
        fill(producer, 50, first=100)
        producer.flush(20)
        late = nodes.store(compare_interval_s=0.2)
        until(lambda: [extent.next for extent in late.partitions()] == [150])
        consumer = nodes.consumer(start=when)
        assert offsets(take(consumer, 50)) == list(range(100, 150))

    @pytest.mark.parametrize("when", ["2026-11-25", 5, None, datetime.min])
    def test_what_is_no_time_is_refused(self, nodes, when):
        consumer = nodes.cluster().consumer()
        with pytest.raises(dafka.ConfigError, match=r"time|since 1970"):
            consumer.seek_to_time(when)
