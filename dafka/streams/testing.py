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

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
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


@dataclass
class _Life:
    """A process of the application, and what it has saved."""

    worker: str
    engine: Engine
    rows: dict[bytes, bytes] = field(default_factory=dict)
    known: Known = field(default_factory=dict)


class Driver:
    """An application at work in a test. Event time moves on with each `send`.

    If the application has workers, all of them are at work.
    """

    def __init__(self, app: App, *, chance: Callable[[int], int] | None = None) -> None:
        """With `chance`, what workers hand each other comes in any order, and some of it later.

        `chance(n)` says a number below n, as `random.Random(7).randrange` does.
        """
        self.skipped: list[Fault] = []
        """Records that were skipped, or sent to the dead-letter topic."""
        self._app = app
        self._chance = chance
        self._workers = app.topology.workers
        self._now = 0.0
        self._next: dict[tuple[str, str], int] = defaultdict(int)
        self._known: dict[str, set[str]] = defaultdict(set)
        self._published: dict[str, list[bytes]] = defaultdict(list)
        self._handed: dict[tuple[str, str], list[bytes]] = defaultdict(list)
        """What workers have handed each other, by topic and partition."""
        names = ("",) if self._workers is None else self._workers.names
        self._lives = {name: _Life(name, self._engine(name)) for name in names}
        for life in self._lives.values():
            self._begin(life)

    def _engine(self, worker: str) -> Engine:
        settings = replace(self._app.settings, settle_s=0.0)
        return Engine(self._app.topology, settings, worker=worker, on_skip=self.skipped.append)

    def _begin(self, life: _Life) -> None:
        life.engine = self._engine(life.worker)
        life.known = lay_out(self._app.topology, life.known, "the test")
        life.engine.restore(sorted(life.rows.items()), numbers(life.known))
        self._tell_known(life)
        self._save(life)

    # What happens

    def send(self, topic: str, values: Iterable[Any], *, partition: str = "A") -> None:
        """Values come through a topic, encoded by the codec of its source, as one batch."""
        encode = self._source(topic).codec.encode
        self.send_contents(topic, [encode(value) for value in values], partition=partition)

    def send_contents(self, topic: str, contents: Iterable[bytes], *, partition: str = "A") -> None:
        """The same with contents as they are."""
        self.know(topic, partition)
        key = (topic, partition)
        run = Run(topic, partition, self._next[key], list(contents))
        self._next[key] = run.next
        life = self._reader(topic, partition)
        life.engine.process(run)
        self._look(life)
        self._hand_over()

    def know(self, topic: str, *partitions: str) -> None:
        """These partitions exist: event time waits for their first records."""
        self._source(topic)
        self._known[topic].update(partitions)
        for life in self._lives.values():
            self._tell_known(life)
            if self._workers is not None:  # the others have to hear of it
                self._look(life)
        self._hand_over()

    def _tell_known(self, life: _Life) -> None:
        for topic, partitions in self._known.items():
            own = [name for name in partitions if self._reader(topic, name) is life]
            life.engine.know((topic, name) for name in own)
            life.engine.know_others(topic, len(partitions) - len(own))

    def advance(self, seconds: float) -> None:
        """So much time passes, in which nothing comes."""
        self._now += seconds
        for life in self._lives.values():
            for topic in self._app.topology.topics:
                life.engine.waited(topic, seconds)
            self._look(life)
        self._hand_over()

    def finish(self) -> None:
        """Nothing comes any more: all windows close."""
        self._chance = None
        for life in self._lives.values():
            life.engine.finish()
            self._save(life)
        self._hand_over()

    def restart(self, worker: str | None = None) -> None:
        """The process ends, and another one goes on with what was saved; one worker, or all.

        It knows of all partitions again.
        """
        for life in self._lives.values():
            if worker in (None, life.worker):
                if life.engine.finished:
                    life.engine.leave()
                    self._save(life)
                self._begin(life)

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
        found: dict[K, V] = {}
        for life in self._lives.values():
            found |= table_items(life.engine.state(table.node), table)
        return found

    def metrics(self) -> dict[str, dict[str, float]]:
        """Numbers by operator, as `App.metrics` gives them; of all workers together."""
        total: dict[str, Counter[str]] = defaultdict(Counter)
        for life in self._lives.values():
            for name, counts in life.engine.metrics().items():
                total[name].update(counts)
        return {name: dict(counts) for name, counts in total.items()}

    def _source(self, topic: str) -> Any:
        for node in self._app.topology.sources:
            settings = node.source
            if settings is not None and topic in settings.topics:
                return settings
        raise ConfigError(f"application {self._app.name!r} does not read topic {topic!r}")

    def _reader(self, topic: str, partition: str) -> _Life:
        workers = self._workers
        return self._lives["" if workers is None else workers.owner(topic, partition)]

    def _look(self, life: _Life) -> None:
        life.engine.advance(self._now)
        self._save(life)

    def _hand_over(self) -> None:
        """Let workers take what others have handed over; without `chance` until all is taken."""
        while places := [
            (life, topic, partition)
            for life in self._lives.values()
            for topic in life.engine.relayed
            for partition in self._handed_to(topic)
            if self._left(life, topic, partition)
        ]:
            chance = self._chance
            if chance is None:
                life, topic, partition = places[0]
                count = None
            elif not chance(4):
                return
            else:
                life, topic, partition = places[chance(len(places))]
                count = 1 + chance(3)
            first = life.engine.positions(topic).get(partition, 0)
            contents = self._left(life, topic, partition)[:count]
            life.engine.process(Run(topic, partition, first, contents))
            self._look(life)

    def _handed_to(self, topic: str) -> list[str]:
        return [partition for to, partition in list(self._handed) if to == topic]

    def _left(self, life: _Life, topic: str, partition: str) -> list[bytes]:
        first = life.engine.positions(topic).get(partition, 0)
        return self._handed[topic, partition][first:]

    def _save(self, life: _Life) -> None:
        changes = life.engine.collect()
        for key, value in changes.rows:
            if value is None:
                life.rows.pop(key, None)
            else:
                life.rows[key] = value
        exchanged = self._app.topology.exchanged
        for topic, contents in changes.outputs.items():
            if topic in exchanged and self._workers is not None:
                name = self._workers.sign(life.worker, "0" * 32)
                self._handed[topic, name] += contents
            else:
                self._published[topic] += contents
