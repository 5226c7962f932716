"""In which order and how often: rounds alternate, and each is long enough to mean something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dafka.bench.scene import Outcome, Scene
from dafka.bench.stats import Summary, ratio, summary
from dafka.bench.work import Work

MAX_BYTES = 4 << 30
"""Of the records of one round, however fast they go."""
_GROWTH = 20
"""A short run is too short to tell more than that."""
_ENOUGH, _ROOM = 0.8, 1.2
"""A round this much shorter than wanted counts; the next is planned to be this much longer."""

Measure = Callable[[Scene, Work], Outcome]


@dataclass(frozen=True, slots=True)
class Trial:
    """Something that can be done once a round, with its measures."""

    name: str
    run: Measure
    work: Work
    first: int = 0
    """Records of the first, short run, from which their number is found; 0: it is given."""
    needs: tuple[str, ...] = ()
    """Python packages without which it cannot be done."""
    after: tuple[str, ...] = ()
    """Rows whose figures it goes by."""
    once: bool = False
    """It takes long, and one round tells all."""
    together: Callable[[Sequence[Outcome]], dict[str, Any]] = lambda outcomes: outcomes[-1].notes
    """What the notes of all rounds come to."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of a trial, and the rows that it stands beside."""

    name: str
    group: str
    trial: Trial
    unit: str = "records/s"
    figure: str = "rate"
    durability: str = "-"
    """What an acknowledgement, or else a stored record, has survived; "-" where nothing is kept."""
    ceilings: tuple[str, ...] = ()
    """Names of rows; the first is what the ratio refers to."""
    who: str = "dafka"
    """dafka, raw (a ceiling), or the name of a peer."""
    headline: bool = False


@dataclass(slots=True)
class Result:
    """A row's figures, one of each round, and those of its ceilings in the same rounds."""

    row: Row
    figures: list[float]
    ceilings: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    """Of the last round, and what the rounds' details come to."""

    @property
    def summary(self) -> Summary:
        """Over all rounds."""
        return summary(self.figures)

    @property
    def ratios(self) -> dict[str, float]:
        """To each ceiling that is not 0."""
        return {
            name: ratio(self.figures, others)
            for name, others in self.ceilings.items()
            if all(others)  # an idle process may cost nothing
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """How often, and how long."""

    rounds: int = 3
    seconds: float = 3.0
    tell: Callable[[int, int, str], None] = lambda done, total, what: None
    """Called before each step: steps done, steps in all, and what comes."""


def measure(rows: Sequence[Row], scene: Scene, plan: Plan) -> list[Result]:
    """Measure all rows; ceilings must be among them."""
    trials = list(dict.fromkeys(row.trial for row in rows))
    total = sum(2 if trial.once else plan.rounds + 1 for trial in trials)
    sized: dict[str, Trial] = {}
    for step, trial in enumerate(trials):
        plan.tell(step, total, trial.name)
        sized[trial.name] = calibrate(trial, scene, plan.seconds)
    outcomes: dict[str, list[Outcome]] = {trial.name: [] for trial in trials}
    step = len(trials)
    for number in range(plan.rounds):
        # There and back again, so that a machine that grows slower is unfair to nobody.
        for trial in reversed(trials) if number % 2 else trials:
            if trial.once and number:
                continue
            plan.tell(step, total, trial.name)
            step += 1
            outcome, sized[trial.name] = long_enough(sized[trial.name], scene, plan.seconds)
            outcomes[trial.name].append(outcome)
    plan.tell(total, total, "done")
    return _results(rows, outcomes, sized)


def calibrate(trial: Trial, scene: Scene, seconds: float) -> Trial:
    """The trial with as many records as take `seconds`, found by short runs."""
    if not trial.first:
        return replace(trial, work=_timed(trial.work, seconds))
    trial = _with(trial, trial.first)
    while True:
        outcome = trial.run(scene, trial.work)
        grown = _grown(trial, outcome, seconds)
        if outcome.seconds * _GROWTH >= seconds * _ROOM or grown == trial:
            return grown
        trial = grown


def long_enough(trial: Trial, scene: Scene, seconds: float) -> tuple[Outcome, Trial]:
    """A round that takes `seconds`, nearly, and the trial as it should go on."""
    while True:
        outcome = trial.run(scene, trial.work)
        if not trial.first or outcome.seconds >= seconds:
            return outcome, trial
        grown = _grown(trial, outcome, seconds)
        if outcome.seconds >= _ENOUGH * seconds or grown == trial:
            return outcome, grown
        trial = grown


def _timed(work: Work, seconds: float) -> Work:
    """With what `seconds` make of it, where a pace is given."""
    timed = work.but(seconds=work.seconds or seconds)
    return timed.but(records=max(1, int(timed.rate * timed.seconds))) if timed.rate else timed


def _grown(trial: Trial, outcome: Outcome, seconds: float) -> Trial:
    factor = min(_GROWTH, seconds * _ROOM / outcome.seconds)
    return _with(trial, max(trial.work.records, int(trial.work.records * factor)))


def _with(trial: Trial, records: int) -> Trial:
    work = trial.work
    most = max(work.producers, MAX_BYTES // max(1, work.size))
    return replace(trial, work=work.but(records=min(most, records)))


def _results(
    rows: Sequence[Row], outcomes: dict[str, list[Outcome]], sized: dict[str, Trial]
) -> list[Result]:
    figures = {
        row.name: [one.figures[row.figure] for one in outcomes[row.trial.name]] for row in rows
    }
    results = []
    for row in rows:
        beside = {name: figures[name] for name in row.ceilings if name in figures}
        notes = row.trial.together(outcomes[row.trial.name])
        notes = {"records": sized[row.trial.name].work.records, **notes}
        results.append(Result(row, figures[row.name], beside, notes))
    return results
