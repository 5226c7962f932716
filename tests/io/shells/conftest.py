"""The contract that every shell keeps: its tests run with each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shells import SHELLS, Shell, ShellNodes


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> Shell:
    """One kind of producer and consumer."""
    return SHELLS[request.param]()


@pytest.fixture
def nodes(tmp_path: Path, shell: Shell) -> Iterator[ShellNodes]:
    """A shell's nodes, and towers and stores, on loopback, that end with the test."""
    made = ShellNodes(tmp_path, shell)
    try:
        yield made
    finally:
        made.end()
