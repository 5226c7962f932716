"""Calls beside a test, in ordinary threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any


class Threaded:
    """A call in a thread of its own."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._future: Future[Any] = Future()
        self._thread = Thread(target=self._run, args=(function, *arguments), daemon=True)
        self._thread.start()

    def ready(self) -> bool:
        """Whether it has ended."""
        return self._future.done()

    def get(self, timeout: float | None = None) -> Any:
        """What came of it."""
        return self._future.result(timeout)

    def join(self, timeout: float | None = 60.0) -> None:
        """Wait for its end."""
        self._thread.join(timeout)

    def _run(self, function: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._future.set_result(function(*arguments))
        except BaseException as error:
            self._future.set_exception(error)
