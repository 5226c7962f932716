"""What a store answers: heads, hellos, and requests for records."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.machines import (
    CONSUMER,
    DIRECT,
    ENDPOINT,
    OTHER_CONSUMER,
    OTHER_ENDPOINT,
    OTHER_PRODUCER,
    OTHER_READER,
    PRODUCER,
    READER,
    TOPIC,
    WRITER,
    address,
    live,
    offsets,
    only,
    run,
    sent,
)

from dafka.core.actions import Action, Drop, Locate, Read, Send, SendDirect, Subscribe
from dafka.core.answerer import PARK_S
from dafka.core.extent import Extent
from dafka.core.locations import MAX_WAITING
from dafka.core.store_reader import PACKED_RECORDS, SLICE_RECORDS, StoreReader
from protocol import (
    ConsumerHello,
    DeleteTopic,
    DirectHead,
    DirectOffset,
    DirectRecord,
    Fetch,
    GetHeads,
    GetOffset,
    Head,
    StoreHello,
    TopicDeleted,
    subscription,
)

NAME = "0" * 30 + "50"


def _reader(end: int = 10, earliest: int = 0) -> StoreReader:
    reader = StoreReader(READER, WRITER, DIRECT, store=NAME)
    reader.start([Extent(TOPIC, PRODUCER, earliest, end, 1000)], 0.0)
    return reader


def _fetch(
    first: int,
    count: int,
    who: str = CONSUMER,
    store: str | None = None,
    partition: str = PRODUCER,
    topic: str = TOPIC,
) -> Fetch:
    return Fetch(partition, who, topic, first, count, store)


def _serve(
    reader: StoreReader,
    actions: list[Action],
    end: int,
    most: int = SLICE_RECORDS,
    now: float = 0.1,
) -> list[Action]:
    """Do the reads that are asked for, on a log that holds [0, end)."""
    done: list[Action] = []
    while reads := only(actions, Read):
        done += [action for action in actions if not isinstance(action, Read)]
        actions = []
        for read in reads:
            last = min(read.first + read.count, read.first + most, end)
            found = run(read.first, last, read.topic, read.partition)
            actions += reader.read_done(read, found if found.contents else None, now)
    return done + actions


def test_reader_subscribes_to_requests() -> None:
    actions = StoreReader(READER, WRITER, DIRECT, store=NAME).start([], 0.0)
    hello = subscription(ConsumerHello, READER)
    prefixes = [*map(subscription, (Fetch, GetHeads, DeleteTopic, GetOffset)), hello]
    assert actions == [Subscribe(prefix) for prefix in prefixes]


# Heads


def test_heads_of_a_topic_are_told_by_its_exact_name() -> None:
    reader = _reader()
    reader.stored(Extent("flights2", PRODUCER, 0, 3))
    reader.stored(Extent(TOPIC, OTHER_PRODUCER, 2, 7))
    assert sent(reader.receive(GetHeads(TOPIC, CONSUMER), 0.1), DirectHead) == [
        DirectHead(CONSUMER, PRODUCER, TOPIC, 9, 0, NAME, 1000),
        DirectHead(CONSUMER, OTHER_PRODUCER, TOPIC, 6, 2, NAME, 0),
    ]
    assert reader.stats.heads == 2


def test_heads_of_an_empty_topic_are_those_of_everything() -> None:
    reader = _reader()
    reader.stored(Extent("another", OTHER_PRODUCER, 0, 3))
    found = sent(reader.receive(GetHeads("", CONSUMER), 0.1), DirectHead)
    assert [(head.subject, head.sequence) for head in found] == [(TOPIC, 9), ("another", 2)]


def test_heads_tell_how_old_a_partition_is_if_that_is_known() -> None:
    reader = _reader()
    extent = Extent(TOPIC, PRODUCER, 0, 5)
    reader.stored(extent, born=2.0)
    reader.stored(extent)
    for request in (GetHeads(TOPIC, CONSUMER), ConsumerHello(READER, CONSUMER, (TOPIC,))):
        heads = sent(reader.receive(request, 12.5), DirectHead)
        assert [head.age_ms for head in heads if head.address == PRODUCER] == [10_500]


def test_unknown_topic_has_no_heads() -> None:
    assert _reader().receive(GetHeads("flight", CONSUMER), 0.1) == []
    assert _reader().receive(GetHeads("flights2", CONSUMER), 0.1) == []


def test_partition_that_never_had_a_record_has_no_head() -> None:
    assert _reader(end=0).receive(GetHeads(TOPIC, CONSUMER), 0.1) == []


def test_partition_whose_records_have_all_gone_says_so() -> None:
    (head,) = sent(_reader(end=5, earliest=5).receive(GetHeads("", CONSUMER), 0.1), DirectHead)
    assert (head.sequence, head.earliest) == (4, 5)


def test_request_below_the_earliest_is_answered_with_what_is_the_earliest() -> None:
    reader = _reader(earliest=2)
    actions = reader.receive(_fetch(1, 5), 0.1)
    assert actions == [Send(DirectHead(CONSUMER, PRODUCER, TOPIC, 9, 2, NAME, 1000))]


def test_request_for_the_earliest_is_answered_with_records() -> None:
    reader = _reader(earliest=2)
    assert reader.receive(_fetch(2, 5), 0.1) == [Read(CONSUMER, TOPIC, PRODUCER, 2, 5)]


# Deleting a topic


def _delete(reader: StoreReader, requester: str = CONSUMER) -> list[Action]:
    return reader.receive(DeleteTopic(TOPIC, requester), 0.1)


def test_only_so_many_who_ask_for_a_deletion_are_told_of_it() -> None:
    reader = _reader()
    (drop,) = only(_delete(reader), Drop)
    for number in range(200):
        assert _delete(reader, address(number)) == []
    reader.stored(Extent(TOPIC, PRODUCER, 10, 10, deleted=10))
    assert len(sent(reader.dropped(drop), TopicDeleted)) == 100


def test_a_topic_is_deleted_partition_by_partition_and_then_it_is_told() -> None:
    reader = _reader(earliest=2)
    reader.stored(Extent(TOPIC, OTHER_PRODUCER, 0, 3))
    reader.stored(Extent("flights2", PRODUCER, 0, 3))
    drops = only(_delete(reader), Drop)
    assert drops == [
        Drop(TOPIC, PRODUCER, 10, deleted=True),
        Drop(TOPIC, OTHER_PRODUCER, 3, deleted=True),
    ]
    assert _delete(reader, WRITER) == []  # it joins the deletion that is under way
    assert reader.dropped(drops[0]) == []
    assert sent(reader.dropped(drops[1]), TopicDeleted) == [
        TopicDeleted(CONSUMER, READER, TOPIC, 8 + 3),
        TopicDeleted(WRITER, READER, TOPIC, 8 + 3),
    ]


def test_a_topic_that_is_not_there_or_deleted_before_is_told_at_once() -> None:
    reader = _reader()
    reader.stored(Extent(TOPIC, PRODUCER, 10, 10, deleted=10))
    assert _delete(reader) == [Send(TopicDeleted(CONSUMER, READER, TOPIC, 0))]
    assert reader.receive(DeleteTopic("other", CONSUMER), 0.2) == [
        Send(TopicDeleted(CONSUMER, READER, "other", 0))
    ]


def test_records_that_came_after_a_deletion_can_be_deleted_again() -> None:
    reader = _reader()
    reader.stored(Extent(TOPIC, PRODUCER, 10, 12, deleted=10))
    (drop,) = only(_delete(reader), Drop)
    assert drop.before == 12
    assert sent(reader.dropped(drop), TopicDeleted) == [TopicDeleted(CONSUMER, READER, TOPIC, 2)]


def test_a_deletion_that_others_have_asked_for_is_told_to_nobody() -> None:
    assert _reader().dropped(Drop(TOPIC, PRODUCER, 10, deleted=True)) == []
    assert _reader().dropped(Drop(TOPIC, PRODUCER, 10)) == []


def test_hello_of_a_consumer_is_answered_with_heads_of_its_topics_each_once() -> None:
    reader = _reader()
    hello = ConsumerHello(READER, CONSUMER, (TOPIC, "unknown", TOPIC))
    assert len(sent(reader.receive(hello, 0.1), DirectHead)) == 1
    assert reader.receive(ConsumerHello(READER, CONSUMER, ()), 0.1) == []


def test_requests_of_the_stores_own_writer_are_ignored() -> None:
    reader = _reader()
    assert reader.receive(GetHeads(TOPIC, WRITER), 0.1) == []
    assert reader.receive(ConsumerHello(READER, WRITER, (TOPIC,)), 0.1) == []
    assert reader.receive(_fetch(0, 1, WRITER), 0.1) == []
    assert reader.subscribed(subscription(StoreHello, WRITER), 0.1) == []


# Hello


@pytest.mark.parametrize("exact", [False, True], ids=["C", "with NUL"])
def test_consumer_that_can_hear_it_gets_a_hello(exact: bool) -> None:
    actions = _reader().subscribed(subscription(StoreHello, CONSUMER, exact=exact), 0.1)
    assert sent(actions, StoreHello) == [StoreHello(CONSUMER, READER)]


@pytest.mark.parametrize("prefix", [b"", b"D" + CONSUMER.encode(), b"E" + CONSUMER.encode()])
def test_other_subscriptions_bring_no_hello(prefix: bytes) -> None:
    assert _reader().subscribed(prefix, 0.1) == []


# Records


@pytest.mark.parametrize("end", [10, 100_001, 250_000])
def test_request_is_answered_with_exactly_the_records_asked_for(end: int) -> None:
    reader = _reader(end)
    assert offsets(_serve(reader, reader.receive(_fetch(3, 5), 0.1), end)) == [3, 4, 5, 6, 7]
    whole = _serve(reader, reader.receive(_fetch(0, 2**32 - 1), 0.1), end)
    assert offsets(whole) == list(range(end))
    assert max(len(action.run) for action in only(whole, SendDirect)) <= SLICE_RECORDS
    assert reader.stats.records == end + 5
    assert reader.next_deadline() is None


@pytest.mark.parametrize(
    "fetch",
    [
        _fetch(10, 1),
        _fetch(2**64 - 1, 2**32 - 1),
        _fetch(3, 0),
        _fetch(3, 5, topic="flight"),
        _fetch(3, 5, topic="flights2"),
        _fetch(3, 5, partition=OTHER_PRODUCER),
    ],
    ids=["head + 1", "last of all", "none", "shorter", "longer", "unknown"],
)
def test_request_for_what_is_not_stored_is_met_with_silence(fetch: Fetch) -> None:
    assert _reader(earliest=2).receive(fetch, 0.1) == []


def test_requester_that_asked_for_less_than_there_is_is_told_so() -> None:
    """A C consumer asks for blocks, and waits for a HEAD that a dead producer never sends."""
    reader = _reader(100_002)
    actions = _serve(reader, reader.receive(_fetch(0, 100_000), 0.1), 100_002)
    assert sent(actions, DirectHead) == [
        DirectHead(CONSUMER, PRODUCER, TOPIC, 100_001, 0, NAME, 1000)
    ]
    assert isinstance(actions[-2], SendDirect)
    actions = _serve(reader, reader.receive(_fetch(100_000, 100_000), 0.2), 100_002)
    assert offsets(actions) == [100_000, 100_001]
    assert sent(actions, DirectHead) == []


def test_answer_goes_on_when_the_log_gives_less_than_was_asked_of_it() -> None:
    reader = _reader(100)
    actions = _serve(reader, reader.receive(_fetch(0, 100), 0.1), 100, most=7)
    assert offsets(actions) == list(range(100))
    assert sent(actions, DirectHead) == []


def test_slice_that_is_longer_than_asked_for_is_cut() -> None:
    reader = _reader(100)
    (read,) = only(reader.receive(_fetch(3, 2), 0.1), Read)
    assert offsets(reader.read_done(read, run(3, 50), 0.2)) == [3, 4]


def test_records_the_log_cannot_give_end_the_answer() -> None:
    reader = _reader(100)
    (read,) = only(reader.receive(_fetch(3, 2), 0.1), Read)
    assert reader.read_done(read, None, 0.2) == []
    assert reader.next_deadline() is None


def test_records_the_log_cannot_give_do_not_end_what_else_was_asked_for() -> None:
    reader = _reader(100)
    (read,) = only(reader.receive(_fetch(3, 2), 0.1), Read)
    reader.receive(_fetch(50, 2), 0.1)
    actions = reader.read_done(read, None, 0.2)
    assert offsets(_serve(reader, actions, 100)) == [50, 51]


def test_requesters_take_turns_and_only_two_read_at_once() -> None:
    reader = _reader(50_000)
    actions = reader.receive(_fetch(0, 50_000), 0.1)
    actions += reader.receive(_fetch(0, 50_000, OTHER_CONSUMER), 0.1)
    actions += reader.receive(_fetch(0, 1, OTHER_READER), 0.1)
    first, second = only(actions, Read)
    assert (first.requester, second.requester) == (CONSUMER, OTHER_CONSUMER)
    assert reader.next_deadline() is None
    reading, served = [first, second], []
    for _ in range(4):
        read = reading.pop(0)
        done = run(read.first, read.first + read.count)
        (following,) = only(reader.read_done(read, done, 0.2), Read)
        reading.append(following)
        served.append(following.requester)
    assert served.count(OTHER_READER) == 1
    assert max(served.count(CONSUMER), served.count(OTHER_CONSUMER)) <= 2


def test_requests_for_what_follows_join_the_answer_under_way() -> None:
    reader = _reader(300)
    actions = reader.receive(_fetch(0, 100), 0.1)
    for first in (100, 200, 0):
        actions += reader.receive(_fetch(first, 100), 0.1)
    assert len(only(actions, Read)) == 1
    assert sorted(set(offsets(_serve(reader, actions, 300)))) == list(range(300))


def test_requests_beyond_the_limit_are_counted_as_dropped() -> None:
    reader = _reader()
    for number in range(0x1000, 0x1000 + 10_001):
        reader.receive(_fetch(0, 1, f"{number:032X}"), 0.1)
    assert (reader.stats.fetches, reader.stats.dropped) == (10_001, 1)


# Who answers


def test_request_that_names_another_store_is_left_to_it_unless_it_is_unknown() -> None:
    reader = _reader()
    assert only(reader.receive(_fetch(0, 1, "A", OTHER_READER), 0.1), Read)
    reader.peer_found(OTHER_READER, ENDPOINT, 0.1)
    assert reader.receive(_fetch(0, 1, "B", OTHER_READER), 0.1) == []
    assert only(reader.receive(_fetch(0, 1, "C", READER), 0.1), Read)


def test_store_with_two_endpoints_is_known_until_both_have_gone() -> None:
    reader = _reader()
    reader.peer_found(OTHER_READER, ENDPOINT, 0.1)
    reader.peer_found(OTHER_READER, OTHER_ENDPOINT, 0.1)
    reader.peer_lost(OTHER_READER, ENDPOINT, 5.0)
    assert reader.receive(_fetch(0, 1, "B", OTHER_READER), 5.1) == []
    reader.peer_lost(OTHER_READER, OTHER_ENDPOINT, 6.0)
    assert only(reader.receive(_fetch(0, 1, "B", OTHER_READER), 6.1), Read)


# Requesters that are slow, or gone


def test_requester_that_takes_no_more_gets_the_rest_later_and_blocks_nobody() -> None:
    reader = _reader(10)
    (read,) = only(reader.receive(_fetch(0, 10), 0.1), Read)
    (answer, *_) = only(reader.read_done(read, run(0, 10), 0.1), SendDirect)
    assert reader.blocked(answer, 4, 0.1) == []
    assert reader.stats.records == 4
    assert reader.tick(0.1) == []
    assert reader.next_deadline() == 0.1 + PARK_S
    assert offsets(_serve(reader, reader.receive(_fetch(0, 2, OTHER_CONSUMER), 0.1), 10)) == [0, 1]
    rest = _serve(reader, reader.tick(0.1 + PARK_S), 10)
    assert offsets(rest) == [4, 5, 6, 7, 8, 9]


def test_requester_that_takes_no_more_amid_a_long_answer_misses_nothing() -> None:
    end = 3 * SLICE_RECORDS
    reader = _reader(end)
    (read,) = only(reader.receive(_fetch(0, end), 0.1), Read)
    answer, second = reader.read_done(read, run(0, SLICE_RECORDS), 0.1)
    assert isinstance(answer, SendDirect)
    assert isinstance(second, Read)
    reader.blocked(answer, 5, 0.1)
    got = offsets([SendDirect(CONSUMER, answer.run.until(5))])
    got += offsets(_serve(reader, [second], end, now=0.1))
    while (deadline := reader.next_deadline()) is not None:
        got += offsets(_serve(reader, reader.tick(deadline), end, now=deadline))
    assert sorted(set(got)) == list(range(end))


def test_who_welcomes_runs_is_answered_with_them_in_larger_slices() -> None:
    reader = _reader(2 * PACKED_RECORDS)
    fetch = replace(_fetch(0, 2 * PACKED_RECORDS), runs=1)
    (read,) = only(reader.receive(fetch, 0.1), Read)
    assert read.count == PACKED_RECORDS
    (answer, *_) = only(reader.read_done(read, run(0, 10), 0.1), SendDirect)
    assert answer.runs


def test_rest_for_a_slow_requester_has_the_form_that_it_welcomes() -> None:
    reader = _reader(10)
    (read,) = only(reader.receive(replace(_fetch(0, 10), runs=1), 0.1), Read)
    (answer, *_) = only(reader.read_done(read, run(0, 10), 0.1), SendDirect)
    reader.blocked(answer, 4, 0.1)
    (rest,) = only(_serve(reader, reader.tick(0.1 + PARK_S), 10), SendDirect)
    assert (rest.run.first, rest.runs) == (4, True)


def test_form_of_an_answer_is_what_was_welcome_last() -> None:
    reader = _reader(10)
    reader.receive(replace(_fetch(0, 5), runs=1), 0.1)
    reader.receive(_fetch(5, 5), 0.1)
    assert reader._answers.get((CONSUMER, TOPIC, PRODUCER)).runs is False


@pytest.mark.parametrize("how", ["peer lost", "unsubscribed", "unsubscribed with NUL"])
def test_answer_that_nobody_hears_any_more_ends(how: str) -> None:
    reader = _reader(50_000)
    reader.peer_found(CONSUMER, ENDPOINT, 0.0)
    (read,) = only(reader.receive(_fetch(0, 50_000), 0.1), Read)
    if how == "peer lost":
        reader.peer_lost(CONSUMER, ENDPOINT, 0.2)
    else:
        prefix = subscription(DirectRecord, CONSUMER, exact="NUL" in how)
        assert reader.unsubscribed(prefix, 0.2) == []
    assert reader.read_done(read, run(0, SLICE_RECORDS), 0.3) == []
    assert reader.next_deadline() is None
    assert only(reader.receive(_fetch(0, 5), 0.4), Read)


def test_other_unsubscriptions_end_nothing() -> None:
    reader = _reader()
    reader.receive(_fetch(0, 1, "A"), 0.1)
    reader.unsubscribed(subscription(StoreHello, "A"), 0.1)
    assert len(reader._answers) == 1


def test_requester_that_comes_back_while_its_old_answer_is_read_is_answered() -> None:
    reader = _reader(50)
    (read,) = only(reader.receive(_fetch(0, 50), 0.1), Read)
    reader.unsubscribed(subscription(DirectRecord, CONSUMER), 0.2)
    actions = reader.receive(_fetch(20, 30), 0.3)
    actions += reader.read_done(read, run(0, 50), 0.4)
    assert set(offsets(_serve(reader, actions, 50))) >= set(range(20, 50))
    assert reader.next_deadline() is None


def test_messages_a_reader_has_no_use_for_are_counted() -> None:
    reader = _reader()
    assert reader.receive(Head(TOPIC, PRODUCER, TOPIC, 3), 0.1) == []
    assert reader.receive(live(0, 1), 0.1) == []
    assert reader.stats.refused == 2


# Where a partition was at a time


def _where(time_ms: int, who: str = CONSUMER) -> GetOffset:
    return GetOffset(PRODUCER, who, TOPIC, time_ms)


def test_where_a_partition_was_is_looked_for_on_disk_and_told() -> None:
    reader = _reader()
    (wanted,) = reader.receive(_where(1_000), 0.1)
    assert wanted == Locate(CONSUMER, TOPIC, PRODUCER, 1_000)
    assert reader.located(wanted, 7) == [
        Send(DirectOffset(CONSUMER, PRODUCER, TOPIC, 7, 1_000, NAME))
    ]


def test_one_place_is_looked_for_at_a_time_and_what_could_not_be_found_is_not_told() -> None:
    reader = _reader()
    (first,) = reader.receive(_where(1_000), 0.1)
    assert reader.receive(_where(1_000), 0.1) == []
    assert reader.receive(_where(2_000), 0.1) == []
    (second,) = reader.located(first, None)
    assert second == Locate(CONSUMER, TOPIC, PRODUCER, 2_000)
    (answer,) = sent(reader.located(second, 3), DirectOffset)
    assert (answer.sequence, answer.time_ms) == (3, 2_000)
    assert only(reader.receive(_where(1_000), 0.2), Locate) == [first]


def test_too_many_questions_are_dropped() -> None:
    reader = _reader()
    for time_ms in range(MAX_WAITING + 5):
        reader.receive(_where(time_ms), 0.1)
    assert len(reader._locations) == MAX_WAITING


@pytest.mark.parametrize("who", ["", WRITER, DIRECT])
def test_where_a_partition_was_is_not_told_to_nobody_and_to_its_own_writer(who: str) -> None:
    assert _reader().receive(_where(1_000, who), 0.1) == []
