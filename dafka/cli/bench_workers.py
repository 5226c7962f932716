"""What the processes of `dafka bench` do: `python -m dafka.cli.bench_workers ROLE SETTINGS`.

Each prints JSON lines: `{"ready": ...}`, and after a line on stdin tells it to go, its result.
The raw roles use pyzmq as anybody would, for the ceiling that the rest is compared with.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from time import perf_counter
from typing import Any

import zmq
import zmq.green

import dafka
from protocol import Record, record_prefix

_PREFIX = record_prefix(Record("bench", "0" * 32, "bench", 0, b""))
_SEQUENCE = Struct(">Q")


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker is told: how much, and where."""

    records: int
    size: int
    endpoint: str = ""
    data: str = ""
    durability: str = "fsync"


def _say(**result: Any) -> None:
    print(json.dumps(result), flush=True)


def _ready(**details: Any) -> None:
    _say(ready=details)
    sys.stdin.readline()


def _until_told_to_end() -> None:
    import gevent.os

    while gevent.os.tp_read(0, 100):
        pass


def raw_publish(work: Work) -> None:
    """Publish two-frame messages with plain pyzmq, which loses none: the receiver keeps up."""
    context = zmq.Context()
    socket = context.socket(zmq.PUB)
    socket.set_hwm(0)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    _ready(endpoint=f"tcp://127.0.0.1:{port}")
    content, pack = bytes(work.size), _SEQUENCE.pack
    begin = perf_counter()
    for sequence in range(work.records):
        socket.send(_PREFIX + pack(sequence), zmq.SNDMORE)
        socket.send(content)
    _say(seconds=perf_counter() - begin)
    sys.stdin.readline()
    socket.close(0)
    context.term()


def raw_subscribe(work: Work) -> None:
    """Receive two-frame messages with plain pyzmq, as one would write it."""
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.set_hwm(0)
    socket.subscribe(b"M")
    socket.connect(work.endpoint)
    _ready()
    socket.recv()
    socket.recv()
    begin = perf_counter()
    for _ in range(work.records - 1):
        socket.recv()
        socket.recv()
    _say(seconds=perf_counter() - begin)
    socket.close(0)
    context.term()


def store(work: Work) -> None:
    """Run a tower and a store until stdin ends."""
    config = dafka.StoreConfig(bind="tcp://127.0.0.1:*", durability=_durability(work))
    with dafka.Cluster(work.data, store=config) as cluster:
        _say(ready={"endpoint": str(cluster.tower)})
        _until_told_to_end()


def join(work: Work) -> None:
    """Run a further store, with an empty directory, until stdin ends."""
    config = dafka.StoreConfig(
        tower=work.endpoint,
        data=work.data,
        bind="tcp://127.0.0.1:*",
        durability=_durability(work),
    )
    with dafka.Store(config):
        _say(ready={})
        _until_told_to_end()


def produce(work: Work) -> None:
    """Publish, and wait until everything is acknowledged."""
    with dafka.Producer("bench", tower=work.endpoint, bind="tcp://127.0.0.1:*") as producer:
        producer.publish(bytes(work.size))
        producer.flush(timeout=30)
        _ready(partition=producer.partition)
        content = bytes(work.size)
        begin = perf_counter()
        for _ in range(work.records - 1):
            producer.publish(content)
        published = perf_counter() - begin
        producer.flush(timeout=120)
        _say(seconds=perf_counter() - begin, published=published)


def _count(runs: Iterator[dafka.Run], records: int) -> tuple[float, int]:
    first = next(runs)
    begin, seen = perf_counter(), len(first)
    for run in runs:
        seen += len(run)
        if seen >= records:
            break
    return perf_counter() - begin, seen


def live(work: Work) -> None:
    """Receive, as runs, what is being published."""
    config = dafka.ConsumerConfig(tower=work.endpoint, bind="tcp://127.0.0.1:*", start="earliest")
    with dafka.Consumer("bench", config=config) as consumer:
        runs = consumer.runs(timeout=30)
        first = next(runs)  # the warming-up record: everything is connected now
        _ready(offset=first.first)
        seconds, seen = _count(runs, work.records - 1)
        _say(seconds=seconds, records=seen)


def replay(work: Work) -> None:
    """Read everything back from the store, as runs."""
    config = dafka.ConsumerConfig(tower=work.endpoint, bind="tcp://127.0.0.1:*", start="earliest")
    begin = perf_counter()
    with dafka.Consumer("bench", config=config) as consumer:
        seen = 0
        for run in consumer.runs(timeout=30):
            seen += len(run)
            if seen >= work.records:
                break
        _say(seconds=perf_counter() - begin, records=seen)


def _durability(work: Work) -> Any:
    return work.durability


ROLES: dict[str, Callable[[Work], None]] = {
    role.__name__: role for role in (raw_publish, raw_subscribe, store, join, produce, live, replay)
}

if __name__ == "__main__":
    ROLES[sys.argv[1]](Work(**json.loads(sys.argv[2])))
