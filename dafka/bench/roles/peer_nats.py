"""NATS JetStream through nats-py, as its documentation has it done fast.

uvloop if there is one; subjects are not validated for each message; at most 1,000 messages of
`publish_async` are outstanding; batches are atomic, of 1,000 messages (all that a server takes),
several of them on their way at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any

import nats
from nats.js import api

from dafka.bench import latency
from dafka.bench.roles.latency import tell_arrivals, tell_waits
from dafka.bench.roles.pace import Pace, Timer
from dafka.bench.work import Work
from dafka.bench.worker import Clock, ready, say

SUBJECT = "bench"
OUTSTANDING = 1000
BATCH = 1000
BATCHES_OUTSTANDING = 8
_PENDING_BYTES = 1 << 30


def _run(main: Coroutine[Any, Any, None]) -> None:
    with suppress(ModuleNotFoundError):
        import uvloop

        uvloop.run(main)
        return
    asyncio.run(main)


async def _connect(work: Work) -> tuple[Any, Any]:
    client = await nats.connect(work.endpoints[0], skip_subject_validation=True)
    stream = client.jetstream(publish_async_max_pending=OUTSTANDING, timeout=120)
    await stream.add_stream(
        api.StreamConfig(
            name=SUBJECT, subjects=[SUBJECT], storage=api.StorageType.FILE, allow_atomic=True
        )
    )
    return client, stream


def nats_publish(work: Work) -> None:
    """Publish in the way that `mode` names, until the server has acknowledged everything."""
    _run(_publish(work))


async def _publish(work: Work) -> None:
    client, stream = await _connect(work)
    content = bytes(work.size)
    await stream.publish(SUBJECT, content)
    ready()
    clock = Clock()
    if work.mode == "await":
        for _ in range(work.records):
            await stream.publish(SUBJECT, content)
    elif work.mode == "async":
        for _ in range(work.records):
            await stream.publish_async(SUBJECT, content)
        await stream.publish_async_completed()
    else:
        await _batches(client, content, work.records)
    end = monotonic()
    info = await stream.stream_info(SUBJECT)
    say(begin=clock.begin, end=end, records=info.state.messages - 1)
    await client.close()


async def _batches(client: Any, content: bytes, records: int) -> None:
    room = asyncio.Semaphore(BATCHES_OUTSTANDING)

    async def commit(headers: dict[str, str]) -> None:
        answer = await client.request(SUBJECT, content, timeout=120, headers=headers)
        room.release()
        if b'"error"' in answer.data:
            raise RuntimeError(f"the server refused a batch: {answer.data.decode()}")

    async with asyncio.TaskGroup() as commits:
        for number, first in enumerate(range(0, records, BATCH)):
            await room.acquire()
            count = min(BATCH, records - first)
            for sequence in range(1, count):
                headers = _headers(number, sequence)
                await client.publish(SUBJECT, content, headers=headers)
            last = {**_headers(number, count), str(api.Header.BATCH_COMMIT.value): "1"}
            commits.create_task(commit(last))


def _headers(batch: int, sequence: int) -> dict[str, str]:
    return {"Nats-Batch-Id": f"batch-{batch}", "Nats-Batch-Sequence": str(sequence)}


def nats_consume(work: Work) -> None:
    """Receive from the first message on by an ordered push consumer, which acknowledges nothing."""
    _run(_consume(work))


async def _consume(work: Work) -> None:
    client, stream = await _connect(work)
    done, seen = asyncio.Event(), 0
    first = asyncio.Event()

    async def count(_message: Any) -> None:
        nonlocal seen
        seen += 1
        first.set()
        if seen > work.records:
            done.set()

    live = work.mode == "live"
    if not live:
        ready()
    clock = Clock()
    await _subscribe(stream, count)
    if live:
        await first.wait()
        ready()
    await done.wait()
    clock.say(records=seen - 1)
    await client.close()


async def _subscribe(stream: Any, callback: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    await stream.subscribe(
        SUBJECT,
        cb=callback,
        ordered_consumer=True,
        pending_msgs_limit=-1,
        pending_bytes_limit=_PENDING_BYTES,
    )


def nats_paced(work: Work) -> None:
    """Publish what is due, without waiting for the answers; tell how long each took."""
    _run(_paced(work))


async def _paced(work: Work) -> None:
    client, stream = await _connect(work)
    await stream.publish(SUBJECT, latency.content(0.0, 0.0, b""))
    ready()
    timer, padding, late = Timer(), latency.padding(work.size), []
    fired = asyncio.Event()
    asyncio.get_running_loop().add_reader(timer.descriptor, fired.set)
    pace = Pace(work)
    times = [0.0] * pace.total

    def note(number: int) -> Callable[[Any], None]:
        def arrived(_future: Any) -> None:
            times[number] = monotonic()

        return arrived

    for number, due in enumerate(pace):
        while monotonic() < due:
            fired.clear()
            timer.set(due)
            await fired.wait()
        now = monotonic()
        late.append(now - due)
        future = await stream.publish_async(SUBJECT, latency.content(due, now, padding))
        future.add_done_callback(note(number))
    await stream.publish_async_completed()
    await asyncio.sleep(0)
    waits = [at - pace.due(number) for number, at in enumerate(times)]
    tell_waits(waits[pace.lead :], late[pace.lead :])
    await client.close()


def nats_timed(work: Work) -> None:
    """Receive, and tell how long each message took."""
    _run(_timed(work))


async def _timed(work: Work) -> None:
    client, stream = await _connect(work)
    pace = Pace(work)
    arrivals: list[tuple[float, list[bytes]]] = []
    first, done = asyncio.Event(), asyncio.Event()

    async def note(message: Any) -> None:
        arrivals.append((monotonic(), [message.data]))
        first.set()
        if len(arrivals) > pace.total:
            done.set()

    await _subscribe(stream, note)
    await first.wait()
    ready()
    await done.wait()
    tell_arrivals(arrivals[1:], pace.lead)
    await client.close()
