"""The demo's processes: a tower, a store, a producer or a consumer, through the public API.

    python -m dafka.cli.demo_nodes ROLE ARGUMENTS

ARGUMENTS and what is printed are JSON, an object per line: "ready" when the node works,
"progress" now and then, "done" with what it saw. The end of standard input ends the process, so
none outlives the demo, however that ends.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from time import monotonic
from typing import Any

import gevent
from gevent.event import AsyncResult, Event
from gevent.socket import wait_read

import dafka
from dafka.cli.demo_data import flights
from dafka.cli.demo_ledger import Ledger

TOPIC = "flights"

LOOPBACK = "tcp://127.0.0.1:*"

BUFFER_BYTES = 4 * 1024 * 1024
"""Unacknowledged contents per producer: small, so that the stores set its pace."""

REPORT_S = 0.05
STOP_S = 5.0
_ACK_TIMEOUT_S = 60.0


def say(event: str, **fields: Any) -> None:
    """Tell the demo something."""
    os.write(1, json.dumps({"event": event, **fields}).encode() + b"\n")


class Orders:
    """What comes by standard input: a line of JSON is the order to go, its end that to end."""

    def __init__(self) -> None:
        self.go: AsyncResult[dict[str, Any]] = AsyncResult()
        self.end = Event()
        gevent.spawn(self._read)

    def _read(self) -> None:
        while True:
            wait_read(0)
            line = os.read(0, 4096)  # Shorter than PIPE_BUF, so it comes in one piece.
            if not line:
                break
            self.go.set(json.loads(line))
        self.end.set()
        gevent.sleep(STOP_S)
        os._exit(1)


@contextmanager
def reporting(fields: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Say `fields()` as progress, regularly while entered and once more at the end."""

    def report() -> None:
        while True:
            say("progress", **fields())
            gevent.sleep(REPORT_S)

    reporter = gevent.spawn(report)
    try:
        yield
    finally:
        reporter.kill()
    say("progress", **fields())


def tower(arguments: dict[str, Any], orders: Orders) -> None:
    """Introduce the others to each other."""
    endpoint = arguments.get("endpoint", LOOPBACK)
    with dafka.Tower(sub=endpoint, pub=endpoint) as node:
        say("ready", tower=node.endpoint)
        _until_end(node, orders)


def store(arguments: dict[str, Any], orders: Orders) -> None:
    """Keep everything in `data`, and say how far each partition has come."""
    node = dafka.Store(data=arguments["data"], tower=arguments["tower"], bind=LOOPBACK)
    with node, reporting(lambda: {"next": {e.partition: e.next for e in node.partitions()}}):
        say("ready")
        _until_end(node, orders)


def _until_end(node: dafka.Tower | dafka.Store, orders: Orders) -> None:
    while not orders.end.wait(0.2):
        node.check_alive()


def producer(arguments: dict[str, Any], orders: Orders) -> None:
    """Publish an airport's flights, and say what was published."""
    # Only the end of the demo ends a producer early, so nothing needs to be tidied up.
    orders.end.rawlink(lambda _: os._exit(1))
    # In a thread, lest the end goes unnoticed while the flights are read.
    read = (arguments["airport"], arguments["limit"])
    contents = gevent.get_hub().threadpool.apply(flights, read)
    gc.freeze()  # So many objects that live on would be looked at again and again.
    say("ready", records=len(contents))
    order = orders.go.get()
    node = dafka.Producer(TOPIC, tower=order["tower"], bind=LOOPBACK, buffer_bytes=BUFFER_BYTES)
    ledger = Ledger()

    def progress() -> dict[str, Any]:
        return {"published": node.next_offset, "acknowledged": node.acknowledged}

    with node, reporting(progress):
        started = monotonic()
        if contents:
            ledger.add(node.publish(contents[0]), contents[0])
            node.flush(_ACK_TIMEOUT_S)
        began = monotonic()
        _publish(node, contents[1:], ledger, order["rate"])
        node.flush(_ACK_TIMEOUT_S)
        ended = monotonic()
    say(
        "done",
        partition=node.partition,
        acknowledged=node.acknowledged,
        first_ack_s=began - started,
        seconds=ended - began,
        tally=asdict(ledger.tally()),
    )


def _publish(node: dafka.Producer, contents: list[bytes], ledger: Ledger, rate: float) -> None:
    began = monotonic()
    for count, content in enumerate(contents, 1):
        ledger.add(node.publish(content), content)
        if not count % 64:
            gevent.sleep(max(0.0, began + count / rate - monotonic()))


def consumer(arguments: dict[str, Any], orders: Orders) -> None:
    """Take whatever comes until told to end, and say what it was."""
    node = dafka.Consumer(TOPIC, start=arguments["start"], tower=arguments["tower"], bind=LOOPBACK)
    reading = Reading()
    with node, reporting(lambda: {"records": reading.records}):
        say("ready")
        while not orders.end.is_set():
            for run in node.runs(timeout=REPORT_S):
                reading.add(run)
    say(
        "done",
        first_s=reading.first_at - reading.started,
        seconds=reading.last_at - reading.first_at,
        tallies={name: asdict(ledger.tally()) for name, ledger in reading.ledgers.items()},
    )


class Reading:
    """What a consumer got, by partition, and when."""

    def __init__(self) -> None:
        self.records = 0
        self.ledgers: dict[str, Ledger] = {}
        self.started = self.first_at = self.last_at = monotonic()

    def add(self, run: dafka.Run) -> None:
        """Note what was delivered."""
        if not self.records:
            self.first_at = monotonic()
        ledger = self.ledgers.setdefault(run.partition, Ledger())
        for offset, content in enumerate(run.contents, run.first):
            ledger.add(offset, content)
        self.records += len(run)
        self.last_at = monotonic()


ROLES: dict[str, Callable[[dict[str, Any], Orders], None]] = {
    "tower": tower,
    "store": store,
    "producer": producer,
    "consumer": consumer,
}


def main() -> None:
    """Run the role the arguments name."""
    role, arguments = sys.argv[1:]
    ROLES[role](json.loads(arguments), Orders())


if __name__ == "__main__":
    main()
