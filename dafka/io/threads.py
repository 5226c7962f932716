"""Blocking calls in native threads, so that a node's loop never waits for a disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from gevent.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A few threads; `run` blocks only the calling greenlet."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPool(count)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread, and return or raise what it returns or raises."""

        def call() -> tuple[T, None] | tuple[None, BaseException]:
            # gevent prints every exception that leaves a thread, even those that are handled.
            try:
                return function(*args, **kwargs), None
            except BaseException as error:
                return None, error

        value, error = self._pool.apply(call)
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def close(self) -> None:
        """Let the threads end."""
        self._pool.kill()
