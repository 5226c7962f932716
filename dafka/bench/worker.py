"""A process of the benchmark: `python -m dafka.bench.worker ROLE WORK`.

It prints JSON, an object a line, first `{"ready": ...}`, and begins when it is told to by a line on
its standard input. The end of that, or of the benchmark itself, ends it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from importlib import import_module
from time import monotonic
from typing import Any

from dafka.bench.work import Work

ROLES = {
    "nodes": ("tower", "store", "join", "produce", "consume", "replay", "shout"),
    "nodes_apart": ("first_ack", "produce_in_parts"),
    "latency": ("paced", "timed"),
    "peer_nats": ("nats_publish", "nats_consume", "nats_paced", "nats_timed"),
    "peer_redis": ("redis_publish", "redis_consume", "redis_paced", "redis_timed"),
    "raw": ("raw_publish", "raw_subscribe"),
    "raw_latency": ("raw_paced", "raw_timed", "raw_committed", "raw_first"),
    "disk": ("commit", "sync"),
    "streams": ("stream",),
}
"""Modules of `dafka.bench.roles`, and their roles."""

_PR_SET_PDEATHSIG = 1


def say(**result: Any) -> None:
    """Tell the benchmark something."""
    os.write(1, json.dumps(result).encode() + b"\n")


def ready(**details: Any) -> None:
    """Say so, and wait for the word to go; for a process without greenlets."""
    say(ready=details)
    if not released():
        sys.exit()


def released() -> bool:
    """Wait for a word; False if there will be none."""
    return bool(sys.stdin.buffer.readline())


def green_ready(**details: Any) -> None:
    """The same for a process whose nodes go on meanwhile."""
    say(ready=details)
    if not heard():
        sys.exit()


def heard() -> bool:
    """Wait for a word, while nodes go on; False if there will be none."""
    return bool(_hear())


def word() -> str:
    """The word itself; the process ends if there will be none."""
    return _hear().decode().strip() or sys.exit()


def _hear() -> bytes:
    from gevent.socket import wait_read

    wait_read(0)
    return os.read(0, 4096)


class Clock:
    """From when to when; comparable between processes, since CLOCK_MONOTONIC is the machine's."""

    def __init__(self) -> None:
        self.begin = monotonic()

    def say(self, **more: Any) -> None:
        """It is over now."""
        say(begin=self.begin, end=monotonic(), **more)


def die_with_the_benchmark() -> None:
    """Have the system kill this process when the benchmark is killed, where it can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(role: str, work: str) -> None:
    """Run a role; `program` becomes what WORK names, a list of arguments."""
    die_with_the_benchmark()
    if role == "program":
        command = json.loads(work)
        os.execv(command[0], command)
    module = next(name for name, roles in ROLES.items() if role in roles)
    getattr(import_module(f"dafka.bench.roles.{module}"), role)(Work.read(work))


if __name__ == "__main__":
    main(*sys.argv[1:])
