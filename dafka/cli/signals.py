"""Ctrl-C, SIGTERM and SIGHUP, while no node runs: `dafka.cli.nodes` takes them over for those."""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130
"""Exit code: interrupted, and there is no result."""

_begun = False


def ending() -> list[signal.Signals]:
    """The signals that end a command. nohup has a process ignore SIGHUP, which then goes on."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


def arm() -> None:
    """From now on each of them is a `KeyboardInterrupt`, or before `begin` the end in silence."""
    for number in ending():
        signal.signal(number, _signalled)


def begin() -> None:
    """A command has begun: there is something to tell, or to put in order."""
    global _begun
    _begun = True


def _signalled(_number: int, _frame: FrameType | None) -> None:
    if not _begun:
        os._exit(INTERRUPTED)
    raise KeyboardInterrupt
