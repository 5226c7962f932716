"""Publishing, whatever the shell: offsets, acknowledgements, the buffer's bound and the outbox."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

import dafka
from dafka.core.run import RECORD_COST
from tests.support.live_nodes import fill
from tests.support.outboxes import kept, left_behind
from tests.support.waiting import during, take

pytestmark = pytest.mark.io

PARTITION = "0123456789ABCDEF" * 2


def full_producer(nodes, records: int = 10, **settings):
    """A producer without a store whose buffer is filled by so many records of 36 bytes."""
    cost = 36 + RECORD_COST
    producer = nodes.producer(buffer_bytes=records * cost, stop_timeout_s=0.1, **settings)
    for at in range(records):
        assert producer.publish(b"%036d" % at) == at
    return producer


def test_offsets_count_from_zero_and_a_flush_acknowledges_them_all(nodes):
    producer = nodes.cluster().producer()
    assert [producer.publish(b"x") for _ in range(1000)] == list(range(1000))
    assert producer.next_offset == 1000
    producer.flush(20)
    assert (producer.acknowledged, producer.unacknowledged) == (1000, 0)
    assert producer.publish(b"x") == 1000
    assert producer.next_offset == 1001


def test_a_flush_of_nothing_returns_at_once_without_a_store(nodes):
    nodes.towered()
    nodes.producer().flush(timeout=0)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_bytes_like_contents_are_copied_when_they_are_published(nodes, kind):
    nodes.cluster()
    producer, consumer = nodes.producer(), nodes.consumer()
    changing = bytearray(b"before")
    producer.publish(kind(changing))
    changing[:] = b"after!"
    assert take(consumer, 1)[0].content == b"before"


def test_text_is_refused_with_the_advice_to_encode_it(nodes):
    producer = nodes.cluster().producer()
    with pytest.raises(dafka.ConfigError, match="encode"):
        producer.publish("text")
    for wrong in (7, None, [b"x"]):
        with pytest.raises(dafka.ConfigError, match=f"not {type(wrong).__name__}"):
            producer.publish(wrong)
    assert producer.publish(b"next") == 0


def test_a_record_larger_than_the_buffer_is_refused_and_takes_no_offset(nodes):
    producer = nodes.cluster().producer(buffer_bytes=1000)
    largest = 1000 - RECORD_COST
    with pytest.raises(dafka.ConfigError, match=rf"{largest + 1} bytes .*buffer_bytes \(1000\)"):
        producer.publish(bytes(largest + 1))
    assert producer.publish(bytes(largest), timeout=20) == 0
    producer.flush(20)


def test_publish_gives_up_after_its_timeout_and_accepted_nothing(nodes):
    nodes.towered()
    producer = full_producer(nodes, 10)
    began = monotonic()
    with pytest.raises(dafka.PublishTimeout, match="10 records fill buffer_bytes") as caught:
        producer.publish(b"too much" * 5, timeout=0.2)
    assert 0.19 <= monotonic() - began < 5
    assert caught.value.unacknowledged == 10
    assert isinstance(caught.value, TimeoutError)
    assert producer.next_offset == 10


@pytest.mark.alone
def test_publish_with_a_zero_timeout_does_not_wait(nodes):
    nodes.towered()
    producer = full_producer(nodes, 10)
    began = monotonic()
    with pytest.raises(dafka.PublishTimeout):
        producer.publish(bytes(36), timeout=0)
    assert monotonic() - began < 0.5


def test_everything_accepted_arrives_when_a_store_appears_at_last(nodes):
    nodes.towered()
    producer = full_producer(nodes, 10)
    with pytest.raises(dafka.PublishTimeout):
        producer.publish(bytes(36), timeout=0.1)
    blocked = nodes.spawn(producer.publish, b"%036d" % 10)
    during(0.3, lambda: not blocked.ready(), "the publish that has to wait")
    nodes.store()
    assert blocked.get(timeout=20) == 10
    producer.flush(20)
    records = take(nodes.consumer(), 11)
    assert [(r.offset, int(r.content)) for r in records] == [(n, n) for n in range(11)]


def test_a_flush_that_times_out_tells_how_many_are_left_and_gives_nothing_up(nodes):
    nodes.towered()
    producer = nodes.producer(stop_timeout_s=0.1)
    fill(producer, 7)
    began = monotonic()
    with pytest.raises(dafka.PublishTimeout, match="7 records from offset 0") as caught:
        producer.flush(timeout=0.2)
    assert 0.19 <= monotonic() - began < 5
    assert caught.value.unacknowledged == 7
    nodes.store()
    producer.flush(20)
    assert producer.unacknowledged == 0


def test_the_count_of_a_flush_is_what_stores_lack_not_all_that_was_published(nodes):
    nodes.towered()
    store = nodes.store()
    producer = nodes.producer(stop_timeout_s=0.1)
    fill(producer, 5)
    producer.flush(20)
    store.stop()
    fill(producer, 3)
    with pytest.raises(dafka.PublishTimeout, match="3 records from offset 5") as caught:
        producer.flush(timeout=0.2)
    assert caught.value.unacknowledged == 3


def test_a_blocked_publish_goes_on_as_soon_as_there_is_room_again_and_again(nodes):
    nodes.cluster()
    producer = nodes.producer(buffer_bytes=20 * (4 + RECORD_COST))
    for at in range(2000):
        assert producer.publish(b"%04d" % at, timeout=20) == at
    producer.flush(20)
    records = take(nodes.consumer(), 2000)
    assert [int(record.content) for record in records] == list(range(2000))


def test_several_callers_that_wait_for_room_all_get_their_turn(nodes):
    nodes.towered()
    producer = full_producer(nodes, 10)
    blocked = [nodes.spawn(producer.publish, b"%036d" % at, 20) for at in range(10, 30)]
    nodes.sleep(0)
    assert not any(task.ready() for task in blocked)
    nodes.store()
    offsets = [task.get(timeout=20) for task in blocked]
    assert sorted(offsets) == list(range(10, 30))
    producer.flush(20)
    contents = [int(record.content) for record in take(nodes.consumer(), 30)]
    assert contents[:10] == list(range(10))
    assert sorted(contents) == list(range(30))


def test_stop_returns_the_number_of_records_left_and_warns(nodes, caplog):
    nodes.towered()
    producer = nodes.producer()
    fill(producer, 4)
    assert producer.stop(timeout=0.1) == 4
    assert "4 records from offset 0" in caplog.text
    assert producer.stop() == 4


def test_stop_waits_for_acknowledgements_and_then_returns_zero(nodes, caplog):
    producer = nodes.cluster().producer()
    fill(producer, 5000)
    assert producer.stop(20) == 0
    assert caplog.text == ""


def test_many_records_get_offsets_in_a_row_and_arrive_in_order(nodes):
    producer, consumer = nodes.cluster().producer(), nodes.consumer()
    many = [b"%d" % n for n in range(5000)]
    assert producer.publish(b"first") == 0
    assert producer.publish_many(many[:10]) == 1
    assert producer.publish_many(iter(many[10:])) == 11
    assert producer.publish_many([]) == 5001
    assert producer.publish(b"last") == producer.next_offset - 1 == 5001
    producer.flush(20)
    records = take(consumer, 5002)
    assert [record.content for record in records] == [b"first", *many, b"last"]
    assert [record.offset for record in records] == [*range(5002)]
    assert producer.stats().records == 5002


def test_many_are_published_whole_or_not_at_all(nodes):
    nodes.towered()
    cost = 36 + RECORD_COST
    producer = nodes.producer(buffer_bytes=10 * cost, stop_timeout_s=0.1)
    ten = [b"%036d" % n for n in range(10)]
    with pytest.raises(dafka.ConfigError, match=r"11 records of 396 bytes .* publish fewer"):
        producer.publish_many([*ten, ten[0]])
    with pytest.raises(dafka.ConfigError, match="a record of 5000 bytes does not fit"):
        producer.publish_many([b"x", bytes(5000)])
    with pytest.raises(dafka.ConfigError, match="not str"):
        producer.publish_many([b"x", "text"])
    with pytest.raises(dafka.ConfigError, match="publish_many takes a list of contents, not int"):
        producer.publish_many(5)
    assert producer.publish_many(ten[:6]) == 0
    with pytest.raises(dafka.PublishTimeout, match="6 records fill"):
        producer.publish_many(ten[:5], timeout=0.1)
    assert producer.next_offset == 6
    nodes.store()
    assert producer.publish_many(ten[:5], timeout=20) == 6
    producer.flush(20)
    assert producer.acknowledged == 11


def test_many_are_kept_by_an_outbox_as_well(nodes, tmp_path):
    nodes.cluster()
    producer = nodes.producer(outbox=tmp_path / "outbox")
    assert producer.publish_many([b"a", bytearray(b"b"), b"c"]) == 0
    producer.flush(20)
    assert [record.content for record in take(nodes.consumer(), 3)] == [b"a", b"b", b"c"]


def test_many_are_refused_by_a_producer_that_has_ended(nodes):
    producer = nodes.cluster().producer()
    producer.stop()
    with pytest.raises(dafka.Closed):
        producer.publish_many([b"x"])
    with pytest.raises(dafka.Closed):
        producer.publish(b"x")


def numbers(records: list[dafka.Record]) -> list[tuple[int, int]]:
    return [(record.offset, int(record.content)) for record in records]


def test_a_partition_is_continued_at_an_offset(nodes):
    nodes.cluster()
    producer = nodes.producer(partition=PARTITION)
    assert (producer.partition, producer.next_offset) == (PARTITION, 0)
    fill(producer, 100)
    assert producer.stop(20) == 0
    producer = nodes.producer(partition=PARTITION, first=100)
    assert (producer.partition, producer.next_offset) == (PARTITION, 100)
    assert (producer.acknowledged, producer.saved, producer.unacknowledged) == (100, 100, 0)
    fill(producer, 50, first=100)
    producer.flush(20)
    assert producer.acknowledged == 150
    records = take(nodes.consumer(), 150)
    assert numbers(records) == [(n, n) for n in range(150)]
    assert {record.partition for record in records} == {PARTITION}


@pytest.fixture
def box(tmp_path) -> Path:
    return tmp_path / "outbox"


def test_what_no_store_has_is_sent_by_the_next_producer_with_the_outbox(nodes, box, caplog):
    nodes.towered()
    partition = left_behind(nodes, box, 1000)
    assert "1000 records from offset 0" in caplog.text
    assert kept(box) == (0, 1000)
    producer = nodes.producer(outbox=box)
    assert (producer.partition, producer.next_offset, producer.saved) == (partition, 1000, 1000)
    assert (producer.acknowledged, producer.unacknowledged) == (0, 1000)
    fill(producer, 5, first=producer.next_offset)
    nodes.store()
    producer.flush(20)
    records = take(nodes.consumer(), 1005)
    assert numbers(records) == [(n, n) for n in range(1005)]
    assert {record.partition for record in records} == {partition}


def test_what_stores_have_leaves_the_outbox_and_the_offsets_go_on(nodes, box):
    nodes.cluster()
    for life in range(3):
        producer = nodes.producer(outbox=box)
        assert (producer.next_offset, producer.unacknowledged) == (300 * life, 0)
        assert producer.saved == 300 * life
        fill(producer, 300, first=300 * life)
        assert producer.stop(20) == 0
        assert kept(box) == (300 * life + 300, 300 * life + 300)
    assert numbers(take(nodes.consumer(), 900)) == [(n, n) for n in range(900)]


def test_partition_has_its_name_from_the_first_start_on(nodes, box):
    nodes.towered()
    producer = nodes.make_producer(outbox=box)
    with pytest.raises(dafka.Closed, match="once it has been started"):
        _ = producer.partition
    assert producer.stop() == 0
    with producer:
        partition = producer.partition
    with nodes.make_producer(outbox=str(box)) as again:
        assert (again.partition, again.next_offset) == (partition, 0)


def test_two_producers_cannot_use_one_outbox(nodes, box):
    nodes.towered()
    first = nodes.producer(outbox=box)
    with pytest.raises(dafka.StoreError, match=f"{box} is in use by process"):
        nodes.producer(outbox=box)
    first.publish(b"still works")
    first.stop(0)
    assert nodes.producer(outbox=box).next_offset == 1
