"""When records are asked for, how many, and when again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from support.machines import run

from dafka.core.fetcher import LOST_PAUSE_S, Fetcher, FetchPolicy
from dafka.core.intake import Intake

PLENTY = 1_000_000
POLICY = FetchPolicy(records=100, window_bytes=PLENTY, timeout=0.5, timeout_max=4.0)


def _behind(end: int, first: int = 0) -> Intake:
    intake = Intake(first)
    intake.announce(end)
    return intake


def _take(intake: Intake, fetcher: Fetcher, first: int, end: int, now: float) -> None:
    records = run(first, end)
    first = records.first <= intake.next < records.next
    fetcher.arrived(len(records), records.size, now, first=first)
    intake.offer(records, PLENTY)


def _asked_in_silence(fetcher: Fetcher, intake: Intake, until: float) -> list[float]:
    """When requests are made while nothing comes."""
    times: list[float] = []
    now = 0.0
    while now <= until:
        if fetcher.request(intake, now) is not None:
            times.append(now)
        deadline = fetcher.next_deadline()
        assert deadline is not None
        assert deadline > now
        now = deadline
    return times


def test_nothing_is_asked_for_while_nothing_is_missing() -> None:
    fetcher = Fetcher(POLICY)
    assert fetcher.request(_behind(0), 0.0) is None
    assert fetcher.next_deadline() is None


def test_missing_records_are_asked_for_at_once_and_once() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(7)
    assert fetcher.request(intake, 1.0) == (0, 7)
    assert fetcher.request(intake, 1.4) is None
    assert fetcher.next_deadline() == 1.5


def test_gap_is_asked_for_up_to_what_has_come() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(50)
    intake.offer(run(0, 3), PLENTY)
    intake.offer(run(5, 50), PLENTY)
    assert fetcher.request(intake, 0.0) == (3, 5)


def test_pauses_between_requests_double_until_what_nobody_has_is_hardly_asked_for() -> None:
    times = _asked_in_silence(Fetcher(POLICY), _behind(7), 3600.0)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[:6] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert set(pauses[10:]) == {LOST_PAUSE_S}


def test_pause_keeps_to_its_maximum_while_somebody_says_that_the_records_exist() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(7)
    times: list[float] = []
    for second in range(3600):
        fetcher.hope()
        if fetcher.request(intake, float(second)) is not None:
            times.append(float(second))
    assert {later - earlier for earlier, later in pairwise(times[4:])} == {4.0}


def test_what_was_given_up_is_asked_for_at_once_when_somebody_says_that_it_exists() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(7)
    asked = _asked_in_silence(fetcher, intake, 600.0)[-1]
    deadline = fetcher.next_deadline()
    assert deadline == asked + LOST_PAUSE_S
    fetcher.hope()
    assert fetcher.request(intake, asked + 100.0) == (0, 7)


def test_pause_that_was_set_to_more_than_that_of_lost_records_is_kept() -> None:
    fetcher, intake = Fetcher(FetchPolicy(100, PLENTY, 0.5, 2 * LOST_PAUSE_S)), _behind(7)
    times = _asked_in_silence(fetcher, intake, 7200.0)
    assert max(later - earlier for earlier, later in pairwise(times)) == 2 * LOST_PAUSE_S


def test_silence_never_makes_a_request_storm() -> None:
    policy = FetchPolicy(20_000, PLENTY, 0.5, 8.0)
    times = _asked_in_silence(Fetcher(policy), _behind(1_000_000), 3600.0)
    assert len(times) <= 3600 / LOST_PAUSE_S + 11


def test_very_long_silence_does_not_overflow() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(7)
    fetcher.attempts = 10_000
    fetcher.request(intake, 0.0)
    assert fetcher.next_deadline() == LOST_PAUSE_S


def test_attempts_count_silent_requests_and_begin_anew_with_an_answer() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(7)
    fetcher.request(intake, 0.0)
    assert fetcher.attempts == 0
    fetcher.request(intake, 0.5)
    fetcher.request(intake, 1.5)
    assert fetcher.attempts == 2
    _take(intake, fetcher, 0, 2, 1.6)
    assert fetcher.attempts == 0
    assert fetcher.request(intake, 2.0) is None
    assert fetcher.request(intake, 2.1) == (2, 7)


def test_patience_is_twice_the_time_that_the_last_answer_took_within_bounds() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(70)
    fetcher.request(intake, 0.0)
    for at, patience in ((0.1, 0.5), (0.9, 1.6), (1.5, 1.2), (1.6, 0.5), (9.0, 4.0)):
        _take(intake, fetcher, intake.next, intake.next + 1, at)
        assert fetcher.next_deadline() == pytest.approx(at + patience)


def test_request_for_the_next_window_leaves_while_the_last_one_is_arriving() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(1_000)
    assert fetcher.request(intake, 0.0) == (0, 100)
    _take(intake, fetcher, 0, 49, 0.1)
    assert fetcher.request(intake, 0.1) is None
    _take(intake, fetcher, 49, 50, 0.1)
    assert fetcher.request(intake, 0.1) == (100, 200)
    assert fetcher.request(intake, 0.1) is None
    _take(intake, fetcher, 50, 150, 0.2)
    assert fetcher.request(intake, 0.2) == (200, 300)


def test_nothing_more_is_asked_for_while_all_the_rest_is_on_its_way() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(100)
    fetcher.request(intake, 0.0)
    _take(intake, fetcher, 0, 80, 0.1)
    assert fetcher.request(intake, 0.1) is None


def test_window_is_bounded_by_bytes_of_what_has_come_so_far() -> None:
    fetcher = Fetcher(FetchPolicy(1_000, 10_000, 0.5, 4.0))
    intake = _behind(100_000)
    for _ in range(40):
        fetcher.arrived(1, 100, 0.0, first=True)
    first, end = fetcher.request(intake, 0.0) or (0, 0)
    assert end - first == pytest.approx(100, abs=2)
    for _ in range(40):
        fetcher.arrived(1, 1_000_000, 0.0, first=True)
    fetcher.reset()
    assert fetcher.request(intake, 0.0) == (0, 1)


def test_window_of_records_without_content_is_bounded_by_number() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(100_000)
    for _ in range(40):
        fetcher.arrived(10, 0, 0.0, first=True)
    assert fetcher.request(intake, 0.0) == (0, 100)


def test_reader_that_paused_gives_what_is_on_its_way_its_full_time() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(7)
    fetcher.extend(0.0)
    assert fetcher.next_deadline() is None
    fetcher.request(intake, 0.0)
    fetcher.extend(10.0)
    assert fetcher.request(intake, 10.4) is None
    assert fetcher.request(intake, 10.5) == (0, 7)


def test_reset_forgets_what_was_asked() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(7)
    fetcher.request(intake, 0.0)
    fetcher.reset()
    assert fetcher.next_deadline() is None
    assert fetcher.request(intake, 0.1) == (0, 7)


def test_request_is_forgotten_when_the_gap_was_filled_by_others() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(7)
    fetcher.request(intake, 0.0)
    intake.offer(run(0, 7), PLENTY)
    assert fetcher.request(intake, 0.6) is None
    assert fetcher.next_deadline() is None


def test_first_gap_is_asked_for_again_in_time_while_new_gaps_keep_coming() -> None:
    fetcher, intake = Fetcher(FetchPolicy(20_000, PLENTY * 16, 0.5, 8.0)), Intake(0)
    first_gap: list[float] = []
    for step in range(100):
        now = step * 0.4
        intake.offer(run(2 * step + 1, 2 * step + 2), PLENTY)  # every second record is lost
        deadline = fetcher.next_deadline()
        times = [now] if deadline is None or deadline >= now else [deadline, now]
        asked = [(time, fetcher.request(intake, time)) for time in times]
        first_gap += [time for time, wanted in asked if wanted and wanted[0] == 0]
    assert len(first_gap) >= 5


def test_what_was_asked_for_ahead_does_not_end_the_silence() -> None:
    fetcher, intake = Fetcher(POLICY), _behind(100)
    fetcher.request(intake, 0.0)
    overdue = fetcher.next_deadline()
    assert overdue is not None
    fetcher.request(intake, overdue)
    deadline = fetcher.next_deadline()
    fetcher.arrived(10, 100, overdue + 0.1, first=False)
    assert (fetcher.attempts, fetcher.next_deadline()) == (1, deadline)
    fetcher.arrived(10, 100, overdue + 0.1, first=True)
    assert fetcher.attempts == 0
