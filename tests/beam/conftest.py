"""What tests of the Beam connector have at hand."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
NEEDS_BEAM = "apache-beam is not installed: pip install 'dafka[beam]'"
ALLOWED = (
    # Beam and what it imports use what Python and gRPC are about to give up.
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::PendingDeprecationWarning",
    # Beam leaves its workers' channels to the garbage collector.
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            for warning in ALLOWED:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Any]:
    """A tower and a store in a thread of their own: pipelines block that of the test."""
    from tests.support.beam_cluster import BeamCluster

    made = BeamCluster(tmp_path)
    try:
        yield made
    finally:
        made.end()
