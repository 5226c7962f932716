"""Latencies from when a record was due: to its delivery, and to its acknowledgement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dafka.bench import latency
from dafka.bench.process import Processes, Unmeasured
from dafka.bench.scene import Outcome, Scene
from dafka.bench.trials.rates import cluster, rate_key
from dafka.bench.work import Work

HALF = "half"
"""Mode of a work whose rate is half of the most that was published and acknowledged."""

PLAIN = "plain"
"""So fast that zmq.green is no ceiling."""


def deliver(scene: Scene, work: Work) -> Outcome:
    """To a consumer of ours, with a store in the cluster."""
    work = at_rate(scene, work)
    with cluster(scene, work) as nodes:
        producer = nodes.start("paced", work)
        producer.ready()
        consumer = nodes.start("timed", work)
        consumer.ready()
        consumer.go()
        producer.go()
        return timed(consumer.hear(), work)


def acknowledge(scene: Scene, work: Work) -> Outcome:
    """To the moment a producer of ours knows that a store has it."""
    work = at_rate(scene, work)
    with cluster(scene, work) as nodes:
        producer = nodes.start("paced", work.but(mode="ack"))
        producer.ready()
        producer.go()
        return timed(producer.hear(), work)


def raw_deliver(scene: Scene, work: Work) -> Outcome:
    """To a zmq.green SUB, or where many come, one that blocks."""
    work = at_rate(scene, work, PLAIN)
    with Processes() as processes:
        receiver = processes.start("raw_timed", work)
        receiver.ready()
        sender = processes.start("raw_paced", work)
        receiver.go(sender.ready()["endpoint"])
        sender.ready()
        sender.go()
        return timed(receiver.hear(), work)


def raw_acknowledge(scene: Scene, work: Work) -> Outcome:
    """To such a SUB, a SQLite commit, and back."""
    work = at_rate(scene, work, PLAIN)
    with scene.directory() as data, Processes() as processes:
        receiver = processes.start("raw_committed", work.but(data=data))
        back = receiver.ready()["endpoint"]
        sender = processes.start("raw_paced", work.but(endpoints=(back,)))
        receiver.go(sender.ready()["endpoint"])
        sender.ready()
        sender.go()
        return timed(sender.hear(), work)


def at_rate(scene: Scene, work: Work, mode: str = "") -> Work:
    """With the rate and the number of records that `HALF` stands for, and `mode` in its place."""
    if work.mode != HALF:
        return work
    rate = scene.learned[rate_key(work)] / 2
    return work.but(rate=rate, records=max(1, int(rate * work.seconds)), mode=mode)


def timed(said: dict[str, Any], work: Work) -> Outcome:
    """The outcome of what a process has said of its waits."""
    if said["records"] != work.records:
        raise Unmeasured(f"of {work.records} records only {said['records']} were timed")
    found = latency.percentiles(latency.merged([said["histogram"]]))
    notes = {"histogram": said["histogram"], "late": said["late"], "rate": work.rate}
    return Outcome(found, work.seconds, notes)


def together(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All rounds in one histogram, and how late records left: the sender's own part."""
    whole = latency.merged([one.notes["histogram"] for one in outcomes])
    late = latency.merged([one.notes["late"] for one in outcomes])
    return {
        "histogram": whole.encode().decode(),
        "percentiles of all rounds, ms": latency.percentiles(whole),
        "of which before it was sent, ms": latency.percentiles(late),
        "rates": [one.notes["rate"] for one in outcomes],
    }
