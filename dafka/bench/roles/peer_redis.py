"""Redis Streams through redis-py with hiredis, as one does it fast.

Pipelines of 1,000 commands outside of transactions, and without the wrapper around XADD; XREAD
takes up to 5,000 entries at once, and blocks where there are none.
"""

from __future__ import annotations

import select
from time import monotonic
from typing import Any

import redis

from dafka.bench import latency
from dafka.bench.roles.latency import send_paced, tell_arrivals, tell_waits
from dafka.bench.roles.pace import Pace, Timer
from dafka.bench.work import Work
from dafka.bench.worker import Clock, ready, say

STREAM = "bench"
PIPELINE = 1000
READ = 5000
_BLOCK_MS = 1000


def _connect(work: Work) -> Any:
    host, _, port = work.endpoints[0].rpartition(":")
    return redis.Redis(host, int(port))


def redis_publish(work: Work) -> None:
    """Add entries one by one ("await") or in pipelines, until all are answered."""
    client, content = _connect(work), bytes(work.size)
    client.xadd(STREAM, {"c": content})
    ready()
    clock = Clock()
    if work.mode == "await":
        for _ in range(work.records):
            client.xadd(STREAM, {"c": content})
    else:
        for first in range(0, work.records, PIPELINE):
            pipeline = client.pipeline(transaction=False)
            for _ in range(min(PIPELINE, work.records - first)):
                pipeline.execute_command("XADD", STREAM, "*", "c", content)
            pipeline.execute()
    end = monotonic()
    say(begin=clock.begin, end=end, records=client.xlen(STREAM) - 1)


def redis_consume(work: Work) -> None:
    """Read from the first entry on."""
    client = _connect(work)
    last: Any = "0"
    if work.mode == "live":
        last = client.xread({STREAM: "0"}, count=1, block=30_000)[0][1][0][0]
    ready()
    clock, seen = Clock(), 0
    total = work.records + (work.mode != "live")
    while seen < total:
        entries = _read(client, last)
        if entries:
            seen += len(entries)
            last = entries[-1][0]
    clock.say(records=seen)


def _read(client: Any, last: Any) -> Any:
    found = client.xread({STREAM: last}, count=READ, block=_BLOCK_MS)
    return found[0][1] if found else []


def redis_paced(work: Work) -> None:
    """Add what is due without waiting for the answers; tell how long each took."""
    client = _connect(work)
    client.xadd(STREAM, {"c": latency.content(0.0, 0.0, b"")})
    connection = client.connection_pool.get_connection()
    ready()
    pace, times = Pace(work), list[float]()
    descriptor = connection._sock.fileno()

    def hear(wait_s: float) -> None:
        while len(times) < pace.total and connection.can_read(wait_s):
            answer = connection.read_response()
            if isinstance(answer, Exception):
                raise answer
            times.append(monotonic())
            wait_s = 0

    def wait(timer: Timer, due: float) -> None:
        timer.set(due)
        while monotonic() < due:
            readable, _, _ = select.select([timer.descriptor, descriptor], [], [])
            if descriptor in readable:
                hear(0)

    def send(content: bytes) -> None:
        connection.send_packed_command(
            connection.pack_command("XADD", STREAM, "*", "c", content), check_health=False
        )

    late = send_paced(pace, send, work.size, wait=wait)
    while len(times) < pace.total:
        hear(1.0)
    waits = [at - pace.due(number) for number, at in enumerate(times)]
    tell_waits(waits[pace.lead :], late[pace.lead :])


def redis_timed(work: Work) -> None:
    """Read, and tell how long each entry took."""
    client, pace = _connect(work), Pace(work)
    last = client.xread({STREAM: "0"}, count=1, block=30_000)[0][1][0][0]
    ready()
    arrivals: list[tuple[float, list[bytes]]] = []
    seen = 0
    while seen < pace.total:
        entries = _read(client, last)
        if entries:
            arrivals.append((monotonic(), [fields[b"c"] for _, fields in entries]))
            seen += len(entries)
            last = entries[-1][0]
    tell_arrivals(arrivals, pace.lead)
