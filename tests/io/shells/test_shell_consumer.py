"""Delivery, whatever the shell: in order, once, of the topics asked for; polls, runs, iteration."""

from __future__ import annotations

from collections import Counter
from time import monotonic

import pytest

from tests.support.live_nodes import fill, publish_each
from tests.support.waiting import DEADLINE_S, during, take, until

pytestmark = pytest.mark.io


def contents(records) -> list[bytes]:
    return [record.content for record in records]


def offsets(records) -> list[int]:
    return [record.offset for record in records]


def knows(consumer, producer) -> None:
    """Wait until a consumer has found a producer's partition."""
    until(lambda: consumer.position(producer.partition) is not None, what="the partition")


class TestDelivery:
    def test_one_consumer_takes_several_topics(self, nodes):
        nodes.cluster()
        consumer = nodes.consumer("red", "green")
        producers = {topic: nodes.producer(topic) for topic in ("red", "green", "blue")}
        for topic, producer in producers.items():
            for at in range(100):
                producer.publish(b"%s %d" % (topic.encode(), at))
        for producer in producers.values():
            producer.flush(20)
        records = take(consumer, 200)
        assert Counter(record.topic for record in records) == {"red": 100, "green": 100}
        for topic in ("red", "green"):
            mine = [record for record in records if record.topic == topic]
            assert offsets(mine) == list(range(100))
            assert contents(mine) == [b"%s %d" % (topic.encode(), at) for at in range(100)]
        during(0.1, lambda: consumer.poll(0) is None)

    def test_a_topic_is_exact_and_no_prefix(self, nodes):
        nodes.cluster()
        live, late = nodes.consumer("metrics"), None
        longer, exact, shorter = (
            nodes.producer(topic) for topic in ("metrics2", "metrics", "metric")
        )
        for producer in (longer, exact, shorter):
            fill(producer, 50)
            producer.flush(20)
        late = nodes.consumer("metrics")
        for consumer in (live, late):
            records = take(consumer, 50)
            assert {(r.topic, r.partition) for r in records} == {("metrics", exact.partition)}
            during(0.1, lambda consumer=consumer: consumer.poll(0) is None)
            assert set(consumer.position()) == {exact.partition}

    def test_empty_records_and_all_bytes_survive(self, nodes):
        nodes.cluster()
        live, producer = nodes.consumer(), nodes.producer()
        sent = [b"", b"\0", b"", bytes(range(256)), b"\n", *(bytes([n]) for n in range(256)), b""]
        for content in sent:
            producer.publish(content)
        producer.flush(20)
        assert contents(take(live, len(sent))) == sent
        assert contents(take(nodes.consumer(), len(sent))) == sent

    def test_consumers_do_not_share_they_all_get_everything(self, nodes):
        nodes.cluster()
        consumers, producer = [nodes.consumer() for _ in range(5)], nodes.producer()
        sent = fill(producer, 500)
        for consumer in consumers:
            assert contents(take(consumer, 500)) == sent

    def test_a_late_consumer_gets_what_a_dead_producer_left(self, nodes):
        nodes.cluster()
        producer = nodes.producer()
        sent = fill(producer, 3000)
        assert producer.stop(20) == 0
        late = nodes.consumer()
        assert contents(take(late, 3000)) == sent
        during(0.1, lambda: late.poll(0) is None)

    def test_a_live_consumer_needs_no_store(self, nodes):
        nodes.towered()
        consumer, producer = nodes.consumer(), nodes.producer(stop_timeout_s=0)
        sent = fill(producer, 500)
        assert contents(take(consumer, 500)) == sent

    def test_a_consumer_that_takes_nothing_holds_no_more_than_its_buffer(self, nodes):
        nodes.cluster()
        consumer, producer = nodes.consumer(buffer_bytes=100_000), nodes.producer()
        publish_each(producer, [bytes(100)] * 20_000)
        producer.flush(30)
        until(lambda: consumer.stats().bytes * 164 >= 100_000 * 100, what="a full buffer")
        received = consumer.stats().bytes
        assert received < 1_000_000
        during(0.5, lambda: consumer.stats().bytes == received, "a consumer that is full")
        assert offsets(take(consumer, 20_000, 30)) == list(range(20_000))


class TestStart:
    def test_latest_gives_only_what_follows_the_subscription(self, nodes):
        producer = nodes.cluster().producer()
        fill(producer, 100)
        producer.flush(20)
        consumer = nodes.consumer(start="latest")
        knows(consumer, producer)
        assert consumer.position() == {producer.partition: 100}
        fill(producer, 50, first=100)
        assert offsets(take(consumer, 50)) == list(range(100, 150))

    def test_latest_delivers_a_producer_that_starts_later_from_its_first_record(self, nodes):
        nodes.cluster()
        old = nodes.producer()
        fill(old, 10)
        old.flush(20)
        consumer = nodes.consumer(start="latest")
        knows(consumer, old)
        for _ in range(3):
            producer = nodes.producer()
            sent = fill(producer, 200)  # before they can be connected
            records = take(consumer, 200)
            assert contents(records) == sent
            assert {record.partition for record in records} == {producer.partition}

    def test_a_mapping_names_offsets_and_other_partitions_begin_at_their_first(self, nodes):
        nodes.cluster()
        named, other = nodes.producer(), nodes.producer()
        for producer in (named, other):
            fill(producer, 50)
            producer.flush(20)
        consumer = nodes.consumer(start={named.partition: 45})
        records = take(consumer, 55)
        assert offsets(r for r in records if r.partition == named.partition) == list(range(45, 50))
        assert offsets(r for r in records if r.partition == other.partition) == list(range(50))

    def test_positions_taken_from_one_consumer_continue_in_the_next(self, nodes):
        nodes.cluster()
        producers = [nodes.producer() for _ in range(3)]
        for producer in producers:
            fill(producer, 100)
            producer.flush(20)
        first = nodes.consumer()
        seen = take(first, 137)
        positions = first.position()
        first.stop()
        second = nodes.consumer(start=positions)
        seen += take(second, 300 - 137)
        for producer in producers:
            mine = [record for record in seen if record.partition == producer.partition]
            assert offsets(mine) == list(range(100))
        assert second.poll(0.1) is None


class TestPolling:
    @pytest.mark.alone
    def test_a_zero_timeout_never_waits(self, nodes):
        consumer = nodes.cluster().consumer()
        began = monotonic()
        assert [consumer.poll(timeout=0) for _ in range(100)] == [None] * 100
        assert monotonic() - began < 1

    def test_polling_with_zero_alone_lets_the_consumer_work(self, nodes):
        nodes.cluster()
        consumer, producer = nodes.consumer(), nodes.producer()
        fill(producer, 10)
        end, seen = monotonic() + DEADLINE_S, []
        while len(seen) < 10 and monotonic() < end:
            record = consumer.poll(0)
            if record is not None:
                seen.append(record.offset)
        assert seen == list(range(10))

    def test_a_timeout_is_kept(self, nodes):
        consumer = nodes.cluster().consumer()
        began = monotonic()
        assert consumer.poll(0.2) is None
        assert 0.19 <= monotonic() - began < 2

    def test_a_poll_that_waits_returns_as_soon_as_a_record_comes(self, nodes):
        nodes.cluster()
        consumer, producer = nodes.consumer(), nodes.producer()
        fill(producer, 1)
        take(consumer, 1)
        waiting = nodes.spawn(consumer.poll, 60)
        during(0.1, lambda: not waiting.ready())
        producer.publish(b"now")
        assert waiting.get(timeout=5).content == b"now"

    def test_runs_are_consecutive_and_end_after_their_timeout(self, nodes):
        nodes.cluster()
        producer, consumer = nodes.producer(), nodes.consumer()
        sent = fill(producer, 5000)
        producer.flush(20)
        came: list[bytes] = []
        for run in consumer.runs(timeout=20):
            assert (run.topic, run.partition) == ("t", producer.partition)
            assert run.first == len(came)
            came += run.contents
            if len(came) >= 5000:
                break
        assert came == sent
        began = monotonic()
        assert list(consumer.runs(timeout=0.2)) == []
        assert 0.19 <= monotonic() - began < 2

    def test_runs_with_a_zero_timeout_give_what_is_there(self, nodes):
        consumer = nodes.cluster().consumer()
        assert list(consumer.runs(timeout=0)) == []

    def test_runs_after_a_poll_begin_with_the_rest_of_its_run(self, nodes):
        nodes.cluster()
        producer, consumer = nodes.producer(), nodes.consumer()
        fill(producer, 100)
        producer.flush(20)
        assert offsets(take(consumer, 7)) == list(range(7))
        came = [b"%d" % at for at in range(7)]
        while len(came) < 100:
            run = next(consumer.runs(20))
            assert run.first == len(came)
            came += run.contents
        assert came == [b"%d" % at for at in range(100)]
        fill(producer, 1, first=100)
        assert offsets(take(consumer, 1)) == [100]

    def test_iterating_gives_records_until_somebody_stops_the_consumer(self, nodes):
        nodes.cluster()
        producer, consumer = nodes.producer(), nodes.consumer()
        fill(producer, 10)
        seen: list[int] = []

        def iterate():
            seen.extend(record.offset for record in consumer)
            return "ended"

        iterating = nodes.spawn(iterate)
        until(lambda: len(seen) == 10)
        consumer.stop()
        assert iterating.get(timeout=5) == "ended"
        assert seen == list(range(10))

    def test_what_is_taken_or_sought_amid_an_iteration_is_not_given_again(self, nodes):
        nodes.cluster()
        producer, consumer = nodes.producer(), nodes.consumer()
        fill(producer, 300)
        producer.flush(20)
        until(lambda: consumer.behind() == 0 and consumer.heads() == {producer.partition: 300})
        seen: list[int] = []
        for record in consumer:
            seen.append(record.offset)
            if record.offset == 10:
                seen.append(consumer.poll(20).offset)
            if record.offset == 70:
                seen += range((run := next(consumer.runs(20))).first, run.next)
                assert consumer.position(producer.partition) == seen[-1] + 1
                assert seen == list(range(len(seen)))
                seen.clear()
                consumer.seek(producer.partition, 200)
            if record.offset == 250:
                break
        assert seen == list(range(200, 251))
        assert offsets(take(consumer, 49)) == list(range(251, 300))

    @pytest.mark.parametrize("method", ["poll", "runs"])
    def test_what_waits_ends_when_the_consumer_is_stopped(self, nodes, method):
        consumer = nodes.cluster().consumer()
        wait = consumer.poll if method == "poll" else lambda: next(consumer.runs(), None)
        waiting = nodes.spawn(wait)
        during(0.1, lambda: not waiting.ready())
        consumer.stop()
        assert waiting.get(timeout=5) is None

    @pytest.mark.parametrize("runs", [False, True], ids=["records", "runs"])
    def test_an_iteration_that_stops_its_consumer_ends_whatever_waits_to_be_taken(
        self, nodes, runs
    ):
        nodes.cluster()
        producer, consumer = nodes.producer(), nodes.consumer()
        fill(producer, 20)
        until(lambda: consumer.stats().records == 20)
        seen = 0
        for _ in consumer.runs() if runs else consumer:
            seen += 1
            if seen == 1:
                consumer.seek_to_earliest()
                until(lambda: consumer.stats().records >= 40)
                consumer.stop()
        assert seen == 1
        assert consumer.poll(0) is None
        assert list(consumer.runs(0)) == []

    def test_stopping_in_the_middle_of_a_run_gives_nothing_of_its_rest(self, nodes):
        nodes.cluster()
        producer, consumer = nodes.producer(), nodes.consumer()
        fill(producer, 20)
        until(lambda: consumer.stats().records == 20)
        assert consumer.poll(0).offset == 0
        consumer.stop()
        assert consumer.poll(0) is None
        assert list(consumer.runs(0)) == []
        assert consumer.position(producer.partition) == 1

    def test_an_iteration_can_be_left_and_taken_up_again(self, nodes):
        nodes.cluster()
        producer, consumer = nodes.producer(), nodes.consumer()
        fill(producer, 20)
        for record in consumer:
            if record.offset == 9:
                break
        assert consumer.position(producer.partition) == 10
        assert next(iter(consumer)).offset == 10
