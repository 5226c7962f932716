"""Blocking calls in native threads, so that a node's loop never waits for a disk."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import gevent
from gevent.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")

_CLOSE_S = 0.1


class Threads:
    """A few threads; `run` blocks only the calling greenlet."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPool(count)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread, and return or raise what it returns or raises."""
        value, error = self._pool.apply(_called, (partial(function, *args, **kwargs),))
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def close(self) -> None:
        """Let the threads end: at once if nothing runs in them, or else when that has ended."""
        _close(self._pool)


def within(timeout: float, function: Callable[[], object]) -> bool:
    """Call `function` in a thread of its own; False if it has not ended after `timeout` seconds.

    Then it goes on, and nobody hears of its end.
    """
    pool = ThreadPool(1)
    try:
        outcome = pool.spawn(_called, function).wait(timeout)
    finally:
        _close(pool)
    if outcome is not None and outcome[1] is not None:
        raise outcome[1]
    return outcome is not None


def _called(function: Callable[[], T]) -> tuple[T, None] | tuple[None, BaseException]:
    # gevent prints every exception that leaves a thread, even those that are handled.
    try:
        return function(), None
    except BaseException as error:
        return None, error


def _close(pool: ThreadPool) -> None:
    # It would wait without bound for what runs.
    gevent.spawn(pool.kill).join(_CLOSE_S)
