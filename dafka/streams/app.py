"""A stream application as the user meets it: composed first, then run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from dafka.config import ConsumerConfig, NodeConfig, ProducerConfig
from dafka.errors import Closed, ConfigError
from dafka.names import check_topic
from dafka.streams import operators as op
from dafka.streams.codecs import JSON, Codec
from dafka.streams.describe import Format, describe
from dafka.streams.engine import Settings
from dafka.streams.errors import DeadLetter, OnError
from dafka.streams.keyed import Table
from dafka.streams.stream import Stream
from dafka.streams.topology import Built, SourceSettings, Topology
from dafka.streams.windows import Duration, seconds
from dafka.streams.workers import checked

if TYPE_CHECKING:
    from dafka.streams.runner import Runner

V = TypeVar("V")
K = TypeVar("K")

MIB = 1 << 20
_DURABILITIES = ("fsync", "os")


class App:
    """Reads topics, works on their records, and publishes what comes of it.

    Positions, state and output are saved together, in the directory `state`: what is published is
    the same whether or not the process was killed meanwhile. One process uses a directory.
    """

    def __init__(
        self,
        name: str,
        *,
        state: str | PathLike[str] = "",
        on_error: OnError = "stop",
        idle: Duration = 10.0,
        settle: Duration = 2.0,
        commit_interval: Duration = 0.1,
        outbox_bytes: int = 64 * MIB,
        durability: str = "fsync",
        workers: Iterable[str] = (),
        worker: str = "",
        **node: Any,
    ) -> None:
        """Opens nothing. `node` are settings of consumers and producers, such as `tower=`.

        `idle`: a partition that has said nothing for so long, while there was nothing to read, is
        waited for no longer. `settle`: so long after the first record no window closes, so that
        all partitions are known. `commit_interval`: what has been done is saved this often, and
        whenever there is nothing else to do. `outbox_bytes`: no more is read while so much waits
        to be acknowledged. `durability`: "fsync" survives power loss, "os" only the process.
        `workers`: the names of the processes that share the work, the same list in all of them;
        `worker`: which of them this one is.
        """
        if not isinstance(name, str) or not name:
            raise ConfigError(f"the name of an application is {name!r}: it must be some text")
        if durability not in _DURABILITIES:
            raise ConfigError(f'durability is {durability!r}: it must be "fsync" or "os"')
        if type(outbox_bytes) is not int or outbox_bytes <= 0:
            raise ConfigError(f"outbox_bytes is {outbox_bytes!r}: it must be a number of bytes")
        self.name = name
        self.worker = worker
        self.topology = Topology(checked(name, workers, worker))
        self.state = fspath(state)
        self.durability = durability
        self.outbox_bytes = outbox_bytes
        self.commit_interval_s = seconds(commit_interval, "commit_interval", zero=True)
        self.node_settings = _checked(node)
        self.settings = Settings(
            on_error=_policy(on_error),
            idle_s=seconds(idle, "idle"),
            settle_s=seconds(settle, "settle", zero=True),
            largest=ProducerConfig(**node).buffer_bytes - 64,
        )
        self._runner: Runner | None = None

    # Composing

    def source(
        self,
        topics: str | Iterable[str],
        codec: Codec[V] = JSON,
        *,
        time: Callable[[V], Any] | None = None,
        partitions: int = 0,
        name: str = "",
    ) -> Stream[V]:
        """The values of all records of some topics, from the earliest on.

        `time(value)` tells when it happened: seconds since 1970, or a `datetime` with time zone;
        windows and joins of streams need it. `partitions`: if you know how many producers there
        are, windows wait for all of them.
        """
        names = (topics,) if isinstance(topics, str) else tuple(dict.fromkeys(topics))
        if type(partitions) is not int or partitions < 0:
            raise ConfigError(f"partitions is {partitions!r}: it must be a number, 0 or more")
        settings = SourceSettings(names, codec, time, partitions)

        def build(built: Built) -> op.Operator:
            return op.Source(built.name, built.on_fault, codec, time)

        node = self.topology.add_source(settings, build, name)
        return Stream(self.topology, (node, 0), codec.type)

    def describe(self, format: Format = "text") -> str:
        """The operators and how they are connected: "text", "graphviz" or "mermaid"."""
        return describe(self.topology, format)

    # Running

    def run(self, *, drain: Duration | None = None, timeout: Duration | None = None) -> bool:
        """Work until `stop`, Ctrl-C or SIGTERM, or until `timeout` is over; blocks.

        With `drain` it also ends when all there is has been read and nothing has come for so
        long. Then every window closes: for data that is complete. Returns whether it has ended so,
        with every output acknowledged. No `timeout` interrupts a function of the application that
        is at work. Raises `StreamError` where the application's code failed, or its state cannot
        be used.
        """
        from dafka.streams.runner import Runner

        if not self.state:
            raise ConfigError(f"application {self.name!r} needs state=…, a directory of its own")
        if not self.topology.sources:
            raise ConfigError(f"application {self.name!r} has no source")
        if self.topology.workers is not None and not self.worker:
            names = ", ".join(self.topology.workers.names)
            raise ConfigError(f"say which worker this is: worker=…, one of {names}")
        if self._runner is not None and self._runner.running:
            raise ConfigError(f"application {self.name!r} is running already")
        self._runner = Runner(self)
        return self._runner.run(
            None if drain is None else seconds(drain, "drain"),
            None if timeout is None else seconds(timeout, "timeout", zero=True),
        )

    def stop(self) -> None:
        """Let `run` return, after saving what has been done; from any thread or greenlet."""
        if self._runner is not None:
            self._runner.stop()

    def metrics(self) -> dict[str, dict[str, float]]:
        """Numbers by operator: records in and out, errors, late records, seconds of work.

        Under "app": commits, bytes in the outbox, records behind; also after the end of `run`.
        """
        if self._runner is None:
            raise Closed(f"application {self.name!r} has not been run yet")
        return self._runner.metrics()

    def get(self, table: Table[K, V], key: K) -> V | None:
        """What a table says of a key at the moment; None if nothing."""
        return self.items(table).get(key)

    def items(self, table: Table[K, V]) -> dict[K, V]:
        """A copy of what a table says at the moment; of workers each has its own keys."""
        if self._runner is None:
            raise Closed(f"application {self.name!r} has not been run yet")
        return table_items(self._runner.engine.state(table.node), table)


def table_items(state: dict[Any, Any], table: Table[Any, Any]) -> dict[Any, Any]:
    """The values of a table out of its operator's state."""
    if table.node.kind != "table":
        return dict(state)
    return {key: entry[3] for key, entry in state.items() if entry[3] is not None}


def _policy(on_error: OnError) -> OnError:
    if isinstance(on_error, DeadLetter):
        check_topic(on_error.topic)
        return on_error
    known = get_args(get_args(OnError)[0])
    if on_error not in known:
        raise ConfigError(
            f"on_error is {on_error!r}: it must be 'stop', 'skip' or DeadLetter('a topic')"
        )
    return on_error


def _checked(node: dict[str, Any]) -> dict[str, Any]:
    """Settings that both consumers and producers have; else `ConfigError`."""
    known = NodeConfig.__dataclass_fields__
    for name in node:
        if name not in known:
            raise ConfigError(
                f"there is no setting {name!r} for an application: beside its own there are "
                f"{', '.join(known)}"
            )
    ConsumerConfig(**node)
    return node
