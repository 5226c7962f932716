"""The thread of each process in which nodes live, so that ordinary threads can use them."""

from __future__ import annotations

import atexit
import os
import threading

from dafka.threads.background import Background

_END_S = 2.0

_lock = threading.Lock()
_hub: Background | None = None


def hub() -> Background:
    """The thread of this process, started when it is first needed; a forked child has its own."""
    global _hub
    with _lock:
        if _hub is None or not _hub.alive:
            _hub = Background("dafka beam")
            atexit.register(_hub.close, _END_S)
        return _hub


def _after_fork() -> None:
    global _lock, _hub
    if _hub is not None:
        atexit.unregister(_hub.close)
    _lock, _hub = threading.Lock(), None


os.register_at_fork(after_in_child=_after_fork)
