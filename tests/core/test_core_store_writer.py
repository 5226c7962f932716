"""What a store writes, acknowledges and asks for again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from support.machines import (
    DIRECT,
    ENDPOINT,
    OTHER_READER,
    PRODUCER,
    READER,
    TOPIC,
    WRITER,
    address,
    asked,
    direct,
    live,
    offsets,
    only,
    run,
    sent,
    stored,
)

import dafka.core.store_writer as module
from dafka.config import StoreConfig
from dafka.core.actions import Append, ConnectStore, DisconnectStore, Drop, Subscribe, Warn
from dafka.core.extent import Extent
from dafka.core.run import Arrival, Origin, Run
from dafka.core.sources import REFERENCE_EXACT
from dafka.core.store_writer import StoreWriter
from dafka.core.turns import MAX_ASKING
from protocol import (
    Ack,
    ConsumerHello,
    DirectHead,
    DirectRecord,
    DirectRecords,
    Fetch,
    GetHeads,
    Head,
    StoreHello,
    subscription,
)

NAME = "0" * 30 + "50"
ALL_HEADS = GetHeads("", WRITER)


def _writer(log: Iterable[Extent] = (), **settings: Any) -> StoreWriter:
    writer = StoreWriter(WRITER, READER, StoreConfig(**settings), store=NAME, direct=DIRECT)
    writer.start(log, 0.0)
    return writer


def _commit(writer: StoreWriter, first: int, end: int, now: float = 0.2) -> list[int]:
    """The last offset acknowledged after the records [first, end) have become durable."""
    actions = writer.committed(TOPIC, PRODUCER, end, run(first, end).cost, now)
    return [ack.sequence for ack in sent(actions, Ack)]


def _head(sequence: int, acked: int | None = 0) -> Head:
    return Head(TOPIC, PRODUCER, TOPIC, sequence, acked, None if acked is None else 0)


def _prove(writer: StoreWriter, now: float = 0.0) -> list[Any]:
    """Make another store known, and connected."""
    writer.peer_found(OTHER_READER, ENDPOINT, now)
    hello = StoreHello(WRITER, OTHER_READER)
    actions = writer.receive(hello, now)
    return actions + writer.receive(hello, now, Origin.STORE)


def test_writer_subscribes_to_all_records_and_heads_and_to_what_is_sent_to_it() -> None:
    writer = StoreWriter(WRITER, READER, StoreConfig(), store=NAME, direct=DIRECT)
    actions = writer.start([], 0.0)
    kinds = (DirectRecord, DirectRecords, DirectHead, StoreHello)
    assert actions == [
        *(Subscribe(subscription(kind, WRITER)) for kind in kinds),
        Subscribe(b"M", runs=False),
        Subscribe(b"R", runs=True),
        Subscribe(b"H"),
    ]


# Writing and acknowledging


def test_store_acknowledges_only_what_is_committed() -> None:
    writer = _writer()
    actions = writer.receive(live(0, 5), 0.1)
    assert offsets(actions) == [0, 1, 2, 3, 4]
    assert sent(actions, Ack) == []
    actions = writer.committed(TOPIC, PRODUCER, 5, run(0, 5).cost, 0.2)
    assert sent(actions, Ack) == [Ack(PRODUCER, TOPIC, 4, NAME)]
    assert (writer.stats.records, writer.stats.bytes, writer.stats.acks) == (5, 40, 1)


def test_partitions_are_kept_apart_by_topic_and_producer() -> None:
    writer = _writer()
    for topic, partition in ((TOPIC, "A"), (TOPIC, "B"), ("other", "A")):
        (append,) = only(writer.receive(live(0, 2, topic, partition), 0.1), Append)
        assert append.run == run(0, 2, topic, partition)


def test_store_goes_on_where_its_log_ends() -> None:
    writer = _writer([Extent(TOPIC, PRODUCER, 0, 5)])
    assert offsets(writer.receive(live(3, 7), 0.1)) == [5, 6]


def test_partition_began_when_its_producer_did_or_else_with_its_first_record() -> None:
    writer = _writer()
    assert writer.born(TOPIC, PRODUCER) is None
    writer.receive(live(0, 3), 7.0)
    assert writer.born(TOPIC, PRODUCER) == 7.0
    writer.receive(Head(TOPIC, PRODUCER, TOPIC, 2, 0, 2_000), 7.5)
    assert writer.born(TOPIC, PRODUCER) == 5.5
    writer.receive(Head(TOPIC, PRODUCER, TOPIC, 2, 0, 2_000), 60.0)  # was read late
    assert writer.born(TOPIC, PRODUCER) == 5.5


def test_other_stores_tell_when_a_partition_began() -> None:
    writer = _writer()
    writer.receive(DirectHead(WRITER, PRODUCER, TOPIC, 5, 0, OTHER_READER, age_ms=3_000), 10.0)
    assert writer.born(TOPIC, PRODUCER) == 7.0


@pytest.mark.parametrize("arrival", [live(1, 3), stored(0, 3)])
def test_records_that_are_not_the_first_or_not_live_do_not_tell_it(arrival: Arrival) -> None:
    writer = _writer()
    writer.receive(arrival, 7.0)
    assert writer.born(TOPIC, PRODUCER) is None


def test_duplicate_of_durable_records_is_acknowledged_again_and_not_written() -> None:
    writer = _writer([Extent(TOPIC, PRODUCER, 0, 5)])
    actions = writer.receive(live(2, 4), 0.1)
    assert actions == writer.receive(stored(0, 5), 0.1)
    assert [ack.sequence for ack in sent(actions, Ack)] == [4]
    assert only(actions, Append) == []
    assert writer.stats.duplicates == 7


def test_duplicate_of_records_on_their_way_to_disk_is_not_acknowledged() -> None:
    writer = _writer()
    writer.receive(live(0, 5), 0.1)
    assert writer.receive(live(0, 5), 0.1) == []
    assert _commit(writer, 0, 5) == [4]


def test_head_of_a_producer_that_lost_an_acknowledgement_brings_it_again() -> None:
    writer = _writer([Extent(TOPIC, PRODUCER, 0, 5)])
    assert [ack.sequence for ack in sent(writer.receive(_head(4, acked=3), 0.1), Ack)] == [4]
    assert sent(writer.receive(_head(4, acked=5), 0.1), Ack) == []


def test_head_brings_no_acknowledgement_of_what_is_not_durable() -> None:
    writer = _writer()
    writer.receive(live(0, 5), 0.1)
    assert sent(writer.receive(_head(4, acked=0), 0.1), Ack) == []
    _commit(writer, 0, 3)
    assert [ack.sequence for ack in sent(writer.receive(_head(4, acked=0), 0.1), Ack)] == [2]


def test_every_head_of_a_c_producer_brings_an_acknowledgement_of_its_last_record() -> None:
    writer = _writer([Extent(TOPIC, PRODUCER, 0, 5)])
    assert [ack.sequence for ack in sent(writer.receive(_head(4, None), 0.1), Ack)] == [4]
    assert sent(writer.receive(_head(5, None), 0.2), Ack) == []


# Gaps


def test_gap_is_asked_for_and_what_follows_it_is_written_after_it() -> None:
    writer = _writer()
    writer.receive(_head(1), 0.0)
    writer.receive(live(0, 2), 0.1)
    actions = writer.receive(live(5, 7), 0.2)
    assert only(actions, Append) == []
    assert sent(actions, Fetch) == [Fetch(PRODUCER, WRITER, TOPIC, 2, 3, runs=1)]
    assert offsets(writer.receive(direct(2, 5), 0.3)) == [2, 3, 4, 5, 6]
    assert writer.next_deadline() is None


@pytest.mark.parametrize("arrival", [live(5, 7), _head(6)], ids=["RECORD", "HEAD"])
def test_unknown_partition_is_asked_for_from_0(arrival: Arrival | Head) -> None:
    ((first, _),) = asked(_writer().receive(arrival, 0.1))
    assert first == 0


@pytest.mark.parametrize(
    "message",
    [
        live(0, 2, partition=OTHER_READER),
        Head(TOPIC, OTHER_READER, TOPIC, 1, 0, 0),
        DirectHead(WRITER, OTHER_READER, TOPIC, 1, 0, OTHER_READER),
    ],
)
def test_partition_beyond_so_many_is_ignored_with_a_warning(message: Any) -> None:
    writer = _writer([Extent(TOPIC, PRODUCER, 0, 4, 100)], max_partitions=1)
    (warning,) = writer.receive(message, 0.1)
    assert isinstance(warning, Warn)
    assert "max_partitions" in warning.text
    assert writer.stats.refused == 1
    assert only(writer.receive(live(4, 6), 0.2), Append)


def test_what_a_log_holds_is_known_however_much_it_is() -> None:
    log = [Extent(TOPIC, name, 0, 4, 100) for name in (PRODUCER, OTHER_READER)]
    writer = _writer(log, max_partitions=1)
    assert only(writer.receive(live(4, 6, partition=OTHER_READER), 0.1), Append)


def test_head_beyond_what_has_come_is_asked_for() -> None:
    writer = _writer([Extent(TOPIC, PRODUCER, 0, 5)])
    assert asked(writer.receive(_head(4), 0.1)) == []
    assert asked(writer.receive(_head(9), 0.2)) == [(5, 10)]


def test_answered_request_is_not_repeated_and_silent_one_is() -> None:
    writer = _writer()
    writer.receive(_head(9), 0.0)
    assert asked(writer.tick(0.4)) == []
    assert asked(writer.tick(0.5)) == [(0, 10)]
    writer.receive(direct(0, 4), 0.6)
    assert writer.next_deadline() == 1.1
    assert asked(writer.tick(1.1)) == [(4, 10)]
    writer.receive(direct(4, 10), 1.2)
    assert writer.next_deadline() is None
    assert writer.stats.fetches == 3


def test_requests_for_a_silent_partition_become_rare() -> None:
    writer = _writer()
    writer.receive(_head(9), 0.0)
    while (deadline := writer.next_deadline() or 0.0) < 600.0:
        writer.tick(deadline)
    assert writer.stats.fetches < 600 / 8 + 8


# The disk is slow


def test_reading_pauses_while_too_much_waits_for_the_disk() -> None:
    writer = _writer(buffer_bytes=run(0, 10).cost)
    writer.receive(live(0, 9), 0.1)
    assert not writer.full
    writer.receive(live(9, 10), 0.1)
    assert writer.full
    _commit(writer, 0, 9)
    assert not writer.full


def test_nothing_is_asked_for_while_reading_pauses() -> None:
    writer = _writer(buffer_bytes=run(0, 10).cost)
    writer.receive(_head(30), 0.0)
    writer.receive(live(0, 10), 0.1)
    assert writer.full
    assert writer.next_deadline() is None
    assert asked(writer.tick(50.0)) == []


def test_request_gets_its_full_time_again_after_a_pause() -> None:
    writer = _writer(buffer_bytes=run(0, 10).cost)
    writer.receive(_head(30), 0.0)
    writer.receive(live(0, 10), 0.1)
    _commit(writer, 0, 10, 60.0)
    assert writer.next_deadline() == 60.5
    assert asked(writer.tick(60.4)) == []


def test_gap_that_was_noticed_during_a_pause_is_asked_for_after_it() -> None:
    writer = _writer(buffer_bytes=run(0, 10).cost)
    writer.receive(live(0, 10), 0.1)
    assert writer.receive(_head(30), 0.1) == []
    actions = writer.committed(TOPIC, PRODUCER, 10, run(0, 10).cost, 0.2)
    assert asked(actions) or writer.next_deadline() is not None


def test_records_held_back_stay_within_the_buffer_over_all_partitions() -> None:
    writer = _writer(buffer_bytes=20_000)
    for partition in ("A", "B", "C"):
        for first in range(1, 400, 2):
            writer.receive(live(first, first + 1, TOPIC, partition), 0.1)
    held = sum(part.intake.waiting_bytes for _, part in writer._backlog.items())
    assert 0 < held <= 20_000


# Whom to believe


def test_answers_of_a_c_producer_are_believed_while_nothing_is_acknowledged() -> None:
    writer = _writer()
    assert asked(writer.receive(_head(599, None), 0.0)) == [(0, REFERENCE_EXACT)]
    assert offsets(writer.receive(direct(0, 600), 0.1)) == list(range(REFERENCE_EXACT))


def test_c_producer_is_asked_from_0_as_it_is_silent_after_any_acknowledgement() -> None:
    writer = _writer()
    writer.receive(_head(2, None), 0.0)
    writer.receive(live(0, 3), 0.1)
    assert asked(writer.receive(_head(9, None), 1.0)) == [(0, 10)]
    assert offsets(writer.receive(direct(0, 10), 1.1)) == list(range(3, 10))


def test_c_producer_is_not_believed_once_it_was_asked_for_anything_but_0() -> None:
    writer = _writer([Extent(TOPIC, PRODUCER, 0, 300)])
    assert asked(writer.receive(_head(309, None), 0.1)) == [(300, 310)]
    assert writer.receive(direct(300, 310), 0.2) == []
    assert writer.stats.refused == 1
    assert offsets(writer.receive(live(300, 310), 0.3)) == list(range(300, 310))


def test_answer_that_was_not_asked_for_is_refused() -> None:
    writer = _writer()
    assert writer.receive(direct(0, 3), 0.1) == []
    assert writer.stats.refused == 1


def test_exact_producer_is_asked_anew_at_once_for_all_it_has() -> None:
    writer = _writer()
    assert asked(writer.receive(live(900, 901), 0.0)) == [(0, REFERENCE_EXACT)]
    assert asked(writer.receive(_head(900), 0.1)) == [(0, 900)]
    assert offsets(writer.receive(direct(0, 900), 0.2)) == list(range(901))


def test_answers_of_a_store_are_believed() -> None:
    writer = _writer([Extent(TOPIC, PRODUCER, 0, 3)])
    _prove(writer)
    (fetch,) = sent(writer.receive(_head(999, None), 0.1), Fetch)
    assert (fetch.address, fetch.sequence, fetch.count) == (DIRECT, 3, 997)
    assert offsets(writer.receive(stored(3, 1000), 0.2)) == list(range(3, 1000))


def test_gap_that_nobody_can_be_believed_about_is_told_to_the_operator() -> None:
    writer = _writer([Extent(TOPIC, PRODUCER, 0, 3)])
    writer.receive(_head(9, None), 0.0)
    warnings: list[Warn] = []
    while not warnings:
        now = writer.next_deadline()
        assert now is not None
        assert now < 5
        warnings = only(writer.tick(now), Warn)
    assert "offset 3" in warnings[0].text
    assert PRODUCER in warnings[0].text


def test_stores_that_both_missed_a_c_producers_first_records_take_them_from_it() -> None:
    """It is right about its first records as long as nobody has acknowledged one."""
    writer = _writer()
    _prove(writer)
    actions = writer.receive(live(3, 4), 1.0)
    now = 1.0
    while WRITER not in {fetch.address for fetch in sent(actions, Fetch)}:
        assert {fetch.sequence for fetch in sent(actions, Fetch)} <= {0}
        now = writer.next_deadline() or 30.0
        assert now < 30.0
        actions = writer.tick(now)
    assert sent(actions, Fetch) == [Fetch(PRODUCER, WRITER, TOPIC, 0, 3, runs=1)]
    assert offsets(writer.receive(direct(0, 3), now)) == [0, 1, 2, 3]


# Other stores


def test_store_is_connected_and_asked_anew_when_it_is_ready() -> None:
    writer = _writer()
    writer.peer_found(OTHER_READER, ENDPOINT, 0.0)
    assert asked(writer.receive(_head(9), 0.0)) == [(0, 10)]
    hello = StoreHello(WRITER, OTHER_READER)
    assert writer.receive(hello, 0.1) == [ConnectStore(ENDPOINT)]
    assert asked(writer.receive(hello, 0.2, Origin.STORE)) == [(0, 10)]
    assert writer.receive(hello, 0.3, Origin.STORE) == []
    assert writer.peer_lost(OTHER_READER, ENDPOINT, 9.0) == [DisconnectStore(ENDPOINT)]


def test_store_that_proves_nothing_is_asked_after_a_while() -> None:
    writer = _writer()
    writer.peer_found(OTHER_READER, ENDPOINT, 0.0)
    writer.receive(StoreHello(WRITER, OTHER_READER), 0.0)
    assert writer.next_deadline() == 1.0
    writer.receive(_head(9), 0.9)
    assert asked(writer.tick(1.0)) == [(0, 10)]


def test_hello_and_subscription_of_the_own_reader_are_ignored() -> None:
    writer = _writer()
    writer.peer_found(READER, ENDPOINT, 0.0)
    assert writer.subscribed(subscription(ConsumerHello, READER), 0.1) == []
    assert writer.receive(StoreHello(WRITER, READER), 0.1) == []
    assert writer.receive(StoreHello(WRITER, READER), 0.1, Origin.STORE) == []


def test_store_is_found_by_its_subscription_which_cannot_be_lost() -> None:
    writer = _writer()
    writer.peer_found(OTHER_READER, ENDPOINT, 0.0)
    assert writer.subscribed(b"M", 0.1) == []
    prefix = subscription(ConsumerHello, OTHER_READER)
    assert writer.subscribed(prefix, 0.1) == [ConnectStore(ENDPOINT)]
    assert writer.subscribed(prefix, 0.2) == []


def test_store_that_subscribed_before_it_was_introduced_is_found_all_the_same() -> None:
    """It may be connected to us before we are to it, and then its only hello may be lost."""
    writer = _writer()
    writer.subscribed(subscription(ConsumerHello, OTHER_READER), 0.1)
    writer.peer_found(OTHER_READER, ENDPOINT, 0.2)
    assert _heads_asked(writer, 10.0)


def _heads_asked(writer: StoreWriter, until: float) -> list[float]:
    """When other stores are asked for their heads, by time alone."""
    times: list[float] = []
    while (now := writer.next_deadline()) is not None and now <= until:
        times += [now for question in sent(writer.tick(now), GetHeads) if question == ALL_HEADS]
    return times


def test_other_stores_are_asked_for_all_their_heads_when_one_is_ready_and_regularly() -> None:
    writer = _writer(compare_interval_s=30.0)
    assert _heads_asked(writer, 500.0) == []
    assert sent(_prove(writer), GetHeads) == [ALL_HEADS]
    assert _heads_asked(writer, 100.0) == [30.0, 60.0, 90.0]
    writer.peer_lost(OTHER_READER, ENDPOINT, 100.0)
    assert _heads_asked(writer, 500.0) == []
    assert sent(_prove(writer, 600.0), GetHeads) == [ALL_HEADS]


def test_store_that_proves_nothing_is_asked_for_its_heads_all_the_same() -> None:
    writer = _writer()
    writer.peer_found(OTHER_READER, ENDPOINT, 0.0)
    writer.receive(StoreHello(WRITER, OTHER_READER), 0.0)
    assert _heads_asked(writer, 40.0) == [1.0, 31.0]


def test_what_another_store_has_is_fetched_from_it_also_when_the_producer_is_dead() -> None:
    writer = _writer([Extent(TOPIC, PRODUCER, 0, 5)])
    _prove(writer)
    head = DirectHead(WRITER, PRODUCER, TOPIC, 999, 0, OTHER_READER)
    actions = writer.receive(head, 0.1)
    assert sent(actions, Fetch) == [Fetch(PRODUCER, DIRECT, TOPIC, 5, 995, OTHER_READER, runs=1)]
    assert offsets(writer.receive(stored(5, 1000), 0.2)) == list(range(5, 1000))
    assert writer.receive(head, 30.0) == []


def test_partition_only_another_store_has_is_fetched_from_its_beginning() -> None:
    writer = _writer()
    _prove(writer)
    unknown = DirectHead(WRITER, PRODUCER, TOPIC, 2**20, 0, OTHER_READER)
    ((first, _),) = asked(writer.receive(unknown, 0.1))
    assert first == 0


def test_records_that_a_store_acknowledged_are_asked_of_the_stores_first() -> None:
    writer = _writer()
    _prove(writer)
    (fetch,) = sent(writer.receive(_head(9, acked=4), 0.1), Fetch)
    assert (fetch.address, fetch.store) == (DIRECT, OTHER_READER)


def test_records_that_no_store_acknowledged_are_asked_of_everybody_at_once() -> None:
    writer = _writer()
    _prove(writer)
    (fetch,) = sent(writer.receive(_head(9, acked=0), 0.1), Fetch)
    assert (fetch.address, fetch.store) == (WRITER, None)


def test_store_that_could_not_hear_the_first_question_is_asked_again_soon() -> None:
    """It may be connected to us later than we to it. Its subscription shows that it is."""
    writer = _writer()
    _prove(writer)
    actions = writer.subscribed(subscription(ConsumerHello, OTHER_READER), 0.2)
    assert sent(actions, GetHeads) == [ALL_HEADS] or _heads_asked(writer, 5.0)


def test_many_partitions_of_another_store_are_fetched_without_a_pause() -> None:
    writer = _writer()
    _prove(writer)
    waiting: list[Fetch] = []
    for number in range(3 * MAX_ASKING):
        head = DirectHead(WRITER, address(number), TOPIC, 0, 0, OTHER_READER)
        waiting += sent(writer.receive(head, 0.1), Fetch)
    answered = 0
    while waiting:
        answered += 1
        answer = stored(0, 1, partition=waiting.pop(0).topic)
        waiting += sent(writer.receive(answer, 0.1 + answered / 1000), Fetch)
    assert answered == 3 * MAX_ASKING


# What is gone


def _deletion(before: int, sequence: int) -> DirectHead:
    return DirectHead(WRITER, PRODUCER, TOPIC, sequence, before, OTHER_READER, 0, before)


def test_what_is_dropped_is_acknowledged_up_to_its_last_record_and_no_further() -> None:
    writer = _writer()
    writer.dropped(TOPIC, PRODUCER, 5, True, 0.1)
    (ack,) = sent(writer.receive(_head(9, acked=0), 0.2), Ack)
    assert ack.sequence == 4


def test_dropping_old_records_takes_back_no_acknowledgement() -> None:
    writer = _writer([Extent(TOPIC, PRODUCER, 0, 9)])
    writer.dropped(TOPIC, PRODUCER, 5, False, 0.1)
    (ack,) = sent(writer.receive(live(6, 8), 0.2), Ack)
    assert ack.sequence == 8


def test_a_deletion_is_done_once_and_what_it_took_is_not_asked_for() -> None:
    writer = _writer([Extent(TOPIC, PRODUCER, 0, 3)])
    _prove(writer)
    actions = writer.receive(_deletion(10, 11), 0.1)
    assert only(actions, Drop) == [Drop(TOPIC, PRODUCER, 10, deleted=True)]
    assert asked(actions) == [(10, 12)]
    assert only(writer.receive(_deletion(10, 11), 0.2), Drop) == []
    assert offsets(writer.receive(stored(10, 12), 0.3)) == [10, 11]
    assert only(writer.receive(_deletion(12, 11), 0.4), Drop) == [
        Drop(TOPIC, PRODUCER, 12, deleted=True)
    ]


def test_a_deletion_that_the_log_knows_is_not_done_again() -> None:
    writer = _writer([Extent(TOPIC, PRODUCER, 10, 12, deleted=10)])
    _prove(writer)
    assert only(writer.receive(_deletion(10, 11), 0.1), Drop) == []


# What is refused


@pytest.mark.parametrize("sizes", [(11,), (3, 11), (11, 3), (10,)])
def test_record_that_is_too_large_is_refused_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...]
) -> None:
    monkeypatch.setattr(module, "MAX_CONTENT_BYTES", 10)
    writer = _writer()
    records = Run(TOPIC, PRODUCER, 0, [b"x" * size for size in sizes])
    actions = writer.receive(Arrival(records, Origin.LIVE), 0.1)
    if max(sizes) > 10:
        assert [type(action) for action in actions] == [Warn]
        assert writer.stats.refused == 1
    else:
        assert only(actions, Append) == [Append(records)]


def test_messages_a_writer_has_no_use_for_are_counted() -> None:
    writer = _writer()
    assert writer.receive(Ack(WRITER, TOPIC, 3), 0.1) == []
    assert writer.stats.refused == 1
