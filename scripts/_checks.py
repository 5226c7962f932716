"""The part of scripts/test that runs in the environment: all checks, or some tests.

usage: scripts/test [--all] | scripts/test PYTEST-ARGUMENTS

  scripts/test            everything but the slow tests: ruff check, ruff format --check,
                          mypy --strict, pytest with coverage of at least 90 %. Tests run side by
                          side, those marked "alone" after them, one at a time
  scripts/test --all      the same, and the slow tests as well, one at a time
  scripts/test ARGUMENTS  only pytest, with these arguments: no other check, no coverage;
                          for example scripts/test -x tests/core -k fetch

A check that fails does not stop the others; the exit code is 1 if any did, and the last lines say
which. Paths are relative to the checkout.
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

COVERAGE_PERCENT = 90

WORKERS = min(8, (os.cpu_count() or 1) + 1)
"""Tests that run at once. One more than processors: many tests mostly wait."""

BESIDE = "not alone and not slow"
ALONE = "alone and not slow"
ALONE_AND_SLOW = "alone or slow"
"""Which tests run side by side, and which one at a time after them."""

ENDS_WITHIN_S = 10.0
"""A tool that was interrupted is killed after this."""

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
    beside = ThreadPoolExecutor(1)
    try:
        linters = {name: beside.submit(lint, command) for name, command in LINTERS.items()}
        with tempfile.TemporaryDirectory() as directory:
            failed, counts = run_tests(slow, Path(directory))
        for name, linter in linters.items():
            output = linter.result()
            if output is not None:
                print(f"--- {name} FAILED\n{output}", end="")
                failed.append(name)
    finally:
        # Ctrl-C reaches the linter that runs; the next ones are not to begin.
        beside.shutdown(cancel_futures=True)
    total = len(LINTERS) + 1
    print(f"{total - len(failed)} of {total} checks succeeded", end="")
    print(f"; FAILED: {', '.join(failed)}" if failed else "")
    print(counts, flush=True)
    return 1 if failed else 0


def lint(command: list[str]) -> str | None:
    """Run a linter, and return what it has said if it failed."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout if done.returncode else None


def run_tests(slow: bool, directory: Path) -> tuple[list[str], str]:
    """Run the tests side by side, then those that must be alone; ["pytest"] if any failed."""
    reports = [directory / "beside.xml", directory / "alone.xml"]
    print(f"--- pytest, {WORKERS} at once", flush=True)
    beside = ["-n", str(WORKERS), "--dist", "loadfile", "--cov", "--cov-report="]
    code = run(["pytest", "-m", BESIDE, *beside, f"--junit-xml={reports[0]}"])
    print("--- pytest, one at a time", flush=True)
    report = ["--cov-report=term-missing", f"--cov-fail-under={COVERAGE_PERCENT}"]
    alone = ["-m", ALONE_AND_SLOW if slow else ALONE, "--cov", "--cov-append", *report]
    code |= run(["pytest", *alone, f"--junit-xml={reports[1]}"])
    return ["pytest"] if code else [], count(reports)


def run(command: list[str]) -> int:
    """Run a tool of the environment, and return its exit code."""
    with subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The tool was interrupted as well, and first ends the processes of its tests.
            try:
                process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def count(reports: list[Path]) -> str:
    """The number of tests that passed and failed, from pytest's reports."""
    numbers = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    broken = 0
    for report in reports:
        try:
            suites = list(ET.parse(report).getroot().iter("testsuite"))
        except (OSError, ET.ParseError):
            broken += 1
            continue
        for suite in suites:
            for name in numbers:
                numbers[name] += int(suite.get(name, 0))
    failed = numbers["failures"] + numbers["errors"]
    passed = numbers["tests"] - failed - numbers["skipped"]
    skipped = f", {numbers['skipped']} skipped" if numbers["skipped"] else ""
    ended = " (pytest did not come to its end)" if broken else ""
    return f"{passed} passed, {failed + broken} failed{skipped}{ended}"


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
