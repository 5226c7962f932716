"""What stores drop, delete and repair while they run, and what their consumers see of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import dafka
from dafka.io.inspector import Inspector
from tests.support.live_nodes import Nodes
from tests.support.waiting import take, until

pytestmark = pytest.mark.io

BIG = 300_000


def _publish(producer: dafka.Producer, first: int, count: int) -> None:
    """Records that fill a value each three of them."""
    for number in range(first, first + count):
        producer.publish(b"%09d" % number + bytes(BIG))
    producer.flush(20)


def _numbers(records: list[dafka.Record]) -> list[int]:
    return [int(record.content[:9]) for record in records]


def _extent(store: dafka.Store, partition: str) -> tuple[int, int]:
    held = {one.partition: (one.earliest, one.next) for one in store.partitions()}
    return held.get(partition, (0, 0))


def test_what_is_too_much_is_dropped_and_consumers_are_told(nodes: Nodes) -> None:
    nodes.towered()
    rules = [{"topics": "t", "bytes": 4 * BIG}]
    store = nodes.store(retention=rules, upkeep_interval_s=0.05)
    producer, kept = nodes.producer("t"), nodes.producer("other")
    for first in range(0, 30, 3):
        _publish(producer, first, 3)
    kept.publish(b"stays")
    kept.flush(20)
    until(lambda: sum(e.bytes for e in store.partitions() if e.topic == "t") <= 4 * BIG)
    earliest, end = _extent(store, producer.partition)
    assert earliest > 0
    assert end == 30
    expired: list[dafka.RecordsExpired] = []
    told = nodes.consumer("t", start={producer.partition: 1}, on_expired=expired.append)
    assert _numbers(take(told, 30 - earliest)) == list(range(earliest, 30))
    assert [(e.topic, e.partition, e.first, e.end) for e in expired] == [
        ("t", producer.partition, 1, earliest)
    ]
    fresh = nodes.consumer("t", on_expired=expired.append)
    assert _numbers(take(fresh, 30 - earliest)) == list(range(earliest, 30))
    assert len(expired) == 1
    assert _extent(store, kept.partition) == (0, 1)


def test_a_store_that_joins_begins_where_the_others_do(nodes: Nodes) -> None:
    nodes.towered()
    store = nodes.store(retention=[{"records": 5}], upkeep_interval_s=0.05)
    producer = nodes.producer()
    for first in range(0, 30, 3):
        _publish(producer, first, 3)
    # Values have three records at most: seven may stay, but not eight.
    until(lambda: _extent(store, producer.partition)[0] >= 23)
    producer.stop()
    joined = nodes.store()
    until(lambda: joined.partitions() == store.partitions())
    consumer = nodes.consumer()
    first = _extent(store, producer.partition)[0]
    assert _numbers(take(consumer, 30 - first)) == list(range(first, 30))


def test_a_deleted_topic_is_gone_from_every_store_also_one_that_was_away(nodes: Nodes) -> None:
    nodes.towered()
    here = nodes.store()
    away = nodes.store()
    data = Path(away.config.data)
    producer, kept = nodes.producer("t"), nodes.producer("other")
    producer.publish(b"to be deleted")
    kept.publish(b"stays")
    for one in (producer, kept):
        one.flush(20)
    for store in (here, away):
        until(lambda store=store: len(store.partitions()) == 2)
    away.stop()
    inspector = nodes.add(Inspector("t", tower=nodes.tower, bind="tcp://127.0.0.1:*"))
    inspector.gather(20)
    (deletion, *_) = [one for one in inspector.delete(20) if one.records]
    assert deletion.records == 1
    assert _extent(here, producer.partition) == (1, 1)
    back = nodes.store(data)
    until(lambda: _extent(back, producer.partition) == (1, 1))
    for store in (here, back):
        assert _extent(store, kept.partition) == (0, 1)
    producer.publish(b"new")
    producer.flush(20)
    (record,) = take(nodes.consumer("t"), 1)
    assert (record.offset, record.content) == (1, b"new")


def test_damaged_records_are_repaired_from_another_store(nodes: Nodes) -> None:
    nodes.towered()
    damaged, sound = nodes.store(), nodes.store()
    producer = nodes.producer()
    for number in range(100):
        producer.publish(b"record %d" % number)
    producer.flush(20)
    for store in (damaged, sound):
        until(lambda store=store: _extent(store, producer.partition) == (0, 100))
    producer.stop()
    database = Path(damaged.config.data) / "cache.db"
    damaged.stop()
    with closing(sqlite3.connect(database)) as connection, connection:
        query = "SELECT rowid, value FROM Cache WHERE length(value) > 100"
        for row, value in connection.execute(query).fetchall():
            wrong = value[:-3] + bytes(byte ^ 0xFF for byte in value[-3:])
            connection.execute("UPDATE Cache SET value = ? WHERE rowid = ?", (wrong, row))
    again = nodes.store(database.parent, upkeep_interval_s=0.05)
    consumer = nodes.consumer()
    expected = [b"record %d" % number for number in range(100)]
    assert [record.content for record in take(consumer, 100)] == expected

    # The consumer has read from either store; verifying finds the damage in any case.
    until(lambda: not list(again._log.check()))
    consumer.seek_to_earliest()
    assert [record.content for record in take(consumer, 100)] == expected
