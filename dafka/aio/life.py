"""The life of nodes that an event loop runs: begun and ended whole, also by who is cancelled.

A start or an end that is cut off half-way would leave sockets, locks and threads behind. So each is
a job: whoever awaits it and is cancelled waits a moment longer for its end, and is cancelled then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

from dafka.aio.shell import LOOP, Job
from dafka.errors import Closed, ConfigError
from dafka.io.life import Life
from dafka.validity import check_timeout

T = TypeVar("T")

_CANCELLED_S = 1.8
"""A start or an end that was cancelled is waited for so long; then it goes on by itself."""
_LEAVE_S = 0.5
"""Time for acknowledgements where a `with` is left by an error."""


class _Whole:
    """A job whose result, or exception, is told to everybody who awaits it."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._value: object = None
        self._error: BaseException | None = None
        self._work = work
        self._job = LOOP.spawn("", self._run)

    async def _run(self) -> None:
        try:
            self._value = await self._work()
        except Exception as error:
            self._error = error

    async def result(self, hasten: Callable[[], None]) -> Any:
        """Wait for it; a cancellation is delayed, and calls `hasten`."""
        cancelled: asyncio.CancelledError | None = None
        until = None
        job: Job = self._job
        while not job.ended and (until is None or until > monotonic()):
            try:
                await job.join(None if until is None else until - monotonic())
            except asyncio.CancelledError as error:
                if until is None:
                    until = monotonic() + _CANCELLED_S
                    hasten()
                cancelled = error
        if cancelled is not None:
            raise cancelled
        if self._error is not None:
            raise self._error
        return self._value


class AsyncLife(Life):
    """`start`, `stop`, `wait` and the context manager of nodes that an event loop runs."""

    _shell = LOOP
    _entered_by = "an `async with`"
    _loop: asyncio.AbstractEventLoop | None = None
    _ended: _Whole | None = None
    _hasty = False
    _unwanted = False
    """Whether nobody waits for the start any more."""

    async def start(self) -> Self:
        """Open sockets; returns soon, whether or not a tower or a store is there.

        Raises what `dafka.Producer.start` and `dafka.Consumer.start` raise. If the caller is
        cancelled meanwhile, the node is stopped.
        """
        if not self.started:  # else it has its loop, and the start is refused
            self._loop = asyncio.get_running_loop()
        self._unwanted = False
        try:
            await _Whole(self._start_whole).result(self._do_not_start)
        except asyncio.CancelledError:
            if self.started:
                await self._stop_whole(0)
            raise
        return self

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until the node has ended, and raise what ended it; False after `timeout` (s)."""
        self._check_loop()
        return await self._wait_for_end(timeout)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(kind)
        await self._stop_whole(None if kind is None else _LEAVE_S)

    # For the nodes

    async def _start(self) -> None:
        raise NotImplementedError

    async def _stop(self, timeout: float | None) -> Any:
        raise NotImplementedError

    async def _stop_whole(self, timeout: float | None) -> Any:
        """Stop once, whoever asks for it; all who do have the same result."""
        if not self.started:
            return await self._stop(timeout)
        self._check_loop()
        timeout = check_timeout(timeout)
        if self._ended is None:
            self._ended = _Whole(lambda: self._stop(timeout))
        return await self._ended.result(self._hasten)

    def _check_loop(self) -> None:
        """Raise `ConfigError` where this node's loop does not run; `Closed` if it was closed."""
        loop = self._loop
        if loop is None:
            return
        if loop.is_closed():
            raise Closed(
                f"this {type(self).__name__} ended with the event loop that had started it"
            )
        if asyncio._get_running_loop() is not loop:
            raise ConfigError(
                f"this {type(self).__name__} belongs to the event loop that has started it: "
                "use it in this loop only"
            )

    def _hasten(self) -> None:
        """An end that was waited for shall come soon."""
        self._hasty = True

    async def _start_whole(self) -> None:
        await self._start()
        if self._unwanted:
            await self._stop(0)

    def _do_not_start(self) -> None:
        self._unwanted = True
