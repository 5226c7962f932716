"""The shell of asyncio: what waits, suspends. It works with every event loop that watches sockets.

Jobs are no tasks: a node goes on working for those who leave it when `asyncio.run` cancels all
tasks, so that what they have published is still sent, and saved.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

from dafka.aio.threads import DaemonThreads
from dafka.errors import ConfigError
from dafka.io.shell import Work

P = ParamSpec("P")
T = TypeVar("T")


class Signal:
    """Is set or not. Bound to a loop by those who wait only."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: set[Future[bool]] = set()

    def set(self) -> None:
        """Let everybody go on who waits."""
        if not self._set:
            self._set = True
            for one in self._waiting:
                _settle(one, True)

    def clear(self) -> None:
        """Let those wait who come from now on."""
        self._set = False

    def is_set(self) -> bool:
        """Whether nobody has to wait."""
        return self._set

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False after `timeout` seconds."""
        if self._set:
            return True
        loop = asyncio.get_running_loop()
        waiting: Future[bool] = loop.create_future()
        timer = None if timeout is None else loop.call_later(timeout, _settle, waiting, False)
        self._waiting.add(waiting)
        try:
            return await waiting
        finally:
            self._waiting.discard(waiting)
            if timer is not None:
                timer.cancel()


class _Alarm:
    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def set(self, delay: float) -> None:
        self.end()
        self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Job:
    """A coroutine that the loop runs, and that only `kill` cancels."""

    def __init__(self, work: Work) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._steps: Coroutine[Any, Any, object] | None = None
        self._ended = Signal()
        self._loop.call_soon(self._begin)

    async def join(self, timeout: float | None) -> None:
        """Wait for its end, at most `timeout` seconds."""
        await self._ended.wait(timeout)

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._ended.is_set()

    def kill(self) -> None:
        """End it where it waits."""
        self._ended.set()
        if self._steps is not None:
            self._steps.close()

    def _begin(self) -> None:
        if not self.ended:
            self._steps = self._work()
            self._step()

    def _step(self, _: Future[Any] | None = None) -> None:
        if self.ended or self._steps is None:
            return
        try:
            awaited: Future[Any] | None = self._steps.send(None)
        except StopIteration:
            self._ended.set()
        except BaseException:
            self._ended.set()
            raise  # to the loop's handler of exceptions; Ctrl-C to whoever runs the loop
        else:
            if awaited is None:  # it only lets others work
                self._loop.call_soon(self._step)
            else:
                awaited.add_done_callback(self._step)


class _Pool:
    def __init__(self, count: int) -> None:
        self._threads = DaemonThreads(count)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        value, error = await _called(self._threads, partial(function, *args, **kwargs))
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    async def close(self) -> None:
        self._threads.close()


class Loop:
    """Runs nodes in the event loop of the thread that starts them."""

    green = False

    def signal(self) -> Signal:
        """A signal that is not set."""
        return Signal()

    def alarm(self, ring: Callable[[], object]) -> _Alarm:
        """An alarm that is not set."""
        return _Alarm(ring)

    def spawn(self, name: str, work: Work) -> Job:
        """Begin a job."""
        return Job(work)

    async def pause(self) -> None:
        """Let the loop turn once."""
        await asyncio.sleep(0)

    def pool(self, count: int) -> _Pool:
        """So many threads, for blocking calls."""
        return _Pool(count)

    async def in_thread(self, function: Callable[[], object]) -> None:
        """Call `function` in a thread, and wait for its end."""
        pool = _Pool(1)
        try:
            await pool.run(function)
        finally:
            await pool.close()

    async def within(self, timeout: float, function: Callable[[], object]) -> bool:
        """Call `function` in a thread of its own; False if it has not ended after `timeout` s."""
        threads, done = DaemonThreads(1), Signal()
        outcome = _called(threads, function)
        threads.close()
        outcome.add_done_callback(lambda _: done.set())
        if not await done.wait(timeout):
            return False
        error: BaseException | None = outcome.result()[1]
        if error is not None:
            raise error
        return True

    def watch(self, descriptor: int, changed: Callable[[], object]) -> Callable[[], object]:
        """Call `changed` from the loop; returns what ends that."""
        loop = asyncio.get_running_loop()
        try:
            loop.add_reader(descriptor, changed)
        except NotImplementedError as error:
            raise ConfigError(
                f"{type(loop).__name__} cannot watch sockets: use asyncio.SelectorEventLoop"
            ) from error

        def end() -> None:
            if not loop.is_closed():
                loop.remove_reader(descriptor)

        return end


LOOP = Loop()


def _called(threads: DaemonThreads, function: Callable[[], object]) -> Future[Any]:
    """Call in a thread; the future will have what it returned, and what it raised."""
    loop = asyncio.get_running_loop()
    outcome: Future[Any] = loop.create_future()

    def call() -> None:
        pair: tuple[object, BaseException | None]
        try:
            pair = function(), None
        except BaseException as error:
            pair = None, error
        with suppress(RuntimeError):  # the loop was closed meanwhile, and nobody waits any more
            loop.call_soon_threadsafe(_settle, outcome, pair)

    threads.call(call)
    return outcome


def _settle(future: Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
