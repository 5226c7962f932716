"""No fall unseen: what is published, delivered and replayed, beside plain pyzmq in the same run.

It prints its figures, and fails only if a ratio has fallen to half of what is usual: machines
differ, and other work goes on.
"""

from __future__ import annotations

import sys

import pytest

from dafka.bench.report import HEADINGS, NUMERIC, lines
from dafka.bench.rounds import Plan, measure
from dafka.bench.rows import all_rows
from dafka.bench.scene import Scene
from dafka.cli.tables import table

pytestmark = [pytest.mark.process, pytest.mark.alone]

CEILING = "raw/wire/100B/1-1"

USUAL = {
    "publish/100B/1p/1s/fsync": 2.0,
    "live/100B/1c/runs": 1.6,
    "replay/100B/runs": 4.0,
}
"""Ratios to the ceiling on two cores, with rounds of this length. Raise them with the figures."""

GROSS = 0.5
PLAN = Plan(rounds=2, seconds=1.0)


def test_no_ratio_has_fallen_to_half_of_what_is_usual(tmp_path, capsys):
    known = all_rows()
    with Scene(str(tmp_path)) as scene:
        found = measure([known[name] for name in (*USUAL, CEILING)], scene, PLAN)
    with capsys.disabled():
        told = [line for result in found for line in lines(result)]
        sys.stdout.write(f"\n{table(HEADINGS, NUMERIC, told)}\n")
    ratios = {result.row.name: result.ratios[CEILING] for result in found if result.ratios}
    assert ratios.keys() == USUAL.keys()
    fallen = {name: ratio for name, ratio in ratios.items() if ratio < GROSS * USUAL[name]}
    assert not fallen
