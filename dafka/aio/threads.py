"""Threads for blocking calls that nothing waits for at the end of the interpreter.

Those of `concurrent.futures` are joined there: a disk that hangs would keep the program alive.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

Calls = SimpleQueue[Callable[[], object] | None]


class DaemonThreads:
    """So many threads, which begin with the first call."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._calls: Calls = SimpleQueue()
        self._begun = False

    def call(self, function: Callable[[], object]) -> None:
        """Call `function`, which raises nothing, in one of them, in the order of these calls."""
        if not self._begun:
            self._begun = True
            for _ in range(self._count):
                Thread(target=_work, args=(self._calls,), name="dafka", daemon=True).start()
        self._calls.put(function)

    def close(self) -> None:
        """Let them end when they have done what was asked for."""
        for _ in range(self._count if self._begun else 0):
            self._calls.put(None)


def _work(calls: Calls) -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # what it holds need not wait for the next one
