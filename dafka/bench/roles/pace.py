"""Sends records at the moments they are due, whatever has held up the ones before.

An event loop's timers are good for a millisecond, which is ten times what is to be measured. So the
system's timerfd wakes the sender; a loop waits for it as for any other descriptor.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from time import monotonic

from dafka.bench.latency import LEAD_S
from dafka.bench.work import Work

_TFD_NONBLOCK, _TFD_CLOEXEC, _TFD_TIMER_ABSTIME = os.O_NONBLOCK, 0o2000000, 1
_CLOCK_MONOTONIC = 1
_START_S = 0.05


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """Its descriptor becomes readable at a time."""

    def __init__(self) -> None:
        if sys.platform != "linux":
            sys.exit("latencies are measured on Linux only: they need timerfd")
        self._libc = ctypes.CDLL(None, use_errno=True)
        flags = _TFD_NONBLOCK | _TFD_CLOEXEC
        self.descriptor: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, flags)
        if self.descriptor < 0:
            sys.exit(f"the system gives no timer: {os.strerror(ctypes.get_errno())}")

    def set(self, at: float) -> None:
        """Have it readable at a time of CLOCK_MONOTONIC, and not before."""
        whole = int(at)
        spec = _Itimerspec(value=_Timespec(whole, int((at - whole) * 1e9)))
        self._libc.timerfd_settime(self.descriptor, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None)


class Pace:
    """When each record is due: `lead` of them before those that count."""

    def __init__(self, work: Work) -> None:
        self.rate = work.rate
        self.lead = max(1, int(work.rate * LEAD_S))
        self.total = self.lead + work.records
        self.begin = monotonic() + _START_S

    def due(self, number: int) -> float:
        """Of a record, counted from the first of the lead."""
        return self.begin + number / self.rate

    def __iter__(self) -> Iterator[float]:
        """Every due time, in order."""
        return map(self.due, range(self.total))


def green_wait(timer: Timer, due: float) -> None:
    """Let the other greenlets go on until a record is due."""
    from gevent.socket import wait_read

    timer.set(due)
    wait_read(timer.descriptor)
