"""The one loop of every node: wait, drain, decide, act, re-arm. Decides nothing itself."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import get_ident
from time import monotonic
from typing import Any, Protocol

from dafka.core.actions import Action, Warn
from dafka.errors import Closed, ConfigError, StoreError
from dafka.io.shell import Job, Shell

RECHECK_S = 1.0
"""The longest wait: zmq's edges can be missed, so sockets are looked at again after this."""

WARN_EVERY_S = 10.0
"""A warning with the same key is logged at most this often."""

_MAX_KEYS = 1000


class Machine(Protocol):
    """What the loop needs of a machine."""

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""

    def next_deadline(self) -> float | None:
        """When something will be due."""


@dataclass(slots=True)
class _Key:
    last: float
    dropped: int = 0


class LimitedLog:
    """Warnings about peers, so many a minute and no more."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._keys: dict[str, _Key] = {}

    def warn(self, key: str, text: str) -> None:
        """Log `text` unless the same `key` was logged a moment ago; then count it."""
        now = monotonic()
        known = self._keys.get(key)
        if known is not None and now - known.last < WARN_EVERY_S:
            known.dropped += 1
            return
        if known is None and len(self._keys) >= _MAX_KEYS:
            self._keys.clear()
        self._keys[key] = _Key(now)
        dropped = 0 if known is None else known.dropped
        self._logger.warning("%s%s", text, f" (and {dropped} times before)" if dropped else "")


Source = Callable[[float], bool]
"""Drains one socket; True if there may be more."""


class Outcome:
    """How a loop has ended, once it has."""

    def __init__(self) -> None:
        self.exception: BaseException | None = None
        self._ended = False
        self._links: list[Callable[[], object]] = []

    def ready(self) -> bool:
        """Whether it has ended."""
        return self._ended

    def set(self, error: BaseException | None = None) -> None:
        """It has ended, by an error or without one; tell whoever wants to know."""
        self.exception = error
        self._ended = True
        for link in list(self._links):
            link()

    def check(self) -> None:
        """Raise the error it has ended by."""
        if self.exception is not None:
            raise self.exception

    def link(self, told: Callable[[], object]) -> None:
        """Call `told` when it ends: now, if it has."""
        self._links.append(told)
        if self._ended:
            told()

    def unlink(self, told: Callable[[], object]) -> None:
        """Do not call `told` any more."""
        self._links.remove(told)


class Driver:
    """One job that owns a node's sockets and runs its machines."""

    def __init__(self, name: str, logger: logging.Logger, shell: Shell) -> None:
        self.name = name
        self.shell = shell
        self.limited = LimitedLog(logger)
        self.failed = Outcome()
        """Set when the loop has ended; with the exception if it ended by one."""
        self.introduced = False
        """Whether a tower has answered this node since its start."""
        self._logger = logger
        self._wake = shell.signal()
        self._alarm = shell.alarm(self._ring)
        self._alarm_at = 0.0
        self._sources: list[Source] = []
        self._checks: list[Callable[[], object]] = []
        self._checked = 0.0
        self._machines: list[Machine] = []
        self._executors: dict[type, Callable[[Any], None]] = {Warn: self._on_warn}
        self._posted: deque[Callable[[float], Sequence[Action]]] = deque()
        self._closing = False
        self._job: Job | None = None
        self._thread = 0

    # Setting up

    def add_source(self, source: Source) -> None:
        """Call `source` in every turn of the loop."""
        self._sources.append(source)

    def add_check(self, check: Callable[[], object]) -> None:
        """Call `check` about once every `RECHECK_S`, before the sources."""
        self._checks.append(check)

    def add_machine(self, machine: Machine) -> None:
        """Let a machine know when its time has come."""
        self._machines.append(machine)

    def add_executors(self, executors: dict[type, Callable[[Any], None]]) -> None:
        """Say what to do for each type of action."""
        self._executors.update(executors)

    # Running

    def start(self) -> None:
        """Spawn the loop."""
        self._thread = get_ident()
        self._job = self.shell.spawn(self.name, self._run)

    def check_thread(self) -> None:
        """Raise `ConfigError` in a thread that is not the one of the loop."""
        if get_ident() != self._thread:
            raise ConfigError(
                f"this {self.name} belongs to the thread that has started it: use dafka.threads, "
                "whose producers and consumers are for any thread"
            )

    def now(self) -> float:
        """The time machines are given: monotonic seconds."""
        return monotonic()

    def wake(self) -> None:
        """Look at everything again, soon."""
        self._wake.set()

    def post(self, command: Callable[[float], Sequence[Action]]) -> None:
        """Run `command(now)` in the loop and perform what it returns."""
        self._posted.append(command)
        self._wake.set()

    def perform(self, actions: Sequence[Action]) -> None:
        """Execute actions in order. Never lets others work meanwhile."""
        executors = self._executors
        for action in actions:
            executors[type(action)](action)

    async def stop(self, timeout: float | None = None) -> None:
        """End the loop after its current turn."""
        self._closing = True
        self._wake.set()
        if self._job is not None:
            await self._job.join(timeout)

    @property
    def running(self) -> bool:
        """Whether the loop goes on."""
        return self._job is not None and not self._closing and not self.failed.ready()

    async def _run(self) -> None:
        try:
            while not self._closing:
                if self._turn():
                    await self.shell.pause()
                else:
                    await self._wait()
            self._turn()
        except Exception as error:
            self.fail(error)
        except BaseException as error:  # Ctrl-C that met this job: the shell tells the main one
            self._closing = True
            self._logger.warning("node=%s ended by %r", self.name, error)
            self.failed.set(Closed(f"this {self.name} was ended by {error!r}"))
            raise
        else:
            if not self.failed.ready():
                self.failed.set()
        finally:
            self._alarm.end()

    def fail(self, error: BaseException) -> None:
        """End the node loudly: by a fault of our own, of the disk, or of what its user wrote."""
        if isinstance(error, StoreError | ConfigError):
            self._logger.critical("node=%s ended: %s", self.name, error)
        else:
            self._logger.critical("node=%s ended by a bug", self.name, exc_info=error)
        self.failed.set(error)
        self._closing = True
        self._wake.set()

    def _turn(self) -> bool:
        self._wake.clear()
        now = monotonic()
        more = False
        if now >= self._checked + RECHECK_S:
            self._checked = now
            for check in self._checks:
                check()
        while self._posted:
            self.perform(self._posted.popleft()(now))
        for source in self._sources:
            more |= source(now)
        for machine in self._machines:
            deadline = machine.next_deadline()
            if deadline is not None and deadline <= now:
                self.perform(machine.tick(now))
        return more

    async def _wait(self) -> None:
        now = monotonic()
        until = now + RECHECK_S
        for machine in self._machines:
            deadline = machine.next_deadline()
            if deadline is not None and deadline < until:
                until = deadline
        if until > now:
            # Woken early, it only looks once more: that costs less than an alarm for each wait.
            if not now < self._alarm_at <= until:
                self._alarm_at = until
                self._alarm.set(until - now)
            await self._wake.wait()
        else:
            await self.shell.pause()

    def _ring(self) -> None:
        # Timers of milliseconds (libuv's) ring a bit early; then another one has to be set.
        self._alarm_at = 0.0
        self._wake.set()

    def _on_warn(self, action: Warn) -> None:
        self.limited.warn(action.key, action.text)
