"""Runs an application over lists: no cluster, no directory, and a clock that a test sets.

>>> from dafka import streams
>>> from dafka.streams.testing import Driver
>>> app = streams.App("doubles")
>>> app.source("numbers").map(lambda n: 2 * n).to("doubles", streams.JSON)
>>> driver = Driver(app)
>>> driver.send("numbers", [1, 2, 3])
>>> driver.output("doubles")
[2, 4, 6]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from dafka.core.run import Run
from dafka.errors import ConfigError
from dafka.streams.app import App, table_items
from dafka.streams.codecs import JSON
from dafka.streams.engine import Engine
from dafka.streams.errors import Fault
from dafka.streams.keyed import Table
from dafka.streams.layout import Known, lay_out, numbers

K = TypeVar("K")
V = TypeVar("V")


class Driver:
    """An application at work in a test. Event time moves on with each `send`."""

    def __init__(self, app: App) -> None:
        self.skipped: list[Fault] = []
        """Records that were skipped, or sent to the dead-letter topic."""
        self._app = app
        self._now = 0.0
        self._rows: dict[bytes, bytes] = {}
        self._known: Known = {}
        self._next: dict[tuple[str, str], int] = defaultdict(int)
        self._published: dict[str, list[bytes]] = defaultdict(list)
        self._begin()

    def _begin(self) -> None:
        settings = replace(self._app.settings, settle_s=0.0)
        self.engine = Engine(self._app.topology, settings, on_skip=self.skipped.append)
        self._known = lay_out(self._app.topology, self._known, "the test")
        self.engine.restore(sorted(self._rows.items()), numbers(self._known))
        self._save()

    # What happens

    def send(self, topic: str, values: Iterable[Any], *, partition: str = "A") -> None:
        """Values come through a topic, encoded by the codec of its source, as one batch."""
        encode = self._source(topic).codec.encode
        self.send_contents(topic, [encode(value) for value in values], partition=partition)

    def send_contents(self, topic: str, contents: Iterable[bytes], *, partition: str = "A") -> None:
        """The same with contents as they are."""
        self._source(topic)
        key = (topic, partition)
        run = Run(topic, partition, self._next[key], list(contents))
        self._next[key] = run.next
        self.engine.process(run)
        self.engine.advance(self._now)
        self._save()

    def know(self, topic: str, *partitions: str) -> None:
        """These partitions exist: event time waits for their first records."""
        self._source(topic)
        self.engine.know((topic, partition) for partition in partitions)

    def advance(self, seconds: float) -> None:
        """So much time passes, in which nothing comes."""
        self._now += seconds
        for topic in self._app.topology.topics:
            self.engine.waited(topic, seconds)
        self.engine.advance(self._now)
        self._save()

    def finish(self) -> None:
        """Nothing comes any more: all windows close."""
        self.engine.finish()
        self._save()

    def restart(self) -> None:
        """The process ends, and another one goes on with what was saved."""
        self._begin()

    # What comes of it

    def output(self, topic: str) -> list[Any]:
        """All values published to a topic so far, decoded by the codec that they were written by.

        Dead letters are decoded as JSON.
        """
        nodes = [node for node in self._app.topology.nodes if node.sink == topic]
        if nodes:
            (codec, *_) = [node.codec for node in nodes if node.codec]
        else:
            codec = JSON
        return [codec.decode(content) for content in self._published[topic]]

    def contents(self, topic: str) -> list[bytes]:
        """All contents published to a topic so far."""
        return list(self._published[topic])

    def items(self, table: Table[K, V]) -> dict[K, V]:
        """What a table says at the moment."""
        return table_items(self.engine.state(table.node), table)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Numbers by operator, as `App.metrics` gives them."""
        return self.engine.metrics()

    def _source(self, topic: str) -> Any:
        for node in self._app.topology.sources:
            settings = node.source
            if settings is not None and topic in settings.topics:
                return settings
        raise ConfigError(f"application {self._app.name!r} does not read topic {topic!r}")

    def _save(self) -> None:
        changes = self.engine.collect()
        for key, value in changes.rows:
            if value is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = value
        for topic, contents in changes.outputs.items():
            self._published[topic] += contents
