"""What producers, consumers and clusters for ordinary threads have in common: start to stop.

Each stands before a node that runs in the background thread. Only that thread uses the node, but
for what says that it is read anywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from dafka.errors import Closed
from dafka.io.driver import Outcome
from dafka.io.green import GreenLife
from dafka.io.life import time_to_end
from dafka.threads.background import Background, enter, leave
from dafka.validity import check_timeout

N = TypeVar("N", bound=GreenLife)
T = TypeVar("T")

_LEAVE_S = 1.0


class Shell(Generic[N]):
    """`start`, `stop`, `wait` and the context manager, for any thread."""

    _kind: str

    def __init__(self, node: N) -> None:
        self._node = node
        self._background: Background | None = None
        self._error: BaseException | None = None
        """What has ended the node, but for `stop`."""
        self._stopped = self._forked = False
        self._told = True
        """Whether the node will have a turn anyway, or cannot have one."""
        self._waiting = 0
        self._waker: Any = None
        self._make_locks()

    def _make_locks(self) -> None:
        # Plain, since it is taken for each record; a condition's own is not safe from Ctrl-C.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._over = threading.Event()

    # Life

    def start(self) -> Self:
        """Open sockets and begin to work; returns at once, whether or not a tower is there.

        `StoreError` or `ConfigError` if that is not possible, see the same node of `dafka`.
        """
        with self._lock:
            if self._background is not None or self._error is not None:
                raise Closed(f"a {self._kind} can be started once")
            background = self._background = enter(self)
        try:
            background.call(lambda: self._begin(background))
        except BaseException:
            self._background = None
            leave(self, background, _LEAVE_S)
            raise
        return self

    def stop(self, timeout: float | None = None) -> Any:
        """End the node; what was accepted is handed on first, within `timeout` seconds."""
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the node has ended, and raise what ended it; False after `timeout` (s)."""
        self._check_started()
        self._over.wait(check_timeout(timeout))
        return self.check_alive()

    def check_alive(self) -> bool:
        """Raise the exception that ended the node, if one did; True if it has ended."""
        if self._error is not None:
            raise self._error
        return self._over.is_set()

    @property
    def started(self) -> bool:
        """Whether `start` has been called."""
        return self._background is not None

    @property
    def introduced(self) -> bool:
        """Whether a tower has answered this node since its start."""
        return self._node.introduced

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(time_to_end(error))

    # In the background thread

    def _begin(self, background: Background) -> None:
        self._node.start()
        if self._background is not background:  # Ctrl-C met who has waited for this
            self._node.stop(0)
            return
        self._waker = background.waker(self._node.driver.wake)
        for driver in self._node.drivers:
            driver.failed.link(partial(self._has_ended, driver.failed))
        self._has_begun()

    def _has_begun(self) -> None:
        self._told = False

    def _has_ended(self, outcome: Outcome) -> None:
        self.abandon(outcome.exception)

    def _until(self, timeout: float | None) -> float | None:
        """When waiting ends (None: never); `ConfigError` if that is no time."""
        timeout = check_timeout(timeout)
        return None if timeout is None else monotonic() + timeout

    # For the background thread, or instead of it

    def abandon(self, error: BaseException | None) -> None:
        """The node has ended, by an error or not: whoever waits is told so."""
        with self._lock:
            if not self._over.is_set():
                self._error = None if self._stopped else error
            self._over.set()
            self._told = True
            self._shut()
            self._changed.notify_all()

    def forked(self) -> None:
        """This is the child of a fork: the node stayed with the parent."""
        self._make_locks()
        self._error = Closed(
            f"this {self._kind} was started before this process was forked, and stayed with the "
            "parent: make a new one in this process"
        )
        self._over.set()
        self._forked = self._told = True
        self._shut()

    # Inside

    def _shut(self) -> None:
        """From now on nothing is accepted. With the lock, but in the child of a fork."""

    @property
    def _done(self) -> bool:
        """Whether there is nothing to stop."""
        return not self.started or self._stopped or self._forked

    def _leave(self, end: Callable[[], object]) -> None:
        """Call `end` in the thread, which ends the node, and let go of the thread."""
        background = self._background
        if background is None:
            return

        def leaving() -> None:
            try:
                end()
            finally:
                self.abandon(None)
                self._waker.close()

        try:
            if background.alive:
                background.call(leaving)
        except Exception:
            if background.alive:  # else it has ended meanwhile, and the node with it
                raise
        finally:
            self.abandon(None)
            leave(self, background, _LEAVE_S)

    def _wake(self) -> None:
        """Have the node look at what is new, soon. Only with the lock."""
        if not self._told:
            self._told = True
            self._waker.send()

    def _wait_changed(self, until: float | None) -> bool:
        """Wait until something may have changed; False if it is too late. Only with the lock."""
        left = None if until is None else until - monotonic()
        if left is not None and left <= 0:
            return False
        self._waiting += 1
        try:
            self._changed.wait(left)
        finally:
            self._waiting -= 1
        return True

    def _there(self, function: Callable[[], T]) -> T:
        """Call `function` where the node runs; here, if it runs no more."""
        background = self._background
        if self._forked:
            self.check_alive()
        if background is None or self._over.is_set():
            return function()
        return background.call(function)

    def _locked(self, function: Callable[[], T]) -> T:
        """The same, while nobody else changes anything; `function` does not wait."""

        def locked() -> T:
            with self._lock:
                return function()

        return self._there(locked)

    def _change(self, function: Callable[[], T]) -> T:
        """The same, for what only a node that runs can do."""
        self.check_alive()
        return self._locked(function)

    def _check_started(self) -> None:
        if self._background is None:
            raise Closed(f"this {type(self).__name__} has not been started: use it in a `with`")
