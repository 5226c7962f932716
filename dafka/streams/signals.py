"""Ctrl-C and SIGTERM stop every application that runs in the main thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import gevent


class Stoppable(Protocol):
    """What can be asked to end."""

    def stop(self) -> None:
        """End soon."""


_KINDS = (signal.SIGINT, signal.SIGTERM)
_running: list[Stoppable] = []
_before: dict[signal.Signals, Any] = {}
_watchers: list[Any] = []


@contextmanager
def stopped_by_signals(application: Stoppable) -> Iterator[None]:
    """Stop `application` when a signal comes; the last one gives the signals back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if not _running:
        _before.update({kind: signal.getsignal(kind) for kind in _KINDS})
        _watchers.extend(gevent.signal_handler(kind, _stop_all) for kind in _KINDS)
    _running.append(application)
    try:
        yield
    finally:
        _running.remove(application)
        if not _running:
            while _watchers:
                _watchers.pop().cancel()
            for kind, handler in _before.items():
                signal.signal(kind, handler)


def _stop_all() -> None:
    for application in _running:
        application.stop()
