"""A thread with a hub of its own: towers and stores run there while a test blocks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import gevent
from gevent.event import Event

PATIENCE_S = 30.0


class Backstage:
    """Runs functions in greenlets of another thread, whose hub is never kept waiting."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._ended = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backstage", daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    def call(self, function: Callable[[], Any]) -> Any:
        """Call `function` there, and return or raise what it returns or raises."""
        future: Future[Any] = Future()
        self._calls.append((future, function))
        self._waker.send()
        return future.result(PATIENCE_S)

    def hold(self, node: Any) -> Any:
        """A node that lives there: what is asked of it is asked there."""
        return Held(self, node)

    def end(self) -> None:
        """End the thread."""
        self._ended = True
        self._waker.send()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        hub, wake = gevent.get_hub(), Event()
        self._waker = hub.loop.async_()
        self._waker.start(wake.set)
        self._ready.set()
        while not self._ended:
            wake.wait()
            wake.clear()
            while self._calls:
                gevent.spawn(_answer, *self._calls.popleft())
        self._waker.close()
        hub.destroy(destroy_loop=True)


class Held:
    """Stands for a node of another thread: methods and properties are asked for there."""

    def __init__(self, backstage: Backstage, node: Any) -> None:
        self._backstage, self._node = backstage, node

    def __getattr__(self, name: str) -> Any:
        value = self._backstage.call(lambda: getattr(self._node, name))
        if not callable(value):
            return value
        return lambda *args, **kwargs: self._backstage.call(lambda: value(*args, **kwargs))


def _answer(future: Future[Any], function: Callable[[], Any]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)
