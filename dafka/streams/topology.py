"""The operators of an application and how they are connected: what is declared, not what runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dafka.errors import ConfigError
from dafka.names import check_topic
from dafka.streams.codecs import Codec
from dafka.streams.errors import Fault
from dafka.streams.exchange import Exchange
from dafka.streams.operators import Operator
from dafka.streams.workers import Workers


@dataclass(frozen=True, slots=True)
class Built:
    """What a node gets to make its operator of."""

    name: str
    on_fault: Callable[[Fault], None]
    operators: dict[Node, Operator]
    """Those of earlier nodes."""
    output: Callable[[str], list[bytes]]
    """Where the contents for a topic go."""
    largest: int
    """Bytes of the largest content."""
    delay: float
    """How far event time lags behind that of the sources, here."""


APPLICATION = "app"
"""What metrics call the application itself."""

Port = tuple["Node", int]
"""A node and which of its outputs."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceSettings:
    """Topics that are read, and how."""

    topics: tuple[str, ...]
    codec: Codec[Any]
    time: Callable[[Any], Any] | None
    partitions: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Node:
    """One operator to be."""

    name: str
    kind: str
    build: Callable[[Built], Operator]
    detail: str = ""
    parents: tuple[Port, ...] = ()
    source: SourceSettings | None = None
    sink: str = ""
    """The topic it writes to."""
    codec: Codec[Any] | None = None
    """How it writes there."""
    timed: bool = False
    """Whether its records have event times."""
    lateness: float = 0.0
    """How far its results lag behind the event time of what it is given."""
    keeps: str = ""
    """What its state is; state of one kind cannot be read as another. Empty: it has none."""
    relays: bool = False
    """Whether its records go to the workers that have their keys, and on from there."""
    together: bool = False
    """Whether all records of a key are with one worker here."""
    roots: frozenset[Node] = frozenset()
    """The sources that its records come from; for a source, itself."""
    clocks: frozenset[Node] = frozenset()
    """Where its event time comes from: sources, or exchanges between workers."""

    @property
    def delay(self) -> float:
        """How far event time lags behind that of the sources where its records arrive."""
        return max((parent.delay + parent.lateness for parent, _ in self.parents), default=0.0)


@dataclass(slots=True)
class Topology:
    """All nodes, each behind those it gets its records from."""

    workers: Workers | None = None
    """The processes that share the work; None: there is one alone."""
    nodes: list[Node] = field(default_factory=list)
    _kinds: Counter[str] = field(default_factory=Counter)
    _exchanges: dict[Port, Port] = field(default_factory=dict)

    def add(
        self,
        kind: str,
        build: Callable[[Built], Operator],
        parents: Sequence[Port] = (),
        name: str = "",
        **rest: Any,
    ) -> Node:
        """Add a node; it gets a name if it is given none."""
        self._kinds[kind] += 1
        name = name or f"{kind}-{self._kinds[kind]}"
        if name == APPLICATION or any(node.name == name for node in self.nodes):
            raise ConfigError(f"there is an operator {name!r} already: names must differ")
        rest.setdefault("timed", bool(parents) and all(node.timed for node, _ in parents))
        rest.setdefault("together", bool(parents) and all(node.together for node, _ in parents))
        rest["roots"] = frozenset(root for node, _ in parents for root in node.roots or (node,))
        rest["clocks"] = frozenset(
            clock
            for node, _ in parents
            for clock in ((node,) if node.relays or node.source else node.clocks)
        )
        node = Node(name=name, kind=kind, build=build, parents=tuple(parents), **rest)
        self.nodes.append(node)
        return node

    def add_source(
        self, settings: SourceSettings, build: Callable[[Built], Operator], name: str
    ) -> Node:
        """Add a source; a topic is read by one source only."""
        if not settings.topics:
            raise ConfigError("a source needs at least one topic")
        for topic in settings.topics:
            check_topic(topic)
            if topic in self.topics:
                raise ConfigError(
                    f"topic {topic!r} is read by a source already: use that stream twice"
                )
        return self.add(
            "source",
            build,
            name=name,
            source=settings,
            timed=settings.time is not None,
            detail=f"{', '.join(settings.topics)} ({settings.codec.name})",
        )

    def gathered(self, port: Port, kind: Any) -> Port:
        """Where the records of a port are, those of a key with one worker. `kind`: their type."""
        workers, (parent, output) = self.workers, port
        if workers is None or parent.together:
            return port
        if port in self._exchanges:
            return self._exchanges[port]
        name = f"{parent.name}{f'-{output + 1}' if output else ''}-exchange"
        for worker in workers.names:
            check_topic(workers.topic(name, worker))

        def build(built: Built) -> Operator:
            outs = [built.output(workers.topic(name, worker)) for worker in workers.names]
            return Exchange(built.name, built.on_fault, workers, outs, kind, built.largest)

        detail = f"by key, {len(workers)} workers"
        rest = {"detail": detail, "keeps": "exchange", "relays": True, "together": True}
        self._exchanges[port] = made = self.add("exchange", build, [port], name, **rest), 0
        return made

    @property
    def exchanges(self) -> list[Node]:
        """Nodes through which workers hand each other records."""
        return [node for node in self.nodes if node.relays]

    @property
    def exchanged(self) -> list[str]:
        """Topics through which that is done: of every worker."""
        workers = self.workers
        if workers is None:
            return []
        return [workers.topic(node.name, name) for node in self.exchanges for name in workers.names]

    @property
    def sources(self) -> list[Node]:
        """Nodes that read topics."""
        return [node for node in self.nodes if node.source is not None]

    @property
    def topics(self) -> list[str]:
        """Topics that are read."""
        return [topic for node in self.sources if node.source for topic in node.source.topics]

    @property
    def sinks(self) -> list[str]:
        """Topics that are written to."""
        return list(dict.fromkeys(node.sink for node in self.nodes if node.sink))
