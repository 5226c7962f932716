"""A producer as the user of asyncio meets it: the shell around what producers have in common."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from dafka.aio.life import AsyncLife
from dafka.core.run import RECORD_COST
from dafka.io.publishing import Publishing
from dafka.io.refusals import as_bytes


class AsyncProducer(Publishing, AsyncLife):
    """Publishes records to one topic: `dafka.Producer` for asyncio.

    Any number of tasks of its event loop may use it at once. A call that is cancelled, or timed
    out, has published nothing (`publish`, `publish_many`), or only stops waiting (`flush`). An
    `async with` that is left by an error or a cancellation ends within 2 seconds.
    """

    async def publish(self, content: bytes, timeout: float | None = None) -> int:
        """Send a record and return its offset; it is not yet acknowledged (see `flush`).

        Suspends only while the contents not yet acknowledged fill `buffer_bytes`, for at most
        `timeout` seconds (None: for ever); then raises `PublishTimeout`, and the record was not
        accepted. But whoever publishes without a pause lets the loop turn every few milliseconds.
        `ConfigError`: a content that never fits. `Closed`: the producer is not running.
        """
        if type(content) is not bytes:
            content = as_bytes(content)
        size = len(content) + RECORD_COST
        if size > self._room:
            self._check_loop()
            await self._look(size, timeout)
        leaves = monotonic() >= self._burst_ends
        if leaves:
            self._check_loop()
        self._room -= size
        offset = self._next
        self._next = offset + 1
        self._pending.append(content)
        if leaves:
            if self._burst_ends:  # the loop has not turned since records left last
                self._room = 0
            self._transmit()
        return offset

    async def publish_many(self, contents: Iterable[bytes], timeout: float | None = None) -> int:
        """Send records in a row, all or none; return the offset of the first. Much faster.

        Suspends as `publish` does, until there is room for all of them. `ConfigError` also if all
        together never fit into `buffer_bytes`.
        """
        self._check_loop()
        return await self._publish_many(contents, timeout)

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until every record published so far is acknowledged.

        Raises `PublishTimeout` after `timeout` seconds (None: wait for ever), with the number
        of records that are not; nothing is given up, and they go on being sent.
        """
        self._check_loop()
        await self._flush(timeout)

    async def stop(self, timeout: float | None = None) -> int:
        """Wait for outstanding acknowledgements, then end; safe to call twice, and by several.

        Waits at most `timeout` seconds (None: `stop_timeout_s`), and no longer for acknowledgements
        once it is cancelled. Returns the number of records that stayed unacknowledged, and logs a
        warning if there are any. An outbox keeps them for its next start.
        """
        left: int = await self._stop_whole(timeout)
        return left

    def _hasten(self) -> None:
        super()._hasten()
        self._acked.set()
