"""The background thread: its life, its death, and nodes of gevent that other threads meet."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path
from time import monotonic, process_time

import gevent
import pytest

import dafka
from dafka import threads
from dafka.threads import background
from tests.support.forking import check_end, forked
from tests.support.live_nodes import LOOPBACK, fill
from tests.support.waiting import during, take, until

pytestmark = pytest.mark.io


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def kill_the_hub() -> None:
    """As a bug might: an error leaves the thread's main greenlet."""
    there = background._process.background
    there.call(lambda: gevent.get_hub().loop.run_callback(_throw, gevent.get_hub()))


def _throw(hub) -> None:
    hub.parent.throw(RuntimeError("a bug"))


class TestTheThread:
    def test_it_begins_with_the_first_node_and_ends_with_the_last(self, nodes):
        nodes.towered()
        assert "dafka" not in names()
        one, other = nodes.make_producer(), nodes.make_consumer()
        assert "dafka" not in names()
        one.start()
        other.start()
        assert names().count("dafka") == 1
        one.stop()
        assert "dafka" in names()
        other.stop()
        assert "dafka" not in names()
        with nodes.make_producer():
            assert "dafka" in names()
        assert "dafka" not in names()

    def test_a_start_that_fails_leaves_none(self, nodes):
        nodes.towered()
        with pytest.raises(dafka.ConfigError, match="cannot listen"):
            nodes.make_producer(bind="tcp://192.0.2.1:*").start()
        assert "dafka" not in names()

    def test_nothing_is_left_behind(self, tmp_path):
        def cycle() -> None:
            with threads.Cluster(tmp_path / "data") as cluster:
                common = {"tower": cluster.tower, "bind": LOOPBACK}
                with threads.Producer("t", outbox=tmp_path / "box", **common) as producer:
                    producer.publish(b"x")
                    producer.flush(20)
                with threads.Consumer("t", start="earliest", **common) as consumer:
                    take(consumer, 1)

        def settled() -> tuple[int, int]:
            gc.collect()
            return len(os.listdir("/proc/self/fd")), len(list(Path("/proc/self/task").iterdir()))

        cycle()
        before = settled()
        for _ in range(5):
            cycle()
        until(lambda: all(now <= then for now, then in zip(settled(), before, strict=True)))

    def test_its_death_is_told_to_all_who_wait_and_come(self, nodes):
        nodes.towered()
        producer, consumer = nodes.producer(), nodes.consumer("u")
        producer.publish(b"x")
        waiting = [nodes.spawn(call) for call in (producer.flush, consumer.poll, producer.wait)]
        during(0.1, lambda: not any(task.ready() for task in waiting))
        kill_the_hub()
        for task in waiting:
            with pytest.raises(RuntimeError, match="a bug"):
                task.get(5)
        for call in (
            lambda: producer.publish(b"y"),
            lambda: producer.flush(5),
            lambda: consumer.poll(5),
            lambda: consumer.seek_to_latest(),
            lambda: consumer.wait(5),
        ):
            with pytest.raises(RuntimeError, match="a bug"):
                call()
        consumer.stop()
        with pytest.raises(RuntimeError, match="a bug"):
            producer.stop()
        assert nodes.producer().publish(b"another thread, another life") == 0

    def test_a_bug_of_a_node_ends_that_node_alone(self, nodes, monkeypatch):
        def bug(*_) -> None:
            raise RuntimeError("a bug")

        nodes.towered()
        producer, consumer, other = nodes.producer(), nodes.consumer(), nodes.producer("u")
        producer.publish(b"x")
        waiting = [nodes.spawn(producer.flush), nodes.spawn(nodes.consumer("u").poll)]
        monkeypatch.setattr(producer._node._machine, "receive", bug)
        nodes.store()
        with pytest.raises(RuntimeError, match="a bug"):
            waiting[0].get(20)
        with pytest.raises(RuntimeError, match="a bug"):
            producer.publish(b"y")
        other.publish(b"still there")
        other.flush(20)
        assert waiting[1].get(20).content == b"still there"
        assert consumer.wait(0) is False

    def test_in_the_child_of_a_fork_nodes_say_that_they_stayed_with_the_parent(self, nodes):
        nodes.cluster()
        producer, consumer = nodes.producer(), nodes.consumer()
        fill(producer, 100)
        take(consumer, 10)

        def live() -> None:
            for call in (
                lambda: producer.publish(b"y"),
                lambda: producer.publish_many([b"y"]),
                lambda: consumer.poll(5),
                lambda: consumer.seek_to_earliest(),
            ):
                with pytest.raises(dafka.Closed, match="stayed with the parent: make a new one"):
                    call()
            producer.stop()
            consumer.stop()
            with nodes.make_producer() as mine:
                mine.publish(b"from the child")
                mine.flush(20)

        _, status = os.waitpid(forked(live), 0)
        check_end(status, 0, killed=False)
        assert len(take(consumer, 91)) == 91
        producer.publish(b"goes on")
        producer.flush(20)


class TestNodesOfGevent:
    @pytest.fixture
    def elsewhere(self, nodes):
        """Calls a function in another thread than this one."""
        nodes.towered()
        return lambda function: nodes.spawn(function).get(20)

    def test_a_producer_in_another_thread_is_refused(self, nodes, elsewhere):
        with dafka.Producer("t", tower=nodes.tower, bind=LOOPBACK, stop_timeout_s=0) as producer:
            for call in (
                lambda: producer.publish(b"x"),
                lambda: producer.publish_many([b"x"]),
                lambda: producer.wait(1),
                producer.stop,
            ):
                with pytest.raises(dafka.ConfigError, match=r"producer belongs .* dafka\.threads"):
                    elsewhere(call)
            assert producer.next_offset == 0
            producer.publish(b"x")
            with pytest.raises(dafka.ConfigError, match=r"dafka\.threads"):
                elsewhere(lambda: producer.flush(1))

    def test_a_consumer_in_another_thread_is_refused(self, nodes, elsewhere):
        with dafka.Consumer("t", tower=nodes.tower, bind=LOOPBACK) as consumer:
            for call in (
                lambda: consumer.poll(0),
                lambda: next(consumer.runs(0)),
                lambda: consumer.seek_to_latest(),
                lambda: consumer.wait(1),
                consumer.stop,
            ):
                with pytest.raises(dafka.ConfigError, match=r"consumer belongs .* dafka\.threads"):
                    elsewhere(call)


@pytest.mark.alone
def test_who_waits_for_room_or_records_hardly_uses_the_processor(nodes):
    nodes.towered()
    producer = nodes.producer(buffer_bytes=1000, stop_timeout_s=0)
    consumer = nodes.consumer("u")
    producer.publish(bytes(900))
    blocked = [nodes.spawn(producer.publish, bytes(900)), nodes.spawn(consumer.poll)]
    time.sleep(0.3)
    used, began = process_time(), monotonic()
    time.sleep(2.0)
    assert (process_time() - used) / (monotonic() - began) < 0.05
    assert not any(task.ready() for task in blocked)
