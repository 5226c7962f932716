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
from dafka.streams.clocks import Clocks
from dafka.streams.dead_letters import letter
from dafka.streams.errors import DeadLetter, Fault, OnError, StreamError
from dafka.streams.exchange import Exchange
from dafka.streams.keyed_state import Row, Store
from dafka.streams.operators import Operator, Source
from dafka.streams.topology import Built, Node, Topology
from dafka.streams.watermark import Mark, Relayed, Told

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


class Engine(Clocks):
    """A topology at work."""

    def __init__(
        self,
        topology: Topology,
        settings: Settings,
        *,
        worker: str = "",
        clock: Callable[[], float] = lambda: 0.0,
        on_skip: Callable[[Fault], object] = lambda _: None,
    ) -> None:
        """`worker`: which of the topology's workers this is, if there are any.

        `clock` tells the seconds that metrics count; `on_skip` is told of skipped records.
        """
        super().__init__(topology, worker, settings.idle_s, settings.settle_s)
        self._settings = settings
        self._clock = clock
        self._on_skip = on_skip
        self.outputs: dict[str, list[bytes]] = {}
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

    # State that outlives the process

    def restore(self, rows: Iterable[tuple[bytes, bytes]], numbers: dict[str, int]) -> None:
        """Go on where the rows were written; `numbers` tell operators' rows from each other."""
        self._kept = []
        stores = {}
        for operator in self._operators.values():
            if operator.name in numbers and operator.store is not None:
                stores[numbers[operator.name]] = operator.store
                prefix = b"s" + numbers[operator.name].to_bytes(2, "big")
                self._kept.append((prefix, operator.store))
        for key, value in rows:
            kind = key[:1]
            if kind == b"s":
                stores[int.from_bytes(key[1:3], "big")].load(value)
            else:
                self.restore_clock(key, value)
        for operator in self._operators.values():
            operator.loaded()
        self._advance_nodes()

    def collect(self) -> Changes:
        """What has happened since the last call: to be written down all together, or not at all."""
        rows = self.collect_clocks()
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
        mark = self.mark(node, (run.topic, run.partition))
        run = run.since(mark.next)
        if not run.contents:
            return
        operator = self._operators[node]
        mark.next = run.next
        if isinstance(watermark, Relayed) and isinstance(operator, Exchange):
            self._hear(node, operator, watermark, mark, run)
            return
        assert isinstance(operator, Source)
        began = self._clock()
        batch, maximum = operator.read(run, mark.maximum)
        operator.counts.seconds += self._clock() - began
        watermark.saw(mark, maximum)
        self._send(node, 0, batch)

    def _hear(
        self, node: Node, operator: Exchange, watermark: Relayed, mark: Mark, run: Run
    ) -> None:
        """Take what a worker has said."""
        for content in run.contents:
            began = self._clock()
            said = operator.heard(content)
            operator.counts.seconds += self._clock() - began
            if isinstance(said, Told):
                watermark.told(mark, said)
                continue
            watermark.spoke(mark)
            operator.counts.records_out += len(said)
            self._send(node, 0, said)

    def advance(self, now: float) -> None:
        """See how far event time has come, and close what is over. `now`: monotonic seconds."""
        for watermark in self.watermarks.values():
            watermark.advance(now)
        self._advance_nodes()

    def finish(self) -> None:
        """Nothing more will be read: close all that is not waiting for other workers."""
        self.finish_sources()
        self._advance_nodes()

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

    def _advance_nodes(self) -> None:
        for node, operator in self._operators.items():
            if isinstance(operator, Exchange):
                operator.tell(self.told(node))
            if not node.timed or node.relays:
                continue
            told = self.told(node)
            time = inf if told.final else told.time - node.delay
            if time <= self._advanced[node]:
                continue
            if not told.final:
                self._advanced[node] = time
            began = self._clock()
            batch = operator.advance(time)
            operator.counts.seconds += self._clock() - began
            if batch is not None:
                operator.counts.records_out += len(batch)
                self._send(node, 0, batch)

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
