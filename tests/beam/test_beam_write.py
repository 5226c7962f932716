"""What pipelines publish, also when bundles are retried."""

from __future__ import annotations

import pytest

from tests.beam.conftest import NEEDS_BEAM

beam = pytest.importorskip("apache_beam", reason=NEEDS_BEAM, exc_type=ImportError)

from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from dafka.beam import ConflictingOutput, ReadFromDafka, WriteToDafka
from dafka.beam.exactly import WriteBatch, _stored
from dafka.beam.nodes import new_partition
from dafka.beam.records import Batch
from dafka.beam.write import WriteBundle
from dafka.errors import ConfigError, PublishTimeout
from tests.support.beam_runners import FailsOnce, RetryingRunner

pytestmark = pytest.mark.io

LINES = [b"%d" % n for n in range(500)]


def contents(records):
    return sorted(record.content for record in records)


def counter(result, name):
    (found,) = result.metrics().query(beam.metrics.MetricsFilter().with_name(name))["counters"]
    return found.committed


def test_a_pipeline_publishes_each_element_and_counts_it(cluster):
    pipeline = beam.Pipeline(runner=FnApiRunner())
    _ = pipeline | beam.Create(LINES) | WriteToDafka("out", **cluster.settings)
    result = pipeline.run()
    result.wait_until_finish()
    assert contents(cluster.records("out", 500)) == sorted(LINES)
    assert counter(result, "records_written") == 500


def test_a_bundle_that_fails_halfway_has_published_nothing(cluster):
    runner = RetryingRunner()
    with beam.Pipeline(runner=runner) as pipeline:
        _ = (
            pipeline
            | beam.Create(LINES)
            | beam.Map(FailsOnce("halfway", LINES[250])).with_output_types(bytes)
            | WriteToDafka("out", **cluster.settings)
        )
    assert runner.failed == 1
    assert contents(cluster.records("out", 500)) == sorted(LINES)


def test_a_bundle_that_is_not_committed_is_published_again_by_default(cluster):
    """Beam's contract: this is why there is `exactly_once`."""
    with beam.Pipeline(runner=RetryingRunner()) as pipeline:
        _ = pipeline | beam.Create(LINES) | WriteToDafka("out", **cluster.settings)
    assert contents(cluster.records("out", 1000)) == sorted(2 * LINES)


@pytest.mark.parametrize("shards", [1, 3])
def test_exactly_once_holds_though_every_bundle_is_run_twice(cluster, shards):
    runner = RetryingRunner()
    with beam.Pipeline(runner=runner) as pipeline:
        _ = (
            pipeline
            | beam.Create(LINES)
            | beam.Map(FailsOnce(f"exactly {shards}", LINES[250])).with_output_types(bytes)
            | WriteToDafka("out", exactly_once=shards, batch_records=100, **cluster.settings)
        )
    assert runner.failed == 1
    records = cluster.records("out", 500)
    assert contents(records) == sorted(LINES)
    assert len({record.partition for record in records}) == shards


def test_exactly_once_holds_where_publishing_succeeds_and_the_bundle_fails(cluster, monkeypatch):
    """The worker dies behind the acknowledgements, for each batch the first time."""
    publish, tried = WriteBatch._publish, set()

    def dying(self, batch):
        publish(self, batch)
        if batch not in tried:
            tried.add(batch)
            raise RuntimeError("the worker is gone")

    monkeypatch.setattr(WriteBatch, "_publish", dying)
    runner = RetryingRunner()
    with beam.Pipeline(runner=runner) as pipeline:
        _ = (
            pipeline
            | beam.Create(LINES)
            | WriteToDafka("out", exactly_once=1, batch_records=500, **cluster.settings)
        )
    assert (runner.failed, len(tried)) == (1, 1)
    assert contents(cluster.records("out", 500)) == sorted(LINES)


def test_an_unbounded_pipeline_from_topic_to_topic_is_exactly_once(cluster):
    """Every bundle is run twice, with timers and state, and its first attempt thrown away."""
    cluster.publish("in", LINES[:300])
    settings = cluster.settings
    source = ReadFromDafka("in", max_records=300, bundle_records=100, **settings)
    sink = WriteToDafka("out", exactly_once=1, batch_records=70, batch_s=0.2, **settings)
    with beam.Pipeline(runner=RetryingRunner()) as pipeline:
        _ = pipeline | source | sink
    assert contents(cluster.records("out", 300)) == sorted(LINES[:300])


class State:
    """A cell or a bag as a DoFn is given it."""

    def __init__(self):
        self.values = []

    def read(self):
        return list(self.values)

    def add(self, value):
        self.values.append(value)

    def clear(self):
        self.values = []


class Cell(State):
    def read(self):
        return self.values[-1] if self.values else None

    write = State.add


def test_batches_are_published_in_order_however_they_come(cluster):
    partition = new_partition()
    batches = [Batch(partition, 10 * n, tuple(LINES[10 * n : 10 * n + 10])) for n in range(5)]
    sink, at, waiting = WriteBatch("out", 20, cluster.settings), Cell(), State()
    sink.setup()
    try:
        for number in (2, 1, 0, 0, 4, 1, 3):  # what comes again was published before
            sink.process((partition, batches[number]), at, waiting)
    finally:
        sink.teardown()
    assert (at.read(), waiting.read()) == (50, [])
    records = cluster.records("out", 50)
    assert [record.content for record in records] == LINES[:50]
    assert [record.offset for record in records] == list(range(50))


def test_output_that_contradicts_what_stores_have_or_too_few_have_is_refused(cluster):
    partition = new_partition()

    def publish(contents, timeout=20, **settings):
        sink = WriteBatch("out", timeout, {**cluster.settings, **settings})
        sink.setup()
        try:
            sink.process((partition, Batch(partition, 0, contents)), Cell(), State())
        finally:
            sink.teardown()

    publish((b"a", b"b"))
    publish((b"a", b"b"))
    with pytest.raises(PublishTimeout, match=r"fewer than 2 stores have .* before offset 2"):
        publish((b"a", b"b"), 3, min_store_acks=2)
    with pytest.raises(ConflictingOutput, match=f"topic out partition {partition} offset 1: "):
        publish((b"a", b"c"))
    with pytest.raises(ConflictingOutput, match=f"topic out partition {partition} offset 1: "):
        publish((b"a", b"c", b"never published"))
    assert _stored("out", partition, cluster.settings, 20) == 2
    assert [record.content for record in cluster.records("out", 2)] == [b"a", b"b"]


def test_without_a_store_the_bundle_fails_for_the_runner_to_retry(cluster):
    cluster.call(cluster.nodes.end)
    pipeline = beam.Pipeline(runner=FnApiRunner())
    _ = pipeline | beam.Create([b"x"]) | WriteToDafka("out", timeout=0.3, **cluster.settings)
    with pytest.raises(PublishTimeout, match="topic out"):
        pipeline.run()


def test_a_bundle_that_could_not_be_published_is_begun_anew(cluster, monkeypatch):
    sink = WriteBundle("out", 20, cluster.settings)
    sink.start_bundle()
    sink.process(b"lost")
    monkeypatch.setattr(sink, "_timeout", 0.0)
    with pytest.raises(PublishTimeout):
        sink.finish_bundle()
    monkeypatch.setattr(sink, "_timeout", 20)
    sink.start_bundle()
    sink.process(b"kept")
    sink.finish_bundle()
    sink.teardown()
    # What was not acknowledged in time may have come all the same, in a partition of its own.
    assert cluster.beside("out", b"kept") == [b"kept"]


def test_large_bundles_are_begun_before_they_are_complete(cluster, monkeypatch):
    monkeypatch.setattr("dafka.beam.write.SPOOL_BYTES", 1_000)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create(LINES) | WriteToDafka("out", **cluster.settings)
    assert contents(cluster.records("out", 500)) == sorted(LINES)


def test_what_cannot_be_written_is_told_in_a_sentence(cluster):
    for settings, said in (
        ({"outbox": "x"}, "outbox is given"),
        ({"exactly_once": -1}, "exactly_once is -1"),
        ({"timeout": 0}, "timeout is 0"),
        ({"towr": "x"}, "did you mean tower"),
    ):
        with pytest.raises(ConfigError, match=said):
            WriteToDafka("out", **settings)
    with pytest.raises(ConfigError, match="the topic is empty"):
        WriteToDafka("")
    with pytest.raises(ConfigError, match="topic out: a str came to WriteToDafka"):
        WriteBundle("out", 1, {}).process("text")
    with pytest.raises(beam.typehints.TypeCheckError):
        _ = beam.Pipeline() | beam.Create(["text"]) | WriteToDafka("out")


def test_the_sink_tells_what_it_is():
    sink = WriteToDafka("out", exactly_once=2, tower="somewhere")
    assert sink.default_label() == "WriteToDafka(out)"
    shown = {name: item.value for name, item in sink.display_data().items()}
    assert shown == {"topic": "out", "exactly_once": 2, "tower": "somewhere"}
