"""Nodes under full load, which tell how far they have come.

As a program (`python -m tests.support.loading ROLE TOWER`) it publishes records of 100 bytes as
fast as it can (`publish`), or reads them all from the earliest on (`read`), and prints how many
are acknowledged or delivered, ten times a second. It ends with its standard input.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from time import monotonic

import gevent
import gevent.os

import dafka
from tests.support.counting import told
from tests.support.processes import Cluster, Process, Processes, eventually

TOPIC = "load"
CONTENT = bytes(100)
_TELL_S = 0.1


def loading(processes: Processes, cluster: Cluster, role: str) -> Process:
    """Start this program."""
    command = [sys.executable, "-m", __name__, role, cluster.tower]
    return processes.start(command, stdin=-1)


class Watch:
    """Looks at processes until something holds: how large they were at most, how fast they were."""

    def __init__(self, **processes: Process) -> None:
        self.processes = processes
        self.most_mib: dict[str, float] = dict.fromkeys(processes, 0.0)

    def until(self, look: Callable[[], object], what: str, within: float) -> dict[str, float]:
        """Wait; return the records a second that each told of meanwhile."""
        telling = {name: one for name, one in self.processes.items() if name != "server"}
        before = {name: told(process) for name, process in telling.items()}
        began = monotonic()

        def looked() -> bool:
            for name, process in self.processes.items():
                self.most_mib[name] = max(self.most_mib[name], process.resident_bytes() / 2**20)
            return bool(look())

        eventually(looked, what, within)
        took = monotonic() - began
        return {name: (told(one) - before[name]) / took for name, one in telling.items()}

    def for_seconds(self, seconds: float) -> dict[str, float]:
        """The same for so long."""
        end = monotonic() + seconds
        return self.until(lambda: monotonic() >= end, "the end of a pause", seconds + 60)


def _tell(count: Callable[[], int]) -> None:
    while True:
        os.write(1, b"%d\n" % count())
        gevent.sleep(_TELL_S)


def _wait_for_end() -> None:
    while gevent.os.tp_read(0, 100):
        pass


def publish(tower: str) -> None:
    """Publish until standard input ends, then wait for all acknowledgements."""
    with dafka.Producer(TOPIC, tower=tower) as producer:
        gevent.spawn(_tell, lambda: producer.acknowledged)
        end = gevent.spawn(_wait_for_end)
        while not end.ready():
            for _ in range(1000):
                producer.publish(CONTENT)
        producer.flush(60)
        os.write(1, b"%d\n" % producer.acknowledged)


def read(tower: str) -> None:
    """Read until standard input ends."""
    delivered = 0
    with dafka.Consumer(TOPIC, tower=tower, start="earliest") as consumer:
        gevent.spawn(_tell, lambda: delivered)
        end = gevent.spawn(_wait_for_end)
        while not end.ready():
            for run in consumer.runs(timeout=0.5):
                delivered += len(run)
                if end.ready():
                    break
        os.write(1, b"%d\n" % delivered)


if __name__ == "__main__":
    {"publish": publish, "read": read}[sys.argv[1]](sys.argv[2])
