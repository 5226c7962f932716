"""The part of scripts/test that runs in the environment: all checks, or some tests.

usage: scripts/test [--all] | scripts/test PYTEST-ARGUMENTS

  scripts/test            everything but the slow tests: ruff check, ruff format --check,
                          mypy --strict, pytest with coverage of at least 90 %
  scripts/test --all      the same, and the slow tests as well
  scripts/test ARGUMENTS  only pytest, with these arguments: no other check, no coverage;
                          for example scripts/test -x tests/core -k fetch

A check that fails does not stop the others; the exit code is 1 if any did, and the last lines say
which. Paths are relative to the checkout.
"""

import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

COVERAGE_PERCENT = 90

ROOT = Path(__file__).resolve().parent.parent

LINTERS = {
    "ruff check": ["ruff", "check"],
    "ruff format": ["ruff", "format", "--check"],
    "mypy": ["mypy"],
}


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for."""
    if arguments in (["-h"], ["--help"]):
        print("usage:" + (__doc__ or "").partition("usage:")[2], end="")
        return 0
    if arguments and arguments != ["--all"]:
        return run(["pytest", *arguments])
    return check_everything(slow=bool(arguments))


def check_everything(slow: bool) -> int:
    """Run all checks, and tell at the end which failed."""
    failed = []
    for name, command in LINTERS.items():
        began = time.monotonic()
        print(f"--- {name}", flush=True)
        if run(command):
            failed.append(name)
            print(f"--- {name} FAILED after {time.monotonic() - began:.1f} s", flush=True)
    print("--- pytest", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.xml")
        code = run(["pytest", *pytest_options(slow), f"--junit-xml={report}"])
        if code:
            failed.append("pytest")
        counts = count(report)
    total = len(LINTERS) + 1
    print(f"{total - len(failed)} of {total} checks succeeded", end="")
    print(f"; FAILED: {', '.join(failed)}" if failed else "")
    print(counts, flush=True)
    return 1 if failed else 0


def pytest_options(slow: bool) -> list[str]:
    """How pytest is run as a check."""
    coverage = ["--cov", "--cov-report=term-missing", f"--cov-fail-under={COVERAGE_PERCENT}"]
    return coverage if slow else ["-m", "not slow", *coverage]


def run(command: list[str]) -> int:
    """Run a tool of the environment, and return its exit code."""
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode


def count(report: Path) -> str:
    """The number of tests that passed and failed, from pytest's report."""
    try:
        suites = ET.parse(report).getroot().iter("testsuite")
    except (OSError, ET.ParseError):
        return "0 passed, 1 failed (pytest did not come to its end)"
    numbers = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in suites:
        for name in numbers:
            numbers[name] += int(suite.get(name, 0))
    failed = numbers["failures"] + numbers["errors"]
    passed = numbers["tests"] - failed - numbers["skipped"]
    skipped = f", {numbers['skipped']} skipped" if numbers["skipped"] else ""
    return f"{passed} passed, {failed} failed{skipped}"


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
