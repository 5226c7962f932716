"""Our own nodes, through the public API, as anybody would use them."""

from __future__ import annotations

import sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import monotonic
from typing import Any, Literal, cast

import dafka
from dafka.bench.work import MANY, Work
from dafka.bench.worker import Clock, green_ready, heard, say

TOPIC = "bench"
LOOPBACK = "tcp://127.0.0.1:*"
ACKED_WITHIN_S = 120.0
_AT_ONCE = 1000
"""Records that `publish_many` is given."""
SILENCE_S = 30.0


def tower(work: Work) -> None:
    """Introduce the others to each other."""
    with dafka.Tower(sub=LOOPBACK, pub=LOOPBACK) as node:
        say(ready={"endpoint": str(node.address)})
        heard()


def store(work: Work) -> None:
    """Run a tower and a store; tell what the store has done whenever asked."""
    cluster_class = dafka.Cluster  # which imports what it needs, before the clock starts
    config = dafka.StoreConfig(bind=LOOPBACK, durability=_durability(work))
    begin = monotonic()
    with cluster_class(work.data, store=config) as cluster:
        say(ready={"endpoint": str(cluster.tower), "begin": begin})
        _answer(cluster.store)


def join(work: Work) -> None:
    """Run a further store."""
    config = dafka.StoreConfig(
        tower=work.endpoints[0], data=work.data, bind=LOOPBACK, durability=_durability(work)
    )
    with dafka.Store(config) as node:
        say(ready={})
        _answer(node)


def _answer(node: dafka.Store) -> None:
    while heard():
        stored = sum(extent.next - extent.earliest for extent in node.partitions())
        say(commits=node.stats().commits, records=stored, peak=peak_bytes())


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    status = Path("/proc/self/status")
    if status.exists():  # where ru_maxrss counts that of the process it was forked from as well
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    peak = getrusage(RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def produce(work: Work) -> None:
    """Publish, and wait until enough stores have acknowledged everything.

    The record before, which is not counted, shows that they are all connected.
    """
    with open_producer(work, min_store_acks=work.stores) as producer:
        content = bytes(work.size)
        producer.publish(content)
        producer.flush(timeout=SILENCE_S)
        green_ready(partition=producer.partition)
        clock = Clock()
        if work.mode == MANY:
            for first in range(0, work.records, _AT_ONCE):
                producer.publish_many([content] * min(_AT_ONCE, work.records - first))
        else:
            for _ in range(work.records):
                producer.publish(content)
        published = monotonic()
        producer.flush(timeout=ACKED_WITHIN_S)
        clock.say(published=published)


def shout(work: Work) -> None:
    """Publish although nobody is there: what `publish` alone costs."""
    room = (work.size + 1000) * work.records
    with open_producer(work, buffer_bytes=room, stop_timeout_s=0.0) as producer:
        content = bytes(work.size)
        green_ready()
        clock = Clock()
        for _ in range(work.records):
            producer.publish(content)
        clock.say()


def consume(work: Work) -> None:
    """Receive what is being published, as runs or records; one record is there before."""
    with open_consumer(work) as consumer:
        consumer.poll(timeout=SILENCE_S)
        green_ready()
        clock = Clock()
        clock.say(records=_count(consumer, work))


def replay(work: Work) -> None:
    """Read everything back from the store; the time to be introduced to it is included."""
    green_ready()
    clock = Clock()
    with open_consumer(work) as consumer:
        consumer.poll(timeout=SILENCE_S)
        first = monotonic() - clock.begin
        clock.say(records=1 + _count(consumer, work.but(records=work.records - 1)), first=first)
        heard()


def _count(consumer: dafka.Consumer, work: Work) -> int:
    return (_count_records if work.mode == "records" else _count_runs)(consumer, work.records)


def _count_runs(consumer: dafka.Consumer, records: int) -> int:
    seen = 0
    for run in consumer.runs(timeout=SILENCE_S):
        seen += len(run)
        if seen >= records:
            break
    return seen


def _count_records(consumer: dafka.Consumer, records: int) -> int:
    seen = 0
    for _ in consumer:
        seen += 1
        if seen >= records:
            break
    return seen


def open_producer(work: Work, **settings: Any) -> dafka.Producer:
    """A producer that knows the tower; not started yet."""
    return dafka.Producer(TOPIC, tower=work.endpoints[0], bind=LOOPBACK, **settings)


def open_consumer(work: Work) -> dafka.Consumer:
    """A consumer of everything; not started yet."""
    config = dafka.ConsumerConfig(tower=work.endpoints[0], bind=LOOPBACK, start="earliest")
    return dafka.Consumer(TOPIC, config=config)


def _durability(work: Work) -> Literal["fsync", "os"]:
    return cast(Literal["fsync", "os"], work.durability)
