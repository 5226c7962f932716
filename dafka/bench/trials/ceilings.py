"""What the machine can do without us: plain sockets, plain SQLite, the disk."""

from __future__ import annotations

from dafka.bench.process import Processes, Times
from dafka.bench.scene import Outcome, Scene, rated
from dafka.bench.trials.rates import chunk_key, run_all, span
from dafka.bench.work import Work

_CHUNK_BYTES = 1 << 20
"""Of a transaction, where no store has told."""


def wire(scene: Scene, work: Work) -> Outcome:
    """Plain pyzmq PUB to SUB, with as many publishers and subscribers."""
    share = max(1, work.records // work.producers)
    with Processes() as processes:
        publishers = [
            processes.start("raw_publish", work.but(records=share)) for _ in range(work.producers)
        ]
        endpoints = tuple(publisher.ready()["endpoint"] for publisher in publishers)
        everything = work.but(records=share * work.producers, endpoints=endpoints)
        subscribers = [processes.start("raw_subscribe", everything) for _ in range(work.consumers)]
        for process in (*subscribers, *publishers):
            process.ready()
        for process in (*subscribers, *publishers):
            process.go()
        begin, _ = span([publisher.result() for publisher in publishers])
        _, end = span([subscriber.result() for subscriber in subscribers])
    return rated(everything.records, begin, end)


def commit(scene: Scene, work: Work) -> Outcome:
    """Plain SQLite commits of what a store of ours has just put into one."""
    times = _on_disk("commit", scene, work)
    return rated(work.records, times.begin, times.end, commits=times.more["commits"])


def sync(scene: Scene, work: Work) -> Outcome:
    """The same bytes written and synced below SQLite."""
    times = _on_disk("sync", scene, work)
    return rated(work.records, times.begin, times.end)


def _on_disk(role: str, scene: Scene, work: Work) -> Times:
    chunk = int(scene.learned.get(chunk_key(work), _CHUNK_BYTES))
    with scene.directory() as data, Processes() as processes:
        (times,) = run_all([processes.start(role, work.but(chunk=chunk, data=data))])
    return times
