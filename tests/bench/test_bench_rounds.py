"""The order and the length of rounds, with trials that take no time."""

from __future__ import annotations

import pytest

from dafka.bench.rounds import MAX_BYTES, Plan, Row, Trial, calibrate, long_enough, measure
from dafka.bench.scene import Outcome, Scene
from dafka.bench.work import Work


@pytest.fixture
def scene(tmp_path):
    with Scene(str(tmp_path)) as entered:
        yield entered


class Machine:
    """Does so many records a second, after a while in which it does nothing."""

    def __init__(self, rate: float, idle: float = 0.0) -> None:
        self.rate, self.idle = rate, idle
        self.done: list[Work] = []

    def __call__(self, _scene, work):
        self.done.append(work)
        seconds = self.idle + work.records / self.rate
        return Outcome({"rate": work.records / seconds}, seconds, {"n": len(self.done)})


@pytest.mark.parametrize(
    ("rate", "runs"), [(1000, 1), (100_000, 2), (10_000_000, 4)], ids=["slow", "quick", "very"]
)
def test_a_round_has_as_many_records_as_it_takes(scene, rate, runs):
    machine = Machine(rate)
    trial = calibrate(Trial("t", machine, Work(), first=1000), scene, 3.0)
    assert len(machine.done) == runs
    assert 3.0 <= trial.work.records / rate <= 3.7
    outcome, same = long_enough(trial, scene, 3.0)
    assert outcome.seconds >= 3.0
    assert same == trial


def test_a_round_that_was_too_short_is_done_again(scene):
    machine = Machine(1000)
    outcome, trial = long_enough(Trial("t", machine, Work(records=500), first=10), scene, 4.0)
    assert outcome.seconds >= 4.0
    assert [work.records for work in machine.done] == [500, 4800]
    assert trial.work.records == 4800


def test_a_round_that_was_nearly_long_enough_counts_and_the_next_is_longer(scene):
    machine = Machine(1000)
    outcome, trial = long_enough(Trial("t", machine, Work(records=2900), first=10), scene, 3.0)
    assert len(machine.done) == 1
    assert outcome.seconds == pytest.approx(2.9)
    assert trial.work.records > 3000


def test_no_round_fills_the_disk_however_fast_it_is(scene):
    machine = Machine(1e12)
    trial = calibrate(Trial("t", machine, Work(size=100_000), first=100), scene, 3.0)
    assert trial.work.records == MAX_BYTES // 100_000
    outcome, _ = long_enough(trial, scene, 3.0)
    assert outcome.seconds < 3.0


def test_where_the_pace_is_given_the_time_tells_the_number(scene):
    machine = Machine(1e9)
    trial = calibrate(Trial("t", machine, Work(rate=1000)), scene, 3.0)
    assert machine.done == []
    assert (trial.work.records, trial.work.seconds) == (3000, 3.0)


def test_rounds_alternate_and_turn_round(scene):
    order: list[str] = []

    def row(name: str, *ceilings: str, once: bool = False) -> Row:
        def run(_scene, _work):
            order.append(name)
            return Outcome({"rate": float(len(order))}, 1.0)

        return Row(name, "g", Trial(name, run, Work(), once=once), ceilings=ceilings)

    told: list[tuple[int, int, str]] = []
    plan = Plan(3, 1.0, tell=lambda *said: told.append(said))
    results = measure([row("a", "c"), row("b", "c", once=True), row("c")], scene, plan)
    assert order == ["a", "b", "c", "c", "a", "a", "c"]
    found = {result.row.name: result for result in results}
    assert found["a"].figures == [1.0, 5.0, 6.0]
    assert found["a"].ceilings == {"c": [3.0, 4.0, 7.0]}
    assert found["b"].figures == [2.0]
    assert [done for done, _, _ in told] == list(range(11))


def test_rows_of_one_trial_are_measured_together(scene):
    runs = []

    def run(_scene, work):
        runs.append(work)
        return Outcome({"p50": 1.0, "p99": 2.0}, 1.0)

    trial = Trial("t", run, Work())
    rows = [Row(name, "g", trial, figure=name) for name in ("p50", "p99")]
    results = measure(rows, scene, Plan(2, 1.0))
    assert [result.figures for result in results] == [[1.0, 1.0], [2.0, 2.0]]
    assert len(runs) == 2
