"""What threads have in hand, and how far records have been handled."""

from __future__ import annotations

from threading import Event, Thread

from dafka.core.run import Run
from dafka.threads.hands import Hands

KEY, OTHER = ("t", "A" * 32), ("t", "B" * 32)
ONE, TWO, THREE = Thread(), Thread(), Thread()
RUN = Run(*KEY, 100, [b""] * 10)


def given(at: int, *threads: Thread) -> Hands:
    """Threads that were given the records up to this place of a run, one each from the first on."""
    hands = Hands()
    for place, thread in enumerate(threads):
        hands.hold(thread, RUN, place)
    hands.gave(KEY, RUN.first + at)
    return hands


def test_what_is_in_hand_and_all_behind_it_is_not_handled() -> None:
    hands = given(3, ONE, TWO, THREE)
    assert hands.handled() == {KEY: 100}
    hands.back(TWO)
    assert hands.handled() == {}  # nothing new
    hands.back(ONE)
    assert hands.handled() == {KEY: 102}
    assert hands.any
    hands.back(THREE)
    assert hands.handled() == {KEY: 103}
    assert hands.handled() == {}
    assert not hands.any


def test_a_thread_that_has_another_partition_in_hand_holds_up_nothing() -> None:
    hands = given(3)
    hands.hold(ONE, Run(*OTHER, 5, [b""]), 0)
    assert hands.handled() == {KEY: 103}


def test_a_record_that_is_committed_is_in_hand_no_more() -> None:
    hands = given(2, ONE, TWO)
    hands.commit(ONE, OTHER, 1000)
    hands.commit(ONE, KEY, 100)
    assert hands.handled() == {KEY: 100}
    hands.commit(ONE, KEY, 101)
    assert hands.handled() == {KEY: 101}


def test_a_position_that_was_committed_is_told_anew_when_it_is_handled_again() -> None:
    hands = given(3)
    assert hands.handled() == {KEY: 103}
    hands.commit(ONE, KEY, 50)
    hands.gave(KEY, 103)
    assert hands.handled() == {KEY: 103}


def test_what_is_forgotten_says_nothing_any_more() -> None:
    for keys in (None, {KEY}):
        hands = given(3, ONE)
        hands.forget({OTHER})
        assert hands.any
        hands.forget(keys)
        assert not hands.any
        assert hands.handled() == {}
        hands.back(ONE)
        assert hands.handled() == {}


def test_all_that_was_given_can_be_called_handled() -> None:
    hands = given(3, ONE, TWO, THREE)
    hands.all_back()
    assert hands.handled() == {KEY: 103}


def test_what_a_thread_had_in_hand_when_it_ended_stays_unhandled_until_it_is_committed() -> None:
    going = Event()
    alive = Thread(target=going.wait)
    alive.start()
    hands = given(3, alive, ONE, TWO)  # of which two do not live
    assert hands.lose() == [(KEY, 101)]
    assert hands.lose() == []
    going.set()
    alive.join()
    hands.back(alive)
    hands.back(ONE)
    assert hands.handled() == {KEY: 101}
    hands.commit(alive, KEY, 101)
    hands.gave(KEY, 103)
    assert hands.handled() == {KEY: 101}
    hands.commit(alive, KEY, 103)
    assert hands.handled() == {KEY: 103}
