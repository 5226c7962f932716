"""How damaged records are got from other stores."""

from __future__ import annotations

from support.machines import DIRECT, OTHER_PRODUCER, PRODUCER, READER, TOPIC, asked, run, sent

from dafka.core.actions import Action, Repair
from dafka.core.repairs import Repairs
from dafka.core.sources import Sources
from protocol import Fetch

KEY = (TOPIC, PRODUCER)


def _repairs(*stores: str) -> Repairs:
    sources = Sources()
    sources.ready.extend(stores)
    return Repairs(sources, DIRECT, 8.0)


def _asked(actions: list[Action]) -> list[tuple[int, int]]:
    return asked(actions)


def test_nobody_is_asked_while_no_other_store_is_there() -> None:
    repairs = _repairs()
    repairs.add(KEY, 3, 6)
    assert repairs.ask(1.0) == []
    assert repairs.next_deadline() is None


def test_stores_are_asked_one_after_the_other_with_growing_pauses() -> None:
    repairs = _repairs(READER, DIRECT)
    repairs.add(KEY, 3, 6)
    times = []
    now = 0.0
    for _ in range(5):
        now = max(now, repairs.next_deadline() or 0.0)
        (fetch,) = sent(repairs.ask(now), Fetch)
        assert (fetch.topic, fetch.address, fetch.subject) == (PRODUCER, DIRECT, TOPIC)
        assert (fetch.sequence, fetch.count) == (3, 3)
        times.append((now, fetch.store))
        assert repairs.ask(now) == []
    assert times == [(0.0, READER), (1.0, DIRECT), (3.0, READER), (7.0, DIRECT), (15.0, READER)]


def test_a_repair_has_exactly_the_damaged_records_whatever_comes() -> None:
    repairs = _repairs(READER)
    repairs.add(KEY, 3, 6)
    assert repairs.offer(KEY, run(6, 9)) is None
    assert repairs.offer(KEY, run(0, 3)) is None
    assert repairs.offer((TOPIC, OTHER_PRODUCER), run(3, 6, partition=OTHER_PRODUCER)) is None
    assert repairs.offer(KEY, run(0, 9)) == Repair(run(3, 6))
    assert repairs.offer(KEY, run(0, 9)) is None
    assert repairs.ask(99.0) == []


def test_a_repair_is_put_together_from_pieces_in_any_order() -> None:
    repairs = _repairs(READER)
    repairs.add(KEY, 3, 9)
    assert repairs.offer(KEY, run(7, 20)) is None
    assert repairs.offer(KEY, run(0, 4)) is None
    assert _asked(repairs.ask(1.0)) == [(4, 9)]
    assert repairs.offer(KEY, run(4, 6)) is None
    assert repairs.offer(KEY, run(5, 8)) == Repair(run(3, 9))


def test_what_is_done_is_not_asked_for_and_can_be_damaged_again() -> None:
    repairs = _repairs(READER)
    repairs.add(KEY, 3, 6)
    repairs.add(KEY, 3, 6)
    repairs.add(KEY, 8, 9)
    assert len(repairs) == 2
    repairs.done(KEY, 0, 7)
    assert _asked(repairs.ask(1.0)) == [(8, 9)]
    repairs.done(KEY, 8, 9)
    assert len(repairs) == 0
    repairs.add(KEY, 3, 6)
    assert _asked(repairs.ask(2.0)) == [(3, 6)]


def test_few_ranges_are_asked_for_at_once() -> None:
    repairs = _repairs(READER)
    for first in range(0, 100, 2):
        repairs.add(KEY, first, first + 1)
    assert _asked(repairs.ask(1.0)) == [(0, 1), (2, 3), (4, 5), (6, 7)]
    repairs.done(KEY, 0, 3)
    assert _asked(repairs.ask(1.0)) == [(8, 9), (10, 11)]


def test_what_nobody_has_does_not_hold_up_the_rest() -> None:
    repairs = _repairs(READER)
    ranges = [(10 * number, 10 * number + 5) for number in range(20)]
    for first, end in ranges:
        repairs.add(KEY, first, end)
    wanted: set[tuple[int, int]] = set()
    for now in range(0, 1_000, 10):
        at_once = _asked(repairs.ask(float(now)))
        assert len(at_once) <= 4
        wanted.update(at_once)
    assert wanted == set(ranges)


def test_a_range_that_is_arriving_keeps_its_turn() -> None:
    repairs = _repairs(READER)
    repairs.add(KEY, 0, 1_000)
    for number in range(1, 9):
        repairs.add(KEY, 1_000 * number, 1_000 * number + 5)
    for first in range(0, 900, 10):
        assert (first, 1_000) in _asked(repairs.ask(10.0 * first))
        repairs.offer(KEY, run(first, first + 10))
