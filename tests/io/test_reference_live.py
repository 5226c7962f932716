"""Live records between our nodes and reference nodes, in every mix."""

from __future__ import annotations

import pytest

from tests.support import reference_wire as wire
from tests.support.reference_stage import Stage, listeners, stays, stored, take, until, values

pytest_plugins = ["tests.support.reference_fixture"]
pytestmark = pytest.mark.io

TOWERS = pytest.mark.parametrize("tower", ["ours", "reference"])


@TOWERS
def test_reference_producer_to_our_store_and_consumer(stage: Stage, tower: str) -> None:
    stage.any_tower(tower)
    store, consumer = stage.store(), stage.consumer()
    producer = stage.reference_producer()
    until(lambda: listeners(producer) >= 2)
    for content in values(5):
        producer.publish(content)
    producer.finish()
    until(lambda: not producer.running)
    assert producer.acks[-1] == 4
    assert producer.aborted is None
    records = take(consumer, 5)
    assert [record.content for record in records] == values(5)
    assert [record.offset for record in records] == [0, 1, 2, 3, 4]
    assert {record.partition for record in records} == {producer.address}
    assert stored(store, "metrics", producer.address) == values(5)


@TOWERS
def test_our_producer_to_reference_store_and_consumer(stage: Stage, tower: str) -> None:
    stage.any_tower(tower)
    store, consumer = stage.reference_store(), stage.reference_consumer()
    producer = stage.producer()
    until(lambda: consumer.subscribed and listeners(producer) >= 2)
    for content in values(5):
        producer.publish(content)
    producer.flush(5)
    assert producer.unacknowledged == 0
    assert store.contents("metrics", producer.address) == values(5)
    until(lambda: consumer.contents(producer.address) == values(5))


def test_everything_mixed(stage: Stage) -> None:
    """Both kinds of each node at once: everybody ends with everything, once and in order."""
    stage.our_tower()
    stores = stage.store(), stage.reference_store()
    ours, theirs = stage.consumer(), stage.reference_consumer()
    producers = stage.producer(), stage.reference_producer()
    until(lambda: theirs.subscribed and all(listeners(p) >= 4 for p in producers))
    assert [listeners(producers[0], kind) >= 2 for kind in "MR"] == [True, True]
    assert [listeners(producers[1], kind) for kind in "MR"] == [4, 0]
    expected = values(200)
    for content in expected:
        producers[0].publish(content)
    producers[1].publish(*expected)
    producers[0].flush(5)
    until(lambda: producers[1].acknowledged == 200)
    records = take(ours, 400)
    for producer in producers:
        until(lambda: theirs.contents(producer.address) == expected)  # noqa: B023
        own = [r for r in records if r.partition == producer.address]
        assert [(r.offset, r.content) for r in own] == list(enumerate(expected))
        until(lambda: stored(stores[0], "metrics", producer.address) == expected)  # noqa: B023
        until(lambda: stores[1].contents("metrics", producer.address) == expected)  # noqa: B023


def test_hundred_thousand_records_of_a_reference_producer(stage: Stage) -> None:
    stage.our_tower()
    store, consumer = stage.store(), stage.consumer()
    producer = stage.reference_producer()
    until(lambda: listeners(producer) >= 2)
    expected = values(100_000)
    for at in range(0, len(expected), 1000):
        producer.publish(*expected[at : at + 1000])
    producer.finish()
    position, contents = 0, []
    for run in consumer.runs(timeout=10):
        assert (run.partition, run.first) == (producer.address, position)
        contents += run.contents
        position = run.next
        if position == len(expected):
            break
    assert contents == expected
    until(lambda: not producer.running)
    assert producer.acks[-1] == 99_999
    assert stored(store, "metrics", producer.address) == expected
    stays(lambda: consumer.poll(0) is None, 0.3)


def test_thousands_of_our_records_to_reference_nodes(stage: Stage) -> None:
    stage.reference_tower()
    store, consumer = stage.reference_store(), stage.reference_consumer()
    producer = stage.producer()
    until(lambda: consumer.subscribed and listeners(producer) >= 2)
    expected = values(20_000)
    for content in expected:
        producer.publish(content)
    producer.flush(20)
    assert store.contents("metrics", producer.address) == expected
    until(lambda: len(consumer.delivered) == 20_000)
    assert consumer.contents(producer.address) == expected


def test_contents_of_all_kinds_both_ways(stage: Stage) -> None:
    """Empty, all bytes, what looks like a message, and a large one."""
    contents = [b"", bytes(range(256)), b"B", b"W", b"M\0\1", b"\1", b"x" * 3_000_000]
    stage.our_tower()
    store, reference_store = stage.store(), stage.reference_store()
    ours, theirs = stage.producer(), stage.reference_producer()
    until(lambda: listeners(ours) >= 2 and listeners(theirs) >= 2)
    for content in contents:
        ours.publish(content)
    theirs.publish(*contents)
    ours.flush(5)
    until(lambda: theirs.acknowledged == len(contents))
    for address in (ours.address, theirs.address):
        until(lambda: stored(store, "metrics", address) == contents)  # noqa: B023
        until(lambda: reference_store.contents("metrics", address) == contents)  # noqa: B023


def test_topic_that_merely_shares_a_prefix(stage: Stage) -> None:
    """Ours deliver `metrics` only; the reference also delivers `metrics2`, as it always did."""
    stage.our_tower()
    reference_store = stage.reference_store()
    reference_store.database.fill("metrics2", "A" * 32, values(3))
    reference_store.database.fill("metrics", "B" * 32, values(2))
    ours = stage.consumer("metrics", start="earliest")
    theirs = stage.reference_consumer("metrics")
    records = take(ours, 2)
    assert {record.partition for record in records} == {"B" * 32}
    longer, own_longer = stage.reference_producer("metrics2"), stage.producer("metrics2")
    exact = stage.reference_producer("metrics")
    until(lambda: theirs.subscribed)
    until(lambda: listeners(longer, topic="metrics2") >= 2)
    until(lambda: listeners(own_longer, topic="metrics2") >= 2)
    until(lambda: listeners(exact) >= 3)
    longer.publish(b"longer")
    own_longer.publish(b"own longer")
    own_longer.flush(5)
    exact.publish(b"exact")
    assert [record.content for record in take(ours, 1)] == [b"exact"]
    until(lambda: len(theirs.delivered) == 3)
    stays(lambda: ours.poll(0) is None, 0.3)
    assert ours.topics == ("metrics",)
    assert reference_store.contents("metrics2", own_longer.address) == [b"own longer"]


def test_a_lost_acknowledgement_of_a_reference_store(stage: Stage) -> None:
    """It is not repeated: our producer asks for heads and takes the answer as one."""
    stage.our_tower()
    store = stage.reference_store(lost_acks=1)
    producer = stage.producer()
    until(lambda: listeners(producer) >= 1)
    producer.publish(b"once")
    producer.flush(8)
    assert len(store.writer.acks) == 1
    assert store.contents("metrics", producer.address) == [b"once"]
    assert store.reader.asked == ["metrics"]


def test_lost_acknowledgements_of_our_store_to_a_reference_producer(stage: Stage) -> None:
    """A reference producer waits for its last ACK for ever: ours is repeated on its HEADs."""
    stage.our_tower()
    stage.store()
    producer = stage.reference_producer()
    lost: list[int] = []
    take_ack = producer.list.acknowledge
    producer.list.acknowledge = lambda n: take_ack(n) if lost else lost.append(n)
    until(lambda: listeners(producer) >= 1)
    producer.publish(b"once")
    producer.finish()
    until(lambda: not producer.running)
    assert lost == [0]


def test_a_reference_producer_that_starts_before_everybody(stage: Stage) -> None:
    """Nobody heard its records; HEADs tell of them."""
    stage.our_tower()
    producer = stage.reference_producer()
    producer.publish(*values(3))
    producer.finish()
    store = stage.store()
    until(lambda: not producer.running)
    assert stored(store, "metrics", producer.address) == values(3)


def test_our_requests_to_a_reference_producer_stay_within_what_it_has(stage: Stage) -> None:
    """The emulator complains of a FETCH beyond its HEAD and of an ACK beyond what it sent."""
    stage.our_tower()
    producer = stage.reference_producer()
    producer.publish(*values(100))
    stage.store()
    stage.consumer(start="earliest")
    until(lambda: producer.acknowledged == 100)
    assert producer.fetches
    for fetch in producer.fetches:
        assert fetch.sequence + fetch.count <= 100
        assert fetch.subject == "metrics"
        assert fetch.trailing == b"" or fetch.trailing.startswith(b"\xda\xfc")
    assert max(producer.acks) == 99
    assert producer.faults == []


def test_an_empty_topic(stage: Stage) -> None:
    """Valid on the wire: nothing of it may hurt, whether or not our API allows it."""
    stage.our_tower()
    store = stage.store()
    producer = stage.reference_producer("")
    until(lambda: listeners(producer, topic="") >= 1)
    producer.publish(b"nameless")
    until(lambda: producer.acknowledged == 1)
    assert stored(store, "", producer.address) == [b"nameless"]
    consumer = stage.reference_consumer("", earliest=True)
    until(lambda: consumer.contents(producer.address) == [b"nameless"])
    assert wire.NOTHING == 2**64 - 1


def test_a_consumer_that_is_full_keeps_what_waits_of_a_producer_that_has_gone(
    stage: Stage,
) -> None:
    """It would be lost with the connection, and nobody else has it."""
    stage.our_tower()
    quick = {"beacon_interval_s": 0.5, "peer_timeout_s": 2.5}
    consumer = stage.consumer(buffer_bytes=1 << 20, **quick)
    other = stage.consumer("other", **quick)
    producer = stage.reference_producer()
    until(lambda: listeners(producer) >= 1)
    expected = [b"%d " % i + bytes(1000) for i in range(3000)]
    for at in range(0, len(expected), 100):
        producer.publish(*expected[at : at + 100])
    producer.call(producer.fall_silent)
    peers = other._wiring.discovery.peers
    until(lambda: all(peer.address != producer.address for peer in peers.values()))
    stays(lambda: consumer._machine.full, 0.5)
    assert [record.content for record in take(consumer, len(expected))] == expected
