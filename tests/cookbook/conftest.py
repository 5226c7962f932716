"""The programs of docs/cookbook as a user runs them."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from tests.support.processes import ROOT, Processes


class Programs(Processes):
    """Starts them at a running server, with nodes that find each other sooner than usual."""

    def __init__(self, directory):
        super().__init__(directory)
        self.environment |= {"DAFKA_BEACON_INTERVAL_S": "0.25", "PYTHONUNBUFFERED": "1"}
        _, self.cluster = self.server()

    def command(self, name, *arguments):
        """The command line of a program."""
        program = ROOT / "docs" / "cookbook" / f"{name}.py"
        tower = ("--tower", self.cluster.tower)
        return [sys.executable, "-W", "error", str(program), *tower, *map(str, arguments)]

    def begin(self, name, *arguments):
        """Start a program."""
        return self.start(self.command(name, *arguments))

    def complete(self, name, *arguments, within=30.0):
        """Run a program to its end, which has to be a good one."""
        return self.run(self.command(name, *arguments), within=within)


@pytest.fixture(scope="session")
def program():
    """Loads a program as a module."""
    with pytest.MonkeyPatch.context() as patch:

        def load(name):
            path = ROOT / "docs" / "cookbook" / f"{name}.py"
            spec = importlib.util.spec_from_file_location(f"cookbook_{name}", path)
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, spec.name, module)
            spec.loader.exec_module(module)
            return module

        yield load


@pytest.fixture
def programs(tmp_path):
    """A running server and the programs, whose files are in the test's directory."""
    started = Programs(tmp_path)
    yield started
    started.clear()
