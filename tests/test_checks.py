"""What scripts/test does besides running tools: it counts what they tell, and ends when told to."""

from __future__ import annotations

import runpy
import threading
from concurrent.futures import ThreadPoolExecutor
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


@pytest.fixture
def checks(monkeypatch):
    """Replaces parts of the script."""
    parts = CHECKS["check_everything"].__globals__
    return lambda **others: [monkeypatch.setitem(parts, *other) for other in others.items()]


def test_linters_that_fail_are_named_at_the_end(checks, capsys):
    linters = {"good": ["a"], "bad": ["b"], "silent": ["c"]}
    said = {"a": None, "b": "b has faults\n", "c": ""}
    checks(LINTERS=linters, lint=lambda command: said[command[0]])
    checks(run_tests=lambda _slow, _directory: ([], ": counts"))
    assert CHECKS["check_everything"](slow=False) == 1
    assert capsys.readouterr().out == (
        "--- bad FAILED\nb has faults\n--- silent FAILED\n"
        "2 of 4 checks succeeded; FAILED: bad, silent\n: counts\n"
    )


def test_after_ctrl_c_no_further_linter_begins(checks):
    begun: list[list[str]] = []
    running, ending = threading.Event(), threading.Event()

    def lint(command: list[str]) -> None:
        begun.append(command)
        running.set()
        assert ending.wait(30)

    def interrupted(_slow, _directory):
        assert running.wait(30)
        raise KeyboardInterrupt

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            ending.set()
            super().shutdown(wait=wait)

    checks(LINTERS={"1": ["a"], "2": ["b"]}, lint=lint, run_tests=interrupted)
    checks(ThreadPoolExecutor=Pool)
    with pytest.raises(KeyboardInterrupt):
        CHECKS["check_everything"](slow=False)
    assert begun == [["a"]]
