"""A consumer as the user of asyncio meets it: the shell around what consumers have in common."""

from __future__ import annotations

from typing import Self

from dafka.aio.life import AsyncLife
from dafka.core.run import Run
from dafka.errors import ConfigError
from dafka.io.driver import Driver
from dafka.io.records import Position, Record
from dafka.io.taking import LOOK_EVERY, Taking


class AsyncConsumer(Taking, AsyncLife):
    """Delivers the records of topics: `dafka.Consumer` for asyncio.

    Iterate it, `poll` it, or take whole `runs`: one task at a time, any other gets a `ConfigError`.
    What a call that is cancelled, or timed out, would have given, the next one gives. `seek`,
    `pause` and the like may be called by any task of its event loop, at any time.

    With a `name` it keeps its positions, and its next life goes on where it was: what was saved
    was handled, which is when the user has come back for the next record (or run), has left the
    `async with` without an error, or has called `commit`.
    """

    _taken = False
    """Whether a task takes records at the moment."""

    async def stop(self, timeout: float | None = None) -> None:
        """End the consumer; iterations end. Records not yet taken are not counted as taken.

        Saves the positions of a named consumer: of the records that its user has come back from.
        """
        await self._stop_whole(timeout)

    async def poll(self, timeout: float | None = None) -> Record | None:
        """The next record, or None after `timeout` seconds (0: do not wait; None: for ever).

        None also when the consumer was stopped meanwhile.
        """
        if self._stopped:
            return None
        run, at = self._run, self._at
        if run is None or at >= len(run.contents) or not at % LOOK_EVERY:
            self._take()
            try:
                run = await self._ready(timeout)
            finally:
                self._taken = False
            if run is None:
                return None
            at = self._at
        self._at = at + 1
        return Record(run.topic, run.partition, run.first + at, run.contents[at])

    def __aiter__(self) -> Self:
        """Records as they come, until the consumer is stopped."""
        return self

    async def __anext__(self) -> Record:
        """The next record."""
        record = await self.poll()
        if record is None:
            raise StopAsyncIteration
        return record

    def runs(self, timeout: float | None = None) -> Runs:
        """Runs as they come: consecutive records of one partition, for those in a hurry.

        Ends when none has come for `timeout` seconds (None: never), or by `stop`.
        """
        return Runs(self, timeout)

    async def commit(
        self, up_to: Record | Run | Position | None = None, *, wait: bool = True
    ) -> None:
        """Save that all records given so far were handled, or those of a partition `up_to` one.

        A `Position` is saved as it is: it names the record to begin with.

        They are on the disk when this returns; without `wait` that is done soon, together with
        others. Raises `StoreError` if they cannot be saved now: then that is tried again later.
        One that is cancelled is tried again as well.
        """
        self._check_loop()
        await self._commit(up_to, wait=wait)

    async def take_run(self, timeout: float | None = None) -> Run | None:
        """The next run, or None as with `poll`."""
        if self._stopped:
            return None
        self._take()
        try:
            return await self._take_run(timeout)
        finally:
            self._taken = False

    def _open_driver(self) -> Driver:
        self._check_loop()
        return super()._open_driver()

    def _take(self) -> None:
        self._check_loop()
        if self._taken:
            raise ConfigError(
                f"{self._what}: another task takes records of this consumer: let one task take "
                "them, or start a consumer for each"
            )
        self._taken = True


class Runs:
    """What `AsyncConsumer.runs` gives; it can be left and taken up again at any time."""

    def __init__(self, consumer: AsyncConsumer, timeout: float | None) -> None:
        self._consumer = consumer
        self._timeout = timeout

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> Run:
        """The next run."""
        run = await self._consumer.take_run(self._timeout)
        if run is None:
            raise StopAsyncIteration
        return run
