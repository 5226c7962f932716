"""What tests with real sockets have at hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live_nodes import Nodes


class Clock:
    """Says what time it is; a test sets it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock for a log and what looks after it."""
    return Clock()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Nodes on loopback that end with the test."""
    made = Nodes(tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Python's threads take turns fifty times as often: more interleavings in less time."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 50)
    yield
    sys.setswitchinterval(usual)
