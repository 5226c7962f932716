"""The C nodes of zeromq/dafka, if their programs are on PATH: measured by what they bring.

`dafka_perf_store COUNT SIZE` publishes and waits for the store's last ACK, `dafka_perf_consumer`
counts what comes; each prints its rate. Their store does not sync. The tower is ours, since it
lets the system choose its ports; no record passes it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dafka.bench.process import Process, Processes, Unmeasured
from dafka.bench.scene import Outcome, Scene
from dafka.bench.work import Work

PROGRAMS = ("dafka_perf_store", "dafka_perf_consumer", "dafka_stored")
_RATE = re.compile(rb"mean throughput: (\d+) \[msg/s\]")
_CONFIG = """root
store
    db = {data}/db
consumer
    offset
        reset = {reset}
"""


def absent() -> str | None:
    """Why they cannot be measured; None if they can. Our own scripts do not count."""
    missing = [name for name in PROGRAMS if _find(name) is None]
    if not missing:
        return None
    return f"c is absent: no {missing[0]} of zeromq/dafka on PATH"


def _find(name: str) -> str | None:
    """A program of theirs: beside `dafka_perf_store`, as `dafka_stored` is a script of ours too."""
    first = shutil.which(PROGRAMS[0])
    return shutil.which(name, path=str(Path(first).parent)) if first else None


@contextmanager
def _nodes(scene: Scene, work: Work, data: str, reset: str) -> Iterator[_Cluster]:
    with Processes() as processes:
        config = Path(data) / f"{reset}.cfg"
        config.write_text(_CONFIG.format(data=data, reset=reset))
        sub, pub = processes.start("tower", work).ready()["endpoint"].split(",")
        cluster = _Cluster(processes, ["-c", str(config), "--sub", sub, "--pub", pub], data)
        store = cluster.start("dafka_stored")
        yield cluster
        store.terminate()


class _Cluster:
    def __init__(self, processes: Processes, flags: list[str], data: str) -> None:
        self._processes, self._flags, self._data = processes, flags, data

    def start(self, name: str, *arguments: str) -> Process:
        program = _find(name)
        assert program is not None
        command = [program, *self._flags, *arguments]
        return self._processes.program(name, command, Path(self._data))


def publish(scene: Scene, work: Work) -> Outcome:
    """Until the store has acknowledged the last record, without a sync."""
    with scene.directory() as data, _nodes(scene, work, data, "latest") as nodes:
        return _rated(nodes.start(PROGRAMS[0], str(work.records), str(work.size)), work)


def live(scene: Scene, work: Work) -> Outcome:
    """From the first record that arrives to the last, while it is published and stored."""
    with scene.directory() as data, _nodes(scene, work, data, "earliest") as nodes:
        measures = (str(work.records), str(work.size))
        consumer = nodes.start(PROGRAMS[1], *measures)
        producer = nodes.start(PROGRAMS[0], *measures)
        outcome = _rated(consumer, work)
        _rated(producer, work)
    return outcome


def replay(scene: Scene, work: Work) -> Outcome:
    """Everything from a store, when its producer has gone."""
    measures = (str(work.records), str(work.size))
    with scene.directory() as data, _nodes(scene, work, data, "earliest") as nodes:
        _rated(nodes.start(PROGRAMS[0], *measures), work)
        return _rated(nodes.start(PROGRAMS[1], *measures), work)


def _rated(process: Process, work: Work) -> Outcome:
    """What it prints in the end; it has nothing to say before."""
    while True:
        found = _RATE.search(process.line())
        if found:
            break
    rate = float(found[1])
    if not rate:
        raise Unmeasured(f"the {process.name} says that it did nothing")
    return Outcome({"rate": rate}, work.records / rate)
