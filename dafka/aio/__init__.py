"""Producers and consumers for asyncio, with the names, settings and guarantees of `dafka`'s own.

    async with dafka.aio.AsyncProducer("hello") as producer:
        await producer.publish(b"A first event")
        await producer.flush(timeout=5)

What waits is awaited: `start`, `stop`, `wait`, `publish`, `publish_many`, `flush`, `poll`,
`commit`, and iteration, of records and of `runs`. All else, such as `seek` and `position`, is
called as it is.
Nodes run in the event loop that starts them, without gevent and without a thread for the loop.
"""

from __future__ import annotations

from dafka.aio.consumer import AsyncConsumer
from dafka.aio.producer import AsyncProducer

__all__ = ["AsyncConsumer", "AsyncProducer"]
