"""A producer with an outbox: what it accepted outlives it, and nobody sees what could change."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

import dafka
from dafka.core.run import RECORD_COST, Run
from dafka.io import refusals
from dafka.io.green import GREEN
from dafka.io.log import Damaged, Log
from dafka.io.outbox import Outbox
from dafka.io.outbox_identity import FILE
from tests.support.live_nodes import fill
from tests.support.outboxes import kept, left_behind
from tests.support.waiting import during, take, until

pytestmark = pytest.mark.io


@pytest.fixture
def box(tmp_path) -> Path:
    return tmp_path / "outbox"


def cost(*sizes: int) -> int:
    return sum(size + RECORD_COST for size in sizes)


def numbers(records: list[dafka.Record]) -> list[tuple[int, int]]:
    return [(record.offset, int(record.content)) for record in records]


class Disk:
    """The outbox's disk, which fails, or is slow, when it is told to."""

    def __init__(self, monkeypatch, box: Path) -> None:
        self.full = False
        self.free = threading.Event()
        self.free.set()
        self.appends = self.drops = 0
        append, drop = Log.append, Log.drop

        def appending(log, runs):
            if log.directory != box:
                return append(log, runs)
            assert self.free.wait(30)
            if self.full:
                raise dafka.StoreError(f"records cannot be written to {log.directory}: it is full")
            self.appends += 1
            return append(log, runs)

        def dropping(log, *arguments, **settings):
            self.drops += log.directory == box
            return drop(log, *arguments, **settings)

        monkeypatch.setattr(Log, "append", appending)
        monkeypatch.setattr(Log, "drop", dropping)


@pytest.fixture
def disk(monkeypatch, nodes, box) -> Iterator[Disk]:
    made = Disk(monkeypatch, box)
    yield made
    made.free.set()  # whatever has failed: the nodes end after this


# From one life to the next


def test_stores_that_have_more_than_the_outbox_knows_need_not_be_sent_it(nodes, box, monkeypatch):
    """As after a kill: records are acknowledged, but not dropped yet."""
    with monkeypatch.context() as patch:
        patch.setattr(Log, "drop", lambda *_, **__: False)
        nodes.cluster()
        producer = nodes.producer(outbox=box)
        fill(producer, 5000)
        assert producer.stop(20) == 0
    assert kept(box) == (0, 5000)
    producer = nodes.producer(outbox=box, buffer_bytes=100 * cost(4))
    assert producer.unacknowledged == 5000
    producer.flush(20)
    assert producer.stats().records < 1000
    assert producer.publish(b"5000") == 5000
    assert producer.stop(20) == 0
    assert kept(box) == (5001, 5001)
    assert numbers(take(nodes.consumer(), 5001)) == [(n, n) for n in range(5001)]


def test_outbox_larger_than_the_buffer_is_loaded_bit_by_bit(nodes, box):
    nodes.towered()
    left_behind(nodes, box, 3000)
    room = 300 * cost(4)
    producer = nodes.producer(outbox=box, buffer_bytes=room, stop_timeout_s=0.1)

    def held() -> int:
        return producer._outbox.waiting_bytes + producer._machine.unacked_bytes

    assert producer._outbox.loading
    during(0.2, lambda: 0 < held() <= room)
    with pytest.raises(dafka.PublishTimeout, match="3000 records fill buffer_bytes"):
        producer.publish(b"x", timeout=0)
    blocked = gevent.spawn(producer.publish, b"3000")
    nodes.store()
    until(lambda: held() <= room and blocked.ready(), what="a publish with room")
    assert blocked.get() == 3000
    producer.flush(20)
    assert numbers(take(nodes.consumer(), 3001)) == [(n, n) for n in range(3001)]


def test_records_larger_than_a_buffer_that_was_made_smaller_are_sent_one_by_one(nodes, box):
    nodes.towered()
    producer = nodes.producer(outbox=box, stop_timeout_s=0)
    contents = [b"a" * 10, b"b" * 5000, b"c" * 10, b"d" * 6000, b"e" * 5000]
    for content in contents:
        producer.publish(content)
    producer.stop()
    producer = nodes.producer(outbox=box, buffer_bytes=2000)
    nodes.store()
    producer.flush(20)
    assert [record.content for record in take(nodes.consumer(), 5)] == contents


# Nothing is sent that is not durable


def test_nobody_sees_a_record_before_it_is_in_the_outbox(nodes, box, disk):
    nodes.cluster()
    consumer = nodes.consumer()
    producer = nodes.producer(outbox=box)
    assert producer.publish(b"0") == 0
    producer.flush(20)
    take(consumer, 1)
    disk.free.clear()
    assert producer.publish(b"1") == 1
    assert (producer.next_offset, producer.saved, producer.acknowledged) == (2, 1, 1)
    during(0.3, lambda: consumer.poll(0) is None, "silence")
    with pytest.raises(dafka.PublishTimeout, match="1 record from offset 1"):
        producer.flush(0.05)
    disk.free.set()
    assert take(consumer, 1)[0].content == b"1"
    producer.flush(20)
    assert producer.saved == 2


def test_everything_that_comes_during_a_commit_is_one_commit(nodes, box, disk):
    nodes.cluster()
    producer = nodes.producer(outbox=box)
    disk.free.clear()
    fill(producer, 2000)
    disk.free.set()
    producer.flush(20)
    assert disk.appends <= 3
    assert numbers(take(nodes.consumer(), 2000)) == [(n, n) for n in range(2000)]


def test_acknowledged_records_are_dropped_now_and_then_not_one_by_one(nodes, box, disk):
    nodes.cluster()
    producer = nodes.producer(outbox=box)
    for offset in range(50):
        producer.publish(b"%d" % offset)
        producer.flush(20)
    assert disk.drops <= 5
    until(lambda: producer._outbox._dropped == 50, what="the rest is dropped by and by")


def test_what_waits_for_the_disk_counts_at_the_bound(nodes, box, disk):
    nodes.cluster()
    disk.free.clear()
    producer = nodes.producer(outbox=box, buffer_bytes=10 * cost(1), stop_timeout_s=0.1)
    fill(producer, 10)
    with pytest.raises(dafka.PublishTimeout, match="10 records fill"):
        producer.publish(b"x", timeout=0.05)
    disk.free.set()
    assert producer.publish(b"x", timeout=20) == 10


def test_full_disk_stops_the_producer_and_it_recovers(nodes, box, disk, caplog):
    nodes.cluster()
    consumer = nodes.consumer()
    producer = nodes.producer(outbox=box, buffer_bytes=10 * cost(1), stop_timeout_s=0.1)
    disk.full = True
    fill(producer, 10)
    until(lambda: "it is full; it is tried again" in caplog.text, what="a warning")
    with pytest.raises(dafka.PublishTimeout, match=f"outbox {box}: .*it is full"):
        producer.publish(b"x", timeout=0.05)
    with pytest.raises(dafka.PublishTimeout, match="it is full"):
        producer.flush(0.05)
    assert (consumer.poll(0.2), producer.saved) == (None, 0)
    disk.full = False
    assert producer.publish(b"10", timeout=20) == 10
    producer.flush(20)
    assert numbers(take(consumer, 11)) == [(n, n) for n in range(11)]
    until(lambda: "outbox can be used again" in caplog.text)


def test_what_could_never_be_written_is_reported_as_lost(nodes, box, disk, caplog):
    nodes.cluster()
    producer = nodes.producer(outbox=box)
    producer.publish(b"0")
    producer.flush(20)
    disk.full = True
    fill(producer, 2, first=1)
    assert producer.stop(0.1) == 2
    assert "lost 2 records of topic t from offset 1 on" in caplog.text
    assert "it is full" in caplog.text
    disk.full = False
    assert nodes.producer(outbox=box).next_offset == 1


def test_damaged_records_block_what_follows_and_are_named(nodes, box, monkeypatch, caplog):
    nodes.towered()
    partition = left_behind(nodes, box, 10)
    read = Log.read

    def reading(log, topic, partition, first, **bounds):
        if first >= 4:
            raise Damaged(topic, partition, first, 9, "their checksum is wrong")
        return read(log, topic, partition, first, max_records=4, max_bytes=bounds["max_bytes"])

    monkeypatch.setattr(Log, "read", reading)
    producer = nodes.producer(outbox=box, stop_timeout_s=0.1)
    until(lambda: "damaged" in caplog.text, what="a warning")
    with pytest.raises(dafka.PublishTimeout, match="publish again from offset 4 on") as caught:
        producer.publish(b"x", timeout=0)
    for part in (str(box), "'t'", partition, "offsets 4 to 9", "checksum"):
        assert part in str(caught.value)


# Who may use an outbox


def test_outbox_of_another_topic_is_refused(nodes, box):
    nodes.towered()
    left_behind(nodes, box, 3)
    with pytest.raises(dafka.ConfigError, match=f"{box} belongs to topic 't', not 'u'"):
        nodes.producer("u", outbox=box)
    assert nodes.producer(outbox=box).next_offset == 3


def test_directory_of_a_store_is_refused_and_left_as_it_is(nodes, box):
    nodes.towered()
    store = nodes.store(box)
    producer = nodes.producer()
    fill(producer, 7)
    producer.flush(20)
    store.stop()
    with pytest.raises(dafka.StoreError, match="directory of a store, not an outbox"):
        nodes.producer(outbox=box)
    assert kept(box) == (0, 7)
    assert not (box / FILE).exists()


def test_foreign_directory_is_refused(nodes, box):
    nodes.towered()
    box.mkdir()
    (box / "letters").write_text("mine")
    with pytest.raises(dafka.StoreError, match="holds other files"):
        nodes.producer(outbox=box)
    assert [file.name for file in box.iterdir()] == ["letters"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"topic": "t"}', '{"topic": "t", "partition": 1}']
)
def test_outbox_that_does_not_know_whose_it_is_is_refused(nodes, box, text):
    nodes.towered()
    left_behind(nodes, box, 3)
    (box / FILE).write_text(text)
    with pytest.raises(dafka.StoreError, match=rf"{FILE} is damaged"):
        nodes.producer(outbox=box)
    assert kept(box) == (0, 3)


def test_a_store_keeps_out_of_an_outbox(nodes, box):
    nodes.towered()
    left_behind(nodes, box, 3)
    before = {file.name: file.read_bytes() for file in box.iterdir()}
    with pytest.raises(dafka.StoreError, match="is the outbox of a producer") as error:
        nodes.store(box)
    assert str(box) in str(error.value)
    assert {file.name: file.read_bytes() for file in box.iterdir()} == before
    nodes.store()
    nodes.producer(outbox=box).flush(20)


def test_outbox_that_holds_what_is_not_its_own_is_refused(nodes, box):
    nodes.towered()
    left_behind(nodes, box, 3)
    with Log(box) as log:
        log.append([Run("other", "A" * 32, 0, [b"x"])])
    with pytest.raises(dafka.StoreError, match=r"topic 'other', partition .* not its own"):
        nodes.producer(outbox=box)


def test_outbox_is_free_again_if_the_producer_cannot_start(nodes, box):
    nodes.towered()
    for _ in range(2):
        with pytest.raises(dafka.ConfigError, match="256"):
            nodes.producer(outbox=box, bind="tcp://256.1.1.1:*")
    assert nodes.producer(outbox=box).next_offset == 0


def test_a_fault_of_ours_at_the_disk_ends_the_producer(nodes, box, monkeypatch):
    nodes.towered()
    producer = nodes.producer(outbox=box)
    monkeypatch.setattr(Log, "append", lambda *_: 1 / 0)
    producer.publish(b"x")
    with pytest.raises(ZeroDivisionError):
        producer.wait(20)
    with pytest.raises(ZeroDivisionError):
        producer.publish(b"x", timeout=20)


# Settings


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_durability_of_the_outbox_is_a_setting(nodes, box, durability):
    nodes.towered()
    producer = nodes.producer(outbox=box, outbox_durability=durability)
    with producer._outbox._log._opened().lend() as cache:
        level = {"fsync": 2, "os": 1}[durability]
        assert cache._sql("PRAGMA synchronous").fetchone()[0] == level


def test_unknown_durability_is_refused():
    with pytest.raises(dafka.ConfigError, match="outbox_durability 'never' is neither"):
        dafka.Producer("t", outbox="box", outbox_durability="never")


def test_without_an_outbox_what_is_acknowledged_is_saved(nodes):
    nodes.towered()
    producer = nodes.producer(stop_timeout_s=0.1)
    fill(producer, 3)
    assert producer.saved == 0
    nodes.store()
    producer.flush(20)
    assert producer.saved == 3


def test_record_that_no_outbox_can_keep_is_refused(nodes, box, monkeypatch):
    monkeypatch.setattr(refusals, "MAX_CONTENT_BYTES", 1000)
    nodes.towered()
    producer = nodes.producer(outbox=box, stop_timeout_s=0)
    with pytest.raises(dafka.ConfigError, match="1001 bytes is too large for every store"):
        producer.publish(bytes(1001))
    assert producer.publish(bytes(1000)) == 0
    small = nodes.producer(outbox=box.with_name("small"), buffer_bytes=500)
    with pytest.raises(dafka.ConfigError, match="does not fit into buffer_bytes"):
        small.publish(bytes(500))


def test_an_outbox_opens_nothing_before_its_start(box):
    dafka.Producer("t", outbox=box)
    Outbox("t", dafka.ProducerConfig(outbox=str(box)), GREEN)
    assert not box.exists()
