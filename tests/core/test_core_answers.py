"""Answers to FETCH: in turn, merged, parked, dropped, and never too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dafka.core.answers import MAX_RANGES, Answer, Answers

A, B, C = ("A", "t", "P"), ("B", "t", "P"), ("C", "t", "P")


def _answers(*keys: tuple[str, str, str]) -> Answers:
    answers = Answers()
    for key in keys:
        assert answers.add(*key, 0, 10)
    return answers


def _turns(answers: Answers, number: int, now: float = 0.0) -> list[str]:
    turns = [answers.turn(now) for _ in range(number)]
    return [answer.requester for answer in turns if answer is not None]


def test_requesters_are_served_in_turn() -> None:
    assert _turns(_answers(A, B, C), 7) == ["A", "B", "C", "A", "B", "C", "A"]


def test_nobody_is_served_while_nobody_asks() -> None:
    answers = Answers()
    assert answers.turn(0.0) is None
    assert answers.next_deadline() is None
    assert len(answers) == 0


def test_newcomer_does_not_wait_for_the_end_of_a_long_answer() -> None:
    answers = _answers(A)
    answers.turn(0.0)
    answers.add(*B, 0, 1)
    assert _turns(answers, 2) == ["A", "B"]


def test_requests_beyond_the_limit_are_dropped_and_those_under_way_go_on() -> None:
    answers = Answers(limit=2)
    assert answers.add(*A, 0, 1)
    assert answers.add(*B, 0, 1)
    assert not answers.add(*C, 0, 1)
    assert answers.add(*A, 1, 9)
    assert len(answers) == 2
    answers.drop(B)
    assert answers.add(*C, 0, 1)


def test_parked_answer_is_passed_over_until_its_time() -> None:
    answers = _answers(A, B)
    answers.park(A, 3, 5, until=1.0)
    assert _turns(answers, 2, now=0.9) == ["B", "B"]
    assert "A" in _turns(answers, 2, now=1.0)


def test_parked_answer_alone_makes_the_deadline() -> None:
    answers = Answers()
    answers.park(A, 3, 5, until=1.0)
    assert answers.turn(0.5) is None
    assert answers.next_deadline() == 1.0
    answer = answers.get(A)
    assert answer is not None
    assert answer.ranges == [(3, 5)]


def test_parked_records_are_sent_before_those_that_follow() -> None:
    answers = _answers(A)
    answer = answers.turn(0.0)
    assert answer is not None
    assert answer.take(4) == (0, 4)
    answers.park(A, 1, 4, until=1.0)
    assert answer.take(100) == (1, 10)


def test_answers_of_a_requester_that_has_gone_are_dropped() -> None:
    answers = _answers(A, B, ("A", "t2", "P"), ("A", "t", "P2"))
    answers.drop_requester("A")
    answers.drop(C)
    assert _turns(answers, 3) == ["B", "B", "B"]


def test_same_requester_has_one_answer_for_each_partition() -> None:
    answers = _answers(A, ("A", "t", "P2"))
    assert len(answers) == 2
    answers.add(*A, 10, 20)
    assert len(answers) == 2
    answer = answers.get(A)
    assert answer is not None
    assert answer.ranges == [(0, 20)]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=30), st.integers(1, 20))
def test_everything_asked_for_is_sent_once_and_in_order(
    asked: list[tuple[int, int]], most: int
) -> None:
    answer = Answer("A", "t", "P")
    wanted: set[int] = set()
    for first, length in asked:
        answer.add(first, first + length)
        wanted.update(range(first, first + length))
    sent: list[int] = []
    while answer.ranges:
        first, end = answer.take(most)
        assert 0 < end - first <= most
        sent += range(first, end)
    assert sent == sorted(wanted)


def test_an_answer_remembers_a_bounded_number_of_ranges() -> None:
    answer = Answer("A", "t", "P")
    for number in range(1000):
        answer.add(10 * number, 10 * number + 1)
    assert len(answer.ranges) == MAX_RANGES
    assert answer.ranges[0] == (0, 1)
