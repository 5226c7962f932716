"""The count at the end of scripts/test is that of both runs of pytest, whatever became of them."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

CHECKS = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "_checks.py"))

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>
"""


@pytest.mark.parametrize(
    ("reports", "said"),
    [
        pytest.param([(10, 0, 0, 0), (5, 0, 0, 0)], "15 passed, 0 failed", id="all is well"),
        pytest.param([(10, 2, 1, 1), (5, 1, 0, 2)], "8 passed, 4 failed, 3 skipped", id="not all"),
        pytest.param(
            [(10, 0, 0, 0), None],
            "10 passed, 1 failed (pytest did not come to its end)",
            id="the second did not end",
        ),
        pytest.param(
            [None, None], "0 passed, 2 failed (pytest did not come to its end)", id="neither ended"
        ),
    ],
)
def test_both_reports_are_counted(tmp_path, reports, said):
    paths = [tmp_path / f"{number}.xml" for number in range(len(reports))]
    for path, numbers in zip(paths, reports, strict=True):
        if numbers is not None:
            path.write_text(REPORT.format(*numbers))
    assert CHECKS["count"](paths) == said


def test_every_test_is_in_exactly_one_of_the_runs():
    def runs(expression: str, marks: set[str]) -> bool:
        return bool(eval(expression, {"alone": "alone" in marks, "slow": "slow" in marks}))

    for marks in (set(), {"alone"}, {"slow"}, {"alone", "slow"}):
        chosen = [runs(CHECKS[name], marks) for name in ("BESIDE", "ALONE_AND_SLOW")]
        assert chosen.count(True) == 1
        assert runs(CHECKS["ALONE"], marks) == (chosen[1] and "slow" not in marks)
