"""Each of `tests/mutants.py` is caught by the test that it names, and only because it is broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[1]
UNWANTED = shutil.ignore_patterns("__pycache__", "io", "cli", "process")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tests of the machines need, to be broken."""
    root = tmp_path_factory.mktemp("mutants")
    for name in ("dafka", "protocol"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", root / "tests", ignore=UNWANTED)
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def _run(checkout: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    return subprocess.run(
        command,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )


def _test(mutant: Mutant) -> str:
    return f"tests/{mutant.test}"


def test_all_is_well_where_nothing_is_broken(checkout: Path) -> None:
    done = _run(checkout, *dict.fromkeys(map(_test, MUTANTS)))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.promise)
def test_what_is_broken_is_caught(checkout: Path, mutant: Mutant) -> None:
    path = checkout / "dafka" / "core" / f"{mutant.module}.py"
    sound = path.read_text()
    assert sound.count(mutant.sound) == 1
    path.write_text(sound.replace(mutant.sound, mutant.broken))
    try:
        done = _run(checkout, _test(mutant))
    finally:
        path.write_text(sound)
    assert done.returncode == 1, done.stdout
    assert "1 failed" in done.stdout


def test_the_documentation_lists_the_same() -> None:
    text = (ROOT / "docs" / "testing.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "::" in line]
    assert rows == [f"| {one.promise} | `{one.module}.py` | `{one.test}` |" for one in MUTANTS], (
        "the table of docs/testing.md"
    )
