"""Runs a topology: takes runs, and tells what is to be written down and published.

Decides everything that depends on records and time; knows neither disk, network nor clock. What
`collect` gives belongs together: positions, state and output of the same records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import msgspec

from dafka.core.run import Run
from dafka.streams.batch import Batch
from dafka.streams.dead_letters import letter
from dafka.streams.errors import DeadLetter, Fault, OnError, StreamError
from dafka.streams.keyed_state import Row, Store
from dafka.streams.operators import Operator, Source
from dafka.streams.topology import Built, Node, Topology
from dafka.streams.watermark import Key, Watermark

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.decode


@dataclass(frozen=True, slots=True)
class Settings:
    """What an engine has to know beside its topology."""

    on_error: OnError = "stop"
    idle_s: float = 10.0
    settle_s: float = 2.0
    largest: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Changes:
    """What has happened since the last time."""

    rows: list[Row]
    """What is to be written down, or removed."""
    outputs: dict[str, list[bytes]]
    """Contents to publish, by topic, in order."""


class Engine:
    """A topology at work."""

    def __init__(
        self,
        topology: Topology,
        settings: Settings,
        *,
        clock: Callable[[], float] = lambda: 0.0,
        on_skip: Callable[[Fault], object] = lambda _: None,
    ) -> None:
        """`clock` tells the seconds that metrics count; `on_skip` is told of skipped records."""
        self._settings = settings
        self._clock = clock
        self._on_skip = on_skip
        self.outputs: dict[str, list[bytes]] = {}
        self.watermarks: dict[Node, Watermark] = {}
        self._by_topic: dict[str, Node] = {}
        self._operators: dict[Node, Operator] = {}
        self._children: dict[Node, dict[int, list[tuple[Node, int]]]] = {}
        self._advanced: dict[Node, float] = {}
        self._kept: list[tuple[bytes, Store]] = []
        """What operators keep, and how the keys of their rows begin."""
        for node in topology.nodes:
            self._add(node)

    def _add(self, node: Node) -> None:
        self._children[node] = {}
        built = Built(
            node.name,
            self._fault,
            self._operators,
            self._output,
            self._settings.largest,
            node.delay,
        )
        self._operators[node] = node.build(built)
        for port, (parent, output) in enumerate(node.parents):
            self._children[parent].setdefault(output, []).append((node, port))
        self._advanced[node] = -inf
        if node.source is not None:
            self.watermarks[node] = Watermark(
                self._settings.idle_s, self._settings.settle_s, node.source.partitions
            )
            self._by_topic.update(dict.fromkeys(node.source.topics, node))

    # State that outlives the process

    def restore(self, rows: Iterable[tuple[bytes, bytes]], numbers: dict[str, int]) -> None:
        """Go on where the rows were written; `numbers` tell operators' rows from each other."""
        self._kept = []
        stores = {}
        for operator in self._operators.values():
            if operator.name in numbers:
                assert operator.store is not None
                stores[numbers[operator.name]] = operator.store
                prefix = b"s" + numbers[operator.name].to_bytes(2, "big")
                self._kept.append((prefix, operator.store))
        for key, value in rows:
            kind = key[:1]
            if kind == b"s":
                stores[int.from_bytes(key[1:3], "big")].load(value)
            elif kind == b"i":
                self._restore_mark(key, value)
            elif kind == b"w":
                self._restore_watermark(key, value)
        for operator in self._operators.values():
            operator.loaded()
        self._advance_nodes(final=False)

    def _restore_mark(self, key: bytes, value: bytes) -> None:
        topic, partition = _decode(key[1:])
        node = self._by_topic.get(topic)
        if node is None:
            return  # not read any more
        mark = self.watermarks[node].mark((topic, partition))
        mark.next, mark.maximum, mark.idle = _decode(value)

    def _restore_watermark(self, key: bytes, value: bytes) -> None:
        for node, watermark in self.watermarks.items():
            if node.name == key[1:].decode():
                watermark.time = _decode(value)

    def collect(self) -> Changes:
        """What has happened since the last call: to be written down all together, or not at all."""
        rows: list[Row] = []
        for watermark in self.watermarks.values():
            for key, mark in watermark.marks.items():
                if mark.changed:
                    mark.changed = False
                    rows.append(
                        (b"i" + _encode(key), _encode((mark.next, mark.maximum, mark.idle)))
                    )
        if rows:
            rows += [
                (b"w" + node.name.encode(), _encode(watermark.time))
                for node, watermark in self.watermarks.items()
            ]
        for prefix, store in self._kept:
            rows += [(prefix + key, value) for key, value in store.changes()]
        outputs = {topic: list(contents) for topic, contents in self.outputs.items() if contents}
        for contents in self.outputs.values():
            contents.clear()
        return Changes(rows, outputs)

    # Working

    def process(self, run: Run) -> None:
        """Take a run, the next of its partition."""
        node = self._by_topic[run.topic]
        watermark = self.watermarks[node]
        mark = watermark.mark((run.topic, run.partition))
        run = run.since(mark.next)
        if not run.contents:
            return
        operator = self._operators[node]
        assert isinstance(operator, Source)
        began = self._clock()
        batch, maximum = operator.read(run, mark.maximum)
        operator.counts.seconds += self._clock() - began
        mark.next = run.next
        watermark.saw(mark, maximum)
        self._send(node, 0, batch)

    def know(self, keys: Iterable[Key]) -> None:
        """These partitions exist, whether or not there has been a record of them."""
        for key in keys:
            self.watermarks[self._by_topic[key[0]]].mark(key)

    def waited(self, topic: str, seconds: float) -> None:
        """There was nothing left to read of a topic for so long."""
        self.watermarks[self._by_topic[topic]].waited(seconds)

    def advance(self, now: float) -> None:
        """See how far event time has come, and close what is over. `now`: monotonic seconds."""
        for watermark in self.watermarks.values():
            watermark.advance(now)
        self._advance_nodes(final=False)

    def finish(self) -> None:
        """Nothing will come any more: close everything."""
        self._advance_nodes(final=True)

    def expected(self, topic: str) -> int:
        """How many partitions a topic has at least."""
        source = self._by_topic[topic].source
        return max(1, source.partitions) if source and len(source.topics) == 1 else 1

    def positions(self, topic: str) -> dict[str, int]:
        """The next offset to process of each partition of a topic that there are records of."""
        marks = self.watermarks[self._by_topic[topic]].marks
        return {name: mark.next for (of, name), mark in marks.items() if of == topic}

    def watermark(self, topic: str) -> float:
        """How far the event time of a topic has come."""
        return self.watermarks[self._by_topic[topic]].time

    def state(self, node: Node) -> dict[Any, Any]:
        """What the operator of a node that has no windows keeps, by key."""
        store = self._operators[node].store
        return {} if store is None else store.groups.get(0, {})

    def metrics(self) -> dict[str, dict[str, float]]:
        """Counters of each operator by its name."""
        return {one.name: asdict(one.counts) for one in self._operators.values()}

    # Inside

    def _output(self, topic: str) -> list[bytes]:
        return self.outputs.setdefault(topic, [])

    def _send(self, node: Node, output: int, batch: Batch) -> None:
        if not batch.values:
            return
        for child, port in self._children[node].get(output, ()):
            operator = self._operators[child]
            began = self._clock()
            given = operator.take(batch, port)
            counts = operator.counts
            counts.seconds += self._clock() - began
            counts.records_in += len(batch)
            for number, one in enumerate(given):
                counts.records_out += len(one)
                self._send(child, number, one)

    def _advance_nodes(self, *, final: bool) -> None:
        for node, operator in self._operators.items():
            if not node.timed:
                continue
            time = inf if final else self._time(node)
            if time <= self._advanced[node]:
                continue
            if not final:
                self._advanced[node] = time
            began = self._clock()
            batch = operator.advance(time)
            operator.counts.seconds += self._clock() - began
            if batch is not None:
                operator.counts.records_out += len(batch)
                self._send(node, 0, batch)

    def _time(self, node: Node) -> float:
        """How far event time has come where a node gets its records."""
        roots = [self.watermarks[root] for root in node.roots]
        active = [one.time for one in roots if not one.idle]
        time = min(active) if active else max([one.time for one in roots], default=-inf)
        return time - node.delay

    def _fault(self, fault: Fault) -> None:
        policy = self._settings.on_error
        if policy == "stop":
            raise StreamError(
                f"{fault}. Mend the code, or let such records be skipped (on_error='skip') or "
                "sent to a topic (on_error=DeadLetter(…)); the next start meets this one again"
            ) from fault.error
        if isinstance(policy, DeadLetter):
            self._output(policy.topic).append(letter(fault))
        self._on_skip(fault)
