"""What tests with real sockets have at hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live_nodes import Nodes


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Nodes on loopback that end with the test."""
    made = Nodes(tmp_path)
    try:
        yield made
    finally:
        made.end()
