"""Reads one topic for an application: one run at a time is taken ahead, the rest waits outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

import dafka
from dafka.core.run import Run


class Feed:
    """The records of one topic, from the positions where an earlier life stopped."""

    def __init__(
        self,
        topic: str,
        start: dict[str, int],
        settings: dict[str, Any],
        wanted: Callable[[str, str], bool] | None = None,
    ) -> None:
        """Opens nothing. Partitions that `start` does not name begin at their earliest record.

        `wanted` says which partitions are read; the others are counted.
        """
        self.topic = topic
        self.others: set[str] = set()
        """Partitions that are not wanted."""
        self._wanted = wanted
        only = None if wanted is None else self._is_wanted
        self.consumer = dafka.Consumer(topic, start=start or "earliest", only=only, **settings)
        self.quiet_s = 0.0
        """How long there has been nothing to read."""
        self._run: Run | None = None
        self._taken = Event()
        self._was_empty = False
        self.known = 0
        """Partitions that have been found in this life."""

    def start(self, arrived: Event, on_error: Callable[[BaseException], None]) -> None:
        """Begin to read; `arrived` is set whenever there is something to take."""
        self.consumer.start()
        self._greenlet = gevent.spawn(self._read, arrived, on_error)

    def stop(self) -> None:
        """End; what was not taken will be read again."""
        if self.consumer.started:
            self.consumer.stop(0.5)
            self._greenlet.kill()

    @property
    def ready(self) -> bool:
        """Whether there is something to take."""
        return self._run is not None

    def take(self, most: int) -> Run:
        """The next records, `most` at most."""
        run = self._run
        assert run is not None
        part = run.until(run.first + most)
        rest = run.since(part.next)
        self._run = rest if rest.contents else None
        if self._run is None:
            self._taken.set()
        self.quiet_s = 0.0
        return part

    def waited(self, seconds: float) -> float:
        """How much of the time since the last call there was nothing to read."""
        empty = not self.ready and self.consumer.introduced and not self.consumer.behind()
        waited = seconds if empty and self._was_empty else 0.0
        self._was_empty = empty
        # What has come, or is known to exist, ends the quiet before it is taken.
        self.quiet_s = self.quiet_s + waited if empty else 0.0
        return waited

    def found(self) -> list[tuple[str, str]]:
        """All partitions that are known to exist, if there are more than at the last call."""
        names = self.consumer.position()
        if len(names) == self.known:
            return []
        self.known = len(names)
        return [(self.topic, name) for name in names]

    def _is_wanted(self, topic: str, partition: str) -> bool:
        wanted = self._wanted is None or self._wanted(topic, partition)
        if not wanted:
            self.others.add(partition)
        return wanted

    def _read(self, arrived: Event, on_error: Callable[[BaseException], None]) -> None:
        try:
            for run in self.consumer.runs():
                self._taken.clear()
                self._run = run
                arrived.set()
                self._taken.wait()
        except Exception as error:
            on_error(error)
