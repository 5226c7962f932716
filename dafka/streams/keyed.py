"""Streams with keys: what can be counted, joined and kept by key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Literal, TypeVar, get_args

from dafka.errors import ConfigError
from dafka.streams import operators as op
from dafka.streams import tables
from dafka.streams.aggregates import COUNT, Fold, Running, Windowed
from dafka.streams.joins import StreamJoin
from dafka.streams.keyed_state import check_kind
from dafka.streams.sessions import Sessions
from dafka.streams.stream import Stream, check_same
from dafka.streams.topology import Built, Node, Port
from dafka.streams.windows import Duration, Result, Session, Window, seconds

K = TypeVar("K")
V = TypeVar("V")
W = TypeVar("W")
A = TypeVar("A")

Emit = Literal["close", "update"]
"""When a window's result is given out: once, when it closes, or whenever it changes."""

_PLAIN = (int, float, str, bytes, bool, list, dict, type(None))


class Keyed(Stream[V], Generic[K, V]):
    """Values that have a key each. `map` and `filter` keep it, `key_by` sets another one."""

    def map(self, function: Callable[[V], W], *, type: Any = None, name: str = "") -> Keyed[K, W]:
        """`function(value)` instead of each value; the key stays."""
        return Keyed(*self._then("map", op.Map, function, name), type)

    def filter(self, function: Callable[[V], object], *, name: str = "") -> Keyed[K, V]:
        """Only values for which `function(value)` is true."""
        return Keyed(*self._then("filter", op.Filter, function, name), self.kind)

    def flat_map(self, function: Callable[[V], Iterable[W]], *, name: str = "") -> Keyed[K, W]:
        """All values of `function(value)` instead of each value; they have its key."""
        return Keyed(*self._then("flat_map", op.FlatMap, function, name))

    def merge(self, *others: Stream[V], name: str = "") -> Keyed[K, V]:
        """This stream's values and those of others, which have keys as well."""
        for other in others:
            check_keyed(other, "merge with a stream that has keys")
        return Keyed(*self._merged(others, name))

    def branch(self, *functions: Callable[[V], object], name: str = "") -> tuple[Keyed[K, V], ...]:
        """A stream for each function, and one more for the rest; the keys stay."""
        made = super().branch(*functions, name=name)
        return tuple(Keyed(self.topology, one.port, self.kind) for one in made)

    def window(
        self, window: Window, *, lateness: Duration = 0.0, emit: Emit = "close"
    ) -> WindowedStream[K, V]:
        """Look at the values of each window of event time by themselves.

        A window closes `lateness` after its end; what comes later is left out, and counted.
        """
        check_timed(self, "a window")
        if emit not in get_args(Emit):
            raise ConfigError(f"emit is {emit!r}: it must be 'close' or 'update'")
        return WindowedStream(self, window, seconds(lateness, "lateness", zero=True), emit)

    def count(self, *, name: str = "") -> Table[K, int]:
        """How many values each key has had so far."""
        return self._running("count", COUNT, name)

    def reduce(
        self, function: Callable[[V, V], V], *, type: Any = None, name: str = ""
    ) -> Table[K, V]:
        """All values of a key so far as one: `function(so_far, value)`."""
        return self._running("reduce", _reducing(function, type or self.kind), name)

    def aggregate(
        self,
        initial: Callable[[], A],
        add: Callable[[A, V], A],
        *,
        type: Any = None,
        name: str = "",
    ) -> Table[K, A]:
        """What `add(so_far, value)` makes of a key's values, beginning with `initial()`."""
        return self._running("aggregate", _folding(initial, add, None, type), name)

    def table(self, *, type: Any = None, name: str = "") -> Table[K, V]:
        """The latest value of each key, by event time if there is one; None deletes a key."""
        kind = check_kind(type or self.kind or Any)
        return Table(
            self.topology,
            self._keeping(
                "table", lambda b: tables.Latest(b.name, b.on_fault, kind), name, "table"
            ),
            kind,
        )

    def join(
        self,
        other: Keyed[K, W],
        combine: Callable[[Any, Any], A],
        *,
        within: Duration | None = None,
        lateness: Duration = 0.0,
        kind: Literal["inner", "left", "outer"] = "inner",
        name: str = "",
    ) -> Keyed[K, A]:
        """`combine(value, other's value)` for values of one key.

        With a stream: for each two of them whose times differ by at most `within`. With a table:
        for each value, with what the table says at its event time (if both have event times) or
        at the moment. `kind="left"` calls `combine(value, None)` where there is none, `"outer"`
        also `combine(None, value)`.
        """
        if kind not in ("inner", "left", "outer"):
            raise ConfigError(f"join: kind is {kind!r}: it must be 'inner', 'left' or 'outer'")
        check_keyed(other, "join")
        check_same(self.topology, [other])
        late = seconds(lateness, "lateness", zero=True)
        if isinstance(other, Table):
            if within is not None or kind == "outer":
                raise ConfigError("a join with a table takes neither within=… nor kind='outer'")
            return self._join_table(other, combine, late, kind, name)
        if within is None:
            raise ConfigError("a join of two streams needs within=…: how far times may differ")
        check_timed(self, "a join of two streams")
        check_timed(other, "a join of two streams")
        width = seconds(within, "within", zero=True)
        types = (check_kind(self.kind or Any), check_kind(other.kind or Any))
        node = self.topology.add(
            "join",
            lambda b: StreamJoin(
                b.name, b.on_fault, combine, width, late, kind, types, delay=b.delay
            ),
            [gathered(self), gathered(other)],
            name,
            detail=f"{kind}, within {width:g} s",
            lateness=late if kind == "inner" else late + width,
            keeps="join of streams",
        )
        return Keyed(self.topology, (node, 0))

    # Inside

    def _join_table(
        self, table: Table[K, Any], combine: Any, lateness: float, kind: str, name: str
    ) -> Keyed[K, Any]:
        kept = table.node
        temporal = self.node.timed and kept.timed and kept.kind == "table"
        types = (self.kind or Any, table.kind or Any)

        def build(b: Built) -> op.Operator:
            if temporal:
                return tables.TemporalJoin(
                    b.name, b.on_fault, combine, lateness, kind, types, delay=b.delay
                )
            lookup = tables.LatestLookup if kept.kind == "table" else tables.Lookup
            store = b.operators[kept].store
            assert store is not None
            return lookup(b.name, b.on_fault, combine, store, kind)

        when = "at the time of the value" if temporal else "at the moment"
        node = self.topology.add(
            "join",
            build,
            [gathered(self), table.port],
            name,
            detail=f"{kind}, table {when}",
            lateness=lateness if temporal else 0.0,
            timed=self.node.timed,
            keeps="join with a table" if temporal else "",
        )
        return Keyed(self.topology, (node, 0))

    def _running(self, kind: str, fold: Fold, name: str) -> Table[K, Any]:
        port = self._keeping(kind, lambda b: Running(b.name, b.on_fault, fold), name, kind)
        return Table(self.topology, port, fold.kind)

    def _keeping(
        self, kind: str, build: Callable[[Built], op.Operator], name: str, keeps: str
    ) -> Port:
        return self.topology.add(kind, build, [gathered(self)], name, keeps=keeps), 0


class Table(Keyed[K, V]):
    """The latest value of each key. As a stream it is the changes, each key's new value."""


class WindowedStream(Generic[K, V]):
    """A stream with keys, by windows: to be counted, reduced or aggregated."""

    def __init__(self, stream: Keyed[K, V], window: Window, lateness: float, emit: Emit) -> None:
        self._stream = stream
        self._window = window
        self._lateness = lateness
        self._each_update = emit == "update"

    def count(self, *, name: str = "") -> Keyed[K, Result[K, int]]:
        """How many values each key has in each window."""
        return self._aggregate("count", COUNT, name)

    def reduce(
        self, function: Callable[[V, V], V], *, type: Any = None, name: str = ""
    ) -> Keyed[K, Result[K, V]]:
        """The values of each key and window as one: `function(so_far, value)`."""
        return self._aggregate("reduce", _reducing(function, type or self._stream.kind), name)

    def aggregate(
        self,
        initial: Callable[[], A],
        add: Callable[[A, V], A],
        *,
        merge: Callable[[A, A], A] | None = None,
        type: Any = None,
        name: str = "",
    ) -> Keyed[K, Result[K, A]]:
        """What `add(so_far, value)` makes of the values, beginning with `initial()`.

        Session windows also need `merge(a, b)`, for two sessions that a late value joins.
        """
        if isinstance(self._window, Session) and merge is None:
            raise ConfigError("an aggregate of session windows needs merge=…")
        return self._aggregate("aggregate", _folding(initial, add, merge, type), name)

    def _aggregate(self, kind: str, fold: Fold, name: str) -> Keyed[K, Result[K, Any]]:
        window, lateness, each_update = self._window, self._lateness, self._each_update

        def build(b: Built) -> op.Operator:
            given = (b.name, b.on_fault, fold)
            if isinstance(window, Session):
                return Sessions(*given, window, lateness, delay=b.delay, each_update=each_update)
            return Windowed(*given, window, lateness, delay=b.delay, each_update=each_update)

        stream = self._stream
        node: Node = stream.topology.add(
            kind,
            build,
            [gathered(stream)],
            name,
            detail=f"{window}, lateness {lateness:g} s" if lateness else str(window),
            # A session ends a gap late.
            lateness=lateness + (window.gap if isinstance(window, Session) else 0.0),
            keeps=f"{kind}, {window}",
        )
        return Keyed(stream.topology, (node, 0), Result[Any, fold.kind])  # type: ignore[name-defined]


def gathered(stream: Keyed[Any, Any]) -> Port:
    """Where a stream's records are such that those of a key are with one worker."""
    return stream.topology.gathered(stream.port, check_kind(stream.kind or Any))


def check_keyed(stream: Stream[Any], what: str) -> None:
    """Raise `ConfigError` unless a stream has keys."""
    if not isinstance(stream, Keyed):
        raise ConfigError(f"{what}: this needs a key for each value: call key_by(…) first")


def check_timed(stream: Stream[Any], what: str) -> None:
    """Raise `ConfigError` unless a stream has event times."""
    if not stream.node.timed:
        roots = stream.node.roots or {stream.node}
        names = sorted(
            topic
            for root in roots
            if root.source and not root.timed
            for topic in root.source.topics
        )
        raise ConfigError(
            f"{what} needs event times: give the source of {', '.join(names)} a function that "
            "tells them, for example time=lambda value: value['time'] (seconds since 1970, or a "
            "datetime with time zone)"
        )


def _reducing(function: Callable[[Any, Any], Any], kind: Any) -> Fold:
    return Fold(lambda value: value, function, function, kind=check_kind(kind or Any))


def _folding(
    initial: Callable[[], Any],
    add: Callable[[Any, Any], Any],
    merge: Callable[[Any, Any], Any] | None,
    kind: Any,
) -> Fold:
    if kind is None:
        made = type(initial())
        kind = Any if made in _PLAIN else made
    return Fold(lambda value: add(initial(), value), add, merge, kind=check_kind(kind))
