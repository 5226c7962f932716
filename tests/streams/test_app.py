"""Applications at work in a live cluster: reading, publishing, stopping, going on."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import timedelta
from itertools import count

import gevent
import msgspec
import pytest

import dafka
from dafka import ConfigError, streams
from dafka.streams import BYTES, JSON, DeadLetter, StreamError, runner, state
from tests.support.live_nodes import LOOPBACK, Nodes
from tests.support.waiting import take, until

pytestmark = pytest.mark.io


@pytest.fixture
def nodes(tmp_path):
    """A tower and a store, and what else a test starts."""
    made = Nodes(tmp_path)
    try:
        yield made.cluster()
    finally:
        made.end()


@pytest.fixture
def application(nodes, tmp_path):
    """Makes applications of this cluster; their state is in the test's directory."""

    def make(name="app", **settings):
        own = {"state": tmp_path / "state", "tower": nodes.tower, "bind": LOOPBACK, "settle": 0.2}
        return streams.App(name, **{**own, **settings})

    return make


def publish(nodes, topic, contents):
    """Publish contents as a new partition, and wait for the store."""
    producer = nodes.producer(topic)
    for content in contents:
        producer.publish(content)
    producer.flush(20)
    return producer


def read(nodes, topic, number):
    """The first contents of a topic, and a moment later no more."""
    consumer = nodes.consumer(topic)
    records = take(consumer, number)
    assert [r.offset for r in records] == list(range(number))
    assert consumer.poll(0.2) is None
    return [r.content for r in records]


def test_an_application_reads_all_there_is_and_publishes_what_comes_of_it(nodes, application):
    publish(nodes, "in", [b"%d" % n for n in range(5000)])
    app = application()
    source = app.source("in", JSON, time=lambda n: n)
    source.map(lambda n: n * 2).to("doubles", JSON)
    source.key_by(lambda n: n % 2).window(streams.tumbling(1000)).count().to("counts", JSON)
    app.run(drain=0.5)
    assert read(nodes, "doubles", 5000) == [b"%d" % (2 * n) for n in range(5000)]
    assert len(read(nodes, "counts", 10)) == 10
    metrics = app.metrics()
    assert metrics["map-1"]["records_in"] == metrics["to-1"]["records_out"] == 5000
    assert metrics["map-1"]["seconds"] > 0
    assert metrics["app"]["records"] == 5000
    assert metrics["app"]["outbox_records"] == metrics["app"]["outbox_bytes"] == 0


def test_it_ends_when_its_time_is_over_and_tells_whether_all_was_read(nodes, application):
    publish(nodes, "in", [b"1", b"2"])
    app = application()
    app.source("in", JSON).to("out", JSON)
    began = time.monotonic()
    assert app.run(timeout=0.3) is False
    assert app.run(drain=60, timeout=timedelta(seconds=0.3)) is False
    assert 0.6 <= time.monotonic() - began < 5
    assert app.run(drain=0.5, timeout=60) is True
    assert read(nodes, "out", 2) == [b"1", b"2"]
    with pytest.raises(ConfigError, match="timeout is -1: it must be 0 or more"):
        app.run(timeout=-1)


def test_workers_end_together_and_leave_nothing_to_say(nodes, application, tmp_path):
    publish(nodes, "in", [b'{"t":%d,"k":%d}' % (n, n % 7) for n in range(200)])
    apps = []
    for worker in "ab":
        app = application(state=tmp_path / worker, workers=("a", "b"), worker=worker)
        counts = app.source("in", time=lambda v: v["t"]).key_by(lambda v: v["k"])
        totals = counts.window(streams.tumbling(10)).count().map(lambda r: r.value).key_by(str)
        totals.count().to("out", JSON)
        apps.append(app)
    for _ in range(2):  # the next run waits for all as well
        running = [gevent.spawn(app.run, drain=0.5, timeout=60) for app in apps]
        assert [one.get() for one in running] == [True, True]
        assert [app.metrics()["app"]["outbox_records"] for app in apps] == [0, 0]
        said: dict[tuple[str, str], bytes] = {}
        for run in nodes.consumer(pattern="app.*").runs(timeout=0.5):
            said[run.topic, run.partition] = run.contents[-1]
        assert len(said) == 8  # two exchanges, each with a topic and a partition for each worker
        finals = [msgspec.msgpack.decode(content)[1][2] for content in said.values()]
        assert finals == [True] * 8  # they all have read all, and no more was said


def test_it_goes_on_where_it_stopped(nodes, application):
    app = application()
    app.source("in", JSON).key_by(lambda n: 0).count().to("out", JSON)
    for life in range(3):
        publish(nodes, "in", [b"%d" % n for n in range(life * 10, life * 10 + 10)])
        app.run(drain=0.5)
    last = [int(content) for content in contents_of(nodes, "out", b"30")]
    assert last == sorted(set(last))


def contents_of(nodes, topic, last):
    """All contents of a topic up to this one."""
    consumer = nodes.consumer(topic)
    found = []
    while not found or found[-1] != last:
        found += [record.content for record in take(consumer, 1)]
    return found


def test_records_are_worked_on_as_they_come_until_it_is_stopped(nodes, application):
    app = application()
    app.source("in", BYTES).map(bytes.upper).to("out", BYTES)
    running = gevent.spawn(app.run)
    producer, consumer = nodes.producer("in"), nodes.consumer("out")
    for number in range(3):
        producer.publish(b"a%d" % number)
        assert take(consumer, 1)[0].content == b"A%d" % number
    app.stop()
    running.get(timeout=5)
    producer.publish(b"later")
    assert consumer.poll(0.3) is None


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_is_the_programs_own_again_afterwards(application, kind):
    app = application()
    app.source("in").to("out", JSON)
    before = signal.getsignal(kind)
    gevent.spawn_later(0.3, os.kill, os.getpid(), kind)
    with gevent.Timeout(5):
        app.run()
    assert signal.getsignal(kind) is before


def test_a_signal_stops_all_that_run_side_by_side(application, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    running = []
    for number in range(2):
        app = application(f"app{number}", state=tmp_path / f"state{number}")
        app.source("in").to(f"out{number}", JSON)
        running.append(gevent.spawn(app.run))
        until(lambda app=app: app._runner and app._runner._feeds, what="it runs")
    running[0].kill()
    os.kill(os.getpid(), signal.SIGTERM)
    running[1].get(timeout=5)
    assert signal.getsignal(signal.SIGTERM) is before


def test_it_runs_in_another_thread_as_well_and_is_stopped_from_here(application):
    app = application()
    app.source("in").to("out", JSON)
    failed = []

    def run():
        try:
            app.run()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not (app._runner and app._runner.running):
        gevent.sleep(0.01)
    app.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert failed == []


def test_a_failure_ends_it_and_the_next_start_meets_it_again(nodes, application):
    publish(nodes, "in", [b"1", b"0", b"2"])
    app = application()
    app.source("in", JSON).map(lambda n: 1 / n, name="invert").to("out", JSON)
    for _ in range(2):
        with pytest.raises(StreamError, match="operator invert failed at topic in partition"):
            app.run(drain=0.5)
    mended = application()
    mended.source("in", JSON).map(lambda n: n and 1 / n, name="invert").to("out", JSON)
    mended.run(drain=0.5)
    assert read(nodes, "out", 3) == [b"1.0", b"0", b"0.5"]


def test_a_producer_or_a_consumer_that_fails_ends_it(nodes, application):
    for fails in ("_publishers", "_feeds"):
        app = application()
        app.source("in", BYTES).to("out", BYTES)
        running = gevent.spawn(app.run)
        until(lambda app=app: app._runner and app._runner._feeds, what="it runs")
        if fails == "_feeds":
            (feed,) = app._runner._feeds
            feed.consumer.driver.fail(dafka.StoreError("told"))
        else:
            (publisher,) = app._runner._publishers.values()
            publisher.producer.driver.fail(dafka.StoreError("told"))
            publish(nodes, "in", [b"x"])
        with pytest.raises(dafka.StoreError, match="told"):
            running.get(timeout=10)


def test_a_start_that_fails_leaves_nothing_behind(nodes, application, tmp_path):
    app = application(bind="tcp://127.0.0.1:1")
    app.source("in", BYTES).to("out", BYTES)
    with pytest.raises(ConfigError):
        app.run()
    fine = application()
    fine.source("in", BYTES).to("out", BYTES)
    publish(nodes, "in", [b"x"])
    fine.run(drain=0.5)
    assert read(nodes, "out", 1) == [b"x"]


def test_a_drain_of_nothing_ends_as_well(nodes, application, monkeypatch):
    monkeypatch.setattr(runner, "_EMPTY_S", 0.5)
    app = application()
    app.source("in", BYTES).to("out", BYTES)
    app.run(drain=0.2)
    assert app.metrics()["app"]["records"] == 0


def test_dead_letters_are_published(nodes, application):
    publish(nodes, "in", [b"1", b"oops", b"2"])
    app = application(on_error=DeadLetter("dead"))
    app.source("in", JSON).to("out", JSON)
    app.run(drain=0.5)
    assert read(nodes, "out", 2) == [b"1", b"2"]
    assert b'"offset":1' in read(nodes, "dead", 1)[0]


def test_what_was_published_but_not_acknowledged_is_not_published_twice(nodes, application):
    publish(nodes, "in", [b"%d" % n for n in range(100)])
    app = application()
    app.source("in", BYTES).to("out", BYTES)
    app.run(drain=0.5)
    # As if it had been killed before it learned of the acknowledgements.
    kept = state.State(app.state, "app", "os", str)
    kept.open(app.topology, ["out"])
    kept._write([(b"o" + bytes(10), state._encode([b"%d" % n for n in range(100)]))], [])
    kept.close()
    publish(nodes, "in", [b"more"])
    app.run(drain=0.5)
    assert read(nodes, "out", 101) == [*(b"%d" % n for n in range(100)), b"more"]


def test_no_more_is_read_while_much_waits_to_be_acknowledged(tmp_path):
    nodes = Nodes(tmp_path)
    try:
        nodes.towered()
        producer = nodes.producer("in")
        app = streams.App(
            "app",
            state=tmp_path / "state",
            tower=nodes.tower,
            bind=LOOPBACK,
            outbox_bytes=20_000,
            commit_interval=0,
        )
        app.source("in", BYTES).to("out", BYTES)
        running = gevent.spawn(app.run)
        until(lambda: app._runner and app._runner._feeds, what="it runs")
        numbers = count()

        def fed():
            for _ in range(100):
                producer.publish(b"%d" % next(numbers))
            gevent.sleep(0.01)
            return app.metrics()["app"]["outbox_bytes"] >= 20_000

        until(fed, what="the outbox is full")
        for _ in range(30):
            fed()
        waiting = app.metrics()["app"]["outbox_records"]
        assert waiting < next(numbers) // 2, "it reads on"
        assert app.metrics()["app"]["outbox_bytes"] < 20_000 + 2_000 * 100
        nodes.store()
        total = next(numbers) - 1
        until(lambda: app.metrics()["app"]["records"] >= total, what="it goes on")
        app.stop()
        running.get(timeout=5)
    finally:
        nodes.end()


def test_windows_close_though_a_partition_says_nothing_more(nodes, application):
    publish(nodes, "in", [b"1"])
    app = application(idle=0.5)
    counts = app.source("in", JSON, time=float).key_by(lambda n: 0).window(streams.tumbling(10))
    counts.count().to("out", JSON)
    running = gevent.spawn(app.run)
    publish(nodes, "in", [b"5", b"25"])
    assert take(nodes.consumer("out"), 1)[0].content == (
        b'{"key":0,"start":0.0,"end":10.0,"value":2}'
    )
    app.stop()
    running.get(timeout=5)


def test_a_table_can_be_asked_while_it_runs(nodes, application):
    app = application()
    table = app.source("in", JSON).key_by(lambda n: n % 2).reduce(max)
    with pytest.raises(dafka.Closed):
        app.get(table, 1)
    running = gevent.spawn(app.run)
    publish(nodes, "in", [b"1", b"2", b"5", b"3"])
    until(lambda: running.ready() or (app._runner and app.items(table) == {0: 2, 1: 5}))
    assert app.get(table, 7) is None
    with pytest.raises(ConfigError, match="is running already"):
        app.run()
    app.stop()
    running.get(timeout=5)


def test_positions_of_all_topics_are_kept(nodes, application):
    app = application()
    app.source(["a", "b"], BYTES).merge(app.source("c", BYTES)).to("out", BYTES)
    for life in range(2):
        for topic in "abc":
            publish(nodes, topic, [b"%s%d" % (topic.encode(), life)])
        app.run(drain=0.5)
    assert sorted(read(nodes, "out", 6)) == [b"a0", b"a1", b"b0", b"b1", b"c0", b"c1"]
