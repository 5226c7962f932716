"""The thread in which the nodes of all other threads run, and how others have it act.

It has a gevent hub of its own, and lives from the first start of a node to the last stop. Knows
nothing of nodes.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any, Protocol, TypeVar

import gevent
from gevent.event import Event

from dafka.errors import Closed

logger = logging.getLogger("dafka.threads")

T = TypeVar("T")

EXIT_S = 2.0
"""When the program ends, what nobody has stopped has so long to hand on what it holds, and end."""
_CLOSING_S = 0.5


class Guest(Protocol):
    """What runs in the thread."""

    def stop(self, timeout: float | None = None) -> Any:
        """End, and wait at most `timeout` seconds for others."""

    def abandon(self, error: BaseException) -> None:
        """The thread is gone: whoever waits, or comes, is told `error`."""

    def forked(self) -> None:
        """This is the child of a fork: the thread is not there, and locks may be held."""


class Background:
    """A thread with a gevent hub: it calls what other threads hand over."""

    def __init__(self, name: str = "dafka") -> None:
        self.guests: dict[Guest, None] = {}
        self._lock = threading.Lock()
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._open: set[Future[Any]] = set()
        """Calls whose callers wait."""
        self._closing = False
        self._error: BaseException | None = None
        self._waker: Any
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name=name, daemon=True)
        self._thread.start()
        ready.wait()

    @property
    def alive(self) -> bool:
        """Whether it takes calls."""
        return self._error is None and not self._closing

    def call(self, function: Callable[[], T]) -> T:
        """Call `function` in a greenlet of the thread; return or raise what it returns or raises.

        No lock may be held that the thread takes.
        """
        future: Future[T] = Future()
        try:
            with self._lock:
                if not self.alive:
                    raise self._error or Closed("the background thread has ended")
                self._open.add(future)
                self._calls.append((future, function))
                self._waker.send()
            return future.result()
        finally:
            self._open.discard(future)

    def waker(self, function: Callable[[], None]) -> Any:
        """Only in the thread: what any thread may `send()`, to have `function` called there."""
        watcher = gevent.get_hub().loop.async_()
        watcher.start(function)
        return watcher

    def close(self, timeout: float) -> None:
        """End the thread; wait for that for at most `timeout` seconds."""
        with self._lock:
            if self.alive:
                self._closing = True
                self._waker.send()
        self._thread.join(timeout)

    def _run(self, ready: threading.Event) -> None:
        hub, more = gevent.get_hub(), Event()
        self._waker = self.waker(more.set)
        # Closing a socket needs a thread, and at its end Python 3.12.0 and 3.12.1 start none.
        hub.threadpool.apply(int)
        ready.set()
        try:
            while not self._closing:
                more.wait()
                more.clear()
                while self._calls:
                    gevent.spawn(_answer, *self._calls.popleft())
        except BaseException as error:
            self._fail(error)
        else:
            self._fail(Closed("the background thread has ended"))
        finally:
            self._waker.close()
            hub.destroy(destroy_loop=True)

    def _fail(self, error: BaseException) -> None:
        """There is nobody who answers any more."""
        with self._lock:
            self._error = error
            self._calls.clear()
            unanswered, guests = list(self._open), list(self.guests)
        for future in unanswered:
            if not future.done():
                future.set_exception(error)
        for guest in guests:
            guest.abandon(error)


def _answer(future: Future[Any], function: Callable[[], Any]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)


class _Process:
    """The one background thread of this process, if there is one, and who sees to its end."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.background: Background | None = None
        self.watched = False


_process = _Process()


def enter(guest: Guest) -> Background:
    """The thread, which goes on at least until this guest leaves."""
    with _process.lock:
        background = _process.background
        if background is None or not background.alive:
            background = _process.background = Background()
        background.guests[guest] = None
        if not _process.watched:
            _process.watched = True
            # No daemon: Python waits for it at the end of a program. `atexit` would be too late:
            # newer Pythons start no threads then, and closing a node's files needs some.
            threading.Thread(target=_stop_at_exit, name="dafka exit", daemon=False).start()
        return background


def leave(guest: Guest, background: Background, timeout: float) -> None:
    """The guest is done; the last one ends the thread, within `timeout` seconds."""
    with _process.lock:
        background.guests.pop(guest, None)
        if background.guests:
            return
        if _process.background is background:
            _process.background = None
    background.close(timeout)


def _stop_at_exit() -> None:
    """Wait until nothing of the program but daemons goes on, then stop the nodes that are left."""
    me, others = threading.current_thread(), [threading.main_thread()]
    while others:
        for thread in others:
            thread.join()
        others = [t for t in threading.enumerate() if t.is_alive() and not t.daemon and t is not me]
    until = monotonic() + EXIT_S - _CLOSING_S
    background = _process.background
    for guest in [] if background is None else list(background.guests):
        try:
            guest.stop(max(0.0, until - monotonic()))
        except Exception:
            logger.exception("a node could not be stopped at the end of the program")


def _after_fork() -> None:
    global _process
    background, _process = _process.background, _Process()
    for guest in [] if background is None else background.guests:
        guest.forked()


os.register_at_fork(after_in_child=_after_fork)
