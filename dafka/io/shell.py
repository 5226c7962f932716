"""What a node needs of whatever runs it: to wait, to work in the background, to use a thread.

What decides and has to wait is written once, as coroutines. A shell says what waiting is: gevent's
blocks the greenlet, so its coroutines never suspend, and `at_once` runs them; asyncio's suspends.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Work = Callable[[], Coroutine[Any, Any, object]]
"""Makes the coroutine of a job, once the job begins."""


class Signal(Protocol):
    """Is set or not; whoever waits for it goes on when it is set, even if it is cleared soon."""

    def set(self) -> object:
        """Let everybody go on who waits."""

    def clear(self) -> object:
        """Let those wait who come from now on."""

    def is_set(self) -> bool:
        """Whether nobody has to wait."""

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False after `timeout` seconds."""


class Job(Protocol):
    """Work in the background."""

    async def join(self, timeout: float | None) -> None:
        """Wait for its end, at most `timeout` seconds; at once in the job itself."""

    def kill(self) -> None:
        """End it where it waits."""


class Alarm(Protocol):
    """Rings once, some time after it was set."""

    def set(self, delay: float) -> None:
        """Ring in `delay` seconds, and not when it would have otherwise."""

    def end(self) -> None:
        """Ring no more."""


class Pool(Protocol):
    """A few threads."""

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread, and return or raise what it returns or raises."""

    async def close(self) -> None:
        """Let the threads end: at once if nothing runs in them, or else when that has ended."""


class Shell(Protocol):
    """Runs nodes, in the one thread that they belong to."""

    green: bool
    """Whether sockets must be those that work with gevent."""

    def signal(self) -> Signal:
        """A signal that is not set."""

    def alarm(self, ring: Callable[[], object]) -> Alarm:
        """An alarm that is not set."""

    def spawn(self, name: str, work: Work) -> Job:
        """Begin a job."""

    async def pause(self) -> None:
        """Let others work for a moment."""

    def pool(self, count: int) -> Pool:
        """So many threads, for blocking calls."""

    async def in_thread(self, function: Callable[[], object]) -> None:
        """Call `function` in some thread, and wait for its end."""

    async def within(self, timeout: float, function: Callable[[], object]) -> bool:
        """Call `function` in a thread of its own; False if it has not ended after `timeout` s.

        Then it goes on, and nobody hears of its end.
        """

    def watch(self, descriptor: int, changed: Callable[[], object]) -> Callable[[], object]:
        """Call `changed` when a descriptor has become readable; returns what ends that."""


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of a shell that blocks, whose coroutines never suspend."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    work.close()
    raise AssertionError("a coroutine of a shell that blocks has suspended")


class Turnstile:
    """Lets one pass at a time: `async with`."""

    def __init__(self, shell: Shell) -> None:
        self._taken = False
        self._free = shell.signal()

    async def __aenter__(self) -> None:
        while self._taken:
            self._free.clear()
            await self._free.wait()
        self._taken = True

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._taken = False
        self._free.set()
