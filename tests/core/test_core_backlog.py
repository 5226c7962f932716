"""Partitions on their way in: which lack something, whom to ask, and how much is held back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.machines import (
    CONSUMER,
    DIRECT,
    ENDPOINT,
    OTHER_ENDPOINT,
    OTHER_PRODUCER,
    OTHER_READER,
    PRODUCER,
    READER,
    only,
    run,
    sent,
)

from dafka.core.actions import Warn
from dafka.core.backlog import Backlog, Wanted
from dafka.core.fetcher import Fetcher, FetchPolicy
from dafka.core.partition import Key, Partition
from dafka.core.sources import REFERENCE_EXACT
from dafka.core.turns import MAX_ASKING
from protocol import Fetch

POLICY = FetchPolicy(records=1_000, window_bytes=1_000_000, timeout=0.5, timeout_max=4.0)
KEY: Key = ("flights", PRODUCER)
OTHER_KEY: Key = ("flights", OTHER_PRODUCER)


def _backlog(buffer_bytes: int = 1_000_000, max_partitions: int = 1_000) -> Backlog:
    return Backlog(POLICY, buffer_bytes, max_partitions, from_stores=True)


def _behind(backlog: Backlog, first: int, end: int, *, exact: bool) -> Partition:
    partition = backlog.open(KEY, first)
    partition.exact = exact
    partition.intake.announce(end)
    backlog.note(KEY, partition)
    return partition


def _with_store(*, from_stores: bool) -> Backlog:
    backlog = Backlog(POLICY, 1_000_000, 1_000, from_stores=from_stores)
    backlog.sources.peer_found(READER, ENDPOINT, 0.0)
    backlog.sources.store_found(READER, 0.0)
    backlog.sources.store_proven(READER)
    return backlog


def _wanted(backlog: Backlog) -> list[Wanted]:
    """What is wanted while nobody answers."""
    return [w for now in (0.0, 0.5, 1.5, 3.5, 7.5, 15.5) for w in backlog.wanted(now)]


def test_partition_is_behind_while_it_lacks_something() -> None:
    backlog = _backlog()
    partition = backlog.open(KEY, 0)
    backlog.note(KEY, partition)
    assert backlog.behind == {}
    partition.intake.announce(5)
    backlog.note(KEY, partition)
    assert backlog.behind == {KEY: partition}
    assert [part.next for part in backlog.offer(KEY, partition, run(0, 5))] == [5]
    assert backlog.behind == {}
    assert backlog.get(KEY) is partition
    assert backlog.items() == [(KEY, partition)]
    assert backlog.get(("flights", "unknown")) is None


def test_nothing_is_wanted_of_a_partition_that_lacks_nothing() -> None:
    backlog = _backlog()
    backlog.open(KEY, 0)
    assert list(backlog.wanted(0.0)) == []
    assert list(backlog.wanted(0.0, KEY)) == []
    assert backlog.next_deadline() is None


def test_records_are_wanted_once_until_they_are_overdue() -> None:
    backlog = _backlog()
    partition = backlog.open(KEY, 3)
    partition.exact = True
    partition.intake.announce(9)
    backlog.note(KEY, partition)
    (wanted,) = backlog.wanted(0.0)
    assert (wanted.key, wanted.first, wanted.end) == (KEY, 3, 9)
    assert (wanted.attempts, wanted.store, wanted.hopeless) == (0, None, False)
    assert list(backlog.wanted(0.1, KEY)) == []
    assert backlog.next_deadline() == 0.5
    backlog.extend(7.0)
    assert backlog.next_deadline() == 7.5
    assert [w.attempts for w in backlog.wanted(7.5)] == [1]
    backlog.retry()
    assert [w.attempts for w in backlog.wanted(7.6)] == [0]


def test_c_producer_alone_is_asked_only_within_the_bounds_where_it_is_right() -> None:
    backlog = _backlog()
    partition = backlog.open(KEY, 0)
    partition.intake.announce(5_000)
    backlog.note(KEY, partition)
    times = (0.0, 0.5, 1.5)
    wanted = [w for now in times for w in backlog.wanted(now)]
    assert [w.end for w in wanted] == [REFERENCE_EXACT] * 3
    assert not any(w.hopeless for w in wanted)


def test_what_a_c_producer_alone_cannot_be_believed_about_is_hopeless() -> None:
    backlog = _backlog()
    partition = backlog.open(KEY, 300)
    partition.intake.announce(5_000)
    backlog.note(KEY, partition)
    wanted = [w for now in (0.0, 0.5, 1.5, 3.5, 7.5) for w in backlog.wanted(now)]
    assert [w.hopeless for w in wanted] == [False, False, False, True, True]
    assert {w.missing for w in wanted} == {300}


def test_what_is_hopeless_is_told_without_a_guess_why_the_producer_is_silent() -> None:
    backlog = _backlog()
    partition = backlog.open(KEY, 300)
    partition.intake.announce(5_000)
    backlog.note(KEY, partition)
    actions = [one for now in (0.0, 0.5, 1.5, 3.5) for one in backlog.ask(now, "me", "direct")]
    (warning,) = [action for action in actions if isinstance(action, Warn)]
    assert ": offset 300 was missed, and its producer is gone, or is a C one, " in warning.text


def test_store_is_asked_for_whole_windows() -> None:
    backlog = _with_store(from_stores=True)
    partition = _behind(backlog, 0, 5_000, exact=False)
    (wanted,) = backlog.wanted(0.0)
    assert (wanted.first, wanted.end, wanted.store, wanted.direct) == (0, 1_000, READER, True)
    assert partition.fresh is None


@pytest.mark.parametrize("from_stores", [False, True])
def test_stores_are_asked_twice_and_then_an_exact_producer_as_well(from_stores: bool) -> None:
    backlog = _with_store(from_stores=from_stores)
    _behind(backlog, 300, 400, exact=True).stored = 301
    wanted = _wanted(backlog)
    assert [w.direct for w in wanted] == [True, True, False, False, False, False]
    assert [w.store for w in wanted] == [READER, READER, None, None, None, None]
    assert {(w.first, w.end, w.hopeless) for w in wanted} == {(300, 400, False)}


def test_everybody_is_asked_for_what_no_store_is_known_to_have() -> None:
    backlog = _with_store(from_stores=False)
    partition = _behind(backlog, 300, 400, exact=True)
    assert {(w.direct, w.store) for w in _wanted(backlog)} == {(False, None)}
    partition.stored = 301
    backlog.retry()
    (wanted,) = backlog.wanted(20.0)
    assert (wanted.direct, wanted.store) == (True, READER)


def test_a_store_that_turns_up_is_not_asked_for_what_another_was_asked_for_just_now() -> None:
    backlog = _with_store(from_stores=True)
    _behind(backlog, 0, 400, exact=False)
    assert [w.store for w in backlog.wanted(0.0)] == [READER]
    backlog.sources.ready.append(OTHER_READER)
    backlog.retry()
    assert list(backlog.wanted(0.1)) == []
    backlog.sources.ready.remove(READER)
    backlog.retry()  # whoever was asked has gone
    assert [w.store for w in backlog.wanted(0.2)] == [OTHER_READER]
    assert len(list(backlog.wanted(0.7))) == 1
    backlog.retry()  # the request before has brought nothing
    assert len(list(backlog.wanted(0.8))) == 1


@pytest.mark.parametrize("from_stores", [False, True])
def test_c_producer_is_asked_for_its_first_records_every_other_time(from_stores: bool) -> None:
    """Perhaps no store has them; whether it answers rightly, only a request for 0 tells."""
    backlog = _with_store(from_stores=from_stores)
    partition = _behind(backlog, 3, 400, exact=False)
    wanted = _wanted(backlog)
    assert [w.direct for w in wanted] == [True, True, False, True, False, True]
    assert [(w.first, w.end) for w in wanted if w.direct] == [(3, 400)] * 4
    assert [(w.first, w.end) for w in wanted if not w.direct] == [(0, REFERENCE_EXACT)] * 2
    assert partition.fresh is True


@pytest.mark.parametrize(("first", "fresh"), [(256, None), (3, False)])
def test_c_producer_that_cannot_be_believed_is_not_asked_beside_a_store(
    first: int, fresh: bool | None
) -> None:
    backlog = _with_store(from_stores=True)
    _behind(backlog, first, 400, exact=False).fresh = fresh
    assert {w.direct for w in _wanted(backlog)} == {True}


def test_c_producer_once_asked_beyond_its_first_records_is_never_fresh_again() -> None:
    backlog = _backlog()
    partition = _behind(backlog, 300, 400, exact=False)
    (wanted,) = backlog.wanted(0.0)
    assert (wanted.first, wanted.end, partition.fresh) == (300, 400, False)
    again = _behind(backlog, 0, 400, exact=False)
    again.fresh = partition.fresh
    (wanted,) = backlog.wanted(0.0)
    assert (wanted.first, again.fresh) == (0, False)


class _Counted(Fetcher):
    """Counts how often a partition is looked at."""

    __slots__ = ()
    calls = 0

    def next_deadline(self) -> float | None:
        _Counted.calls += 1
        return super().next_deadline()


def test_only_so_many_partitions_are_asked_for_at_once() -> None:
    backlog = _backlog()
    keys = [("flights", f"{number:032X}") for number in range(MAX_ASKING + 2)]
    for key in keys:
        backlog.open(key, 0).intake.announce(1)
        backlog.note(key, backlog._all[key])
    assert [w.key for w in backlog.wanted(0.0)] == keys[:MAX_ASKING]
    assert list(backlog.wanted(0.1, keys[-1])) == []
    assert list(backlog.wanted(0.1)) == []
    for key in keys[:2]:
        backlog.offer(key, backlog._all[key], run(0, 1, partition=key[1]))
    assert [w.key for w in backlog.wanted(0.2)] == keys[MAX_ASKING:]


def test_partitions_that_stay_silent_make_room_for_others() -> None:
    backlog = _backlog()
    keys = [("flights", f"{number:032X}") for number in range(MAX_ASKING + 2)]
    for key in keys:
        backlog.open(key, 0).intake.announce(1)
        backlog.note(key, backlog._all[key])
    assert len(list(backlog.wanted(0.0))) == MAX_ASKING
    assert [w.key for w in backlog.wanted(0.5)] == keys


def test_asking_costs_the_same_however_many_partitions_wait() -> None:
    backlog = _backlog()
    keys = [("flights", f"{number:032X}") for number in range(20_000)]
    for key in keys:
        backlog.open(key, 0).intake.announce(1)
        backlog.note(key, backlog._all[key])
    looked = 0
    for partition in backlog._all.values():
        partition.fetcher.__class__ = _Counted
    for key in keys[:MAX_ASKING]:
        list(backlog.wanted(0.0, key))
    _Counted.calls = 0
    for key in keys[: 1000 - MAX_ASKING]:
        backlog.offer(key, backlog._all[key], run(0, 1, partition=key[1]))
        looked += len(list(backlog.wanted(0.1)))
        backlog.next_deadline()
    assert looked == 1000 - MAX_ASKING
    assert _Counted.calls < 1000 * 8 * MAX_ASKING


def test_partitions_that_nobody_has_do_not_keep_others_from_being_asked_for() -> None:
    backlog = _backlog()
    keys = [("flights", f"{number:032X}") for number in range(MAX_ASKING + 1)]
    for key in keys:
        backlog.open(key, 0).intake.announce(1)
        backlog.note(key, backlog._all[key])
    asked: set[Key] = set()
    now = 0.0
    while now < 600.0:
        asked.update(w.key for w in backlog.wanted(now))
        now = backlog.next_deadline() or 600.0
    assert asked == set(keys)


def test_store_that_has_nothing_is_not_the_first_to_be_asked_for_every_window() -> None:
    """For example one that has just joined. Half a second for each window makes long catch-ups."""
    backlog = _with_store(from_stores=True)
    backlog.sources.peer_found(OTHER_READER, OTHER_ENDPOINT, 0.0)
    backlog.sources.store_found(OTHER_READER, 0.0)
    backlog.sources.store_proven(OTHER_READER)
    empty = backlog.sources.pick(PRODUCER, 0, 0)
    partition = _behind(backlog, 0, 10_000, exact=False)
    now, in_vain = 0.0, 0
    while partition.intake.next < 10_000:
        for wanted in backlog.wanted(now):
            if wanted.store == empty:
                in_vain += 1
            else:
                partition.fetcher.arrived(wanted.end - wanted.first, 10_000, now, first=True)
                backlog.offer(KEY, partition, run(wanted.first, wanted.end))
        now = backlog.next_deadline() or now + 0.01
    assert in_vain <= 2


def test_stores_that_have_dropped_records_are_not_asked_for_them_alone() -> None:
    backlog = _with_store(from_stores=False)
    partition = _behind(backlog, 0, 90, exact=True)
    partition.stored = 90
    partition.floors["store"] = 40
    assert [(wanted.direct, wanted.store) for wanted in backlog.wanted(0.0)] == [(False, None)]
    backlog.skip(KEY, partition, 40)
    assert [(wanted.direct, wanted.store) for wanted in backlog.wanted(0.1)] == [(True, READER)]


def test_what_is_skipped_to_and_handed_on_no_longer_takes_room() -> None:
    backlog = _backlog(buffer_bytes=run(15, 19).cost)
    partition = _behind(backlog, 0, 20, exact=True)
    assert backlog.offer(KEY, partition, run(5, 9)) == []
    assert backlog.skip(KEY, partition, 5) == [run(5, 9)]
    backlog.offer(KEY, partition, run(15, 19))
    assert backlog.offer(KEY, partition, run(9, 15)) == [run(9, 15), run(15, 19)]


def test_partition_that_is_gone_is_told_once_however_often_it_was_asked_for() -> None:
    backlog = _with_store(from_stores=True)
    partition = _behind(backlog, 0, 9, exact=True)
    for now in (0.0, 0.5, 1.5, 3.5):
        assert list(backlog.wanted(now, KEY))
    partition.floors["store"] = 4
    assert backlog.gone() == [(KEY, partition, 4)]
    assert backlog.gone() == []


def test_requests_name_the_address_under_which_their_answers_are_heard() -> None:
    backlog = _with_store(from_stores=True)
    _behind(backlog, 3, 9, exact=False)
    times = (0.0, 0.5, 1.5, 3.5)
    actions = [action for now in times for action in backlog.ask(now, CONSUMER, DIRECT)]
    assert sent(actions, Fetch) == [
        Fetch(PRODUCER, DIRECT, "flights", 3, 6, READER, runs=1),
        Fetch(PRODUCER, DIRECT, "flights", 3, 6, READER, runs=1),
        Fetch(PRODUCER, CONSUMER, "flights", 0, 9, runs=1),
        Fetch(PRODUCER, DIRECT, "flights", 3, 6, runs=1),
    ]
    (warning,) = only(actions, Warn)
    assert f"topic flights partition {PRODUCER}: offset 3 " in warning.text
    assert backlog.fetches == 4


def test_partition_that_is_opened_again_lets_go_of_what_it_held() -> None:
    backlog = _backlog(buffer_bytes=run(1, 5).cost)
    partition = backlog.open(KEY, 0)
    assert backlog.offer(KEY, partition, run(1, 5)) == []
    other = backlog.open(OTHER_KEY, 0)
    assert backlog.offer(OTHER_KEY, other, run(1, 2, partition=OTHER_PRODUCER)) == []
    assert other.intake.waiting_bytes == 0
    again = backlog.open(KEY, 0)
    assert backlog.behind.keys() == {OTHER_KEY}
    assert backlog.offer(KEY, again, run(1, 5)) == []
    assert again.intake.waiting_bytes == run(1, 5).cost


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(1, 9)), max_size=60),
    st.integers(0, 3_000),
)
def test_held_back_records_share_one_buffer(
    offers: list[tuple[int, int, int]], buffer_bytes: int
) -> None:
    backlog = _backlog(buffer_bytes)
    for number, first, length in offers:
        key = ("flights", str(number))
        if length == 9:
            backlog.open(key, first)
        partition = backlog.get(key) or backlog.open(key, 0)
        for part in backlog.offer(key, partition, run(first, first + length, partition=key[1])):
            assert part.next <= partition.intake.next
        held = [p.intake.waiting_bytes for _, p in backlog.items()]
        assert sum(held) == backlog._held
        assert sum(held) <= buffer_bytes
        lacking = {k for k, p in backlog.items() if p.intake.next < p.intake.end}
        assert backlog.behind.keys() == lacking


# Too many partitions


def _announce(backlog: Backlog, key: Key, first: int, end: int) -> Partition:
    partition = backlog.open(key, first)
    partition.intake.announce(end)
    backlog.note(key, partition)
    return partition


def test_there_is_room_for_so_many_partitions() -> None:
    backlog = _backlog(max_partitions=2)
    backlog.open(KEY, 0)
    assert not backlog.crowded
    backlog.open(OTHER_KEY, 0)
    assert backlog.crowded


def test_what_was_announced_and_never_came_makes_room() -> None:
    backlog = _backlog(max_partitions=1)
    _announce(backlog, KEY, 0, 5)
    assert _wanted(backlog)
    assert not backlog.crowded
    assert backlog.get(KEY) is None
    assert backlog.behind == {}
    assert backlog.next_deadline() is None


@pytest.mark.parametrize("taken", ["a record", "one behind a gap", "a beginning", "a seek"])
def test_a_partition_whose_place_is_known_is_never_forgotten(taken: str) -> None:
    backlog = _backlog(max_partitions=1)
    partition = _announce(backlog, KEY, 4 if taken == "a beginning" else 0, 9)
    partition.sought = taken == "a seek"
    if taken == "a record":
        backlog.offer(KEY, partition, run(0, 1))
    elif taken == "one behind a gap":
        backlog.offer(KEY, partition, run(3, 4))
    assert _wanted(backlog)
    assert backlog.crowded
    assert backlog.get(KEY) is partition


def test_a_partition_that_came_after_all_is_not_forgotten() -> None:
    backlog = _backlog(max_partitions=1)
    partition = _announce(backlog, KEY, 0, 5)
    assert _wanted(backlog)
    partition.fetcher.arrived(2, 20, 16.0, first=True)
    backlog.offer(KEY, partition, run(0, 2))
    assert backlog.crowded
    assert backlog.get(KEY) is partition


def test_millions_of_announcements_of_what_nobody_has_take_no_more_room() -> None:
    backlog, now = _backlog(max_partitions=100), 0.0
    for number in range(5_000):
        if not backlog.crowded:
            _announce(backlog, ("flights", f"{number:032X}"), 0, 9)
        for _ in backlog.wanted(now):
            pass
        now += 1.0
    assert len(backlog.items()) == 100
    assert max(int(name, 16) for (_, name), _ in backlog.items()) > 1_000
