"""What pipelines read: bounded and for ever, split, retried, and what is gone."""

from __future__ import annotations

import logging
import pickle
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from itertools import count, pairwise

import pytest

from tests.beam.conftest import NEEDS_BEAM

beam = pytest.importorskip("apache_beam", reason=NEEDS_BEAM, exc_type=ImportError)

from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, fn_runner
from apache_beam.runners.sdf_utils import (
    RestrictionTrackerView,
    ThreadsafeRestrictionTracker,
    ThreadsafeWatermarkEstimator,
)
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

import dafka
from dafka.beam import ReadFromDafka, Record, nodes
from dafka.beam.discovery import FindPartitions, Known, KnownTracker
from dafka.beam.nodes import inventory
from dafka.beam.reading import FollowSpan
from dafka.beam.records import Place
from dafka.beam.spans import OPEN, Span, SpanTracker
from dafka.core.inventory import Copy, Inventory, PartitionState, StoreState
from dafka.errors import ConfigError, DafkaError
from tests.support.beam_runners import FailsOnce, RetryingRunner
from tests.support.waiting import until

pytestmark = pytest.mark.io


def numbers(name, count, first=0):
    return [b"%s-%d" % (name, n) for n in range(first, first + count)]


def has(expected):
    """As `equal_to`, with a message that can be read."""
    wanted = Counter(expected)

    def check(actual):
        found = Counter(actual)
        missing, surplus = wanted - found, found - wanted
        assert not missing, f"{missing.total()} are missing, {min(missing)} is one"
        assert not surplus, f"{surplus.total()} are too many, {min(surplus)} is one"

    return check


@pytest.fixture
def topic(cluster):
    """Three partitions of "t"; their names by contents."""
    return {name: cluster.publish("t", numbers(name, 400)) for name in (b"a", b"b", b"c")}


def read(cluster, *topics, **given):
    return ReadFromDafka(topics or ("t",), **{**cluster.settings, **given})


def test_a_bounded_read_gives_all_that_stores_have(cluster, topic):
    cluster.publish("u", [b"other"])
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        source = read(cluster, "t", "u", bounded=True)
        assert_that(
            pipeline | source,
            has([b"other", *(one for name in topic for one in numbers(name, 400))]),
        )


def test_records_know_where_they_are_and_when_they_arrived(cluster, topic):
    begun = time.time()

    def plain(record):
        assert type(record) is Record
        assert begun - 30 < record.arrived_ms / 1000 <= time.time()
        return record.topic, record.partition, record.offset, record.content

    def stamped(record, stamp=beam.DoFn.TimestampParam):
        return stamp.micros // 1000 == record.arrived_ms

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        records = pipeline | read(cluster, bounded=True, with_metadata=True)
        assert records.element_type is Record
        expected = [
            ("t", partition, offset, content)
            for name, partition in topic.items()
            for offset, content in enumerate(numbers(name, 400))
        ]
        assert_that(records | beam.Map(plain), equal_to(expected), "all")
        right = records | beam.Map(stamped) | beam.combiners.Count.PerElement()
        assert_that(right, equal_to([(True, 1200)]), "times")


@pytest.mark.parametrize("start", ["mapping", "offset", "time", "latest"])
def test_a_read_begins_where_it_is_told(cluster, topic, start):
    if start == "mapping":
        given = {topic[b"a"]: 390, topic[b"b"]: 500}
        expected = [*numbers(b"a", 10, 390), *numbers(b"c", 400)]
    elif start == "offset":
        given, expected = 399, [name + b"-399" for name in topic]
    elif start == "latest":
        given, expected = "latest", []
    else:
        moment = time.time()
        time.sleep(0.01)  # so that nothing arrived at that very moment
        cluster.publish("t", numbers(b"d", 7))
        given, expected = datetime.fromtimestamp(moment, UTC), numbers(b"d", 7)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        assert_that(pipeline | read(cluster, start=given, bounded=True), has(expected))


def test_an_unbounded_read_goes_on_from_bundle_to_bundle(cluster, topic):
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        records = pipeline | read(cluster, max_records=150, bundle_records=40)
        assert not records.is_bounded
        assert_that(records, has([one for name in topic for one in numbers(name, 150)]))


def test_an_unbounded_read_ends_when_time_is_up_with_what_had_come(cluster, topic):
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        source = read(cluster, max_read_s=1.5, discovery_s=None, bundle_records=150)
        assert_that(pipeline | source, has([one for n in topic for one in numbers(n, 400)]))


@pytest.mark.parametrize("given", [{"bounded": True}, {"max_records": 400, "bundle_records": 90}])
def test_a_bundle_that_is_retried_reads_the_same_again(cluster, topic, given):
    runner = RetryingRunner()
    with beam.Pipeline(runner=runner) as pipeline:
        records = (
            pipeline | read(cluster, **given) | beam.Map(FailsOnce(f"reader {given}", b"b-250"))
        )
        assert_that(records, has([one for name in topic for one in numbers(name, 400)]))
    assert runner.failed == 1


def test_a_runner_that_splits_at_will_gets_each_record_once(cluster):
    """Fractions as a runner asks for them, while the span is being read."""
    partition = cluster.publish("t", numbers(b"a", 3000))
    source = read(cluster, bounded=True, with_metadata=True)._source
    fractions = [0.5, 0.0, 0.9, 0.25, 0.5, 0.7, 0.0, 0.1]
    todo, got = [Span("t", partition, 0, OPEN)], []
    dofn = FollowSpan(source.__class__(**{**vars(source), "bounded": False}))
    dofn.setup()
    try:
        while todo:
            span = todo.pop()
            if span.start >= 3000:
                assert span.is_open
                continue
            tracker = ThreadsafeRestrictionTracker(SpanTracker(span))
            for record in process(dofn, partition, tracker):
                got.append(record.offset)
                if fractions and len(got) % 100 == 0:
                    split = tracker.try_split(fractions.pop())
                    todo += [] if split is None else [split[1]]
            tracker.check_done()
            deferred = tracker.deferred_status()
            todo += [] if deferred is None else [deferred[0]]
    finally:
        dofn.teardown()
    assert fractions == []
    assert sorted(got) == list(range(3000))


def test_when_time_is_up_what_had_come_is_waited_for(cluster):
    partition = cluster.publish("t", numbers(b"a", 5))
    dofn = FollowSpan(read(cluster)._source)
    dofn.setup()
    take, slow = dofn._reader.take, [None] * 3
    dofn._reader.take = lambda timeout: slow.pop() if slow else take(timeout)
    tracker = ThreadsafeRestrictionTracker(SpanTracker(Span("t", partition, 0, OPEN)))
    try:
        values = list(process(dofn, partition, tracker, until=time.time() - 1, head=5))
    finally:
        dofn.teardown()
    assert values == numbers(b"a", 5)
    assert tracker.deferred_status() is None
    tracker.check_done()


def process(dofn, partition, tracker, watermark=None, stamp=MIN_TIMESTAMP, until=None, head=0):
    """The values a span gives in one bundle."""
    place = Place("t", partition, 0, OPEN, head, until)
    estimator = ThreadsafeWatermarkEstimator(watermark or ManualWatermarkEstimator(None))
    view = RestrictionTrackerView(tracker)
    for stamped in dofn.process(place, stamp, view, estimator):
        assert stamped.timestamp >= stamp
        yield stamped.value


def test_the_watermark_follows_arrivals_and_goes_on_while_nothing_comes(cluster):
    partition = cluster.publish("t", numbers(b"a", 5))
    came = time.time()
    dofn = FollowSpan(read(cluster, with_metadata=True)._source)
    dofn.setup()
    watermark = ManualWatermarkEstimator(None)
    tracker = ThreadsafeRestrictionTracker(SpanTracker(Span("t", partition, 0, OPEN)))
    seen = []
    try:
        for record in process(dofn, partition, tracker, watermark):
            seen.append(watermark.current_watermark())
            assert seen[-1].micros <= record.arrived_ms * 1000
        rest, delay = tracker.deferred_status()
        assert rest == Span("t", partition, 5, OPEN)
        assert 0 < float(delay.micros) <= 1e6
        assert all(one <= other for one, other in pairwise(seen))
        assert came - 30 < seen[-1].micros / 1e6 <= came
        # Later, without news: two seconds behind the clock.
        time.sleep(max(0.0, came + 3 - time.time()))
        tracker = ThreadsafeRestrictionTracker(SpanTracker(rest))
        assert list(process(dofn, partition, tracker, watermark)) == []
        assert came < watermark.current_watermark().micros / 1e6 <= time.time() - 2
        tracker = ThreadsafeRestrictionTracker(SpanTracker(rest))
        # A record that has a time is never given out before what the runner was promised.
        cluster.publish("t", [b"elsewhere"])
        promised = Timestamp.of(time.time() + 60)
        again = ThreadsafeRestrictionTracker(SpanTracker(Span("t", partition, 0, OPEN)))
        assert len(list(process(dofn, partition, again, stamp=promised))) == 5
    finally:
        dofn.teardown()


def test_partitions_that_come_while_others_are_read_are_found_once(cluster):
    first = cluster.publish("t", [b"x"])
    source = read(cluster, discovery_s=0.1, start="latest", max_read_s=30)._source
    finder, watermark = FindPartitions(source), ManualWatermarkEstimator(None)

    def look(known):
        tracker = ThreadsafeRestrictionTracker(KnownTracker(known))
        view, estimator = RestrictionTrackerView(tracker), ThreadsafeWatermarkEstimator(watermark)
        found = list(finder.process(b"", view, estimator))
        tracker.check_done()
        return found, (tracker.deferred_status() or (None,))[0]

    ((one,), known) = look(Known())
    assert (one.value.partition, one.value.first, one.timestamp) == (first, 1, MIN_TIMESTAMP)
    assert look(known)[0] == []
    so_far = watermark.current_watermark()
    second = cluster.publish("t", [b"y"])
    ((two,), known) = look(known)
    assert (two.value.partition, two.value.first) == (second, 0)
    assert two.timestamp >= so_far > MIN_TIMESTAMP
    assert known.names == (first, second)
    # Time is up: the last look.
    assert look(known._replace(until=time.time())) == ([], None)


def test_new_partitions_are_read_by_a_pipeline_that_runs(cluster, topic):
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        source = read(cluster, max_read_s=2.0, discovery_s=0.5)
        assert_that(pipeline | source, has([one for n in topic for one in numbers(n, 400)]))


def test_what_no_store_keeps_any_more_is_skipped_counted_and_told(cluster, caplog):
    cluster.call(lambda: kept_short(cluster))
    partition = cluster.publish("short", numbers(b"a", 300), at_once=20)
    earliest = cluster.call(lambda: until_dropped(cluster, partition))
    pipeline = beam.Pipeline(runner=FnApiRunner())
    with caplog.at_level(logging.WARNING, "dafka.beam"):
        source = read(cluster, "short", start=0, bounded=True)
        assert_that(pipeline | source, has(numbers(b"a", 300 - earliest, earliest)))
        result = pipeline.run()
        result.wait_until_finish()
    assert any(f"from offset 0 to {earliest - 1} are kept nowhere" in m for m in caplog.messages)
    counters = result.metrics().query()["counters"]
    found = {one.key.metric.name: one.committed for one in counters}
    assert found["records_expired"] == earliest
    assert found["records_read"] == 300 - earliest


def kept_short(cluster):
    """The store is another one, which keeps 100 records."""
    cluster.nodes.end()
    cluster.nodes.towered()
    cluster.settings["tower"] = cluster.nodes.tower
    rules = [{"topics": "short", "records": 100}]
    cluster.kept = cluster.nodes.store(retention=rules, upkeep_interval_s=0.05)


def until_dropped(cluster, partition):
    """Wait until the oldest records are gone; the first that is kept."""

    def earliest():
        (one,) = cluster.kept.partitions()
        assert one.partition == partition
        # Values have twenty records: so many more may stay.
        return one.earliest if one.earliest > 180 else 0

    return until(earliest)


def test_a_bounded_read_of_what_never_comes_fails_with_a_sentence(cluster):
    partition = cluster.publish("t", numbers(b"a", 3))
    source = read(cluster, bounded=True, timeout=3)._source
    dofn = FollowSpan(source)
    dofn.setup()
    tracker = ThreadsafeRestrictionTracker(SpanTracker(Span("t", partition, 0, 4)))
    try:
        with pytest.raises(DafkaError, match=f"topic t partition {partition}: .* offset 3 has not"):
            list(process(dofn, partition, tracker))
    finally:
        dofn.teardown()


def test_a_read_without_a_store_fails_with_a_sentence(cluster):
    cluster.call(cluster.nodes.end)
    pipeline = beam.Pipeline(runner=FnApiRunner())
    _ = pipeline | read(cluster, bounded=True, timeout=1.5)
    with pytest.raises(Exception, match=r"topic t: no store has answered within 1.5 s"):
        pipeline.run()


def test_what_cannot_be_read_is_told_in_a_sentence():
    for given, said in (
        ({"name": "x"}, "name is given, but a pipeline's positions are Beam's"),
        ({"max_records": 0}, "max_records is 0"),
        ({"timeout": -1}, "timeout is -1"),
        ({"start": "early"}, "start 'early' is neither"),
        ({"towr": "x"}, "did you mean tower"),
    ):
        with pytest.raises(ConfigError, match=said):
            ReadFromDafka("t", **given)
    with pytest.raises(ConfigError, match="at least one topic"):
        ReadFromDafka([])


def test_the_source_tells_what_it_is_and_crosses_to_workers():
    source = ReadFromDafka(["t", "u"], bounded=True, tower="somewhere")
    assert source.default_label() == "ReadFromDafka(t, u)"
    shown = {name: item.value for name, item in source.display_data().items()}
    assert shown["topics"] == "t, u"
    assert (shown["tower"], shown["start"], shown["bounded"]) == ("somewhere", "earliest", True)
    assert pickle.loads(pickle.dumps(source))._source == source._source


def test_the_record_of_a_consumer_and_that_of_a_pipeline_have_the_same_fields():
    names = dafka.Record._fields
    assert Record._fields[: len(names)] == names
    assert fn_runner.FnApiRunner is FnApiRunner


def test_the_silence_of_a_store_that_is_gone_is_not_taken_for_an_empty_topic(monkeypatch):
    def store(address):
        return StoreState(address, "", None, True)

    copy = Copy(store("restarted"), 0, 3, 0, None)
    full = PartitionState("t", "A" * 32, False, 0, 3, None, (copy,))
    killed = Inventory((store("killed"),), (), frozenset(), True)
    looks = [killed, Inventory((store("restarted"),), (full,), frozenset(), True)]
    monkeypatch.setattr(nodes, "Inspector", partial(Told, looks))
    assert inventory(["t"], {}, 5.0)[0].partitions == (full,)
    assert not looks
    looks += [killed, killed]  # the same one again, which lives: it has nothing
    assert inventory(["t"], {}, 5.0) == [killed]
    assert not looks


def test_stores_that_never_live_to_be_asked_again_are_not_said_to_be_silent(monkeypatch):
    clock = count()
    monkeypatch.setattr(nodes, "monotonic", lambda: float(next(clock)))
    killed = [
        Inventory((StoreState(name, "", None, True),), (), frozenset(), True) for name in "abcd"
    ]
    monkeypatch.setattr(nodes, "Inspector", partial(Told, killed))
    with pytest.raises(DafkaError, match=r"topic t: stores have answered .* none of them twice"):
        inventory(["t"], {}, 3.0)


class Told:
    """An inspector that finds what it is told."""

    def __init__(self, looks: list[Inventory], topic: str) -> None:
        self._looks = looks

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def gather(self, timeout: float) -> Inventory:
        return self._looks.pop(0)
