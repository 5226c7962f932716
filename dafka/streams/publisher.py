"""Publishes what an application has saved, from where its state says, until it is acknowledged.

Every content has had its offset since it was saved. So whatever is sent again after a crash is
what was sent before, and stores and consumers recognise it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import gevent

import dafka
from dafka.core.run import RECORD_COST
from dafka.streams.state import Outgoing, portions

_PORTION_BYTES = 1 << 18


class Publisher:
    """One topic that an application writes to, as one partition of it."""

    def __init__(self, topic: str, out: Outgoing, settings: dict[str, Any]) -> None:
        """Opens nothing; what waits in `out` is published first."""
        self.topic = topic
        first = out.waiting[0][0] if out.waiting else out.next
        self.producer = dafka.Producer(topic, partition=out.partition, first=first, **settings)
        self._rows: deque[list[bytes]] = deque()
        self._costs: deque[tuple[int, int]] = deque()
        self._end = first
        self._waiting_bytes = 0
        self._greenlet: gevent.Greenlet | None = None
        self._on_error: Callable[[BaseException], None]
        for _, contents in out.waiting:
            self._enter(contents)

    def start(self, on_error: Callable[[BaseException], None]) -> None:
        """Begin to publish; `on_error` is told why it had to end."""
        self._on_error = on_error
        self.producer.start()
        self._publish()

    def add(self, contents: list[bytes]) -> None:
        """Publish these as well: they have been saved."""
        self._enter(contents)
        self._publish()

    @property
    def acknowledged(self) -> int:
        """Everything before this offset is acknowledged."""
        return self.producer.acknowledged

    @property
    def waiting(self) -> int:
        """Records that are not acknowledged yet."""
        return self._end - self.acknowledged

    @property
    def waiting_bytes(self) -> int:
        """What they take, their keeping included."""
        acknowledged = self.acknowledged
        while self._costs and self._costs[0][0] <= acknowledged:
            self._waiting_bytes -= self._costs.popleft()[1]
        return self._waiting_bytes

    def stop(self, timeout: float) -> None:
        """End; what is not acknowledged stays in the state, for the next start."""
        if self._greenlet is not None:
            self._greenlet.kill()
        if self.producer.started:
            self.producer.stop(timeout)

    def _enter(self, contents: list[bytes]) -> None:
        cost = sum(map(len, contents)) + RECORD_COST * len(contents)
        self._rows.append(contents)
        self._end += len(contents)
        self._costs.append((self._end, cost))
        self._waiting_bytes += cost

    def _publish(self) -> None:
        """A greenlet of its own, since a producer makes its user wait."""
        if self._rows and (self._greenlet is None or self._greenlet.ready()):
            self._greenlet = gevent.spawn(self._work)

    def _work(self) -> None:
        publish = self.producer.publish_many
        # Smaller portions leave sooner, and find room while stores still have the ones before.
        most = min(_PORTION_BYTES, self.producer.config.buffer_bytes // 4)
        try:
            while self._rows:
                for portion in portions(self._rows.popleft(), most):
                    publish(portion)
        except Exception as error:
            self._on_error(error)
