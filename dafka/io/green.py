"""The shell of gevent: what waits, blocks its greenlet. Also the life of nodes that run in it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import gevent
from gevent.event import Event

from dafka.io.life import Life, time_to_end
from dafka.io.shell import Work, at_once
from dafka.io.threads import Threads, within

P = ParamSpec("P")
T = TypeVar("T")


class _Signal:
    def __init__(self) -> None:
        event = Event()
        self.set: Callable[[], object] = event.set
        self.clear: Callable[[], object] = event.clear
        self.is_set: Callable[[], bool] = event.is_set
        self._wait: Callable[[float | None], bool] = event.wait

    async def wait(self, timeout: float | None = None) -> bool:
        return self._wait(timeout)


class _Alarm:
    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring
        self._timer: Any = None

    def set(self, delay: float) -> None:
        self.end()
        self._timer = gevent.get_hub().loop.timer(delay)
        self._timer.start(self._ring, update=True)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None


class _Job:
    def __init__(self, name: str, work: Work) -> None:
        self._greenlet = gevent.spawn(lambda: at_once(work()))
        self._greenlet.name = name

    async def join(self, timeout: float | None) -> None:
        if self._greenlet is not gevent.getcurrent():
            self._greenlet.join(timeout)

    def kill(self) -> None:
        self._greenlet.kill()


class _Pool:
    def __init__(self, count: int) -> None:
        self._threads = Threads(count)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._threads.run(function, *args, **kwargs)

    async def close(self) -> None:
        self._threads.close()


class Green:
    """Runs nodes in the hub of the thread that starts them."""

    green = True

    def signal(self) -> _Signal:
        """A signal that is not set."""
        return _Signal()

    def alarm(self, ring: Callable[[], object]) -> _Alarm:
        """An alarm that is not set."""
        return _Alarm(ring)

    def spawn(self, name: str, work: Work) -> _Job:
        """Begin a job: a greenlet."""
        return _Job(name, work)

    async def pause(self) -> None:
        """Let other greenlets work for a moment."""
        gevent.sleep(0)

    def pool(self, count: int) -> _Pool:
        """So many threads, for blocking calls."""
        return _Pool(count)

    async def in_thread(self, function: Callable[[], object]) -> None:
        """Call `function` in a thread of the hub's, and wait for its end."""
        gevent.get_hub().threadpool.apply(function)

    async def within(self, timeout: float, function: Callable[[], object]) -> bool:
        """Call `function` in a thread of its own; False if it has not ended after `timeout` s."""
        return within(timeout, function)

    def watch(self, descriptor: int, changed: Callable[[], object]) -> Callable[[], object]:
        """Call `changed` from the hub; returns what ends that."""
        watcher: Any = gevent.get_hub().loop.io(descriptor, 1)
        watcher.start(changed)

        def end() -> None:
            watcher.stop()
            watcher.close()

        return end


GREEN = Green()


class GreenLife(Life):
    """`start`, `stop`, `wait` and the context manager of nodes that gevent runs."""

    _shell = GREEN

    def start(self) -> Self:
        """Open sockets and begin to work; returns at once, whether or not a tower is there."""
        raise NotImplementedError

    def stop(self, timeout: float | None = None) -> Any:
        """End the node; what was accepted is handed on first, within `timeout` seconds."""
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the node has ended, and raise what ended it; False after `timeout` (s)."""
        return at_once(self._wait_for_end(timeout))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(kind)
        self.stop(time_to_end(error))
