"""The one loop of every node: wait, drain, decide, act, re-arm. Decides nothing itself."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

import gevent
from gevent.event import AsyncResult, Event

from dafka.core.actions import Action, Warn
from dafka.errors import Closed, ConfigError, StoreError

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


class Driver:
    """One greenlet that owns a node's sockets and runs its machines."""

    def __init__(self, name: str, logger: logging.Logger) -> None:
        self.name = name
        self.limited = LimitedLog(logger)
        self.failed: AsyncResult = AsyncResult()
        """Set when the loop has ended; with the exception if it ended by one."""
        self.introduced = False
        """Whether a tower has answered this node since its start."""
        self._logger = logger
        self._wake = Event()
        self._alarm: Any = None
        self._alarm_at = 0.0
        self._sources: list[Source] = []
        self._checks: list[Callable[[], object]] = []
        self._checked = 0.0
        self._machines: list[Machine] = []
        self._executors: dict[type, Callable[[Any], None]] = {Warn: self._on_warn}
        self._posted: deque[Callable[[float], Sequence[Action]]] = deque()
        self._closing = False
        self._greenlet: gevent.Greenlet | None = None
        self._hub: gevent.hub.Hub | None = None

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
        self._hub = gevent.get_hub()
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = self.name

    def check_thread(self) -> None:
        """Raise `ConfigError` in a thread that is not the one of the loop."""
        if gevent.get_hub() is not self._hub:
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
        """Execute actions in order. Never yields to the hub."""
        executors = self._executors
        for action in actions:
            executors[type(action)](action)

    def stop(self, timeout: float | None = None) -> None:
        """End the loop after its current turn."""
        self._closing = True
        self._wake.set()
        if self._greenlet is not None and self._greenlet is not gevent.getcurrent():
            self._greenlet.join(timeout)

    @property
    def running(self) -> bool:
        """Whether the loop goes on."""
        return self._greenlet is not None and not self._closing and not self.failed.ready()

    def _run(self) -> None:
        try:
            while not self._closing:
                if self._turn():
                    gevent.sleep(0)
                else:
                    self._wait()
            self._turn()
        except Exception as error:
            self.fail(error)
        except BaseException as error:  # Ctrl-C that met this greenlet: gevent tells the main one
            self._closing = True
            self._logger.warning("node=%s ended by %r", self.name, error)
            self.failed.set_exception(Closed(f"this {self.name} was ended by {error!r}"))
            raise
        else:
            if not self.failed.ready():
                self.failed.set(None)
        finally:
            if self._alarm is not None:
                self._alarm.close()

    def fail(self, error: BaseException) -> None:
        """End the node loudly, because of a fault of our own or of the disk."""
        if isinstance(error, StoreError):
            self._logger.critical("node=%s ended: %s", self.name, error)
        else:
            self._logger.critical("node=%s ended by a bug", self.name, exc_info=error)
        self.failed.set_exception(error)
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

    def _wait(self) -> None:
        now = monotonic()
        until = now + RECHECK_S
        for machine in self._machines:
            deadline = machine.next_deadline()
            if deadline is not None and deadline < until:
                until = deadline
        if until > now:
            self._set_alarm(now, until)
            self._wake.wait()
        else:
            gevent.sleep(0)

    def _set_alarm(self, now: float, until: float) -> None:
        """Be woken then, or before: an alarm that is early costs less than one for each wait."""
        if now < self._alarm_at <= until:
            return
        if self._alarm is not None:
            self._alarm.close()
        self._alarm_at = until
        self._alarm = gevent.get_hub().loop.timer(until - now)
        self._alarm.start(self._wake.set, update=True)

    def _on_warn(self, action: Warn) -> None:
        self.limited.warn(action.key, action.text)
