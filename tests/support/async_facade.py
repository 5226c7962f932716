"""The nodes of `dafka.aio` under the names of `dafka`'s own: their loop turns in another thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from inspect import isawaitable
from typing import Any

from dafka.aio import AsyncConsumer, AsyncProducer
from tests.support.threaded import Threaded

PATIENCE_S = 60.0


class AsyncioShell:
    """`dafka.aio`, whose loop turns in another thread."""

    spawn = staticmethod(Threaded)
    sleep = staticmethod(time.sleep)

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="loop", daemon=True)
        self._thread.start()

    def producer(self, *arguments: Any, **settings: Any) -> Facade:
        """A producer that is not started."""
        return Facade(self, AsyncProducer(*arguments, **settings))

    def consumer(self, *arguments: Any, **settings: Any) -> Facade:
        """A consumer that is not started."""
        return Facade(self, AsyncConsumer(*arguments, **settings))

    def call(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        """Call it in the loop, and await what it returns if that is to be awaited."""

        async def called() -> Any:
            value = function(*arguments, **settings)
            return await value if isawaitable(value) else value

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(PATIENCE_S)

    def end(self) -> None:
        """End the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self.loop.close()


class Facade:
    """A node whose calls block."""

    def __init__(self, shell: AsyncioShell, node: Any) -> None:
        self._shell, self._node = shell, node

    def __getattr__(self, name: str) -> Any:
        if not callable(getattr(type(self._node), name, None)):
            return self._shell.call(getattr, self._node, name)
        value = getattr(self._node, name)
        return lambda *args, **kwargs: self._shell.call(value, *args, **kwargs)

    def __enter__(self) -> Facade:
        return self.start()

    def __exit__(self, *error: Any) -> None:
        self._shell.call(self._node.__aexit__, *error)

    def start(self) -> Facade:
        """Start the node."""
        self._shell.call(self._node.start)
        return self

    def publish_each(self, contents: list[bytes]) -> None:
        """Publish contents one by one, without leaving the loop's thread."""

        async def publish() -> None:
            for content in contents:
                await self._node.publish(content)

        self._shell.call(publish)

    def take(self, count: int, timeout: float) -> list[Any]:
        """As many records as come in time, up to `count`, likewise."""

        async def taken() -> list[Any]:
            end = time.monotonic() + timeout
            records: list[Any] = []
            while len(records) < count:
                record = await self._node.poll(max(0.0, end - time.monotonic()))
                if record is None:
                    break
                records.append(record)
            return records

        return self._shell.call(taken)

    def __iter__(self) -> Iterator[Any]:
        return self._iterate(self._node)

    def runs(self, timeout: float | None = None) -> Iterator[Any]:
        """Runs as they come."""
        return self._iterate(self._node.runs(timeout))

    def _iterate(self, items: Any) -> Iterator[Any]:
        while True:
            try:
                yield self._shell.call(anext, items)
            except StopAsyncIteration:
                return
