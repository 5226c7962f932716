"""A thread of each process in which nodes live, so that ordinary threads can use them.

Knows nothing of what runs in it.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import gevent
from gevent.event import Event

from dafka.errors import Closed

T = TypeVar("T")

_END_S = 2.0

Call = tuple["Future[Any]", Callable[[], Any]]


class Hub:
    """A thread with a gevent hub of its own; other threads have it call functions."""

    def __init__(self) -> None:
        """Starts the thread."""
        self.process = os.getpid()
        self._calls: deque[Call] = deque()
        self._open: set[Future[Any]] = set()
        self._ready, self._ended = threading.Event(), False
        self._thread = threading.Thread(target=self._live, name="dafka-beam", daemon=True)
        self._thread.start()
        self._ready.wait()

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in a greenlet of the hub; return or raise what it does.

        Blocks this thread, for as long as the function takes. `Closed` if the hub has ended.
        """
        future: Future[T] = Future()
        self._calls.append((future, function))
        if self._ended:
            raise Closed("the thread of Dafka's nodes has ended: this process is about to end")
        self._more.send()
        return future.result()

    def end(self) -> None:
        """End the thread; what waits in it is told so."""
        if self._ended or self.process != os.getpid():
            return
        self._ended = True
        self._more.send()
        self._thread.join(_END_S)

    # In the thread

    def _live(self) -> None:
        loop = gevent.get_hub().loop
        self._more, self._over = loop.async_(), Event()
        self._more.start(self._look)
        self._ready.set()
        self._over.wait()
        self._more.stop()
        for future in (*self._open, *(future for future, _ in self._calls)):
            if not future.done():
                future.set_exception(Closed("this process is about to end"))

    def _look(self) -> None:
        while self._calls:
            gevent.spawn(self._run, *self._calls.popleft())
        if self._ended:
            self._over.set()

    def _run(self, future: Future[Any], function: Callable[[], Any]) -> None:
        self._open.add(future)
        try:
            result = function()
        except BaseException as error:  # whatever it is, who has called is told
            self._open.discard(future)
            _settle(future, error=error)
        else:
            self._open.discard(future)
            _settle(future, result)


def _settle(future: Future[Any], result: Any = None, error: BaseException | None = None) -> None:
    if future.done():  # the hub was ended meanwhile
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


_lock = threading.Lock()
_hub: Hub | None = None


def hub() -> Hub:
    """The hub of this process, started when it is first needed; a forked child has its own."""
    global _hub
    with _lock:
        if _hub is None or _hub.process != os.getpid():
            _hub = Hub()
            atexit.register(_hub.end)
        return _hub


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
