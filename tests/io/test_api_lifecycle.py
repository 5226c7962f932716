"""From start to stop: in any state, any number of times, and loudly if a node has a bug."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from time import monotonic, process_time

import gevent
import pytest

import dafka
from dafka.io.life import time_to_end
from tests.support.live_nodes import LOOPBACK, fill, free_ports, tower_on
from tests.support.waiting import during, take, until

pytestmark = pytest.mark.io

STOPS_WITHIN_S = 2.0


def test_all_that_one_interruption_ends_has_one_time_together():
    error = KeyboardInterrupt()
    first = time_to_end(error)
    assert first == pytest.approx(1.5, abs=0.1)
    assert time_to_end(error) < first
    for other in (None, ValueError(), GeneratorExit()):
        assert time_to_end(other) is None


def ended(node, *arguments) -> float:
    """Stop a node in a greenlet of its own; the seconds that took."""
    began = monotonic()
    gevent.spawn(node.stop, *arguments).get(timeout=20)
    return monotonic() - began


@pytest.fixture
def make(nodes, tmp_path):
    """Makes a node of each kind that has not been started."""
    nodes.towered()
    common = {"tower": nodes.tower, "bind": LOOPBACK}
    return {
        "producer": lambda: dafka.Producer("t", **common),
        "consumer": lambda: dafka.Consumer("t", **common),
        "store": lambda: dafka.Store(data=str(tmp_path / "made"), **common),
        "tower": lambda: dafka.Tower(sub=LOOPBACK, pub=LOOPBACK),
        "cluster": lambda: dafka.Cluster(tmp_path / "made"),
    }


KINDS = ("producer", "consumer", "store", "tower")


class TestStartAndStop:
    @pytest.mark.parametrize("kind", [*KINDS, "cluster"])
    def test_a_node_cannot_be_started_twice(self, make, kind):
        with make[kind]() as node, pytest.raises(dafka.Closed, match="can be started once"):
            node.start()

    def test_a_store_whose_start_is_interrupted_lets_go_of_its_directory(self, make, monkeypatch):
        def interrupted(_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(dafka.Store, "_open_nodes", interrupted)
            with pytest.raises(KeyboardInterrupt):
                make["store"]().start()
        with make["store"]() as store:
            assert store.started

    @pytest.mark.parametrize("kind", [*KINDS, "cluster"])
    def test_a_node_cannot_be_started_again_after_its_stop(self, make, kind):
        node = make[kind]()
        with node:
            pass
        with pytest.raises(dafka.Closed, match="can be started once"):
            node.start()

    @pytest.mark.parametrize("kind", [*KINDS, "cluster"])
    def test_stopping_twice_does_no_harm(self, make, kind):
        node = make[kind]().start()
        node.stop()
        node.stop()
        node.stop(1.0)

    @pytest.mark.parametrize("kind", KINDS)
    def test_stopping_what_was_never_started_does_no_harm(self, make, kind):
        node = make[kind]()
        node.stop()
        assert not node.started
        with node:
            assert node.started

    def test_stopping_a_cluster_that_was_never_started_does_no_harm(self, make):
        make["cluster"]().stop()

    @pytest.mark.parametrize("kind", KINDS)
    def test_start_returns_the_node_and_making_it_opens_nothing(self, make, kind):
        before = len(os.listdir("/proc/self/fd"))
        node = make[kind]()
        assert len(os.listdir("/proc/self/fd")) == before
        assert node.start() is node
        node.stop()

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_node_that_was_never_started_cannot_be_waited_for(self, make, kind):
        with pytest.raises(dafka.Closed, match="has not been started: use it in a `with`"):
            make[kind]().wait(0)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_node_that_was_never_started_has_no_endpoint_and_says_so(self, make, kind):
        with pytest.raises(dafka.Closed):
            make[kind]().endpoint  # noqa: B018

    @pytest.mark.parametrize("kind", [*KINDS, "cluster"])
    def test_wait_gives_up_after_its_timeout_and_is_true_after_the_end(self, make, kind):
        node = make[kind]().start()
        assert node.wait(0.05) is False
        waiting = gevent.spawn(node.wait)
        during(0.1, lambda: not waiting.ready())
        node.stop()
        assert waiting.get(timeout=5) is True
        assert node.wait(0) is True

    def test_an_exception_in_the_block_stops_the_node_and_goes_on(self, make):
        with pytest.raises(KeyError), make["producer"]() as producer:
            raise KeyError("user")
        with pytest.raises(dafka.Closed):
            producer.publish(b"x")

    def test_publishing_before_start_and_after_stop_is_refused(self, make):
        producer = make["producer"]()
        with pytest.raises(dafka.Closed, match="has not been started"):
            producer.publish(b"x")
        producer.start()
        producer.stop()
        with pytest.raises(dafka.Closed, match="topic t: this producer is not running"):
            producer.publish(b"x")
        assert producer.next_offset == 0

    def test_a_flush_after_stop_tells_whether_everything_was_acknowledged(self, nodes):
        nodes.towered()
        producer = nodes.producer()
        producer.publish(b"x")
        assert producer.stop(0) == 1
        with pytest.raises(dafka.Closed):
            producer.flush(1)

    def test_polling_before_start_is_refused_and_after_stop_gives_nothing(self, make):
        consumer = make["consumer"]()
        with pytest.raises(dafka.Closed, match="has not been started"):
            consumer.poll(0)
        consumer.start()
        consumer.stop()
        assert consumer.poll(timeout=5) is None
        assert list(consumer) == []
        assert list(consumer.runs()) == []

    def test_a_cluster_can_be_started_again_on_its_directory(self, tmp_path):
        for turn in range(3):
            with dafka.Cluster(tmp_path) as cluster:
                with dafka.Producer("t", tower=cluster.tower, bind=LOOPBACK) as producer:
                    producer.publish(b"%d" % turn)
                with dafka.Consumer(
                    "t", start="earliest", tower=cluster.tower, bind=LOOPBACK
                ) as consumer:
                    assert len(take(consumer, turn + 1)) == turn + 1


class TestStopIsQuick:
    def test_without_any_tower(self, nodes):
        nodes.tower = tower_on(free_ports(2))
        started = [nodes.consumer(), nodes.store(), nodes.producer()]
        for node in started:
            assert ended(node) < STOPS_WITHIN_S

    def test_with_a_full_buffer(self, nodes):
        nodes.towered()
        producer = nodes.producer(buffer_bytes=1000)
        producer.publish(bytes(900))
        assert ended(producer, 0.1) < STOPS_WITHIN_S

    def test_while_a_publish_is_blocked_which_is_then_refused(self, nodes):
        nodes.towered()
        producer = nodes.producer(buffer_bytes=1000)
        producer.publish(bytes(900))
        blocked = gevent.spawn(producer.publish, bytes(900))
        during(0.1, lambda: not blocked.ready())
        assert ended(producer, 0.1) < STOPS_WITHIN_S
        with pytest.raises(dafka.Closed):
            blocked.get(timeout=5)
        assert producer.unacknowledged == 1

    def test_while_a_flush_waits_which_is_then_refused(self, nodes):
        nodes.towered()
        producer = nodes.producer()
        producer.publish(b"x")
        flushing = gevent.spawn(producer.flush)
        during(0.1, lambda: not flushing.ready())
        assert ended(producer, 0.1) < STOPS_WITHIN_S
        with pytest.raises(dafka.Closed):
            flushing.get(timeout=5)

    def test_when_the_peers_are_gone(self, nodes):
        tower = nodes.towered()
        store, consumer, producer = nodes.store(), nodes.consumer(), nodes.producer()
        fill(producer, 100)
        producer.flush(20)
        take(consumer, 100)
        for node in (tower, store):
            assert ended(node) < STOPS_WITHIN_S
        fill(producer, 100)
        during(0.3, lambda: True)
        assert ended(producer, 0.1) < STOPS_WITHIN_S
        assert ended(consumer) < STOPS_WITHIN_S

    def test_while_everything_is_in_motion(self, nodes):
        tower, store = nodes.towered(), nodes.store()
        consumer, producer = nodes.consumer(buffer_bytes=10_000), nodes.producer()
        fill(producer, 50_000)
        for node in (consumer, store, tower):
            assert ended(node) < STOPS_WITHIN_S
        assert ended(producer, 0.1) < STOPS_WITHIN_S

    def test_of_a_store_in_the_middle_of_answers(self, nodes):
        nodes.towered()
        store, producer = nodes.store(), nodes.producer()
        for _ in range(5000):
            producer.publish(bytes(1000))
        producer.flush(30)
        consumer = nodes.consumer(buffer_bytes=10_000)
        take(consumer, 100)
        assert ended(store) < STOPS_WITHIN_S


class TestABugEndsItsNodeLoudly:
    """A machine that raises is our fault: nobody may go on as if nothing had happened."""

    @pytest.fixture
    def broken(self, monkeypatch):
        def bug(*_):
            raise RuntimeError("a bug")

        def breaks(node, machine: str, method: str):
            monkeypatch.setattr(getattr(node, machine), method, bug)

        return breaks

    def test_of_a_producer(self, nodes, broken, caplog):
        producer = nodes.cluster().producer()
        producer.publish(b"x")
        producer.flush(20)
        broken(producer, "_machine", "receive")
        producer.publish(b"y")
        with pytest.raises(RuntimeError, match="a bug"):
            producer.wait(20)
        with pytest.raises(RuntimeError, match="a bug"):
            producer.publish(b"z")
        with pytest.raises(RuntimeError, match="a bug"):
            producer.flush(5)
        assert "node=producer ended by a bug" in caplog.text

    @pytest.mark.parametrize("call", ["flush", "publish"])
    def test_of_a_producer_also_for_who_waits_already(self, nodes, broken, call):
        nodes.towered()
        producer = nodes.producer(buffer_bytes=1000)
        producer.publish(bytes(900))
        waiting = gevent.spawn(getattr(producer, call), *([bytes(900)] if call != "flush" else []))
        during(0.1, lambda: not waiting.ready())
        broken(producer, "_machine", "receive")
        nodes.store()  # its ACK is what the machine fails at
        with pytest.raises(RuntimeError, match="a bug"):
            producer.wait(20)
        with pytest.raises(RuntimeError, match="a bug"):
            waiting.get(timeout=2)

    def test_of_a_consumer_also_for_who_waits_already(self, nodes, broken, caplog):
        nodes.cluster()
        consumer, producer = nodes.consumer(), nodes.producer()
        waiting = gevent.spawn(consumer.poll)
        during(0.1, lambda: not waiting.ready())
        broken(consumer, "_machine", "receive")
        producer.publish(b"x")
        with pytest.raises(RuntimeError, match="a bug"):
            waiting.get(timeout=20)
        with pytest.raises(RuntimeError, match="a bug"):
            consumer.wait(1)
        for call in (consumer.poll, lambda: list(consumer), lambda: list(consumer.runs())):
            with pytest.raises(RuntimeError, match="a bug"):
                call()
        assert "node=consumer ended by a bug" in caplog.text
        consumer.stop()

    @pytest.mark.parametrize("machine", ["_writer", "_reader"])
    def test_of_either_half_of_a_store(self, nodes, broken, machine):
        nodes.towered()
        store = nodes.store()
        broken(store, machine, "receive")
        nodes.consumer()
        fill(nodes.producer(stop_timeout_s=0), 1)
        with pytest.raises(RuntimeError, match="a bug"):
            store.wait(20)
        store.stop()
        with pytest.raises(RuntimeError, match="a bug"):
            store.wait(0)

    def test_of_a_store_that_cannot_commit_for_another_reason_than_its_disk(self, nodes, broken):
        nodes.towered()
        store = nodes.store()
        broken(store, "_log", "append")
        fill(nodes.producer(stop_timeout_s=0), 1)
        with pytest.raises(RuntimeError, match="a bug"):
            store.wait(20)
        store.stop()
        with pytest.raises(RuntimeError, match="a bug"):
            store.wait(0)

    def test_of_a_tower(self, nodes, broken):
        tower = nodes.towered()
        broken(tower, "_machine", "receive")
        nodes.consumer()
        with pytest.raises(RuntimeError, match="a bug"):
            tower.wait(20)
        tower.stop()

    def test_of_a_cluster(self, tmp_path, broken):
        cluster = dafka.Cluster(tmp_path).start()
        broken(cluster.store, "_writer", "tick")
        broken(cluster.store, "_writer", "receive")
        with dafka.Producer("t", tower=cluster.tower, bind=LOOPBACK, stop_timeout_s=0) as producer:
            producer.publish(b"x")
            with pytest.raises(RuntimeError, match="a bug"):
                cluster.wait(20)
        cluster.stop()


class TestNothingIsLeftBehind:
    def test_by_twenty_starts_and_stops(self, tmp_path):
        def cycle():
            with dafka.Cluster(tmp_path) as cluster:
                with dafka.Producer("t", tower=cluster.tower, bind=LOOPBACK) as producer:
                    producer.publish(b"x")
                with dafka.Consumer(
                    "t", start="earliest", tower=cluster.tower, bind=LOOPBACK
                ) as consumer:
                    take(consumer, 1)

        cycle()
        before = until(settled)
        for _ in range(20):
            cycle()
        until(lambda: no_more_than(before), 10, f"a return to {before}; it is {settled()}")

    def test_by_starts_that_fail(self, nodes, tmp_path):
        (tmp_path / "foreign").touch()
        taken = nodes.towered()

        def cycle():
            with pytest.raises(dafka.StoreError):
                dafka.Cluster(tmp_path).start()
            with pytest.raises(dafka.ConfigError):
                dafka.Tower(sub=LOOPBACK, pub=taken.address.pub).start()
            with pytest.raises(dafka.ConfigError):
                dafka.Consumer("t", tower=nodes.tower, bind=taken.address.pub).start()

        cycle()
        before = until(settled)
        for _ in range(10):
            cycle()
        until(lambda: no_more_than(before), 10, f"a return to {before}; it is {settled()}")


def settled() -> tuple[int, int, int]:
    """Open files, threads and living greenlets of this process."""
    gc.collect()
    greenlets = [o for o in gc.get_objects() if isinstance(o, gevent.Greenlet) and not o.dead]
    return (
        len(os.listdir("/proc/self/fd")),
        len(list(Path("/proc/self/task").iterdir())),
        len(greenlets),
    )


def no_more_than(before: tuple[int, int, int]) -> bool:
    return all(now <= then for now, then in zip(settled(), before, strict=True))


@pytest.mark.alone
class TestIdleIsIdle:
    def test_nodes_that_have_nothing_to_do_hardly_use_the_processor(self, nodes):
        nodes.cluster()
        consumer, producer = nodes.consumer(), nodes.producer()
        fill(producer, 1000)
        producer.flush(20)
        take(consumer, 1000)
        waiting = gevent.spawn(consumer.poll, 60)
        assert share_of_a_processor() < 0.05
        waiting.kill()

    def test_nodes_that_cannot_go_on_wait_without_work(self, nodes):
        tower, store = nodes.towered(), nodes.store()
        producer = nodes.producer(buffer_bytes=500_000, stop_timeout_s=0)
        fill(producer, 5000)
        producer.flush(20)
        full = nodes.consumer(buffer_bytes=10_000)
        until(lambda: full.stats().records >= 10_000 // 68, what="a full buffer")
        store.stop()
        tower.stop()
        blocked = gevent.spawn(fill, producer, 10_000, 5000)
        assert share_of_a_processor() < 0.05
        assert not blocked.ready()
        producer.stop()
        with pytest.raises(dafka.Closed):
            blocked.get(timeout=5)


def share_of_a_processor() -> float:
    """What this process uses while the test itself does nothing for two seconds."""
    during(0.3, lambda: True)  # what the start has left to do
    used, began = process_time(), monotonic()
    gevent.spawn_later(2.0, int).join()
    return (process_time() - used) / (monotonic() - began)
