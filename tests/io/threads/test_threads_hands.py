"""What threads have in hand, and how far records have been handled."""

from __future__ import annotations

from dafka.core.run import Run
from dafka.threads.hands import Hands

KEY, OTHER = ("t", "A" * 32), ("t", "B" * 32)
RUN = Run(*KEY, 100, [b""] * 10)


def given(at: int, *threads: int) -> Hands:
    """Threads that were given the records up to this place of a run, one each from the first on."""
    hands = Hands()
    for place, thread in enumerate(threads):
        hands.hold(thread, RUN, place)
    hands.gave(KEY, RUN.first + at)
    return hands


def test_what_is_in_hand_and_all_behind_it_is_not_handled() -> None:
    hands = given(3, 1, 2, 3)
    assert hands.handled() == {KEY: 100}
    hands.back(2)
    assert hands.handled() == {}  # nothing new
    hands.back(1)
    assert hands.handled() == {KEY: 102}
    assert hands.any
    hands.back(3)
    assert hands.handled() == {KEY: 103}
    assert hands.handled() == {}
    assert not hands.any


def test_a_thread_that_has_another_partition_in_hand_holds_up_nothing() -> None:
    hands = given(3)
    hands.hold(1, Run(*OTHER, 5, [b""]), 0)
    assert hands.handled() == {KEY: 103}


def test_a_record_that_is_committed_is_in_hand_no_more() -> None:
    hands = given(2, 1, 2)
    hands.commit(1, OTHER, 1000)
    hands.commit(1, KEY, 100)
    assert hands.handled() == {KEY: 100}
    hands.commit(1, KEY, 101)
    assert hands.handled() == {KEY: 101}


def test_a_position_that_was_committed_is_told_anew_when_it_is_handled_again() -> None:
    hands = given(3)
    assert hands.handled() == {KEY: 103}
    hands.commit(1, KEY, 50)
    hands.gave(KEY, 103)
    assert hands.handled() == {KEY: 103}


def test_what_is_forgotten_says_nothing_any_more() -> None:
    for keys in (None, {KEY}):
        hands = given(3, 1)
        hands.forget({OTHER})
        assert hands.any
        hands.forget(keys)
        assert not hands.any
        assert hands.handled() == {}
        hands.back(1)
        assert hands.handled() == {}


def test_all_that_was_given_can_be_called_handled() -> None:
    hands = given(3, 1, 2, 3)
    hands.all_back()
    assert hands.handled() == {KEY: 103}
