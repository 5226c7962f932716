"""Streams as the user composes them: each call adds an operator to the application's topology."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dafka.errors import ConfigError
from dafka.names import check_topic
from dafka.streams import operators as op
from dafka.streams.codecs import Codec
from dafka.streams.topology import Built, Node, Port, Topology

if TYPE_CHECKING:
    from dafka.streams.keyed import Keyed

V = TypeVar("V")
W = TypeVar("W")
K = TypeVar("K")


class Stream(Generic[V]):
    """Values as they come. Nothing happens before the application runs."""

    def __init__(self, topology: Topology, port: Port, kind: Any = None) -> None:
        self.topology = topology
        self.port = port
        self.kind = kind
        """The type of the values, where it is known."""

    @property
    def node(self) -> Node:
        """The operator that gives these values."""
        return self.port[0]

    def map(self, function: Callable[[V], W], *, type: Any = None, name: str = "") -> Stream[W]:
        """`function(value)` instead of each value.

        Name the `type` if it is a class of your own, and a join or a table will keep such values.
        """
        return Stream(*self._then("map", op.Map, function, name), type)

    def filter(self, function: Callable[[V], object], *, name: str = "") -> Stream[V]:
        """Only values for which `function(value)` is true."""
        return Stream(*self._then("filter", op.Filter, function, name), self.kind)

    def flat_map(self, function: Callable[[V], Iterable[W]], *, name: str = "") -> Stream[W]:
        """All values of `function(value)`, one after the other, instead of each value."""
        return Stream(*self._then("flat_map", op.FlatMap, function, name))

    def key_by(self, function: Callable[[V], K], *, name: str = "") -> Keyed[K, V]:
        """Give each value a key: text, a number, bytes, a bool, None, or a tuple of those."""
        from dafka.streams.keyed import Keyed

        return Keyed(*self._then("key_by", op.KeyBy, function, name, together=False), self.kind)

    def merge(self, *others: Stream[V], name: str = "") -> Stream[V]:
        """This stream's values and those of others."""
        return Stream(*self._merged(others, name))

    def branch(self, *functions: Callable[[V], object], name: str = "") -> tuple[Stream[V], ...]:
        """A stream for each function, and one more for the rest.

        A value goes to the first function that is true for it.
        """
        node = self.topology.add(
            "branch",
            lambda built: op.Branch(built.name, built.on_fault, functions),
            [self.port],
            name,
            detail=f"{len(functions) + 1} ways",
        )
        outputs = range(len(functions) + 1)
        return tuple(Stream(self.topology, (node, output), self.kind) for output in outputs)

    def to(self, topic: str, codec: Codec[V], *, name: str = "") -> None:
        """Publish the values to a topic, each exactly once."""
        check_topic(topic)

        def build(built: Built) -> op.Operator:
            out = built.output(topic)
            return op.Sink(built.name, built.on_fault, codec, out, built.largest)

        detail = f"{topic} ({codec.name})"
        self.topology.add("to", build, [self.port], name, detail=detail, sink=topic, codec=codec)

    def _then(
        self,
        kind: str,
        operator: type[op.Map],
        function: Callable[..., Any],
        name: str,
        **rest: Any,
    ) -> tuple[Topology, Port]:
        if not callable(function):
            raise ConfigError(f"{kind} takes a function, not {type(function).__name__}")
        node = self.topology.add(
            kind,
            lambda built: operator(built.name, built.on_fault, function),
            [self.port],
            name,
            detail=_called(function),
            **rest,
        )
        return self.topology, (node, 0)

    def _merged(self, others: Iterable[Stream[Any]], name: str) -> tuple[Topology, Port, Any]:
        streams = [self, *others]
        check_same(self.topology, streams)
        kinds = {id(stream.kind): stream.kind for stream in streams}
        timed = {stream.node.timed for stream in streams}
        if len(timed) > 1:
            raise ConfigError(
                "merge: some of these streams have event times and others have not: give all "
                "their sources time=…"
            )
        node = self.topology.add(
            "merge",
            lambda built: op.Merge(built.name, built.on_fault),
            [stream.port for stream in streams],
            name,
        )
        return self.topology, (node, 0), self.kind if len(kinds) == 1 else None


def check_same(topology: Topology, streams: Iterable[Stream[Any]]) -> None:
    """Raise `ConfigError` unless all streams are of one application."""
    for stream in streams:
        if stream.topology is not topology:
            raise ConfigError("these streams belong to different applications")


def _called(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", type(function).__name__)
    return "" if "<lambda>" in name else name.rpartition("<locals>.")[2]
