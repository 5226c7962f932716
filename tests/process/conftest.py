"""Processes that no test leaves behind."""

from __future__ import annotations

import pytest

from tests.support.processes import Processes


@pytest.fixture
def processes(tmp_path):
    """Starts processes in the test's directory, and kills them in the end."""
    started = Processes(tmp_path)
    yield started
    started.clear()


@pytest.fixture
def restless(processes):
    """The same, with nodes that find each other sooner than usual."""
    processes.environment["DAFKA_BEACON_INTERVAL_S"] = "0.25"
    return processes


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The same for all tests of a module."""
    started = Processes(tmp_path_factory.mktemp("shared"))
    yield started
    started.clear()


@pytest.fixture(scope="module")
def server(shared):
    """A running server for the tests of a module that do not harm it."""
    return shared.server()[1]
