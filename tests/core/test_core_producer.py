"""What a producer keeps, re-sends and forgets."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import pytest
from support.machines import (
    CONSUMER,
    DIRECT,
    ENDPOINT,
    OTHER_CONSUMER,
    OTHER_ENDPOINT,
    OTHER_WRITER,
    PRODUCER,
    READER,
    TOPIC,
    WRITER,
    address,
    content,
    live,
    offsets,
    only,
    run,
    sent,
)

from dafka.config import ProducerConfig, StoreConfig
from dafka.core.actions import SendDirect, SendRun, Subscribe, Warn
from dafka.core.answerer import PARK_S
from dafka.core.extent import Extent
from dafka.core.producer import SLICE_RECORDS, Producer
from dafka.core.run import RECORD_COST
from dafka.core.store_reader import StoreReader
from dafka.core.store_writer import StoreWriter
from protocol import Ack, DirectHead, Fetch, GetHeads, Head, StoreHello, subscription


def _producer(records: int = 0, **settings: Any) -> Producer:
    producer = Producer(TOPIC, PRODUCER, ProducerConfig(**settings))
    producer.start(0.0)
    for offset in range(records):
        producer.publish([content(offset)], 0.0)
    return producer


def _ack(sequence: int, store: str | None = WRITER) -> Ack:
    return Ack(PRODUCER, TOPIC, sequence, store)


def _fetch(first: int, count: int, who: str = CONSUMER, store: str | None = None) -> Fetch:
    return Fetch(PRODUCER, who, TOPIC, first, count, store)


def _answers(producer: Producer, fetch: Fetch, now: float = 0.1) -> list[int]:
    """All that a request brings, in the order it is sent."""
    actions = producer.receive(fetch, now)
    while (deadline := producer.next_deadline()) is not None and deadline <= now:
        actions += producer.tick(now)
    assert {a.requester for a in only(actions, SendDirect)} <= {fetch.address}
    return offsets(actions)


# Publishing


def test_producer_subscribes_to_what_is_said_to_it() -> None:
    actions = Producer(TOPIC, PRODUCER, ProducerConfig()).start(0.0)
    wanted = [subscription(kind, PRODUCER) for kind in (Fetch, Ack, DirectHead)]
    assert actions == [Subscribe(prefix) for prefix in wanted]


def test_records_get_consecutive_offsets_from_0_and_leave_at_once() -> None:
    producer = _producer()
    (first,) = producer.publish([content(0), content(1)], 0.0)
    (second,) = producer.publish([content(2)], 0.0)
    assert (first, second) == (SendRun(run(0, 2)), SendRun(run(2, 3)))
    assert (producer.next, producer.acked, producer.unacknowledged) == (3, 0, 3)
    assert (producer.stats.records, producer.stats.bytes) == (3, 24)


def test_published_contents_belong_to_the_caller() -> None:
    producer = _producer()
    contents = [content(0)]
    producer.publish(contents, 0.0)
    contents[0] = b"something else"
    contents.append(b"more")
    assert _answers(producer, _fetch(0, 9)) == [0]


def test_buffer_is_bounded_by_what_is_not_acknowledged() -> None:
    cost = RECORD_COST + 8
    producer = _producer(4, buffer_bytes=5 * cost)
    assert producer.unacked_bytes == 4 * cost
    assert producer.has_room(cost)
    assert not producer.has_room(cost + 1)
    producer.receive(_ack(1), 0.1)
    assert producer.unacked_bytes == 2 * cost
    assert producer.has_room(3 * cost)


# Acknowledgements


def test_acknowledged_records_are_forgotten() -> None:
    producer = _producer(10)
    producer.receive(_ack(3), 0.1)
    assert (producer.acked, producer.unacknowledged) == (4, 6)
    producer.receive(_ack(9), 0.2)
    assert (producer.unacknowledged, producer.unacked_bytes) == (0, 0)


def test_acknowledgement_that_goes_back_changes_nothing() -> None:
    producer = _producer(10)
    producer.receive(_ack(5), 0.1)
    producer.receive(_ack(2), 0.2)
    producer.receive(_ack(2, OTHER_WRITER), 0.2)
    assert producer.acked == 6


@pytest.mark.parametrize("sequence", [10, 11, 2**40, 2**64 - 1])
def test_acknowledgement_beyond_the_head_is_refused(sequence: int) -> None:
    producer = _producer(10)
    producer.receive(_ack(sequence), 0.1)
    assert (producer.acked, producer.stats.refused, producer.stats.acks) == (0, 1, 0)


def test_acknowledgement_before_the_first_record_is_refused() -> None:
    producer = _producer()
    producer.receive(_ack(0), 0.1)
    assert (producer.acked, producer.stats.refused) == (0, 1)


def test_records_are_kept_until_enough_distinct_stores_have_them() -> None:
    producer = _producer(10, min_store_acks=2)
    producer.receive(_ack(9, WRITER), 0.1)
    producer.receive(_ack(9, WRITER), 0.2)
    assert producer.acked == 0
    producer.receive(_ack(4, OTHER_WRITER), 0.3)
    assert producer.acked == 5
    producer.receive(_ack(7, address(0x99)), 0.4)
    assert producer.acked == 8


def test_c_stores_count_as_one_store_as_their_acknowledgements_have_no_address() -> None:
    producer = _producer(10, min_store_acks=2)
    producer.receive(_ack(9, None), 0.1)
    producer.receive(_ack(9, None), 0.2)
    assert producer.acked == 0
    producer.receive(_ack(9, WRITER), 0.3)
    assert producer.acked == 10


def test_names_of_stores_are_remembered_up_to_a_bound() -> None:
    """A hostile peer can make up any number of them; those that are known go on counting."""
    producer = _producer(10, min_store_acks=2)
    producer.receive(_ack(0, WRITER), 0.1)
    for number in range(0x1000, 0x1000 + 2_000):
        producer.receive(_ack(0, address(number)), 0.1)
    assert len(producer._acks) <= 1_000
    producer.receive(_ack(9, OTHER_WRITER), 0.2)
    assert producer.acked == 1
    producer.receive(_ack(9, WRITER), 0.3)
    producer.receive(_ack(9, address(0x1000)), 0.3)
    assert producer.acked == 10


def test_head_of_a_store_counts_as_its_acknowledgement() -> None:
    producer = _producer(10)
    producer.receive(DirectHead(PRODUCER, PRODUCER, TOPIC, 4, 0, WRITER), 0.1)
    assert producer.acked == 5


def test_head_of_another_partition_is_no_acknowledgement() -> None:
    producer = _producer(10)
    producer.receive(DirectHead(PRODUCER, address(7), TOPIC, 4, 0, WRITER), 0.1)
    assert (producer.acked, producer.stats.refused) == (0, 1)


def test_same_partition_name_in_another_topic_is_another_partition() -> None:
    """An address can be used for two topics, as an import does: each has its own offsets."""
    producer = _producer(5)
    producer.receive(Ack(PRODUCER, "another", 4, WRITER), 0.0)
    producer.receive(DirectHead(PRODUCER, PRODUCER, "another", 4), 0.0)
    assert (producer.acked, producer.stats.refused) == (0, 2)
    producer.receive(_ack(4), 0.0)
    assert producer.acked == 5


def test_one_store_that_acknowledges_and_tells_its_head_counts_once() -> None:
    name = address(0x50)
    writer = StoreWriter(WRITER, READER, StoreConfig(), store=name, direct=DIRECT)
    reader = StoreReader(READER, WRITER, DIRECT, store=name)
    producer = _producer(1, min_store_acks=2)
    writer.receive(live(0, 1), 0.1)
    for ack in sent(writer.committed(TOPIC, PRODUCER, 1, run(0, 1).cost, 0.2), Ack):
        producer.receive(ack, 0.3)
    reader.stored(Extent(TOPIC, PRODUCER, 0, 1))
    for head in sent(reader.receive(GetHeads(TOPIC, PRODUCER), 2.0), DirectHead):
        producer.receive(head, 2.1)
    assert producer.acked == 0


# Requests


def test_request_for_unacknowledged_records_is_answered_with_exactly_them() -> None:
    producer = _producer(10)
    assert _answers(producer, _fetch(3, 4)) == [3, 4, 5, 6]
    assert _answers(producer, _fetch(8, 99)) == [8, 9]
    assert _answers(producer, _fetch(0, 1)) == [0]
    assert producer.stats.fetches == 3
    assert producer.stats.resent == 7


def test_answer_goes_across_runs_that_were_kept_apart() -> None:
    producer = _producer()
    number = 0
    for length in (1, SLICE_RECORDS, 700, 700, 2 * SLICE_RECORDS + 5, 1):
        producer.publish([content(n) for n in range(number, number + length)], 0.0)
        number += length
    producer.receive(_ack(99), 0.0)
    assert _answers(producer, _fetch(100, number)) == list(range(100, number))
    assert _answers(producer, _fetch(999, 3)) == [999, 1000, 1001]


def test_an_answer_is_cut_into_slices_and_requesters_take_turns() -> None:
    producer = _producer()
    producer.publish([content(n) for n in range(5 * SLICE_RECORDS)], 0.0)
    actions = producer.receive(_fetch(0, 5 * SLICE_RECORDS), 0.1)
    actions += producer.receive(_fetch(0, 2, OTHER_CONSUMER), 0.1)
    actions += producer.tick(0.1)
    assert max(len(a.run) for a in only(actions, SendDirect)) == SLICE_RECORDS
    assert [a.requester for a in only(actions, SendDirect)][:3].count(OTHER_CONSUMER) == 1


@pytest.mark.parametrize(
    "fetch",
    [
        _fetch(3, 1),
        _fetch(10, 1),
        _fetch(2**40, 5),
        _fetch(2**64 - 1, 1),
        _fetch(5, 0),
        Fetch(PRODUCER, CONSUMER, "other topic", 5, 1),
    ],
    ids=["acknowledged", "head + 1", "far beyond", "last of all", "none", "other topic"],
)
def test_request_for_what_the_producer_cannot_answer_is_met_with_silence(fetch: Fetch) -> None:
    producer = _producer(10)
    producer.receive(_ack(4), 0.0)
    assert _answers(producer, fetch) == []


def test_request_to_a_store_that_is_known_is_left_to_it() -> None:
    producer = _producer(3)
    assert _answers(producer, _fetch(0, 3, store=READER)) == [0, 1, 2]
    producer.peer_found(READER, ENDPOINT, 0.1)
    assert _answers(producer, _fetch(0, 3, store=READER)) == []
    assert _answers(producer, _fetch(0, 3)) == [0, 1, 2]
    producer.peer_lost(READER, ENDPOINT, 9.0)
    assert _answers(producer, _fetch(0, 3, store=READER), 9.0) == [0, 1, 2]


def test_store_with_two_endpoints_is_known_until_both_have_gone() -> None:
    producer = _producer(3)
    producer.peer_found(READER, ENDPOINT, 0.1)
    producer.peer_found(READER, OTHER_ENDPOINT, 0.1)
    producer.peer_lost(READER, ENDPOINT, 0.1)
    assert _answers(producer, _fetch(0, 3, store=READER)) == []
    producer.peer_lost(READER, OTHER_ENDPOINT, 0.1)
    assert _answers(producer, _fetch(0, 3, store=READER)) == [0, 1, 2]


def test_answer_ends_quietly_when_its_records_are_acknowledged_meanwhile() -> None:
    producer = _producer()
    producer.publish([content(n) for n in range(3 * SLICE_RECORDS)], 0.0)
    producer.receive(_fetch(0, 3 * SLICE_RECORDS), 0.1)
    producer.receive(_ack(3 * SLICE_RECORDS - 1), 0.1)
    assert offsets(producer.tick(0.1)) == []
    assert offsets(producer.tick(0.1)) == []
    assert producer.next_deadline() == 1.0


def test_requester_that_takes_no_more_is_answered_the_rest_later() -> None:
    producer = _producer(10)
    (answer,) = only(producer.receive(_fetch(0, 10), 0.1), SendDirect)
    assert producer.blocked(answer, 4, 0.1) == []
    assert producer.stats.resent == 4
    assert offsets(producer.tick(0.1)) == []
    assert producer.next_deadline() == 0.1 + PARK_S
    assert offsets(producer.tick(0.1 + PARK_S)) == [4, 5, 6, 7, 8, 9]


def test_who_welcomes_runs_is_answered_with_them_also_after_a_pause() -> None:
    producer = _producer(100)
    fetch = dataclasses.replace(_fetch(0, 100), runs=1)
    (answer,) = only(producer.receive(fetch, 0.1), SendDirect)
    assert (answer.runs, offsets([answer])) == (True, list(range(100)))
    producer.blocked(answer, 40, 0.1)
    (rest,) = only(producer.tick(0.1 + PARK_S), SendDirect)
    assert (rest.runs, offsets([rest])) == (True, list(range(40, 100)))


def test_records_published_together_are_kept_together_and_lone_ones_as_well() -> None:
    producer = _producer()
    for count in (1, 20, 1, 1, 30):
        first = producer.next
        producer.publish([content(n) for n in range(first, first + count)], 0.0)
    assert [len(kept) for kept in producer._unacked] == [1, 20, 2, 30]
    for ack in (10, 21, 40):
        producer.receive(_ack(ack), 0.1)
        assert producer.unacked_bytes == sum(kept.cost for kept in producer._unacked)
    assert _answers(producer, _fetch(41, 99)) == list(range(41, 53))


def test_requester_that_has_gone_is_not_answered() -> None:
    producer = _producer()
    producer.peer_found(CONSUMER, ENDPOINT, 0.0)
    producer.publish([content(n) for n in range(3 * SLICE_RECORDS)], 0.0)
    producer.receive(_fetch(0, 3 * SLICE_RECORDS), 0.1)
    producer.peer_lost(CONSUMER, ENDPOINT, 0.1)
    assert offsets(producer.tick(0.1)) == []


def test_messages_a_producer_has_no_use_for_are_counted() -> None:
    producer = _producer(1)
    assert producer.receive(StoreHello(PRODUCER, READER), 0.1) == []
    assert producer.receive(live(0, 1), 0.1) == []
    assert producer.stats.refused == 2


# Announcements


def _heads(producer: Producer, until: float) -> list[tuple[float, Head]]:
    heads: list[tuple[float, Head]] = []
    while (deadline := producer.next_deadline()) is not None and deadline <= until:
        heads += [(deadline, head) for head in sent(producer.tick(deadline), Head)]
    return heads


def test_nothing_is_announced_before_the_first_record() -> None:
    producer = _producer()
    assert producer.next_deadline() is None
    assert producer.subscribed(b"H", 5.0) == []
    assert producer.next_deadline() is None
    assert producer.tick(9.0) == []


def test_head_is_announced_an_interval_after_the_first_record_and_every_interval() -> None:
    producer = _producer()
    producer.publish([content(0)], 5.0)
    producer.publish([content(1)], 5.5)
    producer.receive(_ack(0), 5.6)
    times = _heads(producer, 8.0)
    assert [(now, head.sequence, head.acked) for now, head in times] == [
        (6.0, 1, 1),
        (7.0, 1, 1),
        (8.0, 1, 1),
    ]
    first = times[0][1]
    assert (first.topic, first.address, first.subject, first.age_ms) == (
        TOPIC,
        PRODUCER,
        TOPIC,
        6000,
    )


@pytest.mark.parametrize("prefix", [b"H", b"Hflights\0", b""], ids=["store", "ours", "all"])
def test_head_is_announced_soon_after_a_newcomer_has_subscribed(prefix: bytes) -> None:
    producer = _producer(3)
    _heads(producer, 1.0)
    producer.subscribed(prefix, 1.3)
    (now, head), *_ = _heads(producer, 1.5)
    assert 1.3 < now < 1.4
    assert head.sequence == 2


@pytest.mark.parametrize("prefix", [b"M", b"Hflights2", b"Hother", b"Dflights"])
def test_other_subscriptions_do_not_bring_a_head(prefix: bytes) -> None:
    producer = _producer(3)
    producer.subscribed(prefix, 0.3)
    assert producer.next_deadline() == 1.0


@pytest.mark.parametrize("prefix", [b"Hflights", b"Hfli"])
@pytest.mark.parametrize("since", [1.1, 1.3, 1.9, 1.999])
def test_a_reference_consumer_has_half_a_second_until_the_next_head(
    prefix: bytes, since: float
) -> None:
    """Its answer to the first HEAD is its only FETCH, and we must be connected to hear it."""
    producer = _producer(3)
    _heads(producer, 1.0)
    producer.subscribed(prefix, since)
    (now, _), *_ = _heads(producer, 3.0)
    assert now == pytest.approx(max(2.0, since + 0.5))


def test_reference_consumers_that_keep_coming_cannot_silence_a_producer() -> None:
    producer = _producer(3)
    times = []
    for step in range(1000):
        now = step / 100
        producer.subscribed(b"Hflights", now)
        times += [at for at, _ in _heads(producer, now)]
    gaps = [after - before for before, after in pairwise(times)]
    assert len(times) >= 4
    assert max(gaps) <= 2.01


def test_many_newcomers_cost_few_heads() -> None:
    producer = _producer(3)
    heads = 0
    for step in range(1000):
        producer.subscribed(b"H", step / 1000)
        heads += len(_heads(producer, step / 1000))
    assert 0 < heads <= 50


def test_a_stalled_producer_asks_the_stores_where_they_are() -> None:
    producer = _producer(3)
    asked = [t for t in range(1, 9) if sent(producer.tick(float(t)), GetHeads)]
    assert asked == [2, 4, 6, 8]
    (question,) = sent(producer.tick(10.0), GetHeads)
    assert question == GetHeads(TOPIC, PRODUCER)


def test_producer_does_not_ask_while_acknowledgements_come_or_nothing_is_open() -> None:
    producer = _producer(10)
    for second in range(1, 10):
        assert sent(producer.tick(float(second)), GetHeads) == []
        producer.receive(_ack(second - 1), second + 0.5)
    producer.receive(_ack(9), 9.5)
    for second in range(10, 20):
        assert sent(producer.tick(float(second)), GetHeads) == []
    producer.publish([content(10)], 19.5)
    assert sent(producer.tick(20.0), GetHeads) == []
    assert sent(producer.tick(22.0), GetHeads) != []


def test_head_that_fell_due_is_not_repeated_at_once() -> None:
    producer = _producer(1)
    assert len(sent(producer.tick(50.0), Head)) == 1
    assert producer.next_deadline() == 51.0


# Distinct stores


def test_producer_tells_how_many_stores_have_the_first_record_that_more_must_have() -> None:
    producer = _producer(10, min_store_acks=3)
    assert producer.stores == 0
    producer.receive(_ack(9, WRITER), 0.1)
    producer.receive(_ack(4, OTHER_WRITER), 0.1)
    assert (producer.acked, producer.stores) == (0, 2)
    producer.receive(_ack(3, address(0x99)), 0.2)
    assert (producer.acked, producer.stores) == (4, 2)
    producer.receive(_ack(4, address(0x99)), 0.3)
    assert (producer.acked, producer.stores) == (5, 1)


def test_with_too_few_stores_the_buffer_stays_full_and_a_further_store_empties_it() -> None:
    cost = RECORD_COST + 8
    producer = _producer(5, min_store_acks=2, buffer_bytes=5 * cost)
    producer.receive(_ack(4, WRITER), 0.1)
    producer.receive(DirectHead(PRODUCER, PRODUCER, TOPIC, 4, 0, WRITER), 2.1)
    assert (producer.acked, producer.has_room(1)) == (0, False)
    assert _answers(producer, _fetch(0, 5), 3.0) == [0, 1, 2, 3, 4]
    producer.receive(_ack(4, OTHER_WRITER), 3.1)
    assert (producer.acked, producer.has_room(5 * cost)) == (5, True)


# Partitions that are continued


def _continued(first: int, end: int = 0, **settings: Any) -> Producer:
    producer = Producer(TOPIC, PRODUCER, ProducerConfig(**settings), first, end)
    producer.start(0.0)
    return producer


def _published(producer: Producer, end: int) -> None:
    contents = [content(offset) for offset in range(producer.next, end)]
    (action,) = producer.publish(contents, 0.0)
    assert isinstance(action, SendRun)


def test_a_continued_partition_goes_on_at_its_offset() -> None:
    producer = _continued(7)
    assert (producer.next, producer.acked, producer.unacknowledged) == (7, 7, 0)
    assert producer.publish([content(7)], 0.0) == [SendRun(run(7, 8))]
    assert _answers(producer, _fetch(0, 99)) == []
    assert _answers(producer, _fetch(7, 99)) == [7]
    producer.receive(_ack(7), 0.1)
    assert (producer.acked, producer.unacked_bytes) == (8, 0)


def test_a_partition_tells_where_it_begins_if_that_is_not_0() -> None:
    for earliest in (0, 7):
        producer = Producer(TOPIC, PRODUCER, ProducerConfig(), 9, 9, earliest)
        producer.start(0.0)
        (_, head), *_ = _heads(producer, 0.5)
        assert (head.sequence, head.acked, head.earliest) == (8, 9, earliest or None)


def test_a_continued_partition_is_announced_at_once_and_as_old() -> None:
    producer = _continued(7)
    (head,) = sent(producer.tick(0.0), Head)
    assert (head.sequence, head.acked) == (6, 7)
    assert producer.age_ms == head.age_ms
    assert head.age_ms is not None
    assert head.age_ms > 10 * 365 * 86_400_000


@pytest.mark.parametrize("prefix", [b"H", b"Hflights\0"])
def test_newcomers_hear_of_a_continued_partition_before_its_next_record(prefix: bytes) -> None:
    """They would take it for a new one, and a consumer of the latest records would read it all."""
    producer = _continued(7)
    producer.tick(0.0)
    (head,) = sent(producer.subscribed(prefix, 0.5), Head)
    assert head.sequence == 6
    assert sent(producer.subscribed(prefix, 0.501), Head) == []
    assert [now for now, _ in _heads(producer, 0.6)] == [pytest.approx(0.521)]


def test_a_store_may_acknowledge_what_was_sent_in_an_earlier_life() -> None:
    producer = _continued(10, 100)
    _published(producer, 20)
    producer.receive(_ack(14), 0.1)
    assert (producer.acked, producer.next) == (15, 20)
    producer.receive(_ack(59), 0.2)
    assert (producer.acked, producer.next, producer.unacked_bytes) == (60, 60, 0)
    _published(producer, 100)
    producer.receive(_ack(100), 0.3)
    assert (producer.acked, producer.stats.refused) == (60, 1)
    producer.receive(_ack(99), 0.4)
    assert (producer.acked, producer.next, producer.unacked_bytes) == (100, 100, 0)
    assert producer.publish([content(100)], 0.5) == [SendRun(run(100, 101))]


def test_acknowledgements_of_an_earlier_life_count_distinct_stores_too() -> None:
    producer = _continued(10, 100, min_store_acks=2)
    producer.receive(_ack(79, WRITER), 0.1)
    assert producer.next == 10
    producer.receive(_ack(49, OTHER_WRITER), 0.1)
    assert (producer.acked, producer.next) == (50, 50)


def test_producer_that_cannot_send_what_it_has_asks_stores_whether_they_need_it() -> None:
    producer = _continued(0, 10)
    assert sent(producer.tick(0.0), Head) == []
    actions = producer.tick(2.0)
    assert sent(actions, Head) == []
    assert sent(actions, GetHeads) == [GetHeads(TOPIC, PRODUCER)]
    producer.receive(DirectHead(PRODUCER, PRODUCER, TOPIC, 9, 0, WRITER), 2.1)
    assert producer.acked == 10
    assert sent(producer.tick(9.0), GetHeads) == []


def test_a_store_that_has_more_than_a_continued_producer_ever_sent_is_reported() -> None:
    producer = _continued(10)
    (warning,) = producer.receive(_ack(12), 0.1)
    assert isinstance(warning, Warn)
    for part in (TOPIC, PRODUCER, "offset 12", "continues at 10", "outbox"):
        assert part in warning.text
    assert producer.receive(_ack(2**64 - 1), 0.1) == []
    assert _producer(5).receive(_ack(7), 0.1) == []


@pytest.mark.parametrize("extension", [True, False], ids=["ours", "C"])
def test_stores_that_have_the_records_already_acknowledge_them_again(extension: bool) -> None:
    """A producer that was killed between its commit and the acknowledgement starts again."""
    writer = StoreWriter(WRITER, READER, StoreConfig(), store=WRITER, direct=DIRECT)
    writer.receive(live(0, 50), 0.0)
    writer.committed(TOPIC, PRODUCER, 50, run(0, 50).cost, 0.0)
    producer = _continued(20, 50)
    if extension:
        (head,) = sent(producer.tick(0.1), Head)
        acks = sent(writer.receive(head, 0.1), Ack)
    else:
        reader = StoreReader(READER, WRITER, DIRECT, store=WRITER)
        reader.stored(Extent(TOPIC, PRODUCER, 0, 50))
        (question,) = sent(producer.tick(2.1), GetHeads)
        acks = sent(reader.receive(question, 2.1), DirectHead)
    for ack in acks:
        producer.receive(ack, 2.2)
    assert (producer.acked, producer.next) == (50, 50)
