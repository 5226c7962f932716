"""Numbered records: a producer that tells how far it has come, and what a consumer must print.

As a program (`python -m tests.support.counting NAME TOPIC TOWER COUNT PER_SECOND`) it publishes the
records `NAME 0`, `NAME 1`, ... and prints how many stores have acknowledged, a line each time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from time import monotonic

import gevent

import dafka
from tests.support.processes import PATIENCE_S, Cluster, Process, Processes, eventually

_SLICE_S = 0.01


def lines(name: str, count: int, portion: int = 0) -> list[bytes]:
    """Lines to publish, `portion` of them in each item."""
    step = portion or count
    return [
        b"".join(
            b"%s %d\n" % (name.encode(), number)
            for number in range(first, min(first + step, count))
        )
        for first in range(0, count, step)
    ]


def counting(processes: Processes, cluster: Cluster, name: str, count: int, rate: int) -> Process:
    """Start this program for the topic "numbers", with `rate` records a second."""
    arguments = (name, "numbers", cluster.tower, str(count), str(rate))
    return processes.start([sys.executable, "-m", __name__, *arguments])


class Counts:
    """How many records of each name `dafka consume` has printed as text, looked at again and again.

    Fails unless those of each name are numbered from 0, in order, each once, in one partition.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self._read = 0
        self._counts: dict[str, int] = {}
        self._names: dict[bytes, str] = {}

    def __call__(self) -> dict[str, int]:
        """The numbers at this moment."""
        with self.process.out.open("rb") as file:
            file.seek(self._read)
            whole, end, _ = file.read().rpartition(b"\n")
        self._read += len(whole + end)
        for line in whole.split(b"\n") if end else []:
            self._add(*line.split(b" "))
        return dict(self._counts)

    def _add(self, topic: bytes, partition: bytes, text: bytes, number: bytes) -> None:
        name = text.decode()
        assert topic == b"numbers"
        assert self._names.setdefault(partition, name) == name
        expected = self._counts.get(name, 0)
        assert int(number) == expected, f"{name}: {int(number)} in place of {expected}"
        self._counts[name] = expected + 1

    def when(self, look: Callable[[dict[str, int]], object], within: float = PATIENCE_S) -> None:
        """Wait until the numbers please `look`."""
        eventually(lambda: look(self()), f"{self()} so far", within)


def counted(process: Process) -> dict[str, int]:
    """What a consumer has printed in the end, see `Counts`."""
    return Counts(process)()


def told(process: Process) -> int:
    """How many records the program has last said to be acknowledged."""
    with process.out.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 100))
        complete = file.read().rpartition(b"\n")[0]
    return int(complete.rpartition(b"\n")[2] or 0)


def _tell(producer: dafka.Producer) -> None:
    before = 0
    while True:
        if producer.acknowledged > before:
            before = producer.acknowledged
            os.write(1, b"%d\n" % before)
        gevent.sleep(0.001)


def main(name: str, topic: str, tower: str, count: int, per_second: int) -> None:
    """Publish at a steady pace, tell what is acknowledged, and end when everything is."""
    began = monotonic()
    number = 0
    with dafka.Producer(topic, tower=tower) as producer:
        gevent.spawn(_tell, producer)
        while number < count:
            due = min(count, int((monotonic() - began) * per_second) + 1)
            for number in range(number, due):  # noqa: B020
                producer.publish(f"{name} {number}".encode())
            number = due
            gevent.sleep(_SLICE_S)
        producer.flush()
        gevent.sleep(_SLICE_S)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))  # type: ignore[arg-type]
