"""Positions, whatever the shell: seeking, pausing, patterns, and times."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

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


def knows(consumer, *producers) -> None:
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

    def test_it_can_be_asked_for_after_stop(self, nodes, stored):
        consumer = nodes.consumer()
        take(consumer, 10)
        consumer.stop()
        assert consumer.position(stored.partition) == 10

    def test_behind_is_zero_once_everything_was_received(self, nodes, stored):
        consumer = nodes.consumer()
        take(consumer, 1000)
        assert consumer.behind() == 0

    def test_heads_tell_how_far_partitions_go_also_while_they_are_paused(self, nodes, stored):
        consumer = nodes.consumer()
        consumer.pause()
        until(lambda: consumer.heads() == {stored.partition: 1000})
        fill(stored, 2, 1000)
        until(lambda: consumer.heads() == {stored.partition: 1002})
        assert consumer.poll(0) is None

    def test_partitions_that_are_not_wanted_are_left_alone(self, nodes, stored):
        other, asked = nodes.producer(), set()
        fill(other, 10)
        other.flush(20)
        wanted, unwanted = other.partition, stored.partition

        def only(topic: str, partition: str) -> bool:
            asked.add((topic, partition))
            return partition == wanted

        consumer = nodes.consumer(only=only)
        assert offsets(take(consumer, 10)) == list(range(10))
        until(lambda: asked == {("t", wanted), ("t", unwanted)})
        assert consumer.poll(0.1) is None
        assert consumer.position() == {wanted: 10}
        assert consumer.heads() == {wanted: 10}

    @pytest.mark.parametrize("way", ["seek", "pause", "resume", "seek_to_time"])
    def test_to_go_to_what_is_not_wanted_is_a_mistake(self, nodes, stored, way):
        unwanted = stored.partition
        consumer = nodes.consumer(only=lambda topic, partition: partition != unwanted)
        ways = {
            "seek": lambda: consumer.seek(unwanted, 5),
            "pause": lambda: consumer.pause(partition=unwanted),
            "resume": lambda: consumer.resume(partition=unwanted),
            "seek_to_time": lambda: consumer.seek_to_time(datetime.now(UTC), unwanted),
        }
        with pytest.raises(dafka.ConfigError, match=rf"topic t partition {unwanted} .* `only`"):
            ways[way]()
        assert consumer.poll(0.1) is None
        assert consumer.position() == {}
        assert consumer.paused() == []

    def test_a_choice_that_would_have_to_be_awaited_is_refused(self, nodes):
        async def told(*_: object) -> bool:
            """Would never be awaited, and a coroutine is true."""
            return False

        for name in ("on_expired", "on_partition", "only"):
            with pytest.raises(dafka.ConfigError, match=f"{name} is a coroutine function"):
                nodes.consumer(tower="127.0.0.1:1", **{name: told})

    def test_what_goes_wrong_in_the_users_choice_is_told_as_theirs(self, nodes, stored, caplog):
        def only(topic: str, partition: str) -> bool:
            raise KeyError("mine")

        consumer = nodes.consumer(only=only)
        said = rf"only\('t', '{stored.partition}'\) has failed: KeyError"
        with pytest.raises(dafka.ConfigError, match=said):
            consumer.poll(20)
        assert re.search(said, caplog.text)
        assert "bug" not in caplog.text


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
                    nodes.sleep(0.001)

        publishing = nodes.spawn(publish)
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
        early = nodes.make_producer()
        consumer.seek(early.partition, 40)
        assert consumer.position(early.partition) == 40
        nodes.add(early)
        fill(early, 100)
        assert offsets(take(consumer, 60)) == list(range(40, 100))

    def test_beyond_the_end_waits_for_that_offset(self, nodes, stored):
        consumer = nodes.consumer()
        consumer.seek(stored.partition, 1005)
        fill(stored, 10, first=1000)
        assert offsets(take(consumer, 5)) == list(range(1005, 1010))

    def test_refuses_a_negative_offset(self, nodes):
        consumer = nodes.cluster().consumer()
        with pytest.raises(dafka.ConfigError, match="offset -1 is no offset"):
            consumer.seek(NOBODY, -1)

    def test_before_the_start_is_refused(self, nodes):
        nodes.cluster()
        consumer = nodes.make_consumer()
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


def by_topic(records) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record in records:
        found.setdefault(record.topic, []).append(record.offset)
    return found


def filled(nodes, topic: str, count: int):
    producer = nodes.producer(topic)
    fill(producer, count)
    producer.flush(20)
    return producer


class TestTopics:
    def test_a_pattern_brings_what_matches_and_what_comes_later(self, nodes):
        nodes.cluster()
        filled(nodes, "sensor.a", 10)
        filled(nodes, "sensors", 10)
        found: list[dafka.Position] = []
        consumer = nodes.consumer("other", pattern="sensor.*", on_partition=found.append)
        assert by_topic(take(consumer, 10)) == {"sensor.a": list(range(10))}
        filled(nodes, "sensor.b", 5)
        filled(nodes, "xsensor.c", 5)
        assert by_topic(take(consumer, 5)) == {"sensor.b": list(range(5))}
        assert [one.topic for one in found] == ["sensor.a", "sensor.b"]
        during(0.2, lambda: consumer.poll(0) is None)


class TestPausing:
    def test_a_paused_partition_gives_nothing_until_it_is_resumed(self, nodes):
        nodes.cluster()
        one, other = filled(nodes, "t", 500), filled(nodes, "t", 500)
        consumer = nodes.consumer()
        until(lambda: consumer.stats().records == 1000)
        seen: dict[str, list[int]] = {one.partition: [], other.partition: []}
        while len(seen[one.partition]) < 10:
            (record,) = take(consumer, 1)
            seen[record.partition].append(record.offset)
        consumer.pause(partition=one.partition)
        assert consumer.paused() == [dafka.Position("t", one.partition, 10)]
        assert consumer.position(one.partition) == 10
        fill(one, 100, first=500)
        fill(other, 100, first=500)
        while len(seen[other.partition]) < 600:
            (record,) = take(consumer, 1)
            seen[record.partition].append(record.offset)
        during(0.2, lambda: consumer.poll(0) is None)
        until(lambda: consumer.behind() == 590)
        consumer.resume(partition=one.partition)
        for record in take(consumer, 590):
            seen[record.partition].append(record.offset)
        assert seen == {name: list(range(600)) for name in seen}
        assert consumer.paused() == []

    def test_pausing_in_the_middle_of_a_run_again_and_again_loses_and_doubles_nothing(self, nodes):
        nodes.cluster()
        producer = filled(nodes, "t", 300)
        consumer = nodes.consumer()
        seen: list[int] = []
        while len(seen) < 300:
            seen += offsets(take(consumer, min(7, 300 - len(seen))))
            consumer.pause(partition=producer.partition)
            assert consumer.poll(0) is None
            consumer.resume(topic="t")
        assert seen == list(range(300))

    def test_by_topic(self, nodes):
        nodes.cluster()
        consumer = nodes.consumer("red", "green")
        consumer.pause(topic="red")
        filled(nodes, "red", 10)
        filled(nodes, "green", 10)
        assert by_topic(take(consumer, 10)) == {"green": list(range(10))}
        during(0.1, lambda: consumer.poll(0) is None)
        with pytest.raises(dafka.ConfigError, match="not one of this consumer's topics"):
            consumer.pause(topic="blue")
        consumer.resume(topic="red")
        assert by_topic(take(consumer, 10)) == {"red": list(range(10))}

    def test_after_the_stop_it_is_refused(self, nodes):
        consumer = nodes.cluster().consumer()
        consumer.stop()
        for call in (consumer.pause, consumer.resume):
            with pytest.raises(dafka.Closed):
                call()


class TestTime:
    def test_a_consumer_begins_with_what_arrived_at_a_time_or_later(self, nodes):
        nodes.cluster()
        producer = filled(nodes, "t", 100)
        nodes.sleep(0.02)
        when = datetime.now(UTC)
        nodes.sleep(0.02)
        fill(producer, 50, first=100)
        producer.flush(20)
        consumer = nodes.consumer(start=when)
        assert offsets(take(consumer, 50)) == list(range(100, 150))
        consumer.seek_to_time(when - timedelta(days=1))
        assert offsets(take(consumer, 150)) == list(range(150))
        consumer.seek_to_time(when, producer.partition)
        assert offsets(take(consumer, 50)) == list(range(100, 150))
        consumer.seek_to_time(datetime.now(UTC) + timedelta(hours=1))
        until(lambda: consumer.position(producer.partition) == 150)
        fill(producer, 1, first=150)
        assert offsets(take(consumer, 1)) == [150]
