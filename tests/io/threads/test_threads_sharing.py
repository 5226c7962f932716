"""One producer or consumer that several threads use at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from itertools import chain

import pytest

import dafka
from dafka.io.offsets import look
from tests.support.live_nodes import fill
from tests.support.waiting import during, take, until

pytestmark = pytest.mark.io

THREADS = 8


def together(nodes, count: int, function) -> list:
    """Call `function(number)` in so many threads at once; what they return."""
    barrier = threading.Barrier(count)

    def begin(number: int):
        barrier.wait(20)
        return function(number)

    return [task.get(60) for task in [nodes.spawn(begin, number) for number in range(count)]]


def merged(lists: Iterable[list]) -> list:
    """All of some lists, sorted."""
    return sorted(chain.from_iterable(lists))


class TestProducer:
    def test_eight_threads_publish_each_in_order_and_no_offset_is_given_twice(self, nodes):
        each = 100_000
        nodes.cluster()
        producer = nodes.producer()

        def publish(number: int) -> list[int]:
            offsets = [producer.publish(b"%d %d" % (number, at)) for at in range(each)]
            producer.flush(60)
            assert producer.acknowledged > offsets[-1]
            return offsets

        given = together(nodes, THREADS, publish)
        for offsets in given:
            assert offsets == sorted(offsets)
        assert merged(given) == list(range(THREADS * each))
        published = {}
        for number, offsets in enumerate(given):
            published |= {offset: b"%d %d" % (number, at) for at, offset in enumerate(offsets)}
        came = 0
        for run in nodes.consumer().runs(timeout=20):
            assert run.first == came
            assert run.contents == [published[at] for at in range(run.first, run.next)]
            came = run.next
            if came == THREADS * each:
                break
        assert came == THREADS * each

    def test_many_records_of_a_thread_stay_together(self, nodes, hasty_threads):
        nodes.cluster()
        producer = nodes.producer(buffer_bytes=200_000)

        def publish(number: int) -> list[int]:
            return [producer.publish_many([b"%d" % number] * 50, 20) for _ in range(40)]

        firsts = together(nodes, 4, publish)
        assert merged(firsts) == list(range(0, 4 * 40 * 50, 50))
        records = take(nodes.consumer(), 4 * 40 * 50)
        for number, mine in enumerate(firsts):
            for first in mine:
                assert {r.content for r in records[first : first + 50]} == {b"%d" % number}

    def test_threads_that_wait_for_room_all_get_their_turn(self, nodes, hasty_threads):
        nodes.cluster()
        producer = nodes.producer(buffer_bytes=2_000)

        def publish(number: int) -> list[int]:
            return [producer.publish(b"%d" % number, 20) for _ in range(200)]

        assert merged(together(nodes, 4, publish)) == list(range(800))
        producer.flush(20)
        assert producer.unacknowledged == 0

    def test_what_is_published_while_another_thread_stops_it_is_counted_or_refused(self, nodes):
        nodes.cluster()
        producer = nodes.producer()
        accepted = []

        def publish(_: int) -> None:
            for _ in range(1_000_000):
                for _ in range(100):
                    accepted.append(producer.publish(b"x"))  # noqa: PERF401
                time.sleep(0.0005)

        tasks = [nodes.spawn(publish, number) for number in range(3)]
        until(lambda: len(accepted) > 1000)
        left = producer.stop(20)
        for task in tasks:
            with pytest.raises(dafka.Closed):
                task.get(20)
        assert sorted(accepted) == list(range(producer.next_offset))
        assert left == producer.next_offset - producer.acknowledged
        assert len(take(nodes.consumer(), producer.acknowledged)) == producer.acknowledged


class TestConsumer:
    def test_each_record_is_given_to_one_thread_and_a_partition_in_order(self, nodes):
        count = 20_000
        nodes.cluster()
        producers = [nodes.producer() for _ in range(2)]
        for producer in producers:
            producer.publish_many([b"%d" % at for at in range(count)])
        consumer = nodes.consumer()
        left = threading.Semaphore(2 * count)

        def use(_: int) -> list[tuple[str, int]]:
            mine = []
            while left.acquire(blocking=False):
                record = consumer.poll(20)
                assert int(record.content) == record.offset
                mine.append((record.partition, record.offset))
            return mine

        given = together(nodes, 4, use)
        for mine in given:
            for producer in producers:
                offsets = [at for partition, at in mine if partition == producer.partition]
                assert offsets == sorted(offsets)
        assert merged(given) == sorted(
            (producer.partition, at) for producer in producers for at in range(count)
        )

    def test_runs_and_records_can_be_taken_side_by_side(self, nodes, hasty_threads):
        count = 30_000
        nodes.cluster()
        producer = nodes.producer()
        consumer = nodes.consumer(buffer_bytes=100_000)
        tasks = [
            nodes.spawn(lambda: [r.offset for r in consumer]),
            nodes.spawn(lambda: [r.offset for r in consumer]),
            nodes.spawn(
                lambda: [at for run in consumer.runs() for at in range(run.first, run.next)]
            ),
        ]
        for first in range(0, count, 100):
            producer.publish_many([b"%d" % at for at in range(first, first + 100)])
        until(lambda: consumer.position(producer.partition) == count)
        consumer.stop()
        assert merged(task.get(20) for task in tasks) == list(range(count))

    def test_a_seek_by_one_thread_moves_all_of_them(self, nodes):
        nodes.cluster()
        producer = nodes.producer()
        fill(producer, 500)
        producer.flush(20)
        consumer = nodes.consumer()
        seen = []
        tasks = [nodes.spawn(lambda: seen.extend(r.offset for r in consumer)) for _ in range(3)]
        for _ in range(5):
            seen.clear()
            consumer.seek(producer.partition, 0)
            until(lambda: set(seen) >= set(range(500)))
            during(0.05, lambda: len(seen) <= 503)  # and what three threads had in hand before
        consumer.stop()
        for task in tasks:
            task.get(20)

    def test_positions_stay_before_what_a_thread_still_has_in_hand(self, nodes, tmp_path):
        place = tmp_path / "offsets"
        settings = {"name": "n", "offsets": str(place), "commit_interval_s": 0.02}
        nodes.cluster()
        producer = nodes.producer()
        fill(producer, 100)
        producer.flush(20)
        consumer = nodes.consumer(**settings)
        handled = threading.Event()

        def slow() -> None:
            take(consumer, 6)
            handled.wait(20)
            consumer.poll()

        def saved() -> int:
            return look(place, "n").positions["t", producer.partition]

        task = nodes.spawn(slow)
        until(lambda: consumer.position(producer.partition) == 6)
        take(consumer, 50)
        until(lambda: saved() == 5)
        during(0.1, lambda: saved() == 5)
        consumer.commit()
        assert saved() == 5
        handled.set()
        until(lambda: saved() == 56)
        consumer.stop()
        task.get(20)
        assert saved() == 56

    def test_a_thread_that_ends_has_not_handled_what_it_had_in_hand(self, nodes, tmp_path):
        place = tmp_path / "offsets"
        settings = {"name": "n", "offsets": str(place), "commit_interval_s": 0.02}
        nodes.cluster()
        producer = nodes.producer()
        fill(producer, 100)
        producer.flush(20)
        consumer = nodes.consumer(**settings)
        seen = []

        def one() -> None:
            seen.append(consumer.poll(20).offset)

        for _ in range(5):  # one behind the other: their numbers are given again
            thread = threading.Thread(target=one)
            thread.start()
            thread.join()
        assert seen == [0, 1, 2, 3, 4]
        take(consumer, 95)
        consumer.poll(0)
        during(0.2, lambda: look(place, "n").positions["t", producer.partition] == 0)
        consumer.stop()
        assert look(place, "n").positions["t", producer.partition] == 0

    def test_while_a_partition_is_told_other_threads_are_given_nothing(self, nodes):
        nodes.cluster()
        producer = nodes.producer()
        fill(producer, 10)
        producer.flush(20)
        told, go_on = threading.Event(), threading.Event()

        def tell(position: dafka.Position) -> None:
            told.set()
            assert go_on.wait(20)
            consumer.seek(position.partition, 5)  # the callback may use the consumer

        consumer = nodes.consumer(on_partition=tell)
        tasks = [nodes.spawn(consumer.poll, 20) for _ in range(2)]
        assert told.wait(20)
        during(0.1, lambda: not any(task.ready() for task in tasks))
        assert consumer.poll(0) is None
        go_on.set()
        assert sorted(task.get(20).offset for task in tasks) == [5, 6]

    def test_an_error_in_a_callback_meets_the_thread_that_called_it_and_no_other(self, nodes):
        nodes.cluster()
        producer = nodes.producer()
        fill(producer, 10)
        consumer = nodes.consumer(on_partition=lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            consumer.poll(20)
        task = nodes.spawn(consumer.poll, 20)
        assert task.get(20).offset == 0
        assert consumer.poll(20).offset == 1


def test_nodes_work_while_the_thread_of_their_user_sleeps(nodes):
    nodes.cluster()
    producer, consumer = nodes.producer(), nodes.consumer()
    for _ in range(10):
        producer.publish(b"x")
        time.sleep(0.02)
    until(lambda: producer.acknowledged == 10)
    assert [consumer.poll(0).offset for _ in range(10)] == list(range(10))
