"""Every kind of trial in small: that it measures what it says, not how fast this machine is."""

from __future__ import annotations

import pytest

from dafka.bench import latency
from dafka.bench.process import Unmeasured
from dafka.bench.rows import all_rows
from dafka.bench.scene import Scene
from dafka.bench.trials import ceilings, footprint, latencies, rates
from dafka.bench.work import Work

pytestmark = pytest.mark.process

RATES = [
    pytest.param(rates.publish, Work(records=300), id="publish"),
    pytest.param(
        rates.publish,
        Work(records=300, size=1000, producers=3, stores=2, durability="os"),
        id="publish to two stores",
    ),
    pytest.param(rates.live, Work(records=300, mode="runs"), id="live as runs"),
    pytest.param(rates.live, Work(records=300, mode="records", consumers=2), id="live as records"),
    pytest.param(rates.replay, Work(records=300, mode="runs"), id="replay as runs"),
    pytest.param(rates.replay, Work(records=300, mode="records"), id="replay as records"),
    pytest.param(rates.joined, Work(records=300), id="another store joins"),
    pytest.param(rates.catch_up, Work(records=300), id="another store catches up"),
    pytest.param(rates.stream, Work(records=300, mode="map"), id="stream of maps"),
    pytest.param(rates.stream, Work(records=300, mode="count"), id="stream of counts"),
    pytest.param(rates.loop, Work(records=300), id="publish into nothing"),
    pytest.param(ceilings.wire, Work(records=300), id="raw"),
    pytest.param(ceilings.wire, Work(records=300, producers=2, consumers=3), id="raw, many"),
    pytest.param(ceilings.wire, Work(records=300, mode="curve"), id="raw with CURVE"),
    pytest.param(ceilings.commit, Work(records=300, durability="os"), id="commits"),
    pytest.param(ceilings.sync, Work(records=300), id="syncs"),
]


PACED = Work(rate=500.0, records=50, seconds=0.1)

TIMED = [latencies.deliver, latencies.acknowledge]
TIMED_RAW = [latencies.raw_deliver, latencies.raw_acknowledge]

FIGURES = [
    *(footprint.start, footprint.raw_start),
    *(footprint.idle, footprint.raw_idle, footprint.memory),
]


@pytest.fixture
def scene(tmp_path):
    with Scene(str(tmp_path)) as entered:
        yield entered
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("run", "work"), RATES)
def test_a_trial_tells_how_fast_it_went(scene, run, work):
    outcome = run(scene, work)
    assert outcome.figures["rate"] == pytest.approx(work.records / outcome.seconds)
    assert 0 < outcome.seconds < 60


def test_every_rows_trial_is_among_these():
    tried = {param.values[0] for param in RATES}
    tried |= {*TIMED, *TIMED_RAW, *FIGURES}
    ours = [row for row in all_rows().values() if row.who in ("dafka", "raw")]
    assert {row.trial.run for row in ours} == tried


@pytest.mark.parametrize("run", [*TIMED, *TIMED_RAW], ids=lambda run: run.__name__)
def test_a_latency_is_counted_for_every_record(scene, run):
    outcome = run(scene, PACED)
    found = outcome.figures
    assert 0 < found["p50"] <= found["p99"] <= found["p99.9"] <= found["max"] < 60_000
    assert latency.merged([outcome.notes["histogram"]]).get_total_count() == PACED.records
    both = latencies.together([outcome, outcome])
    assert both["percentiles of all rounds, ms"] == found
    assert both["of which before it was sent, ms"]["p50"] < 60_000
    assert latency.merged([both["histogram"]]).get_total_count() == 2 * PACED.records


@pytest.mark.parametrize("run", TIMED_RAW, ids=lambda run: run.__name__)
def test_half_of_the_maximum_is_half_of_what_was_just_published(scene, run):
    work = PACED.but(mode=latencies.HALF, rate=0.0)
    scene.learned[rates.rate_key(work)] = 4000.0
    outcome = run(scene, work)
    assert outcome.notes["rate"] == 2000.0
    assert latency.merged([outcome.notes["histogram"]]).get_total_count() == 200


def test_what_is_published_is_the_maximum_that_latencies_go_by(scene):
    work = Work(records=300)
    outcome = rates.publish(scene, work)
    scene_rate = latencies.at_rate(scene, work.but(mode=latencies.HALF, seconds=1.0)).rate
    assert scene_rate == pytest.approx(outcome.figures["rate"] / 2)


def test_a_record_that_was_not_timed_spoils_it():
    with pytest.raises(Unmeasured, match="of 50 records only 49 were timed"):
        latencies.timed({"records": 49}, PACED)


def test_a_server_is_timed_from_its_start(scene):
    found = footprint.start(scene, Work(records=200)).figures
    # Two servers: on a busy machine either may be the slower one.
    assert 0 < found["server"] < 60_000
    assert 0 < found["process"] < 60_000
    data, new = scene.kept("start on 200 of 100")
    assert not new
    with rates.cluster(scene, Work(), data) as nodes:
        # The two further ones are the first of a server's life.
        assert nodes.stores[0].ask()["records"] == 202


def test_so_is_its_ceiling(scene):
    found = footprint.raw_start(scene, Work()).figures
    assert 0 < found["server"] < found["process"] < 60_000


def test_every_node_is_watched_while_idle(scene):
    found = footprint.idle(scene, Work(seconds=0.2)).figures
    assert found.keys() == {f"{kind} {node}" for kind in ("cpu", "rss") for node in footprint.IDLE}
    assert all(5 < found[f"rss {node}"] < 500 for node in footprint.IDLE)
    raw = footprint.raw_idle(scene, Work(seconds=0.2)).figures
    assert 5 < raw["rss raw"] < 500
    assert raw["cpu raw"] >= 0


def test_memory_is_looked_at_while_records_come(scene):
    outcome = footprint.memory(scene, Work(records=1000))
    found = footprint.series([outcome])["MB"]
    for point in ("start", "10%", "20%", "50%", "100%", "peak"):
        assert 5 < found[f"store {point}"] < 500
    assert found["store peak"] >= found["store 100%"]


def test_the_ceiling_of_the_disk_has_transactions_of_the_same_size(scene):
    work = Work(records=300)
    published = rates.publish(scene, work)
    alike = ceilings.commit(scene, work)
    assert alike.notes["commits"] == pytest.approx(published.notes["commits"], abs=1)


def test_a_replay_is_filled_once(scene):
    work = Work(records=300, mode="runs")
    rates.replay(scene, work)
    _, new = scene.kept(f"replay {work.records} of {work.size}")
    assert not new
    rates.replay(scene, work)


def test_records_that_were_acknowledged_and_are_not_stored_spoil_it(scene, monkeypatch):
    monkeypatch.setattr("dafka.bench.process.Process.ask", lambda _: {"records": 7, "commits": 1})
    with pytest.raises(Unmeasured, match="300 records were acknowledged, but 7 are stored"):
        rates.publish(scene, Work(records=300))
