"""What holds for all tests: the same examples in every run, and signals that arrive."""

from __future__ import annotations

import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

settings.register_profile("dafka", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("dafka")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every process that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test has said may hold bytes that are no text: workers can report text alone."""
    report = yield
    report.sections = [(name, _text(said)) for name, said in report.sections]
    return report


def _text(said: str) -> str:
    return said.encode("utf-8", "backslashreplace").decode()
