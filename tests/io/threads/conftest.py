"""What is peculiar to nodes for ordinary threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shells import ShellNodes, ThreadShell


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[ShellNodes]:
    """Nodes for threads, and towers and stores, on loopback, that end with the test."""
    made = ShellNodes(tmp_path, ThreadShell())
    try:
        yield made
    finally:
        made.end()
