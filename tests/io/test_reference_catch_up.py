"""Late joiners of both kinds, who read from stores and producers of the other kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from dafka import Run
from dafka.io.log import Log
from tests.support.reference_stage import (
    Stage,
    acquainted,
    drain,
    listeners,
    stays,
    stored,
    take,
    until,
    values,
)

pytest_plugins = ["tests.support.reference_fixture"]
pytestmark = pytest.mark.io

DEAD = "DEADDEADDEADDEADDEADDEADDEADDEAD"
"""The address of a producer that is not there any more."""
LARGE = 100_500
"""Records that a reference consumer cannot get by one FETCH."""


def prepared(path: Path, contents: list[bytes], topic: str = "metrics") -> str:
    """The directory of a store that has these records of `DEAD`."""
    log = Log(str(path / "prepared"))
    log.open()
    for first in range(0, len(contents), 10_000):
        log.append([Run(topic, DEAD, first, contents[first : first + 10_000])])
    log.close()
    return str(path / "prepared")


def test_our_consumer_from_a_reference_store_after_the_producer_ended(stage: Stage) -> None:
    stage.reference_tower()
    store, producer = stage.reference_store(), stage.reference_producer()
    until(lambda: acquainted(store, producer))
    producer.publish(*values(5))
    producer.finish()
    until(lambda: not producer.running)
    consumer = stage.consumer(start="earliest")
    assert [r.content for r in take(consumer, 5)] == values(5)
    assert {f.topic for f in store.reader.fetches} == {producer.address}
    assert drain(consumer, 0.3) == []


def test_reference_consumer_from_our_store_after_the_producer_ended(stage: Stage) -> None:
    stage.our_tower()
    stage.store()
    producer = stage.producer()
    for content in values(5):
        producer.publish(content)
    assert producer.stop(5) == 0
    consumer = stage.reference_consumer(earliest=True)
    until(lambda: consumer.contents(producer.address) == values(5))
    stays(lambda: len(consumer.delivered) == 5, 0.3)


def test_our_consumer_reads_much_from_a_reference_store(stage: Stage) -> None:
    stage.our_tower()
    expected = values(LARGE)
    store = stage.reference_store()
    store.database.fill("metrics", DEAD, expected)
    consumer = stage.consumer(start="earliest")
    contents: list[bytes] = []
    for run in consumer.runs(timeout=10):
        assert run.first == len(contents)
        contents += run.contents
        if len(contents) == LARGE:
            break
    assert contents == expected
    assert drain(consumer, 0.3) == []


def test_reference_consumer_reads_much_from_our_store(stage: Stage, tmp_path: Path) -> None:
    """It asks for a block of 100,000 and then waits for a HEAD, which only our store can send."""
    stage.reference_tower()
    expected = values(LARGE)
    stage.store(data=prepared(tmp_path, expected))
    consumer = stage.reference_consumer(earliest=True)
    until(lambda: len(consumer.delivered) >= LARGE, 30)
    assert consumer.contents(DEAD) == expected
    assert consumer.requests == [0, 100_000]


def test_reference_consumer_of_the_latest_asks_our_store_for_nothing(
    stage: Stage, tmp_path: Path
) -> None:
    stage.our_tower()
    store = stage.store(data=prepared(tmp_path, values(5)))
    consumer = stage.reference_consumer()
    producer = stage.producer()
    until(lambda: consumer.subscribed and listeners(producer) >= 2)
    producer.publish(b"new")
    until(lambda: consumer.delivered)
    assert consumer.contents(DEAD) == []
    assert store.stats().reader.records == 0


@pytest.mark.parametrize("number", [10, 256])
def test_our_store_joins_a_reference_producer_late(stage: Stage, number: int) -> None:
    """What was never acknowledged, and is among the first 256, is sent rightly (trace d)."""
    stage.our_tower()
    producer = stage.reference_producer()
    producer.publish(*values(number))
    store = stage.store()
    until(lambda: producer.acknowledged == number)
    assert stored(store, "metrics", producer.address) == values(number)
    producer.publish(b"live")
    producer.finish()
    until(lambda: not producer.running)
    assert stored(store, "metrics", producer.address) == [*values(number), b"live"]


def test_our_store_joins_our_producer_late(stage: Stage) -> None:
    stage.reference_tower()
    producer = stage.producer()
    for content in values(5000):
        producer.publish(content)
    store = stage.store()
    producer.flush(10)
    assert stored(store, "metrics", producer.address) == values(5000)


def test_reference_store_joins_our_producer_late(stage: Stage) -> None:
    stage.our_tower()
    producer = stage.producer()
    for content in values(5000):
        producer.publish(content)
    store = stage.reference_store()
    producer.flush(10)
    assert store.contents("metrics", producer.address) == values(5000)


def test_reference_store_catches_up_from_our_store(stage: Stage) -> None:
    """Its FETCH is answered by our store, after our producer has forgotten the records."""
    stage.our_tower()
    stage.store()
    producer = stage.producer()
    for content in values(3000):
        producer.publish(content)
    producer.flush(5)
    store = stage.reference_store()
    until(lambda: len(store.contents("metrics", producer.address)) == 3000)
    assert store.contents("metrics", producer.address) == values(3000)


def test_our_store_catches_up_from_a_reference_store(stage: Stage) -> None:
    """The producer, a reference one, still sends HEADs; its own answers would be wrong."""
    stage.our_tower()
    reference_store = stage.reference_store()
    producer = stage.reference_producer()
    until(lambda: acquainted(reference_store, producer))
    producer.publish(*values(3000))
    until(lambda: producer.acknowledged == 3000)
    store = stage.store()
    until(lambda: len(stored(store, "metrics", producer.address)) == 3000)
    assert stored(store, "metrics", producer.address) == values(3000)
    assert reference_store.contents("metrics", producer.address) == values(3000)


def test_our_consumer_from_a_reference_producer_alone(stage: Stage) -> None:
    """Trace c: no store, the producer holds five records; then a live one."""
    stage.our_tower()
    producer = stage.reference_producer()
    producer.publish(*values(5))
    consumer = stage.consumer(start="earliest")
    assert [r.content for r in take(consumer, 5)] == values(5)
    producer.publish(b"live")
    assert [r.content for r in take(consumer, 1)] == [b"live"]


def test_reference_consumer_from_our_producer_alone(stage: Stage) -> None:
    """It answers the first HEAD with its only FETCH, a second after its start or later."""
    stage.pace = 1.0
    stage.our_tower()
    producer = stage.producer()
    for content in values(600):
        producer.publish(content)
    consumer = stage.reference_consumer(earliest=True)
    until(lambda: consumer.contents(producer.address) == values(600))
    producer.publish(b"live")
    until(lambda: consumer.contents(producer.address) == [*values(600), b"live"])


def test_reference_consumer_from_our_store_beside_a_living_producer(stage: Stage) -> None:
    stage.our_tower()
    stage.store()
    producer = stage.producer()
    for content in values(1000):
        producer.publish(content)
    producer.flush(5)
    consumer = stage.reference_consumer(earliest=True)
    until(lambda: len(consumer.delivered) == 1000)
    producer.publish(b"live")
    until(lambda: len(consumer.delivered) == 1001)
    assert consumer.contents(producer.address) == [*values(1000), b"live"]


def test_our_consumer_from_our_store_and_a_reference_store_together(
    stage: Stage, tmp_path: Path
) -> None:
    """Each partition comes once, whoever has it."""
    stage.our_tower()
    stage.store(data=prepared(tmp_path, values(2000)))
    reference_store = stage.reference_store()
    reference_store.database.fill("metrics", DEAD, values(2000))
    reference_store.database.fill("metrics", "A" * 32, values(300))
    consumer = stage.consumer(start="earliest")
    records = take(consumer, 2300)
    for partition, number in ((DEAD, 2000), ("A" * 32, 300)):
        own = [(r.offset, r.content) for r in records if r.partition == partition]
        assert own == list(enumerate(values(number)))
    assert drain(consumer, 0.3) == []


def test_reference_consumer_from_both_stores(stage: Stage, tmp_path: Path) -> None:
    stage.our_tower()
    stage.store(data=prepared(tmp_path, values(2000)))
    stage.reference_store().database.fill("metrics", DEAD, values(2000))
    consumer = stage.reference_consumer(earliest=True)
    until(lambda: len(consumer.delivered) >= 2000)
    assert consumer.contents(DEAD) == values(2000)


def test_our_consumer_falls_back_on_the_other_store(stage: Stage, tmp_path: Path) -> None:
    """The store that our consumer reads from dies in the middle."""
    stage.our_tower()
    expected = values(60_000)
    first, second = stage.reference_store(), stage.reference_store()
    for store in (first, second):
        store.database.fill("metrics", DEAD, expected)
    consumer = stage.consumer(start="earliest", fetch_records=2000)
    records = take(consumer, 1000)
    asked = {s.reader for s in (first, second) if s.reader.fetches}
    for reader in list(asked)[:1]:
        reader.stop()
    records += take(consumer, 59_000, 15)
    assert [r.content for r in records] == expected
