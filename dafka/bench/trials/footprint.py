"""What nodes cost besides time: until they work, while nobody asks anything of them, in memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from time import sleep
from typing import Any

from dafka.bench.process import Process, Processes
from dafka.bench.scene import Outcome, Scene
from dafka.bench.trials.rates import cluster, run_all
from dafka.bench.work import Work

MS = 1000.0
MB = 1e6
LOOPBACK = "tcp://127.0.0.1:*"
POINTS = (0.1, 0.2, 0.5, 1.0)
"""Shares of all records, after which memory is looked at."""


def point_name(share: float) -> str:
    """10%, 100%."""
    return f"{share:.0%}"


# From the start to the first acknowledgement


def start(scene: Scene, work: Work) -> Outcome:
    """Of a server, on as many records as `work` has, to the first ACK of a record."""
    data, new = scene.kept(f"start on {work.records} of {work.size}")
    if new and work.records > 1:
        with cluster(scene, work, data) as nodes:
            run_all(nodes.producers(work.but(records=work.records - 1)))
    figures = {"process": _server(data), "server": _nodes(scene, work, data)}
    return Outcome(figures, sum(figures.values()) / MS)


def _server(data: str) -> float:
    """With the start of the process, as who types `dafka server` waits for it."""
    command = [sys.executable, "-m", "dafka.cli", "server", "--data", data, "--json"]
    with Processes() as processes:
        producer = processes.start("first_ack", Work())
        producer.ready()
        server = processes.command("server", [*command, "--sub", LOOPBACK, "--pub", LOOPBACK])
        tower = json.loads(server.line())["tower"]
        producer.go(f"{tower['sub']},{tower['pub']}")
        acked = float(producer.hear()["acked"])
        server.terminate()
    return (acked - server.started) * MS


def _nodes(scene: Scene, work: Work, data: str) -> float:
    """From the moment that the process has imported everything."""
    with Processes() as processes:
        producer = processes.start("first_ack", Work())
        producer.ready()
        details = processes.start("store", work.but(data=data)).ready()
        producer.go(details["endpoint"])
        acked = float(producer.hear()["acked"])
    return (acked - float(details["begin"])) * MS


def raw_start(scene: Scene, work: Work) -> Outcome:
    """Of a process with plain sockets and SQLite, to the first commit that another one hears of."""
    with scene.directory() as data, Processes() as processes:
        sender = processes.start("raw_first", Work())
        sender.ready()
        receiver = processes.start("raw_committed", work.but(data=data, records=1, rate=0.0))
        details = receiver.ready()
        sender.go(details["endpoint"])
        receiver.go(sender.ready()["endpoint"])
        acked = float(sender.hear()["acked"])
    figures = {
        "process": (acked - receiver.started) * MS,
        "server": (acked - float(details["begin"])) * MS,
    }
    return Outcome(figures, sum(figures.values()) / MS)


# While nobody asks anything of them

IDLE = ("tower", "store", "server", "producer", "consumer")
"""Nodes; a server is a tower and a store in one process."""


def idle(scene: Scene, work: Work) -> Outcome:
    """Processor and memory of each kind of node, in a cluster of them all."""
    with Processes() as processes, scene.directory() as data, scene.directory() as other:
        tower = processes.start("tower", work)
        at = work.but(endpoints=(tower.ready()["endpoint"],))
        store = processes.start("join", at.but(data=data))
        store.ready()
        producer = processes.start("produce", at)
        producer.ready()
        consumer = processes.start("consume", at)
        consumer.ready()
        server = processes.start("store", work.but(data=other))
        server.ready()
        every = dict(zip(IDLE, (tower, store, server, producer, consumer), strict=True))
        return Outcome(_watched(every, work.seconds), work.seconds)


def raw_idle(scene: Scene, work: Work) -> Outcome:
    """The same of a process that waits at a zmq.green socket and has SQLite open."""
    with Processes() as processes, scene.directory() as data:
        receiver = processes.start("raw_committed", work.but(data=data))
        receiver.ready()
        figures = _watched({"raw": receiver}, work.seconds)
        receiver.kill()  # it waits for a subscriber, and hears nothing else
        return Outcome(figures, work.seconds)


def _watched(processes: dict[str, Process], seconds: float) -> dict[str, float]:
    import psutil

    watched = {name: psutil.Process(process.pid) for name, process in processes.items()}

    def used() -> dict[str, float]:
        times = {name: one.cpu_times() for name, one in watched.items()}
        return {name: float(one.user + one.system) for name, one in times.items()}

    before = used()
    sleep(seconds)
    after = used()
    cpu = {f"cpu {name}": (after[name] - before[name]) / seconds * 100 for name in watched}
    return {**cpu, **{f"rss {name}": rss(process) for name, process in processes.items()}}


def rss(process: Process) -> float:
    """Memory that a process has at this moment, in MB."""
    import psutil

    return float(psutil.Process(process.pid).memory_info().rss) / MB


# In memory


def memory(scene: Scene, work: Work) -> Outcome:
    """Of a store while it takes in many records, at several points, and the most it ever had."""
    parts = [after - before for before, after in zip((0.0, *POINTS), POINTS, strict=False)]
    figures: dict[str, float] = {}
    with cluster(scene, work) as nodes:
        (store,) = nodes.stores
        producer = nodes.start("produce_in_parts", work)
        producer.ready()
        figures["store start"] = rss(store)
        times = []
        for part, point in zip(parts, POINTS, strict=True):
            producer.go(str(round(part * work.records)))
            times.append(producer.result())
            figures[f"store {point_name(point)}"] = rss(store)
        figures["store peak"] = store.ask()["peak"] / MB
        figures["producer peak"] = float(times[-1].more["peak"]) / MB
    seconds = sum(one.end - one.begin for one in times)
    return Outcome(figures, seconds, {"records_per_s": work.records / seconds})


def series(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All points of a memory's trial, for each of its rows."""
    return {**outcomes[-1].notes, "MB": outcomes[-1].figures}
