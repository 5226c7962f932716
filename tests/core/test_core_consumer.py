"""What a consumer delivers, and how it gets what it missed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.machines import (
    CONSUMER,
    DIRECT,
    ENDPOINT,
    OTHER_ENDPOINT,
    OTHER_PRODUCER,
    OTHER_READER,
    PRODUCER,
    READER,
    TOPIC,
    asked,
    direct,
    live,
    offsets,
    only,
    run,
    sent,
    stored,
)

from dafka.config import ConsumerConfig
from dafka.core.actions import (
    Action,
    Begin,
    ConnectStore,
    Deliver,
    DisconnectStore,
    Expire,
    Subscribe,
    Warn,
)
from dafka.core.consumer import Consumer
from dafka.core.run import Arrival, Origin, Run
from dafka.core.sources import REFERENCE_EXACT
from dafka.core.start import NEWCOMER_S
from protocol import (
    Ack,
    ConsumerHello,
    DirectHead,
    DirectOffset,
    DirectRecord,
    DirectRecords,
    Fetch,
    GetHeads,
    Head,
    Record,
    StoreHello,
    subscription,
)

KEY = (TOPIC, PRODUCER)


def _consumer(start: Any = "earliest", *topics: str, **settings: Any) -> Consumer:
    consumer = Consumer(CONSUMER, ConsumerConfig(start=start, **settings), DIRECT)
    consumer.start(0.0)
    for topic in topics or (TOPIC,):
        consumer.subscribe(topic, 0.0)
    return consumer


def _head(sequence: int, acked: int | None = 0, age_ms: int | None = 60_000) -> Head:
    return Head(TOPIC, PRODUCER, TOPIC, sequence, acked, None if acked is None else age_ms)


def _stored_head(
    sequence: int, partition: str = PRODUCER, topic: str = TOPIC, earliest: int = 0
) -> DirectHead:
    return DirectHead(CONSUMER, partition, topic, sequence, earliest, READER)


def _prove(
    consumer: Consumer, now: float = 0.0, reader: str = READER, endpoint: str = ENDPOINT
) -> list[Action]:
    """Make a store known, and connected."""
    consumer.peer_found(reader, endpoint, now)
    hello = StoreHello(CONSUMER, reader)
    actions = consumer.receive(hello, now)
    return actions + consumer.receive(hello, now, Origin.STORE)


def _until(consumer: Consumer, end: float) -> list[tuple[float, Action]]:
    """All that is done by time alone."""
    done: list[tuple[float, Action]] = []
    last = -1.0
    while (deadline := consumer.next_deadline()) is not None and deadline <= end:
        done += [(deadline, action) for action in consumer.tick(deadline)]
        assert deadline > last
        last = deadline
    return done


# Subscribing


def test_direct_answers_and_hellos_are_let_in_at_the_start() -> None:
    actions = Consumer(CONSUMER, ConsumerConfig(), DIRECT).start(0.0)
    kinds = (DirectRecord, DirectRecords, DirectHead, StoreHello, DirectOffset)
    assert actions == [Subscribe(subscription(kind, CONSUMER)) for kind in kinds]


def test_subscription_ends_the_topic_so_that_longer_names_stay_out() -> None:
    actions = _consumer().subscribe("metrics", 0.0)
    assert only(actions, Subscribe) == [
        Subscribe(b"Mmetrics\0", runs=False),
        Subscribe(b"Rmetrics\0", runs=True),
        Subscribe(b"Hmetrics\0"),
    ]
    assert subscription(Record, "metrics2").startswith(b"Mmetrics")


def test_records_of_topics_not_subscribed_are_dropped() -> None:
    consumer = _consumer("earliest", "metrics")
    assert consumer.receive(live(0, 3, "metrics2"), 0.1) == []
    assert consumer.receive(_stored_head(3, topic="metric"), 0.1) == []
    assert consumer.stats.foreign == 2
    assert consumer.partitions() == {}


def test_stores_are_asked_for_heads_again_and_again_but_rarely() -> None:
    consumer = Consumer(CONSUMER, ConsumerConfig(start="earliest"), DIRECT)
    consumer.start(0.0)
    assert sent(consumer.subscribe(TOPIC, 0.0), GetHeads) == [GetHeads(TOPIC, CONSUMER)]
    times = [now for now, action in _until(consumer, 600.0) if sent([action], GetHeads)]
    assert times[:6] == [1.0, 3.0, 7.0, 15.0, 31.0, 63.0]
    assert len(times) < 20


def test_consumer_of_the_latest_records_asks_nobody_for_heads() -> None:
    consumer = Consumer(CONSUMER, ConsumerConfig(start="latest"), DIRECT)
    assert sent(consumer.subscribe(TOPIC, 0.0), GetHeads) == []
    assert consumer.next_deadline() is None


# Order


def test_records_are_delivered_in_order_and_once() -> None:
    consumer = _consumer()
    assert offsets(consumer.receive(live(0, 3), 0.1)) == [0, 1, 2]
    assert offsets(consumer.receive(live(1, 5), 0.2)) == [3, 4]
    assert offsets(consumer.receive(live(2, 4), 0.3)) == []
    assert (consumer.stats.records, consumer.stats.bytes) == (5, 40)
    assert consumer.partitions() == {KEY: 5}
    assert consumer.behind() == 0


def test_gap_is_asked_for_and_delivered_before_what_follows_it() -> None:
    consumer = _consumer()
    consumer.receive(live(0, 3), 0.1)
    consumer.receive(_head(2), 0.1)
    actions = consumer.receive(live(7, 9), 0.2)
    assert offsets(actions) == []
    assert sent(actions, Fetch) == [Fetch(PRODUCER, CONSUMER, TOPIC, 3, 4, runs=1)]
    assert consumer.behind() == 6
    assert offsets(consumer.receive(direct(3, 7), 0.3)) == [3, 4, 5, 6, 7, 8]
    assert consumer.behind() == 0
    assert consumer.stats.fetches == 1


def test_partitions_do_not_wait_for_each_other() -> None:
    consumer = _consumer()
    consumer.receive(live(5, 6), 0.1)
    assert offsets(consumer.receive(live(0, 2, partition=OTHER_PRODUCER), 0.2)) == [0, 1]


def test_head_tells_what_was_missed_at_the_end() -> None:
    consumer = _consumer()
    consumer.receive(live(0, 3), 0.1)
    assert asked(consumer.receive(_head(2), 1.0)) == []
    assert asked(consumer.receive(_head(4), 2.0)) == [(3, 5)]


def test_silent_request_is_repeated_with_growing_pauses() -> None:
    consumer = _consumer()
    consumer.receive(_head(9), 0.0)
    times = [now for now, action in _until(consumer, 100.0) if sent([action], Fetch)]
    assert times == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5]


def test_live_records_held_back_stay_within_the_buffer() -> None:
    consumer = _consumer(buffer_bytes=10_000)
    for first in range(1, 1_000, 2):
        consumer.receive(live(first, first + 1), 0.1)
    (partition,) = (part for _, part in consumer._backlog.items())
    assert 0 < partition.intake.waiting_bytes <= 10_000


def test_exact_producer_is_asked_for_all_it_has_as_soon_as_it_is_known_to_be_exact() -> None:
    consumer = _consumer()
    assert asked(consumer.receive(live(900, 901), 0.1)) == [(0, REFERENCE_EXACT)]
    assert asked(consumer.receive(_head(900), 0.2)) == [(0, 900)]


@pytest.mark.parametrize(
    "message", [live(0, 2, partition=OTHER_PRODUCER), replace(_head(1), address=OTHER_PRODUCER)]
)
def test_partition_beyond_so_many_is_ignored_with_a_warning(message: Any) -> None:
    consumer = _consumer(max_partitions=1)
    assert offsets(consumer.receive(live(0, 2), 0.1)) == [0, 1]
    (warning,) = consumer.receive(message, 0.2)
    assert isinstance(warning, Warn)
    assert OTHER_PRODUCER in warning.text
    assert "max_partitions" in warning.text
    assert consumer.stats.refused == 1
    assert offsets(consumer.receive(live(2, 4), 0.3)) == [2, 3]


# Where delivery starts


def test_earliest_begins_at_0_whatever_is_heard_first() -> None:
    for message in (live(5, 6), _head(5), _stored_head(5)):
        assert asked(_consumer("earliest").receive(message, 0.1))[0][0] == 0
    assert offsets(_consumer("earliest").receive(live(0, 2), 0.1)) == [0, 1]


def test_latest_begins_with_the_first_record_that_is_heard() -> None:
    consumer = _consumer("latest")
    assert offsets(consumer.receive(live(5, 7), 0.1)) == [5, 6]
    assert offsets(consumer.receive(live(4, 9), 0.1)) == [7, 8]


@pytest.mark.parametrize("head", [_head(5), _head(5, None), _stored_head(5)])
def test_latest_begins_behind_the_first_head_that_is_heard(head: Head | DirectHead) -> None:
    consumer = _consumer("latest")
    assert consumer.receive(head, 0.1) == [Begin(*KEY, 6)]
    assert consumer.partitions() == {KEY: 6}
    assert offsets(consumer.receive(live(5, 7), 0.2)) == [6]


def test_latest_asks_for_what_is_missed_after_its_beginning() -> None:
    consumer = _consumer("latest")
    consumer.receive(_head(5), 0.1)
    assert asked(consumer.receive(live(8, 9), 0.2)) == [(6, 8)]


def test_latest_delivers_all_of_a_producer_that_started_after_the_subscription() -> None:
    consumer = _consumer("latest")
    assert asked(consumer.receive(_head(5, age_ms=2_000), 3.0)) == [(0, 6)]


def test_latest_delivers_all_of_a_producer_introduced_after_the_subscription() -> None:
    consumer = _consumer("latest")
    consumer.welcomed(0.0)
    consumer.peer_found(PRODUCER, ENDPOINT, NEWCOMER_S)
    assert asked(consumer.receive(live(5, 6), 3.0))[0][0] == 0


def test_latest_asks_the_stores_for_a_producer_that_came_and_went_unheard() -> None:
    """Before we had connected, or while our process stood still and its beacons waited."""
    consumer = _consumer("latest")
    consumer.welcomed(0.0)
    consumer.peer_found(PRODUCER, ENDPOINT, 30.0, 20.0)
    assert consumer.next_deadline() is None
    assert sent(consumer.peer_lost(PRODUCER, ENDPOINT, 34.0), GetHeads) == []
    assert [now for now, a in _until(consumer, 37.0) if sent([a], GetHeads)] == [34.0, 36.0]
    assert asked(consumer.receive(_stored_head(5), 37.1)) == [(0, 6)]
    assert offsets(consumer.receive(stored(0, 6), 37.2)) == [0, 1, 2, 3, 4, 5]


def test_latest_does_not_ask_for_ever_about_who_has_gone() -> None:
    consumer = _consumer("latest")
    consumer.welcomed(0.0)
    consumer.peer_found(PRODUCER, ENDPOINT, 30.0, 20.0)
    consumer.peer_lost(PRODUCER, ENDPOINT, 34.0)
    asks = [now for now, a in _until(consumer, 600.0) if sent([a], GetHeads)]
    assert asks == [34.0, 36.0, 40.0]
    assert consumer.next_deadline() is None


def test_many_nodes_that_went_at_once_are_asked_about_once() -> None:
    consumer = _consumer("latest")
    consumer.welcomed(0.0)
    for number in range(100):
        consumer.peer_found(f"{number:032X}", f"tcp://h:{number}", 30.0, 20.0)
    for number in range(100):
        consumer.peer_lost(f"{number:032X}", f"tcp://h:{number}", 34.0)
    assert len(sent(consumer.tick(34.0), GetHeads)) == 1


def test_latest_asks_nobody_when_a_node_goes_that_was_there_before() -> None:
    consumer = _consumer("latest")
    consumer.welcomed(0.0)
    consumer.peer_found(PRODUCER, ENDPOINT, 0.5, -20.0)
    consumer.peer_lost(PRODUCER, ENDPOINT, 34.0)
    assert consumer.next_deadline() is None


def test_latest_delivers_all_of_a_partition_that_a_store_says_is_new() -> None:
    consumer = _consumer("latest")
    head = replace(_stored_head(5), age_ms=2_000)
    assert asked(consumer.receive(head, 3.0)) == [(0, 6)]


def test_mapping_and_number_name_the_first_offset() -> None:
    consumer = _consumer({PRODUCER: 4})
    assert offsets(consumer.receive(live(2, 6), 0.1)) == [4, 5]
    assert offsets(consumer.receive(live(0, 2, partition=OTHER_PRODUCER), 0.1)) == [0, 1]
    assert offsets(_consumer(3).receive(live(2, 6), 0.1)) == [3, 4, 5]


def test_latest_delivers_no_history_when_the_tower_comes_after_the_subscription() -> None:
    consumer = _consumer("latest")
    consumer.welcomed(30.0)
    for number in range(3):
        consumer.peer_found(f"{number:032X}", f"tcp://h:{number}", 30.0)
    consumer.peer_found(PRODUCER, ENDPOINT, 30.0)
    assert offsets(consumer.receive(live(1_000_000, 1_000_001), 30.1)) == [1_000_000]


def test_latest_delivers_no_history_when_a_head_is_read_late() -> None:
    """While the user takes nothing the socket is not read, and a HEAD can wait for minutes."""
    consumer = _consumer("latest", buffer_bytes=run(0, 10).cost)
    consumer.peer_found(OTHER_PRODUCER, OTHER_ENDPOINT, 0.1)
    consumer.peer_found(PRODUCER, ENDPOINT, 0.1)
    (full,) = only(consumer.receive(live(0, 10, partition=OTHER_PRODUCER), 0.2), Deliver)
    assert consumer.full
    consumer.taken(full.run, 60.0)
    assert asked(consumer.receive(_head(1_000_000, age_ms=10_000), 60.0)) == []
    assert consumer.partitions()[KEY] == 1_000_001


# What is gone


def test_what_is_gone_is_told_once_however_often_it_was_asked_for_in_vain() -> None:
    consumer = _consumer({PRODUCER: 3})
    consumer.receive(direct(2**64 - 8, 2**64 - 6), 0.0)
    consumer.seek_all("earliest", 0.0)
    consumer.tick(100.0)
    consumer.receive(_stored_head(25, earliest=10), 100.0)
    consumer.seek(*KEY, 6, 100.0)
    assert only(consumer.tick(100.5), Expire) == [Expire(*KEY, 6, 10)]


@pytest.mark.parametrize(("sought", "told"), [(True, [Expire(*KEY, 0, 10)]), (False, [])])
def test_first_records_that_are_gone_are_told_to_who_asked_for_them(
    sought: bool, told: list[Expire]
) -> None:
    consumer = _consumer()
    if sought:
        consumer.seek(*KEY, 0, 0.0)
    consumer.receive(_stored_head(25, earliest=10), 0.1)
    assert only(consumer.tick(0.6), Expire) == told
    assert consumer.partitions() == {KEY: 10}


# Seeking


def test_seek_back_delivers_again_from_there() -> None:
    consumer = _consumer()
    consumer.receive(live(0, 5), 0.1)
    consumer.receive(_head(4), 0.1)
    assert asked(consumer.seek(*KEY, 2, 0.2)) == [(2, 5)]
    assert consumer.partitions() == {KEY: 2}
    assert offsets(consumer.receive(direct(2, 5), 0.3)) == [2, 3, 4]


def test_seek_back_asks_one_store_for_what_it_is_known_to_have() -> None:
    consumer = _consumer()
    _prove(consumer)
    consumer.receive(live(0, 10), 0.1)
    consumer.receive(_head(9, acked=10), 0.2)
    fetches = sent(consumer.seek(*KEY, 2, 0.3), Fetch)
    assert fetches == [Fetch(PRODUCER, DIRECT, TOPIC, 2, 8, READER, runs=1)]


def test_seek_ahead_skips_what_lies_between() -> None:
    consumer = _consumer()
    consumer.receive(live(0, 5), 0.1)
    consumer.receive(_head(9), 0.1)
    assert asked(consumer.seek(*KEY, 8, 0.2)) == [(8, 10)]
    assert offsets(consumer.receive(direct(5, 10), 0.3)) == [8, 9]


def test_seek_beyond_the_end_waits_for_that_record() -> None:
    consumer = _consumer()
    consumer.receive(live(0, 5), 0.1)
    assert asked(consumer.seek(*KEY, 100, 0.2)) == []
    assert offsets(consumer.receive(live(5, 100), 0.3)) == []
    assert offsets(consumer.receive(live(99, 102), 0.4)) == [100, 101]


def test_seek_to_a_partition_not_yet_known_begins_there() -> None:
    consumer = _consumer("latest")
    assert sent(consumer.seek(*KEY, 3, 0.2), GetHeads) == [GetHeads(TOPIC, CONSUMER)]
    assert asked(consumer.receive(_head(9), 0.3)) == [(3, 10)]


def test_seek_keeps_what_is_known_of_the_producer() -> None:
    consumer = _consumer()
    consumer.receive(_head(999), 0.1)
    consumer.seek(*KEY, 500, 0.2)
    assert offsets(consumer.receive(direct(500, 1000), 0.3)) == list(range(500, 1000))


def test_seek_lets_go_of_records_held_back() -> None:
    consumer = _consumer(buffer_bytes=run(5, 9).cost)
    consumer.receive(live(5, 9), 0.1)
    consumer.seek(*KEY, 1, 0.2)
    assert consumer.receive(live(5, 9), 0.3) == []
    assert offsets(consumer.receive(direct(1, 5), 0.4)) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_seek_to_earliest_begins_every_partition_anew_and_new_ones_at_0() -> None:
    consumer = _consumer("latest")
    consumer.receive(live(5, 7), 0.1)
    actions = consumer.seek_all("earliest", 0.2)
    assert asked(actions) == [(0, 7)]
    assert sent(actions, GetHeads) != []
    assert asked(consumer.receive(live(3, 4, partition=OTHER_PRODUCER), 0.3))[0][0] == 0


def test_seek_to_latest_begins_every_partition_behind_what_is_known() -> None:
    consumer = _consumer("earliest")
    consumer.receive(_head(9), 0.1)
    consumer.receive(live(0, 3), 0.1)
    assert asked(consumer.seek_all("latest", 0.2)) == []
    assert consumer.partitions() == {KEY: 10}
    consumer.receive(live(7, 8, partition=OTHER_PRODUCER), 0.3)
    assert consumer.partitions()[(TOPIC, OTHER_PRODUCER)] == 8


def test_seek_to_earliest_before_anything_was_heard_asks_the_stores() -> None:
    consumer = _consumer("latest")
    assert sent(consumer.seek_all("earliest", 0.1), GetHeads) == [GetHeads(TOPIC, CONSUMER)]
    assert consumer.seek_all("latest", 0.2) == []


# Stores


def test_store_that_says_hello_is_told_which_topics_are_wanted() -> None:
    consumer = _consumer("earliest", TOPIC, "other")
    consumer.peer_found(READER, ENDPOINT, 0.0)
    hello = StoreHello(CONSUMER, READER)
    assert consumer.receive(hello, 0.1) == [ConnectStore(ENDPOINT)]
    ready = consumer.receive(hello, 0.2, Origin.STORE)
    assert sent(ready, ConsumerHello) == [ConsumerHello(READER, CONSUMER, (TOPIC, "other"))]
    assert consumer.receive(hello, 0.3, Origin.STORE) == []
    again = consumer.receive(hello, 0.4)
    assert sent(again, ConsumerHello) == [ConsumerHello(READER, CONSUMER, (TOPIC, "other"))]


def test_store_that_subscribed_to_our_hello_gets_it() -> None:
    consumer = _consumer()
    for exact in (False, True):
        prefix = subscription(ConsumerHello, READER, exact=exact)
        hello = ConsumerHello(READER, CONSUMER, (TOPIC,))
        assert sent(consumer.subscribed(prefix, 0.1), ConsumerHello) == [hello]
    assert consumer.subscribed(b"F", 0.1) == []


def test_hello_of_a_consumer_of_the_latest_records_names_no_topic() -> None:
    actions = _consumer("latest").subscribed(subscription(ConsumerHello, READER), 0.1)
    assert sent(actions, ConsumerHello) == [ConsumerHello(READER, CONSUMER, ())]


def test_store_whose_hello_was_lost_is_found_by_its_subscription() -> None:
    """A subscription to CONSUMER-HELLO names the store as well, and cannot be lost."""
    consumer = _consumer()
    consumer.peer_found(READER, ENDPOINT, 0.0)
    consumer.subscribed(subscription(ConsumerHello, READER), 0.1)
    _until(consumer, 10.0)
    assert consumer._sources.ready == [READER]


def test_store_that_subscribed_before_it_was_introduced_is_found_all_the_same() -> None:
    """It may be connected to us before we are to it, and then its only hello may be lost."""
    consumer = _consumer()
    consumer.subscribed(subscription(ConsumerHello, READER), 0.1)
    consumer.peer_found(READER, ENDPOINT, 0.2)
    _until(consumer, 10.0)
    assert consumer._sources.ready == [READER]


def test_only_stores_are_heard_about_what_a_store_is_asked_for() -> None:
    consumer = _consumer()
    _prove(consumer)
    asking = consumer.receive(_head(9, acked=10), 0.1)
    assert sent(asking, Fetch) == [Fetch(PRODUCER, DIRECT, TOPIC, 0, 10, READER, runs=1)]
    assert consumer.peer_lost(READER, ENDPOINT, 0.2) == [DisconnectStore(ENDPOINT)]
    asking = [action for _, action in _until(consumer, 1.0)]
    assert sent(asking, Fetch) == [Fetch(PRODUCER, CONSUMER, TOPIC, 0, 10, runs=1)]


def test_what_is_missing_is_asked_for_anew_when_a_store_is_ready() -> None:
    consumer = _consumer()
    consumer.receive(_head(9, acked=10), 0.0)
    (fetch,) = sent(_prove(consumer, 0.1), Fetch)
    assert (fetch.sequence, fetch.count, fetch.store) == (0, 10, READER)


def test_records_that_no_store_is_known_to_have_are_asked_of_their_exact_producer() -> None:
    consumer = _consumer()
    _prove(consumer)
    asking = consumer.receive(_head(9, acked=0), 0.1)
    assert sent(asking, Fetch) == [Fetch(PRODUCER, CONSUMER, TOPIC, 0, 10, runs=1)]


def test_records_that_a_store_told_of_are_asked_of_the_stores() -> None:
    consumer = _consumer()
    _prove(consumer)
    asking = consumer.receive(_stored_head(9), 0.1)
    assert sent(asking, Fetch) == [Fetch(PRODUCER, DIRECT, TOPIC, 0, 10, READER, runs=1)]


def test_store_that_proves_nothing_is_asked_after_a_while() -> None:
    consumer = _consumer("latest")
    consumer.seek(*KEY, 0, 0.0)
    consumer.peer_found(READER, ENDPOINT, 0.0)
    consumer.receive(StoreHello(CONSUMER, READER), 0.5)
    consumer.receive(_head(9, acked=10), 1.4)
    actions = [action for now, action in _until(consumer, 1.5) if now == 1.5]
    assert [fetch.store for fetch in sent(actions, Fetch)] == [READER]
    assert [fetch.address for fetch in sent(actions, Fetch)] == [DIRECT]


def test_one_store_is_asked_and_after_two_silent_requests_everybody() -> None:
    consumer = _consumer()
    _prove(consumer)
    _prove(consumer, reader=OTHER_READER, endpoint=OTHER_ENDPOINT)
    actions = [(0.1, action) for action in consumer.receive(_head(9, acked=10), 0.1)]
    actions += _until(consumer, 5.0)
    fetches = sent([action for _, action in actions], Fetch)
    assert {fetch.store for fetch in fetches[:2]} == {READER, OTHER_READER}
    assert {fetch.store for fetch in fetches[2:]} == {None}


def test_producer_is_asked_as_well_while_the_stores_are_silent() -> None:
    consumer = _consumer()
    _prove(consumer)
    actions = consumer.receive(_head(9, acked=10), 0.0)
    actions += [action for _, action in _until(consumer, 6.0)]
    fetches = [(fetch.address, fetch.store) for fetch in sent(actions, Fetch)]
    expected = [(DIRECT, READER), (DIRECT, READER), (CONSUMER, None), (CONSUMER, None)]
    assert fetches == expected
    assert offsets(consumer.receive(direct(0, 10), 6.1)) == list(range(10))
    asking = consumer.receive(_head(19, acked=11), 7.0)
    assert sent(asking, Fetch) == [Fetch(PRODUCER, DIRECT, TOPIC, 10, 10, READER, runs=1)]


def test_c_producer_is_asked_beside_silent_stores_but_only_from_0_on() -> None:
    """Perhaps no store has its first records; it answers while nothing is acknowledged."""
    consumer = _consumer()
    _prove(consumer)
    consumer.receive(live(0, 3), 0.0)
    actions = consumer.receive(_head(999, None), 0.0)
    actions += [action for _, action in _until(consumer, 16.0)]
    fetches = [(fetch.address, fetch.sequence) for fetch in sent(actions, Fetch)]
    assert fetches == [(DIRECT, 3), (DIRECT, 3), *[(CONSUMER, 0), (DIRECT, 3)] * 2]
    assert offsets(consumer.receive(direct(0, 999), 16.0)) == list(range(3, REFERENCE_EXACT))


def test_c_producer_is_not_heard_beside_a_store_where_its_answers_can_be_wrong() -> None:
    consumer = _consumer({PRODUCER: REFERENCE_EXACT})
    _prove(consumer)
    actions = consumer.receive(_head(299, None), 0.0)
    actions += [action for _, action in _until(consumer, 60.0)]
    assert {fetch.address for fetch in sent(actions, Fetch)} == {DIRECT}
    assert consumer.receive(direct(256, 300), 60.0) == []
    assert consumer.stats.refused == 1
    assert offsets(consumer.receive(stored(256, 300), 60.1)) == list(range(256, 300))


def test_c_producer_alone_is_believed_about_its_first_256_records() -> None:
    consumer = _consumer()
    assert asked(consumer.receive(_head(999, None), 0.0)) == [(0, REFERENCE_EXACT)]
    assert offsets(consumer.receive(direct(0, 999), 0.1)) == list(range(REFERENCE_EXACT))
    warnings = only([action for _, action in _until(consumer, 10.0)], Warn)
    assert "offset 256" in warnings[0].text
    assert PRODUCER in warnings[0].text


def test_c_producer_alone_is_asked_from_0_as_it_is_silent_after_any_acknowledgement() -> None:
    consumer = _consumer()
    consumer.receive(live(0, 3), 0.1)
    assert asked(consumer.receive(live(5, 6), 0.2)) == [(0, 5)]
    assert offsets(consumer.receive(direct(0, 5), 0.3)) == [3, 4, 5]


def test_c_producer_is_not_believed_once_it_was_asked_for_anything_but_0() -> None:
    consumer = _consumer()
    _prove(consumer)
    consumer.receive(live(0, 3), 0.1)
    assert asked(consumer.receive(live(5, 6), 0.2)) == [(3, 5)]
    consumer.peer_lost(READER, ENDPOINT, 0.3)
    assert consumer.receive(direct(3, 5), 0.4) == []
    assert consumer.stats.refused == 1


def test_last_records_of_a_producer_that_has_gone_are_asked_of_the_stores() -> None:
    consumer = _consumer()
    consumer.peer_found(PRODUCER, ENDPOINT, 0.0)
    consumer.receive(live(0, 3), 0.1)
    lost = consumer.peer_lost(PRODUCER, ENDPOINT, 9.0)
    assert sent(lost, GetHeads) == [GetHeads(TOPIC, CONSUMER)]
    consumer.peer_found(READER, OTHER_ENDPOINT, 9.0)
    assert sent(consumer.peer_lost(READER, OTHER_ENDPOINT, 20.0), GetHeads) == []


# A user who takes nothing


def test_reading_pauses_while_the_user_takes_nothing() -> None:
    consumer = _consumer(buffer_bytes=run(0, 10).cost)
    consumer.receive(_head(29), 0.0)
    consumer.receive(live(0, 9), 0.1)
    assert not consumer.full
    consumer.receive(live(9, 10), 0.1)
    assert consumer.full
    assert consumer.receive(_head(39), 0.2) == []
    assert [a for _, a in _until(consumer, 50.0) if isinstance(a, Deliver) or asked([a])] == []


def test_request_gets_its_full_time_again_when_the_user_takes_something() -> None:
    consumer = _consumer(buffer_bytes=run(0, 10).cost)
    consumer.receive(_head(29), 0.0)
    (first, *_) = only(consumer.receive(live(0, 10), 0.1), Deliver)
    assert asked(consumer.taken(first.run, 60.0)) == []
    assert not consumer.full
    assert asked([action for _, action in _until(consumer, 60.6)]) == [(10, 30)]
    assert consumer.taken(run(0, 0), 60.7) == []


def test_gap_that_was_noticed_during_a_pause_is_asked_for_after_it() -> None:
    consumer = _consumer(buffer_bytes=run(0, 10).cost)
    (first,) = only(consumer.receive(live(0, 10), 0.1), Deliver)
    assert asked(consumer.receive(_head(29), 0.2)) == []
    assert asked(consumer.taken(first.run.until(1), 0.3)) == [(10, 30)]


def test_pause_goes_on_until_enough_is_taken() -> None:
    consumer = _consumer(buffer_bytes=run(0, 5).cost)
    consumer.receive(live(0, 10), 0.1)
    assert consumer.taken(run(0, 5), 0.2) == []
    assert consumer.full
    consumer.taken(run(5, 6), 0.3)
    assert not consumer.full


def test_what_the_shell_forgets_after_a_seek_no_longer_counts() -> None:
    consumer = _consumer(buffer_bytes=run(0, 10).cost)
    consumer.receive(_head(9), 0.1)
    delivered = [action.run for action in only(consumer.receive(live(0, 10), 0.1), Deliver)]
    assert consumer.full
    consumer.forgotten(delivered)
    assert not consumer.full
    assert asked(consumer.seek(*KEY, 4, 0.2)) == [(4, 10)]


# Catching up


@pytest.mark.parametrize("surplus", [0, 1], ids=["our store", "C store"])
def test_history_of_a_dead_producer_comes_from_a_store_without_a_pause(surplus: int) -> None:
    """A C store answers with one record more than it was asked for."""
    end = 250_003
    consumer = _consumer(fetch_records=20_000)
    _prove(consumer)
    requests = sent(consumer.receive(_stored_head(end - 1), 0.0), Fetch)
    got: list[int] = []
    now = 0.0
    while requests:
        fetch = requests.pop(0)
        last = min(fetch.sequence + fetch.count + surplus, end)
        for first in range(fetch.sequence, last, 7_000):
            now += 0.001
            actions = consumer.receive(stored(first, min(first + 7_000, last)), now)
            got += offsets(actions)
            requests += sent(actions, Fetch)
            for delivered in only(actions, Deliver):
                actions = consumer.taken(delivered.run, now)
                requests += sent(actions, Fetch)
    assert got == list(range(end))
    assert now < 1.0
    assert consumer.stats.fetches < end / 500
    assert consumer.behind() == 0


def test_catching_up_goes_over_into_live_records_without_gap_or_duplicate() -> None:
    consumer = _consumer()
    _prove(consumer)
    consumer.receive(_stored_head(99), 0.0)
    got = offsets(consumer.receive(stored(0, 60), 0.1))
    got += offsets(consumer.receive(live(105, 110), 0.2))
    got += offsets(consumer.receive(stored(60, 100), 0.3))
    got += offsets(consumer.receive(live(100, 105), 0.4))
    got += offsets(consumer.receive(stored(100, 105), 0.5))
    got += offsets(consumer.receive(live(110, 111), 0.6))
    assert got == list(range(111))


def test_messages_a_consumer_has_no_use_for_are_counted() -> None:
    consumer = _consumer()
    assert consumer.receive(Ack(CONSUMER, TOPIC, 3), 0.1) == []
    assert consumer.stats.refused == 1


def test_partitions_that_are_not_wanted_are_left_alone():
    other = "B" * 32
    consumer = Consumer(
        CONSUMER, ConsumerConfig(start="earliest"), DIRECT, lambda _, name: name == PRODUCER
    )
    consumer.start(0.0)
    consumer.subscribe(TOPIC, 0.0)
    _prove(consumer)
    assert consumer.receive(_stored_head(9, other), 1.0) == []
    assert consumer.receive(Arrival(Run(TOPIC, other, 0, [b"x"]), Origin.LIVE), 1.0) == []
    assert consumer.partitions() == {}
    assert consumer.stats.foreign == 2
    assert consumer.receive(_stored_head(9), 1.0) != []
    assert consumer.partitions() == {KEY: 0}
