"""Stores that are cheap to start: a process that has imported everything, and forks.

As a program (`python -m tests.support.store_nursery DATA TOWER`) it reads words from standard
input, one a line, and answers each by a line: "start" forks a store and tells its process number,
"bury" waits until the last one is dead, and tells by which signal it died, or minus its exit code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import dafka
from dafka.config import TowerAddress
from tests.support.processes import ROOT

BRISK = {"bind": "tcp://127.0.0.1:*", "beacon_interval_s": 0.05}
KEPT = 2000
"""The store keeps at least so many records of a partition."""


class Nursery:
    """The program, as a test meets it."""

    def __init__(self, data: Path, tower: TowerAddress) -> None:
        command = [sys.executable, "-m", __name__, data, f"{tower.sub},{tower.pub}"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, cwd=ROOT, text=True, bufsize=1, **pipes)
        self._child = 0

    def start(self) -> None:
        """Start a store; it has not opened its directory yet."""
        self._child = self._ask("start")

    def kill(self) -> None:
        """Kill the store as `kill -9` does; an error if it had ended before."""
        child, self._child = self._child, 0
        os.kill(child, signal.SIGKILL)
        assert self._ask("bury") == signal.SIGKILL

    def close(self) -> None:
        """End everything."""
        if self._child:
            os.kill(self._child, signal.SIGKILL)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _ask(self, word: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        return int(self._process.stdout.readline())


def _host(data: str, tower: str) -> None:
    sub, pub = tower.split(",")
    rules = [{"records": KEPT}]
    store = dafka.Store(
        data=data,
        tower=TowerAddress(sub, pub),
        retention=rules,
        upkeep_interval_s=0.02,
        **BRISK,
    )
    store.start()
    store.wait()


def _main(data: str, tower: str) -> None:
    child = 0
    for line in sys.stdin:
        if line.strip() == "bury":
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            print(-status, flush=True)  # noqa: T201 - the protocol
            continue
        child = os.fork()
        if child == 0:
            try:
                _host(data, tower)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        print(child, flush=True)  # noqa: T201 - the protocol


if __name__ == "__main__":
    _main(*sys.argv[1:])
