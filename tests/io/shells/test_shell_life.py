"""From start to stop, whatever the shell: refusals, what ends those who wait, and side by side."""

from __future__ import annotations

from time import monotonic

import pytest

import dafka
from tests.support.live_nodes import fill
from tests.support.waiting import during, take

pytestmark = pytest.mark.io

PARTITION = "0123456789ABCDEF" * 2
STOPS_WITHIN_S = 2.0
KINDS = ("make_producer", "make_consumer")


@pytest.mark.parametrize("kind", KINDS)
class TestBothKinds:
    def test_it_is_started_once_and_stopped_any_number_of_times(self, nodes, kind):
        nodes.towered()
        node = getattr(nodes, kind)()
        node.stop()
        assert not node.started
        with node as entered:
            assert entered is node
            assert node.started
            assert node.endpoint.startswith("tcp://")
            with pytest.raises(dafka.Closed, match="can be started once"):
                node.start()
        node.stop()
        node.stop(1.0)
        with pytest.raises(dafka.Closed, match="can be started once"):
            node.start()

    def test_of_two_starts_at_once_one_is_refused(self, nodes, kind, tmp_path):
        nodes.towered()
        box = {"outbox": tmp_path / "box"}
        kept = box if kind == "make_producer" else {"name": "n", "offsets": tmp_path / "box"}
        node = getattr(nodes, kind)(**kept)

        def said(starting) -> str:
            try:
                starting.get(timeout=5)
            except dafka.Closed as error:
                return str(error)
            return ""

        both = sorted(map(said, [nodes.spawn(node.start) for _ in range(2)]))
        assert both == ["", f"a {kind.removeprefix('make_')} can be started once"]
        assert node.wait(0) is False
        node.stop()

    def test_before_its_start_it_says_so(self, nodes, kind):
        nodes.towered()
        node = getattr(nodes, kind)()
        with pytest.raises(
            dafka.Closed, match=r"has not been started: use it in an? `(async )?with`"
        ):
            node.wait(0)
        with pytest.raises(dafka.Closed, match="has not been started"):
            node.endpoint  # noqa: B018
        with pytest.raises(dafka.Closed, match="has not been started"):
            node.publish(b"x") if kind == "make_producer" else node.poll(0)

    def test_wait_gives_up_after_its_timeout_and_is_true_after_the_end(self, nodes, kind):
        nodes.towered()
        node = nodes.add(getattr(nodes, kind)())
        assert node.wait(0.05) is False
        waiting = nodes.spawn(node.wait)
        during(0.1, lambda: not waiting.ready())
        node.stop()
        assert waiting.get(timeout=5) is True
        assert node.wait(0) is True

    @pytest.mark.parametrize("timeout", [float("nan"), "1", True])
    def test_what_is_no_time_is_not_waited_for(self, nodes, kind, timeout):
        nodes.towered()
        node = nodes.add(getattr(nodes, kind)())
        for call in (node.wait, node.stop, node.flush if "prod" in kind else node.poll):
            with pytest.raises(dafka.ConfigError, match=f"timeout is {timeout!r}: give seconds"):
                nodes.spawn(call, timeout).get(timeout=5)
        assert node.wait(0) is False  # nothing was ended by it

    def test_infinite_time_is_for_ever(self, nodes, kind):
        nodes.towered()
        node = nodes.add(getattr(nodes, kind)())
        waiting = nodes.spawn(node.wait, float("inf"))
        during(0.1, lambda: not waiting.ready())
        node.stop()
        assert waiting.get(timeout=5) is True

    def test_a_setting_that_does_not_exist_is_refused(self, nodes, kind):
        nodes.towered()
        with pytest.raises(dafka.ConfigError, match="did you mean buffer_bytes"):
            getattr(nodes, kind)(buffer_byte=1)
        with pytest.raises(dafka.ConfigError, match="the topic is empty"):
            getattr(nodes, kind)("")

    def test_a_port_in_use_is_named_and_the_node_can_be_started_when_it_is_free(self, nodes, kind):
        nodes.towered()
        taken = nodes.producer(stop_timeout_s=0)
        node = getattr(nodes, kind)(bind=taken.endpoint)
        with pytest.raises(dafka.ConfigError, match=f"{taken.endpoint} is in use by another"):
            node.start()
        assert not node.started
        taken.stop()
        nodes.add(node)

    def test_without_any_tower_it_stops_within_two_seconds(self, nodes, kind):
        nodes.tower = "127.0.0.1:1"
        node = nodes.add(getattr(nodes, kind)())
        began = monotonic()
        node.stop()
        assert monotonic() - began < STOPS_WITHIN_S


class TestWhoWaits:
    def test_for_room_is_refused_when_the_producer_stops(self, nodes):
        nodes.towered()
        producer = nodes.producer(buffer_bytes=1000)
        producer.publish(bytes(900))
        blocked = nodes.spawn(producer.publish, bytes(900))
        during(0.1, lambda: not blocked.ready())
        began = monotonic()
        assert producer.stop(0.1) == 1
        assert monotonic() - began < STOPS_WITHIN_S
        with pytest.raises(dafka.Closed):
            blocked.get(timeout=5)
        assert producer.unacknowledged == 1

    def test_for_acknowledgements_is_refused_when_the_producer_stops(self, nodes):
        nodes.towered()
        producer = nodes.producer()
        producer.publish(b"x")
        flushing = nodes.spawn(producer.flush)
        during(0.1, lambda: not flushing.ready())
        producer.stop(0.1)
        with pytest.raises(dafka.Closed):
            flushing.get(timeout=5)
        with pytest.raises(dafka.Closed, match="topic t: this producer is not running"):
            producer.publish(b"y")
        with pytest.raises(dafka.Closed):
            producer.flush(1)

    def test_an_exception_in_the_block_stops_the_node_and_goes_on(self, nodes):
        nodes.towered()
        with pytest.raises(KeyError), nodes.make_consumer() as consumer:
            raise KeyError("user")
        assert consumer.poll() is None
        assert list(consumer) == []
        assert list(consumer.runs()) == []

    def test_ctrl_c_in_the_block_does_not_wait_for_what_nobody_acknowledges(self, nodes):
        nodes.towered()
        with nodes.make_producer() as producer:
            producer.publish(b"x")
            began = monotonic()
            producer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        assert monotonic() - began < STOPS_WITHIN_S
        assert producer.unacknowledged == 1


class TestSideBySide:
    def test_nodes_of_one_kind_do_not_mix_up_what_they_hold(self, nodes):
        nodes.cluster()
        producers = [nodes.producer(topic) for topic in ("a", "b")]
        consumers = [nodes.consumer(topic) for topic in ("a", "b")]
        for producer in producers:
            fill(producer, 100)
        for producer, consumer in zip(producers, consumers, strict=True):
            producer.flush(20)
            records = take(consumer, 100)
            assert [record.offset for record in records] == list(range(100))
            assert {(r.topic, r.partition) for r in records} == {(producer.topic, producer.address)}
        producers[0].stop()
        consumers[0].stop()
        producers[1].publish(b"still there")
        assert take(consumers[1], 1)[0].content == b"still there"

    def test_what_was_done_is_counted(self, nodes):
        nodes.cluster()
        producer, consumer = nodes.producer(), nodes.consumer()
        fill(producer, 50)
        producer.flush(20)
        take(consumer, 50)
        assert producer.stats().records == consumer.stats().records == 50
        assert producer.stats().acks >= 1
        assert producer.introduced
        assert consumer.introduced
        assert (producer.next_offset, producer.saved, producer.trouble) == (50, 50, "")

    def test_records_that_no_store_keeps_are_told(self, nodes):
        nodes.towered()
        store = nodes.store()
        producer = nodes.producer(partition=PARTITION, first=100, earliest=100)
        fill(producer, 5, first=100)
        producer.flush(20)
        expired: list[dafka.RecordsExpired] = []
        consumer = nodes.consumer(start=0, on_expired=expired.append)
        assert [record.offset for record in take(consumer, 5)] == list(range(100, 105))
        assert [(e.partition, e.first, e.end) for e in expired] == [(PARTITION, 0, 100)]
        assert [(e.earliest, e.next) for e in store.partitions()] == [(100, 105)]
