"""Where a consumer stands: positions of earlier lives, patterns, pauses, and seeking by time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
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
    live,
    offsets,
    only,
    sent,
    stored,
)

from dafka.beginning import Instant
from dafka.config import ConsumerConfig
from dafka.core.actions import Action, Begin, Deliver, Expire, Settled, Subscribe, Warn
from dafka.core.consumer import SETTLED_S, Consumer
from dafka.core.lookups import PATIENCE_S, SILENCE_S
from dafka.core.role import CONTINUED_MS
from dafka.core.run import Origin
from dafka.core.unproven import CERTAIN_S
from protocol import (
    ConsumerHello,
    DirectHead,
    DirectOffset,
    Fetch,
    GetHeads,
    GetOffset,
    Head,
    StoreHello,
)

KEY, OTHER = (TOPIC, PRODUCER), (TOPIC, OTHER_PRODUCER)
LONG_AGO = -1000.0
"""When an earlier life subscribed first."""


def _named(
    start: Any = "latest",
    positions: dict[tuple[str, str], int] | None = None,
    since: float | None = None,
    *,
    settled: bool = True,
    **settings: Any,
) -> Consumer:
    config = ConsumerConfig(start=start, **settings)
    consumer = Consumer(CONSUMER, config, DIRECT)
    consumer.remember(positions or {})
    consumer.start(0.0)
    consumer.subscribe(TOPIC, 0.0, since, settled=settled and since is not None)
    return consumer


def _unnamed(start: Any = "earliest", **settings: Any) -> Consumer:
    consumer = Consumer(CONSUMER, ConsumerConfig(start=start, **settings), DIRECT)
    consumer.start(0.0)
    consumer.subscribe(TOPIC, 0.0)
    return consumer


def _head(end: int, age_ms: int | None = None, partition: str = PRODUCER) -> Head:
    return Head(TOPIC, partition, TOPIC, end - 1, 0, age_ms)


def _stored(
    end: int, age_ms: int | None = None, earliest: int = 0, partition: str = PRODUCER
) -> DirectHead:
    return DirectHead(CONSUMER, partition, TOPIC, end - 1, earliest, READER, age_ms=age_ms)


def _prove(
    consumer: Consumer, now: float = 0.0, reader: str = READER, endpoint: str = ENDPOINT
) -> list[Action]:
    consumer.peer_found(reader, endpoint, now)
    hello = StoreHello(CONSUMER, reader)
    return consumer.receive(hello, now) + consumer.receive(hello, now, Origin.STORE)


def _until(consumer: Consumer, end: float) -> list[tuple[float, Action]]:
    done: list[tuple[float, Action]] = []
    while (deadline := consumer.next_deadline()) is not None and deadline <= end:
        done += [(deadline, action) for action in consumer.tick(deadline)]
    return done


def _actions(timed: Iterable[tuple[float, Action]]) -> list[Action]:
    return [action for _, action in timed]


# Positions of an earlier life


@pytest.mark.parametrize("start", ["latest", "earliest", 3, {PRODUCER: 3}, datetime.now(UTC)])
def test_position_counts_more_than_the_start(start: Any) -> None:
    consumer = _named(start, {KEY: 7}, LONG_AGO)
    actions = consumer.receive(_head(20), 0.1)
    assert only(actions, Begin) == [Begin(*KEY, 7)]
    assert asked(actions) == [(7, 20)]
    assert consumer.partitions() == {KEY: 7}


def test_position_is_taken_up_by_whatever_is_heard_first() -> None:
    for first in (live(20, 22), _stored(22), _head(22)):
        consumer = _named("latest", {KEY: 7}, LONG_AGO)
        consumer.receive(first, 0.1)
        assert consumer.partitions() == {KEY: 7}


def test_named_consumer_of_the_latest_records_asks_for_all_partitions() -> None:
    consumer = Consumer(CONSUMER, ConsumerConfig(start="latest"), DIRECT)
    consumer.remember({})
    consumer.start(0.0)
    assert sent(consumer.subscribe(TOPIC, 0.0), GetHeads) == [GetHeads(TOPIC, CONSUMER)]
    hellos = sent(_prove(consumer), ConsumerHello)
    assert ConsumerHello(READER, CONSUMER, (TOPIC,)) in hellos
    assert only(consumer.receive(_stored(50), 0.1), Begin) == [Begin(*KEY, 50)]


def test_named_consumer_says_when_it_knows_all_partitions() -> None:
    consumer = _named()
    assert only(_actions(_until(consumer, 100.0)), Settled) == []
    _prove(consumer, 100.0)
    _prove(consumer, 101.0, OTHER_READER, OTHER_ENDPOINT)
    told = [now for now, action in _until(consumer, 200.0) if isinstance(action, Settled)]
    assert told == [100.0 + SETTLED_S]


def test_consumer_without_a_name_says_nothing_of_that() -> None:
    consumer = _unnamed()
    _prove(consumer)
    assert only(_actions(_until(consumer, 100.0)), Settled) == []


@pytest.mark.parametrize("start", ["latest", "earliest", 30, datetime.now(UTC)])
@pytest.mark.parametrize("age_ms", [500_000, 1_000_000, None])
def test_partition_that_came_since_begins_with_its_first_record(start: Any, age_ms: Any) -> None:
    consumer = _named(start, {OTHER: 5}, LONG_AGO)
    actions = consumer.receive(_stored(50, age_ms), 0.1)
    assert only(actions, Begin) == [Begin(*KEY, 0)]


def test_partition_that_came_since_begins_with_its_first_record_also_if_it_is_heard_live() -> None:
    consumer = _named("latest", {}, LONG_AGO)
    consumer.receive(live(30, 31), 0.1)
    assert consumer.partitions() == {KEY: 0}


def test_records_that_expired_of_a_partition_that_came_since_are_told() -> None:
    consumer = _named("latest", {}, LONG_AGO)
    _prove(consumer)
    actions = consumer.receive(_stored(50, earliest=20), 0.1)
    actions += _actions(_until(consumer, 30.0))
    assert only(actions, Expire) == [Expire(*KEY, 0, 20)]


def test_partition_that_was_there_before_begins_where_start_says() -> None:
    old = _stored(50, age_ms=5_000_000)
    for start, first in (("latest", 50), ("earliest", 0), (30, 30)):
        consumer = _named(start, {}, LONG_AGO)
        assert only(consumer.receive(old, 0.1), Begin) == [Begin(*KEY, first)]


def test_producer_that_was_introduced_with_its_age_tells_how_old_its_partition_is() -> None:
    for born, first in ((-5000.0, 30), (-500.0, 0)):
        consumer = _named("latest", {}, LONG_AGO)
        consumer.peer_found(PRODUCER, ENDPOINT, 0.1, born)
        assert only(consumer.receive(live(30, 31), 0.1), Begin) == [Begin(*KEY, first)]


def test_age_that_nobody_knows_means_nothing_if_the_earlier_life_had_not_learned_of_all() -> None:
    consumer = _named("latest", {}, LONG_AGO, settled=False)
    assert only(consumer.receive(_stored(50), 0.1), Begin) == [Begin(*KEY, 50)]


def test_partition_that_a_mapping_names_begins_there() -> None:
    consumer = _named({PRODUCER: 9}, {}, LONG_AGO)
    assert only(consumer.receive(_stored(50), 0.1), Begin) == [Begin(*KEY, 9)]


def test_position_below_what_is_kept_is_told_and_left_behind() -> None:
    consumer = _named("latest", {KEY: 7}, LONG_AGO)
    _prove(consumer)
    consumer.receive(_stored(50, earliest=20), 0.1)
    expired = only(_actions(_until(consumer, 30.0)), Expire)
    assert expired == [Expire(*KEY, 7, 20)]
    assert offsets(consumer.receive(stored(20, 50), 30.1)) == list(range(20, 50))


def test_position_0_below_what_is_kept_is_told_as_well() -> None:
    consumer = _named("latest", {KEY: 0}, LONG_AGO)
    _prove(consumer)
    consumer.receive(_stored(50, earliest=20), 0.1)
    assert only(_actions(_until(consumer, 30.0)), Expire) == [Expire(*KEY, 0, 20)]


# A position beyond the end


def test_partition_whose_living_producer_has_less_was_begun_anew() -> None:
    consumer = _named("latest", {KEY: 500}, LONG_AGO)
    assert only(consumer.receive(_head(20), 1.0), Begin) == [Begin(*KEY, 500)]
    actions = consumer.receive(_head(21), 1.0 + CERTAIN_S)
    assert only(actions, Begin) == [Begin(*KEY, 0)]
    (warning,) = only(actions, Warn)
    assert "the position 500 lies beyond its end, 21" in warning.text
    assert asked(actions) == [(0, 21)]
    assert offsets(consumer.receive(live(0, 21), 11.1)) == list(range(21))
    assert only(consumer.receive(_head(21), 30.0), Begin) == []


def test_partition_that_is_imported_meanwhile_was_not_begun_anew() -> None:
    consumer = _named("latest", {KEY: 500}, LONG_AGO)
    for second in range(int(CERTAIN_S)):
        assert only(consumer.receive(_head(20 + 60 * second), second), Warn) == []
    consumer.receive(_head(560), CERTAIN_S)
    assert only(consumer.receive(_head(20), 2 * CERTAIN_S), Begin) == []
    assert consumer.partitions() == {KEY: 500}


def test_partition_whose_outbox_is_still_being_loaded_was_not_begun_anew() -> None:
    consumer = _named("latest", {KEY: 500}, LONG_AGO)

    def head(acked: int) -> Head:
        return replace(_head(21), acked=acked, age_ms=CONTINUED_MS + 1000)

    for now in (1.0, 20.0, 40.0):  # no store is there, and the producer's buffer is full
        assert only(consumer.receive(head(20), now), Begin) == ([Begin(*KEY, 500)] * (now == 1.0))
    assert consumer.partitions() == {KEY: 500}
    # With all of it acknowledged, nothing more is to come.
    consumer.receive(head(21), 41.0)
    assert only(consumer.receive(head(21), 41.0 + CERTAIN_S), Begin) == [Begin(*KEY, 0)]


def test_position_that_a_store_has_is_none_beyond_the_end() -> None:
    consumer = _named("latest", {KEY: 500}, LONG_AGO)
    consumer.receive(_head(20), 1.0)
    consumer.receive(_stored(600), 1.1)
    for now in (2.0, 30.0):
        assert only(consumer.receive(_head(20), now), Begin) == []
    assert consumer.partitions() == {KEY: 500}


def test_stores_alone_do_not_show_it_since_a_producer_that_died_had_told_us_more() -> None:
    consumer = _named("latest", {KEY: 500}, LONG_AGO)
    _prove(consumer)
    for now in (1.0, 2.0, 30.0):
        consumer.receive(_stored(490), now)
    assert _actions(_until(consumer, 100.0)) != []
    assert consumer.partitions() == {KEY: 500}
    assert consumer.behind() == 0
    # Should it come back with its outbox, it goes on.
    assert offsets(consumer.receive(live(490, 502), 101.0)) == [500, 501]


def test_position_that_was_reached_by_seeking_is_taken_as_it_is() -> None:
    consumer = _named("latest", {KEY: 500}, LONG_AGO)
    consumer.receive(_head(20), 1.0)
    consumer.seek(*KEY, 400, 1.5)
    for now in (2.0, 30.0):
        assert only(consumer.receive(_head(20), now), Begin) == []
    assert consumer.partitions() == {KEY: 400}


# Seeking makes earlier lives forgotten


def test_after_seeking_to_the_earliest_record_positions_of_partitions_not_met_do_not_count() -> (
    None
):
    consumer = _named("latest", {KEY: 7}, LONG_AGO)
    consumer.seek_all("earliest", 0.1)
    consumer.receive(_head(20), 0.2)
    assert consumer.partitions() == {KEY: 0}


def test_after_seeking_to_the_latest_record_old_partitions_begin_there() -> None:
    consumer = _named("earliest", {}, LONG_AGO)
    consumer.seek_all("latest", 10.0)
    consumer.receive(_stored(50, age_ms=500_000), 10.1)
    assert consumer.partitions() == {KEY: 50}


# Patterns


def _pattern(*patterns: str, start: Any = "earliest") -> tuple[Consumer, list[Action]]:
    consumer = Consumer(CONSUMER, ConsumerConfig(start=start), DIRECT)
    actions = consumer.start(0.0)
    for pattern in patterns:
        actions += consumer.subscribe_pattern(pattern, 0.0)
    return consumer, actions


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("sensor.*", b"sensor."),
        ("sensor.?", b"sensor."),
        ("s[ab]", b"s"),
        ("*", b""),
        ("plain", b"plain"),
    ],
)
def test_pattern_is_subscribed_by_what_all_that_matches_begins_with(
    pattern: str, prefix: bytes
) -> None:
    _, actions = _pattern(pattern)
    assert only(actions, Subscribe)[-3:] == [
        Subscribe(b"M" + prefix, False),
        Subscribe(b"R" + prefix, True),
        Subscribe(b"H" + prefix),
    ]
    assert sent(actions, GetHeads) == [GetHeads("", CONSUMER)]


def test_only_what_matches_is_delivered() -> None:
    consumer, _ = _pattern("sensor.*.temp", "log.?")
    for topic in ("sensor.1.temp", "sensor.2.3.temp", "log.a"):
        assert offsets(consumer.receive(live(0, 2, topic), 0.1)) == [0, 1]
    for topic in ("sensor.1.humidity", "log.ab", "log.", "Log.a"):
        assert consumer.receive(live(0, 2, topic), 0.1) == []
    assert consumer.stats.foreign == 4


def test_stores_are_asked_for_all_topics_again_and_again_and_those_that_match_begin() -> None:
    consumer, _ = _pattern("fl*")
    assert sent(_prove(consumer), ConsumerHello)[-1] == ConsumerHello(READER, CONSUMER, ("",))
    times = [now for now, action in _until(consumer, 200.0) if sent([action], GetHeads)]
    assert 5 < len(times) < 10
    assert asked(consumer.receive(_stored(50), 200.1)) == [(0, 50)]
    other = DirectHead(CONSUMER, PRODUCER, "trains", 9, 0, READER)
    assert consumer.receive(other, 200.2) == []


def test_topic_by_name_and_pattern_together_are_delivered_once() -> None:
    consumer, _ = _pattern("fl*")
    consumer.subscribe(TOPIC, 0.0)
    consumer.subscribe("trains", 0.0)
    assert offsets(consumer.receive(live(0, 2), 0.1)) == [0, 1]
    assert offsets(consumer.receive(live(0, 2), 0.2)) == []
    assert offsets(consumer.receive(live(0, 2, "trains"), 0.3)) == [0, 1]


# Pausing


def _paused(consumer: Consumer, *at: tuple[tuple[str, str], int]) -> Consumer:
    consumer.pause(None, None, dict(at))
    return consumer


def test_paused_partition_delivers_nothing_keeps_nothing_and_asks_for_nothing() -> None:
    consumer = _unnamed()
    assert offsets(consumer.receive(live(0, 5), 0.1)) == [0, 1, 2, 3, 4]
    consumer.pause(TOPIC, PRODUCER, {KEY: 3})
    actions: list[Action] = []
    for first in range(5, 1000, 5):
        actions += consumer.receive(live(first, first + 5), 0.2)
    actions += consumer.receive(live(2000, 2005), 0.3)
    actions += consumer.receive(_head(2005), 0.4)
    actions += consumer.receive(_stored(2005), 0.5)
    assert actions == []
    assert sent(_actions(_until(consumer, 100.0)), Fetch) == []
    (partition,) = (one for _, one in consumer._backlog.items())
    assert partition.intake.waiting_bytes == 0
    assert consumer._backlog._held == 0
    assert consumer.partitions() == {KEY: 3}
    assert consumer.behind() == 2002
    assert consumer.paused() == {KEY}


def test_what_was_held_back_is_let_go_for_a_pause() -> None:
    consumer = _unnamed()
    consumer.receive(live(5, 9), 0.1)
    assert consumer._backlog._held > 0
    consumer.pause(None, PRODUCER, {KEY: 0})
    assert consumer._backlog._held == 0


def test_resumed_partition_catches_up_from_where_it_stood() -> None:
    consumer = _unnamed()
    consumer.receive(live(0, 5), 0.1)
    consumer.receive(_head(5), 0.1)
    consumer.pause(TOPIC, PRODUCER, {KEY: 3})
    consumer.receive(live(5, 50), 0.2)
    assert asked(consumer.resume(TOPIC, PRODUCER, 1.0)) == [(3, 50)]
    assert offsets(consumer.receive(stored(3, 50), 1.1)) == list(range(3, 50))
    assert consumer.paused() == set()
    assert offsets(consumer.receive(live(50, 51), 1.2)) == [50]


def test_other_partitions_go_on_meanwhile() -> None:
    consumer = _unnamed()
    consumer.receive(live(0, 5), 0.1)
    consumer.pause(None, PRODUCER, {KEY: 5})
    assert offsets(consumer.receive(live(0, 3, partition=OTHER_PRODUCER), 0.2)) == [0, 1, 2]


def test_store_that_turns_up_is_not_asked_for_a_paused_partition() -> None:
    consumer = _paused(_unnamed())
    consumer.receive(_stored(50), 0.1)
    assert sent(_prove(consumer, 0.2), Fetch) == []
    assert asked(consumer.resume(None, None, 0.3)) == [(0, 50)]


@pytest.mark.parametrize(
    ("pauses", "resumes", "paused"),
    [
        ([(None, None)], [], {KEY, OTHER}),
        ([(TOPIC, None)], [], {KEY, OTHER}),
        ([("trains", None)], [], set()),
        ([(TOPIC, PRODUCER)], [], {KEY}),
        ([(None, None)], [(TOPIC, None)], set()),
        ([(None, None)], [(TOPIC, PRODUCER)], {OTHER}),
        ([(TOPIC, None)], [(None, None)], set()),
    ],
)
def test_pause_holds_for_what_is_found_later(pauses: Any, resumes: Any, paused: Any) -> None:
    consumer = _unnamed()
    for which in pauses:
        consumer.pause(*which, {})
    if not resumes:
        for key in (KEY, OTHER):
            consumer.receive(live(0, 2, partition=key[1]), 0.1)
        assert consumer.paused() == paused
        return
    for key in (KEY, OTHER):
        consumer.receive(live(0, 2, partition=key[1]), 0.1)
    actions: list[Action] = []
    for which in resumes:
        actions += consumer.resume(*which, 0.2)
    assert consumer.paused() == paused
    assert {fetch.topic for fetch in sent(actions, Fetch)} == {PRODUCER, OTHER_PRODUCER} - {
        partition for _, partition in paused
    }


def test_seeking_in_a_paused_partition_takes_effect_when_it_is_resumed() -> None:
    consumer = _unnamed()
    consumer.receive(live(0, 50), 0.1)
    consumer.receive(_head(50), 0.1)
    consumer.pause(None, PRODUCER, {KEY: 50})
    assert asked(consumer.seek(*KEY, 10, 0.2)) == []
    assert consumer.partitions() == {KEY: 10}
    assert asked(consumer.resume(None, None, 0.3)) == [(10, 50)]


def test_what_expires_during_a_pause_is_told_after_it() -> None:
    consumer = _unnamed()
    _prove(consumer)
    consumer.receive(live(0, 5), 0.1)
    consumer.pause(None, PRODUCER, {KEY: 5})
    consumer.receive(_stored(50, earliest=20), 0.2)
    assert only(_actions(_until(consumer, 30.0)), Expire) == []
    actions = consumer.resume(None, None, 30.1) + _actions(_until(consumer, 60.0))
    assert only(actions, Expire) == [Expire(*KEY, 5, 20)]


# Where a partition was at a time

WHEN = datetime.fromtimestamp(1_700_000_000, UTC)
WHEN_MS = 1_700_000_000_000
QUESTION = GetOffset(PRODUCER, CONSUMER, TOPIC, WHEN_MS)


def _answer(offset: int, store: str = READER, partition: str = PRODUCER) -> DirectOffset:
    return DirectOffset(CONSUMER, partition, TOPIC, offset, WHEN_MS, store)


def test_partition_that_begins_at_a_time_stands_still_until_a_store_has_told_where() -> None:
    consumer = _unnamed(WHEN)
    _prove(consumer)
    actions = consumer.receive(_stored(50), 0.1)
    assert sent(actions, GetOffset) == [QUESTION]
    assert only(actions, Begin) == []
    assert consumer.receive(live(50, 52), 0.2) == []
    assert consumer.partitions() == {}
    actions = consumer.receive(_answer(30), 0.3)
    assert only(actions, Begin) == [Begin(*KEY, 30)]
    assert asked(actions) == [(30, 52)]
    assert offsets(consumer.receive(stored(30, 52), 0.4)) == list(range(30, 52))


def test_largest_answer_counts_once_all_stores_have_answered() -> None:
    consumer = _unnamed(WHEN)
    _prove(consumer)
    _prove(consumer, 0.0, OTHER_READER, OTHER_ENDPOINT)
    consumer.receive(_stored(50), 0.1)
    assert consumer.receive(_answer(5, OTHER_READER), 0.2) == []
    assert only(consumer.receive(_answer(30), 0.3), Begin) == [Begin(*KEY, 30)]


def test_store_that_does_not_answer_is_not_waited_for_when_another_has() -> None:
    consumer = _unnamed(WHEN)
    _prove(consumer)
    _prove(consumer, 0.0, OTHER_READER, OTHER_ENDPOINT)
    consumer.receive(_stored(50), 0.1)
    consumer.receive(_answer(30), 0.2)
    begun = [now for now, action in _until(consumer, 60.0) if isinstance(action, Begin)]
    assert len(begun) == 1
    assert 0.2 + PATIENCE_S <= begun[0] <= 0.2 + PATIENCE_S + 0.3
    assert consumer.partitions() == {KEY: 30}


def test_question_is_repeated_and_where_no_store_can_tell_the_earliest_record_is_taken() -> None:
    consumer = _unnamed(WHEN)
    _prove(consumer)
    consumer.receive(_stored(50), 0.0)
    done = _until(consumer, 60.0)
    assert 2 <= len(sent(_actions(done), GetOffset)) <= 4
    assert only(_actions(done), Begin) == [Begin(*KEY, 0)]
    (warning,) = only(_actions(done), Warn)
    assert "no store tells when records arrived" in warning.text
    (at,) = [now for now, action in done if isinstance(action, Warn)]
    assert SILENCE_S <= at <= SILENCE_S + 0.5


def test_without_any_store_a_time_is_waited_for() -> None:
    consumer = _unnamed(WHEN)
    consumer.receive(_head(50), 0.1)
    done = _actions(_until(consumer, 300.0))
    assert 30 < len(sent(done, GetOffset)) < 50
    assert only(done, Begin) == []
    assert sent(_prove(consumer, 300.0), GetOffset) == [QUESTION]
    assert only(consumer.receive(_answer(30), 300.1), Begin) == [Begin(*KEY, 30)]


def test_answer_to_an_earlier_question_or_of_another_partition_changes_nothing() -> None:
    consumer = _unnamed(WHEN)
    _prove(consumer)
    consumer.receive(_stored(50), 0.1)
    early = DirectOffset(CONSUMER, PRODUCER, TOPIC, 3, WHEN_MS - 1, READER)
    for answer in (early, _answer(3, partition=OTHER_PRODUCER)):
        assert consumer.receive(answer, 0.2) == []
    consumer.receive(_answer(30), 0.3)
    assert consumer.receive(_answer(3), 0.4) == []
    assert consumer.partitions() == {KEY: 30}


def test_new_partition_begins_with_its_first_record_without_asking() -> None:
    consumer = _unnamed(WHEN)
    assert offsets(consumer.receive(live(0, 2), 0.1)) == []
    consumer = _unnamed(WHEN)
    consumer.receive(_head(2, age_ms=50), 0.1)
    assert consumer.partitions() == {KEY: 0}


def test_seek_to_a_time_moves_all_partitions_and_new_ones() -> None:
    consumer = _unnamed()
    _prove(consumer)
    consumer.receive(live(0, 50), 0.1)
    actions = consumer.seek_time(Instant(WHEN_MS), None, 0.2)
    assert sent(actions, GetOffset) == [QUESTION]
    assert consumer.partitions() == {}
    assert consumer.receive(live(50, 51), 0.3) == []
    actions = consumer.receive(_answer(48), 0.4)
    assert only(actions, Begin) == [Begin(*KEY, 48, found=False)]
    assert asked(actions) == [(48, 51)]
    later = consumer.receive(_stored(9, partition=OTHER_PRODUCER), 0.5)
    assert [question.topic for question in sent(later, GetOffset)] == [OTHER_PRODUCER]


def test_seek_to_a_time_of_one_partition_leaves_the_others_alone() -> None:
    consumer = _unnamed()
    _prove(consumer)
    consumer.receive(live(0, 50), 0.1)
    consumer.receive(live(0, 50, partition=OTHER_PRODUCER), 0.1)
    consumer.seek_time(Instant(WHEN_MS), KEY, 0.2)
    assert consumer.partitions() == {OTHER: 50}
    consumer.receive(_stored(9, partition="F" * 32), 0.5)
    assert consumer.partitions() == {OTHER: 50, (TOPIC, "F" * 32): 0}


def test_seek_elsewhere_makes_a_time_forgotten() -> None:
    consumer = _unnamed(WHEN)
    _prove(consumer)
    consumer.receive(_stored(50), 0.1)
    assert asked(consumer.seek(*KEY, 20, 0.2)) == [(20, 50)]
    assert consumer.receive(_answer(30), 0.3) == []
    assert sent(_actions(_until(consumer, 60.0)), GetOffset) == []


def test_paused_partition_goes_to_its_time_and_stands_there() -> None:
    consumer = _paused(_unnamed(WHEN))
    _prove(consumer)
    consumer.receive(_stored(50), 0.1)
    actions = consumer.receive(_answer(30), 0.2)
    assert only(actions, Begin) == [Begin(*KEY, 30)]
    assert asked(actions) == []
    assert consumer.partitions() == {KEY: 30}
    assert asked(consumer.resume(None, None, 0.3)) == [(30, 50)]


def test_nothing_is_delivered_twice_by_pausing_while_records_come() -> None:
    consumer = _unnamed()
    taken: list[int] = []
    for turn in range(20):
        first = turn * 5
        actions = consumer.receive(live(first, first + 5), turn)
        for action in only(actions, Deliver):
            taken += range(action.run.first, action.run.next)
        if turn % 3 == 1:
            consumer.pause(None, PRODUCER, {KEY: len(taken)})
        if turn % 3 == 2:
            consumer.resume(None, PRODUCER, turn)
            actions = consumer.receive(stored(len(taken), first + 5), turn)
            for action in only(actions, Deliver):
                taken += range(action.run.first, action.run.next)
    assert taken == list(range(len(taken)))
    assert len(taken) >= 90
