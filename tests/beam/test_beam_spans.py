"""Pieces of work: what is claimed and what is split off is all there is, and nothing twice."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.beam.conftest import NEEDS_BEAM

pytest.importorskip("apache_beam", reason=NEEDS_BEAM, exc_type=ImportError)

from apache_beam import coders
from apache_beam.runners.sdf_utils import ThreadsafeRestrictionTracker
from apache_beam.utils.timestamp import Duration

from dafka.beam.arrivals import RESOLUTION_MS, Arrivals
from dafka.beam.discovery import Known, KnownTracker
from dafka.beam.records import Batch, Place, Record
from dafka.beam.spans import OPEN, SPLIT_RECORDS, Span, SpanCoder, Spans, SpanTracker, note_head

P = "0" * 32


def read(tracker, steps, head):
    """Claim what there is, split as `steps` says; what was claimed, and what was split off."""
    claimed, given_away = [], []
    start = tracker.current_restriction().start
    for claims, fraction in [*steps, (head, None)]:
        for offset in range(start + len(claimed), min(start + len(claimed) + claims, head)):
            if not tracker.try_claim(offset):
                return claimed, given_away
            claimed.append(offset)
        split = None if fraction is None else tracker.try_split(fraction)
        if split is not None:
            kept, rest = split
            assert kept == tracker.current_restriction()
            assert (kept.topic, kept.partition) == (rest.topic, rest.partition)
            given_away.append(rest)
    return claimed, given_away


steps = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])), max_size=6
)


@given(st.integers(0, 50), st.integers(0, 120), st.booleans(), st.data())
def test_splits_and_checkpoints_lose_nothing_and_double_nothing(start, count, is_open, data):
    head = start + count
    todo = [Span("t", P, start, OPEN if is_open else head)]
    claimed = []
    while todo:
        tracker = ThreadsafeRestrictionTracker(SpanTracker(todo.pop(), lambda: head))
        done, rest = read(tracker, data.draw(steps), head)
        claimed += done
        todo += rest
        if tracker.current_restriction().is_open:
            tracker.defer_remainder(Duration(1))
            later, _ = tracker.deferred_status()
            # A reader that has read all there is waits there for what will come.
            todo += [] if later == Span("t", P, head, OPEN) else [later]
        tracker.check_done()
        todo = [span for span in todo if span.start < head]
    assert sorted(claimed) == list(range(start, head))


def test_an_open_span_is_split_where_its_partition_is_known_to_go():
    tracker = SpanTracker(Span("t", P, 100, OPEN), lambda: 300)
    assert tracker.try_claim(100)
    kept, rest = tracker.try_split(0.5)
    assert (kept, rest) == (Span("t", P, 100, 200), Span("t", P, 200, OPEN))
    assert tracker.is_bounded()
    assert tracker.try_split(0) == (Span("t", P, 100, 101), Span("t", P, 101, 200))
    assert tracker.try_split(0) is None
    assert not tracker.try_claim(101)
    tracker.check_done()


def test_an_open_span_without_news_is_only_checkpointed():
    tracker = SpanTracker(Span("t", P, 7, OPEN), lambda: 7)
    assert tracker.try_split(0.5) is None
    assert not tracker.is_bounded()
    assert tracker.try_split(0) == (Span("t", P, 7, 7), Span("t", P, 7, OPEN))
    tracker.check_done()


def test_what_is_left_unclaimed_is_noticed():
    tracker = SpanTracker(Span("t", P, 0, 3))
    assert tracker.try_claim(0)
    with pytest.raises(ValueError, match="not done"):
        tracker.check_done()


def test_progress_of_an_open_span_counts_to_the_head_that_was_heard():
    partition = "A" * 32
    note_head("t", partition, 40)
    note_head("t", partition, 30)  # heads only grow
    tracker = Spans().create_tracker(Span("t", partition, 10, OPEN))
    for offset in range(10, 20):
        assert tracker.try_claim(offset)
    progress = tracker.current_progress()
    assert (progress.completed_work, progress.remaining_work) == (10, 20)
    assert Spans().restriction_size(None, Span("t", partition, 10, OPEN)) == 30


def test_a_long_span_is_split_before_it_is_read():
    place = Place("t", P, 5, 5 + 2 * SPLIT_RECORDS + 1)
    parts = list(Spans().split(place, Spans().initial_restriction(place)))
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert (parts[0].start, parts[-1].stop) == (place.first, place.stop)
    assert len(parts) >= 2
    follow = Spans().initial_restriction(place._replace(stop=OPEN))
    assert list(Spans().split(place, follow)) == [follow]


@pytest.mark.parametrize(
    "value",
    [
        Record("tö", P, 3, b"\0\xff", 1_700_000_000_000),
        Place("t", P, 0, OPEN),
        Place("t", P, 0, 9, 7, 1.5),
        Batch(P, 7, (b"", b"x")),
    ],
)
def test_what_travels_is_encoded_by_a_coder_of_its_own(value):
    coder = coders.registry.get_coder(type(value))
    again = pickle.loads(pickle.dumps(coder)).decode(coder.encode(value))
    assert again == value
    assert type(again) is type(value)
    assert coder.is_deterministic()


def test_spans_are_encoded():
    for span in (Span("t", P, 0, OPEN), Span("ä", P, 3, 4)):
        assert SpanCoder().decode(SpanCoder().encode(span)) == span
    assert Span("t", P, 0, 1) != Span("u", P, 0, 1)
    assert repr(Span("t", "P", 3, OPEN)) == "Span(t P [3:])"


def test_a_search_for_partitions_is_put_off_with_what_it_has_found():
    tracker = ThreadsafeRestrictionTracker(KnownTracker(Known()))
    assert tracker.try_claim(Known(("a",), True))
    assert tracker.try_split(0.5) is None
    tracker.defer_remainder(Duration(3))
    assert tracker.deferred_status()[0] == Known(("a",), True)
    assert not tracker.try_claim(Known(("a", "b"), True))
    tracker.check_done()
    with pytest.raises(ValueError, match="neither ended nor put off"):
        KnownTracker(Known()).check_done()


# Times of arrival


class History:
    """When records arrived; answers as stores do."""

    def __init__(self, times):
        self.times, self.asked = times, 0

    def __call__(self, moment):
        self.asked += 1
        return next((n for n, time in enumerate(self.times) if time >= moment), len(self.times))


@given(
    st.lists(st.integers(0, 5_000), min_size=1, max_size=60),
    st.lists(st.integers(1, 20), min_size=1, max_size=20),
)
def test_times_of_arrival_never_decrease_and_are_never_too_late(gaps, lengths):
    start = 1_700_000_000_000
    times = [start + sum(gaps[: n + 1]) for n in range(len(gaps))]
    arrivals = Arrivals(History(times), lambda: times[-1] + 1)
    told, at = [], 0
    for length in lengths:
        end = min(at + length, len(times))
        if at >= end:
            break
        changes = [*arrivals.of(at, end), (end, 0)]
        assert changes[0][0] == at
        for (first, ms), (until, _) in pairwise(changes):
            assert first < until
            told += [ms] * (until - first)
        at = end
    assert told == sorted(told)
    for ms, time in zip(told, times, strict=False):
        assert ms <= time


def test_records_that_came_one_by_one_are_told_apart():
    start = 1_700_000_000_000
    times = [start + 1_000 * n for n in range(10)]
    changes = Arrivals(History(times), lambda: times[-1] + 1).of(0, 10)
    assert [first for first, _ in changes] == list(range(10))
    for (_, ms), time in zip(changes, times, strict=True):
        assert 0 <= time - ms <= RESOLUTION_MS + 1_000 // 2


def test_a_run_of_records_that_came_together_costs_few_questions():
    start = 1_700_000_000_000
    history = History([start] * 50)
    arrivals = Arrivals(history, lambda: start + 3_600_000, since=start - 10)
    arrivals.of(0, 25)
    history.asked = 0
    ((_, ms),) = arrivals.of(25, 50)
    assert start - RESOLUTION_MS <= ms <= start
    assert history.asked <= 3


def test_without_an_answer_the_time_is_now():
    arrivals = Arrivals(lambda _: None, lambda: 77)
    assert arrivals.of(3, 9) == [(3, 77)]
    assert arrivals.came_before(5, 3) is None
