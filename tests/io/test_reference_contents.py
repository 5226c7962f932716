"""A reference producer answers FETCH with wrong contents: nothing wrong may be believed.

Right are its first 256 records while nothing has been acknowledged. For all the others there
must be a store, or patience.
"""

from __future__ import annotations

import pytest

from tests.support import reference_wire as wire
from tests.support.reference_producer import ReferenceProducer
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
from tests.support.reference_store import ReferenceStore

pytest_plugins = ["tests.support.reference_fixture"]
pytestmark = pytest.mark.io


def acknowledge(producer: ReferenceProducer, sequence: int) -> None:
    """As if a store that has died since had acknowledged."""
    producer.call(lambda: producer.list.acknowledge(sequence))
    until(lambda: producer.acknowledged == sequence + 1)


def assert_right(records: list, expected: list[bytes], first: int = 0) -> None:
    """Every record is the one it claims to be, and there is no gap."""
    assert [(r.offset, r.content) for r in records] == [
        (offset, expected[offset]) for offset in range(first, first + len(records))
    ]


def test_consumer_without_store_stops_where_the_answers_become_wrong(stage: Stage) -> None:
    stage.our_tower()
    producer = stage.reference_producer()
    expected = values(600)
    producer.publish(*expected)
    consumer = stage.consumer(start="earliest")
    records = take(consumer, 256)
    assert_right(records, expected)
    producer.publish(b"value 600")
    assert drain(consumer, 0.7) == []
    # A store turns up that has the truth. (It must have it all: what a reference store has to
    # fetch from a reference producer, it believes.)
    store = ReferenceStore(stage.tower)
    expected = [*expected, b"value 600"]
    store.database.fill("metrics", producer.address, expected)
    stage.start(store)
    more = take(consumer, 345)
    assert_right(more, expected, 256)
    assert len(more) == 345


def test_consumer_believes_the_store_and_not_the_producer(stage: Stage) -> None:
    stage.our_tower()
    producer = stage.reference_producer()
    expected = values(600)
    producer.publish(*expected)
    store = stage.reference_store()
    store.database.fill("metrics", producer.address, expected)
    consumer = stage.consumer(start="earliest")

    def read_all() -> object:
        """At first the store can be faster than the producer connects to hear the request."""
        records = take(consumer, 600)
        assert_right(records, expected)
        assert len(records) == 600
        consumer.seek_to_earliest()
        return producer.fetches

    until(read_all)


def test_consumer_believes_our_store_and_not_the_producer(stage: Stage) -> None:
    stage.our_tower()
    stage.store()
    producer = stage.reference_producer()
    expected = values(600)
    until(lambda: listeners(producer) >= 1)
    producer.publish(*expected)
    until(lambda: producer.acknowledged == 600)
    consumer = stage.consumer(start="earliest")
    assert_right(take(consumer, 600), expected)


def test_consumer_that_resumes_after_an_acknowledgement_without_store(stage: Stage) -> None:
    """FETCH 5 after ACK 4 brings the contents of 0, 1, 2: nothing of it may be delivered."""
    stage.our_tower()
    producer = stage.reference_producer()
    expected = values(10)
    producer.publish(*expected)
    acknowledge(producer, 4)
    consumer = stage.consumer(start={producer.address: 5})
    until(lambda: producer.fetches)
    assert_right(drain(consumer, 0.7), expected, 5)


def test_consumer_that_seeks_after_an_acknowledgement_without_store(stage: Stage) -> None:
    stage.our_tower()
    producer = stage.reference_producer()
    consumer = stage.consumer()
    until(lambda: listeners(producer) >= 1)
    expected = values(10)
    producer.publish(*expected)
    assert_right(take(consumer, 10), expected)
    acknowledge(producer, 4)
    consumer.seek(producer.address, 5)
    until(lambda: producer.fetches)
    assert_right(drain(consumer, 0.7), expected, 5)


def test_consumer_that_missed_records_after_an_acknowledgement_without_store(
    stage: Stage,
) -> None:
    stage.our_tower()
    producer = stage.reference_producer()
    consumer = stage.consumer()
    until(lambda: listeners(producer) >= 1)
    expected = values(10)
    producer.publish(*expected[:5])
    assert_right(take(consumer, 5), expected)
    producer.call(lambda: [producer.list.append(content) for content in expected[5:]])
    acknowledge(producer, 4)
    until(lambda: producer.fetches)  # a HEAD has shown the gap
    assert_right(drain(consumer, 0.7), expected, 5)


def test_consumer_asks_a_store_for_what_it_missed_after_an_acknowledgement(
    stage: Stage,
) -> None:
    stage.our_tower()
    store = stage.reference_store()
    producer = stage.reference_producer()
    consumer = stage.consumer()
    until(lambda: listeners(producer) >= 2 and acquainted(store, producer))
    expected = values(10)
    producer.publish(*expected[:5])
    assert_right(take(consumer, 5), expected)
    until(lambda: producer.acknowledged == 5)
    for content in expected[5:]:
        store.database.append(("metrics", producer.address), content)
    producer.lose(*expected[5:])
    records = take(consumer, 5)
    assert_right(records, expected, 5)
    assert len(records) == 5


def test_store_that_missed_records_after_its_own_acknowledgement(stage: Stage) -> None:
    """It can get them from another store only; until then it must not acknowledge them."""
    stage.our_tower()
    store = stage.store()
    producer = stage.reference_producer()
    until(lambda: listeners(producer) >= 1)
    expected = values(10)
    producer.publish(*expected[:5])
    until(lambda: producer.acknowledged == 5)
    producer.lose(*expected[5:])
    until(lambda: producer.fetches)
    stays(lambda: stored(store, "metrics", producer.address) == expected[:5], 0.7)
    assert producer.acknowledged == 5
    reference_store = stage.reference_store()
    reference_store.database.fill("metrics", producer.address, expected)
    until(lambda: producer.acknowledged == 10)
    assert stored(store, "metrics", producer.address) == expected


def test_store_joins_a_reference_producer_with_too_many_records(stage: Stage) -> None:
    """Of 600 records it can believe 256; nothing wrong is stored or acknowledged."""
    stage.our_tower()
    producer = stage.reference_producer()
    expected = values(600)
    producer.publish(*expected)
    store = stage.store()
    until(lambda: producer.acknowledged == 256)
    producer.publish(b"value 600")
    stays(lambda: producer.acknowledged == 256, 0.7)
    assert stored(store, "metrics", producer.address) == expected[:256]


def test_store_that_missed_records_which_another_store_has_acknowledged_before(
    stage: Stage,
) -> None:
    """A HEAD in one batch with the first records: the gap is known before anything is durable.

    The other store has acknowledged them at once, and died.
    """
    stage.our_tower()
    store = stage.store()
    producer = stage.reference_producer()
    until(lambda: listeners(producer) >= 1)
    expected = values(10)

    def burst() -> None:
        producer._publish(tuple(expected[:5]))
        for content in expected[5:]:
            producer.list.append(content)
        producer.list.acknowledge(4)
        producer.say(wire.head("metrics", producer.address, 9))

    producer.call(burst)
    until(lambda: producer.fetches)
    stays(lambda: stored(store, "metrics", producer.address) in ([], expected[:5]), 0.7)
    assert producer.acknowledged == 5


def test_store_joins_after_an_acknowledgement_of_a_store_that_died(stage: Stage) -> None:
    """FETCH 0 brings nothing, and what comes live later cannot be stored."""
    stage.our_tower()
    producer = stage.reference_producer()
    producer.publish(*values(10))
    acknowledge(producer, 4)
    store = stage.store()
    until(lambda: producer.fetches)
    producer.publish(b"value 10")
    stays(lambda: stored(store, "metrics", producer.address) == [], 0.7)
    assert producer.acknowledged == 5


def test_consumer_joins_after_an_acknowledgement_of_a_store_that_died(stage: Stage) -> None:
    stage.our_tower()
    producer = stage.reference_producer()
    producer.publish(*values(10))
    acknowledge(producer, 4)
    consumer = stage.consumer(start="earliest")
    until(lambda: producer.fetches)
    assert drain(consumer, 0.7) == []
