"""The one greenlet that changes a store's log: group commits first, then upkeep, step by step.

Decides the order of changes and when to try again; what is to change, machines decide.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event

from dafka.core.actions import Append, Drop, Repair
from dafka.core.extent import Extent
from dafka.core.run import Run
from dafka.errors import StoreError
from dafka.io.driver import LimitedLog
from dafka.io.keeper import Keeper
from dafka.io.log import Log, Moved
from dafka.io.threads import Threads

Change = Append | Drop | Repair

_RETRY_S = 0.2
_RETRY_MAX_S = 5.0
_COMMIT_BYTES = 32 * 1024 * 1024
_UPKEEP_SHARE = 0.1
"""Upkeep takes at most this share of the time while records are coming."""

logger = logging.getLogger("dafka.store")


class _Abandoned(Exception):
    """The store ends, and the disk has refused what was to be written."""


class Committer:
    """Brings changes to disk in the order they were asked for, and tells when each is there."""

    def __init__(
        self,
        log: Log,
        keeper: Keeper,
        threads: Threads,
        limited: LimitedLog,
        *,
        interval_s: float,
        appended: Callable[[list[Run]], None],
        dropped: Callable[[Drop], None],
        repaired: Callable[[Run], None],
        tidied: Callable[[list[Extent]], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """`interval_s` is the time between two upkeeps; the others are told what was done."""
        self.commits = 0
        self.healthy = True
        self._log = log
        self._keeper = keeper
        self._threads = threads
        self._limited = limited
        self._interval_s = interval_s
        self._appended = appended
        self._dropped = dropped
        self._repaired = repaired
        self._tidied = tidied
        self._failed = failed
        self._changes: deque[Change] = deque()
        self._more, self._ending = Event(), Event()
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Spawn the greenlet."""
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = "store committer"

    def add(self, change: Change) -> None:
        """Do this as soon as possible, after what was asked for before."""
        self._changes.append(change)
        self._more.set()

    def stop(self, timeout: float) -> None:
        """Write what was accepted, within `timeout` seconds, and end."""
        self._ending.set()
        self._more.set()
        if self._greenlet is not None:
            self._greenlet.join(timeout)
            self._greenlet.kill()

    def _run(self) -> None:
        try:
            due = monotonic() + self._interval_s
            while self._changes or not self._ending.is_set():
                if not self._changes:
                    self._more.clear()
                    self._more.wait(max(0.0, due - monotonic()))
                if self._changes:
                    self._change()
                if monotonic() >= due and not self._ending.is_set():
                    due = monotonic() + self._upkeep()
        except _Abandoned:
            # What comes after would leave a hole: nothing of it is written or acknowledged.
            logger.warning("store stopped with unwritten records, none of them acknowledged")
        except Exception as error:
            self.healthy = False
            self._failed(error)

    # Changes

    def _change(self) -> None:
        change = self._changes[0]
        if isinstance(change, Append):
            runs = self._next_runs()
            self._insist(lambda: self._log.append(runs))
            self.commits += 1
            self._appended(runs)
            return
        self._changes.popleft()
        if isinstance(change, Drop):
            self._insist(lambda: self._drop(change))
            self._dropped(change)
        else:
            self._repair(change.run)

    def _next_runs(self) -> list[Run]:
        """Group commit: everything that came while the last commit ran is the next one."""
        runs: list[Run] = []
        size = 0
        while self._changes and size < _COMMIT_BYTES:
            change = self._changes[0]
            if not isinstance(change, Append):
                break
            self._changes.popleft()
            runs.append(change.run)
            size += change.run.size
        return runs

    def _drop(self, drop: Drop) -> None:
        key = (drop.topic, drop.partition)
        while self._log.drop(*key, drop.before, exact=True, deleted=drop.deleted):
            pass

    def _insist(self, change: Callable[[], Any]) -> None:
        """Try until it succeeds: nothing is acknowledged, nothing forgotten, and reads go on.

        Raises `_Abandoned` if the store is to end while the disk refuses.
        """
        pause = _RETRY_S
        while True:
            try:
                self._threads.run(change)
                break
            except Moved:
                raise
            except StoreError as error:
                self.healthy = False
                self._limited.warn("disk", f"store cannot write, and will retry: {error}")
                if self._ending.is_set():
                    raise _Abandoned from error
                self._ending.wait(pause)
                pause = min(pause * 2, _RETRY_MAX_S)
        if not self.healthy:
            self.healthy = True
            logger.warning("store can write again data=%s", self._log.directory)

    def _repair(self, run: Run) -> None:
        try:
            self._threads.run(self._log.repair, run)
        except Moved:
            raise
        except StoreError as error:
            self._limited.warn("repair", f"store cannot repair, and will retry: {error}")
        else:
            logger.warning(
                "store repaired topic=%s partition=%s offsets=%d-%d",
                *(run.topic, run.partition, run.first, run.next - 1),
            )
        self._repaired(run)

    # Upkeep

    def _upkeep(self) -> float:
        """One bounded step; returns how long to wait before the next."""
        began = monotonic()
        try:
            trimmed, more = self._threads.run(self._keeper.step)
        except Moved:
            raise
        except StoreError as error:
            self._limited.warn("upkeep", f"store cannot tidy up, and will retry: {error}")
            return self._interval_s
        self._tidied(trimmed)
        took = monotonic() - began
        return max(took / _UPKEEP_SHARE - took, 0.001) if more else self._interval_s
