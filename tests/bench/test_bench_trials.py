"""Every kind of trial in small: that it measures what it says, not how fast this machine is."""

from __future__ import annotations

import pytest

from dafka.bench.process import Unmeasured
from dafka.bench.rows import all_rows
from dafka.bench.scene import Scene
from dafka.bench.trials import ceilings, rates
from dafka.bench.work import Work

pytestmark = [pytest.mark.process, pytest.mark.alone]

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
    pytest.param(rates.loop, Work(records=300), id="publish into nothing"),
    pytest.param(ceilings.wire, Work(records=300), id="raw"),
    pytest.param(ceilings.wire, Work(records=300, producers=2, consumers=3), id="raw, many"),
    pytest.param(ceilings.wire, Work(records=300, mode="curve"), id="raw with CURVE"),
    pytest.param(ceilings.commit, Work(records=300, durability="os"), id="commits"),
    pytest.param(ceilings.sync, Work(records=300), id="syncs"),
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
    assert {row.trial.run for row in all_rows().values() if row.trial.first} == tried


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
