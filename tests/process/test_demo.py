"""The demo on a few flights: its result, and that nothing is left behind however it ends."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import Process, Processes, dafka, eventually

pytestmark = pytest.mark.process

DEMO = [sys.executable, "-m", "dafka.cli.demo"]

FEW = ("--flights", "3000")


@pytest.fixture
def temporary(processes: Processes, tmp_path: Path) -> Path:
    """Where the demo makes its temporary directory."""
    path = tmp_path / "temporary"
    path.mkdir()
    processes.environment["TMPDIR"] = str(path)
    return path


def children(process: Process) -> list[int]:
    """The processes a process has started."""
    tasks = Path(f"/proc/{process.popen.pid}/task")
    return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]


def gone(pids: list[int]) -> Callable[[], bool]:
    """Whether none of these processes exists any more."""
    return lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def under_way(processes: Processes) -> tuple[Process, list[int]]:
    """A demo that has started its nodes, and their process ids."""
    process = processes.start([*DEMO, *FEW])
    eventually(lambda: "are up" in process.complained(), "the nodes of the demo")
    pids = children(process)
    assert len(pids) == 8
    return process, pids


def test_every_consumer_gets_every_record(processes: Processes, temporary: Path) -> None:
    process = processes.run([*DEMO, *FEW, "--json"], within=100)
    result = json.loads(process.printed())
    assert result["ok"] is True
    assert result["problems"] == []
    assert (result["published"], result["acknowledged"]) == (9000, 9000)
    assert [row["airport"] for row in result["airports"]] == ["EWR", "JFK", "LGA"]
    for row in result["airports"]:
        assert (row["published"], row["acknowledged"]) == (3000, 3000)
        assert (row["live"], row["replayed"]) == ([3000, 3000], [3000, 3000])
    killing = result["killing"]
    assert 4500 <= killing["acknowledged"] <= killing["published"] < 9000
    assert list(temporary.iterdir()) == []


def test_kept_cluster_stays_until_it_is_told_to_end(processes: Processes, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    process = processes.start([*DEMO, "--flights", "200", "--keep", str(kept)])
    eventually(lambda: "stay up until Ctrl-C" in process.complained(), "the end", within=100)
    assert "OK: every consumer got exactly the bytes" in process.printed().decode()
    pids = children(process)
    tower = process.complained().split("--tower ")[1].split()[0]
    arguments = ("--from", "earliest", "--count", "600", "--tower", tower)
    consumed = processes.run(dafka("consume", "flights", *arguments))
    assert consumed.printed().count(b'"origin":') == 600
    process.send(signal.SIGINT)
    assert process.wait() == 0
    assert gone(pids)()
    assert {path.name for path in kept.iterdir()} == {"logs", "store-A", "store-B"}


def test_directory_to_keep_must_be_empty(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = processes.run([*DEMO, "--keep", str(tmp_path)], code=1)
    assert process.complained() == (
        f"dafka demo: {tmp_path} is not empty: name a new directory to keep\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_everything(processes: Processes, temporary: Path, number: int) -> None:
    process, pids = under_way(processes)
    process.send(number)
    assert process.wait() == 130
    assert gone(pids)()
    assert list(temporary.iterdir()) == []


@pytest.mark.usefixtures("temporary")
def test_nothing_outlives_a_killed_demo(processes: Processes) -> None:
    process, pids = under_way(processes)
    process.kill()
    eventually(gone(pids), "the end of the demo's processes")


def test_node_that_dies_ends_the_demo(processes: Processes, temporary: Path) -> None:
    process, pids = under_way(processes)
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in pids}
    os.kill(next(pid for pid, command in commands.items() if "tower" in command), signal.SIGKILL)
    assert process.wait() == 1
    assert "dafka demo: the tower ended with exit code -9: " in process.complained()
    assert gone(pids)()
    assert list(temporary.iterdir()) == []
