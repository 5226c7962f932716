"""The fixture of all tests that mix our nodes with emulated reference nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.reference_stage import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Where nodes are started; verifies at the end that the emulated ones had no complaint."""
    # A node that stops after its peers have gone lingers in vain.
    monkeypatch.setattr("dafka.io.sockets.LINGER_MS", 50)
    stage = Stage(tmp_path)
    try:
        yield stage
    finally:
        stage.stop()
