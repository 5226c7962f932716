"""Processes that are forked off to live and be killed: they need not wait for Python to start."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable


def forked(live: Callable[[], None]) -> int:
    """Let a new process live; returns its number. It ends with 0, or with 1 if that failed."""
    child = os.fork()
    if not child:
        status = 1
        try:
            live()
            status = 0
        finally:
            os._exit(status)
    return child


def check_end(status: int, life: int, *, killed: bool) -> None:
    """End this program unless a life has ended as it had to, by SIGKILL or well."""
    wanted = signal.SIGKILL if killed else 0
    if status != wanted:
        sys.exit(f"life {life} ended with {status} instead of {wanted}")
