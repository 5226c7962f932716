"""What is known of a partition on its way in: what is gone, what is lost, whom to believe."""

from __future__ import annotations

import pytest
from support.machines import CONSUMER, PRODUCER, TOPIC, address, run

from dafka.core.fetcher import FetchPolicy
from dafka.core.partition import Partition
from protocol import DirectHead, Head

POLICY = FetchPolicy(records=1_000, window_bytes=1_000_000, timeout=0.5, timeout_max=4.0)


def _partition(at: int = 20, attempts: int = 0) -> Partition:
    """One that goes on at an offset which was asked for so often in vain."""
    partition = Partition(at, POLICY)
    partition.learn(_told(99))
    _ask(partition, attempts)
    return partition


def _told(sequence: int, store: str | None = None, earliest: int | None = None) -> DirectHead:
    return DirectHead(CONSUMER, PRODUCER, TOPIC, sequence, earliest, store)


def _ask(partition: Partition, attempts: int) -> None:
    partition.fetcher.request(partition.intake, 0.0)
    for _ in range(attempts):
        overdue = partition.fetcher.next_deadline()
        assert overdue is not None
        assert partition.fetcher.request(partition.intake, overdue)
    assert partition.fetcher.attempts == attempts


@pytest.mark.parametrize(
    ("floors", "stores", "attempts"),
    [
        ((50,), 1, 1),
        ((50, 30), 2, 1),
        ((30, 50, 60), 2, 1),
        # A C store cannot say what it keeps.
        ((30,), 2, 3),
        ((50, 30), 4, 3),
        # Somebody keeps the very record, or an older one.
        ((30, 20), 2, 6),
        ((30, 0), 2, 6),
        ((30, 20), 1, 6),
        ((30, 20), 5, 6),
    ],
)
def test_what_no_store_keeps_is_gone_once_it_was_asked_for_often_enough(
    floors: tuple[int, ...], stores: int, attempts: int
) -> None:
    for asked in range(attempts + 1):
        partition = _partition(20, asked)
        for number, floor in enumerate(floors):
            partition.learn(_told(99, address(number), floor))
        gone = min(floor for floor in floors if floor > 20)
        assert partition.floor(stores) == (gone if asked == attempts else None)


@pytest.mark.parametrize(("acked", "attempts"), [(19, 3), (20, 3), (21, 1)])
def test_what_its_producer_keeps_is_waited_for(acked: int, attempts: int) -> None:
    for asked in range(1, attempts + 1):
        partition = _partition(20)
        partition.learn(Head(TOPIC, PRODUCER, TOPIC, 99, acked, 0))
        _ask(partition, asked)
        partition.learn(_told(99, address(1), 30))
        assert partition.floor(1) == (30 if asked == attempts else None)


@pytest.mark.parametrize("floors", [(), (20,), (0, 20)])
def test_what_every_store_keeps_is_never_gone(floors: tuple[int, ...]) -> None:
    partition = _partition(20, 12)
    for number, floor in enumerate(floors):
        partition.learn(_told(99, address(number), floor))
    assert partition.floor(len(floors)) is None


def test_what_there_never_was_is_not_asked_for() -> None:
    partition = Partition(3, POLICY)
    partition.learn(Head(TOPIC, PRODUCER, TOPIC, 99, 7, 0, 5))
    assert partition.floor(0) == 5
    assert Partition(5, POLICY).floor(0) is None


def test_only_so_many_stores_are_remembered_and_those_are_heard_again() -> None:
    partition = _partition(20, 1)
    for number in range(1_001):
        partition.learn(_told(99, address(number), 30))
    assert len(partition.floors) == 1_000
    partition.learn(_told(99, address(0), 40))
    assert partition.floors[address(0)] == 40


def test_whoever_says_that_a_record_exists_ends_a_long_pause() -> None:
    partition = _partition(0, 8)
    late = partition.fetcher.next_deadline()
    assert late is not None
    partition.learn(_told(99))
    hurried = partition.fetcher.next_deadline()
    assert hurried is not None
    assert hurried < late - POLICY.timeout_max


def test_who_says_that_there_is_nothing_more_does_not_end_it() -> None:
    partition = Partition(100, POLICY)
    partition.intake.announce(200)
    _ask(partition, 8)
    late = partition.fetcher.next_deadline()
    partition.learn(_told(99))
    assert partition.fetcher.next_deadline() == late


def test_a_partition_is_lost_only_after_it_was_asked_for_several_times() -> None:
    assert [_partition(0, asked).lost for asked in range(7)] == [False] * 5 + [True] * 2
    assert not _partition(1, 6).lost
    held = _partition(0, 6)
    held.intake.offer(run(3, 4), 1_000)
    assert not held.lost


def test_who_begins_again_keeps_what_is_known_but_not_what_was_sought() -> None:
    old = _partition(0, 1)
    old.learn(Head(TOPIC, PRODUCER, TOPIC, 120, 7, 0, 5))
    old.learn(_told(99, address(1), 30))
    old.fresh, old.sought = False, True
    new = Partition(10, POLICY)
    new.inherit(old)
    assert (new.exact, new.fresh, new.stored, new.acked, new.begins) == (True, False, 100, 7, 5)
    assert (new.floors, new.intake.end, new.sought) == ({address(1): 30}, 121, False)
