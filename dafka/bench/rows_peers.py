"""Rows of peers: the same measurements with NATS JetStream, Redis Streams and the C nodes.

Each stands beside the ceilings of our own rows, and says what its acknowledgement has survived:
"fsync", or an fsync every 1 s or 2 minutes, or nothing but the process's end ("os").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dafka.bench.rounds import Measure, Row, Trial
from dafka.bench.servers import NATS, NATS_DURABILITY, REDIS, REDIS_DURABILITY
from dafka.bench.trials import c_nodes, latencies
from dafka.bench.trials.peers import Peer
from dafka.bench.work import Work

PEERS = {NATS.name: Peer(NATS), REDIS.name: Peer(REDIS)}

WAYS = {NATS.name: ("await", "async", "batch"), REDIS.name: ("await", "pipeline")}
"""To publish; the last is the quickest, and fills what is replayed."""

_DURABILITIES = {NATS.name: NATS_DURABILITY, REDIS.name: REDIS_DURABILITY}
_FIRST = {"await": 200, "async": 1000, "batch": 5000, "pipeline": 5000}
"""Records of the first, short run."""

ABSENT: dict[str, Callable[[], str | None]] = {
    NATS.name: lambda: NATS.absent,
    REDIS.name: lambda: REDIS.absent,
    "c": c_nodes.absent,
}
"""Why a peer cannot be measured here; None if it can."""

PEER_NAMES = tuple(ABSENT)


def peer_rows(publish: tuple[str, ...], live: tuple[str, ...]) -> Iterator[Row]:
    """All of them, with the ceilings of publishing and of delivering records of 100 bytes."""
    for name, peer in PEERS.items():
        for durability in _DURABILITIES[name]:
            yield from _server(name, peer, durability, publish, live)
    yield from _c(publish, live)


def _server(
    name: str, peer: Peer, durability: str, publish: tuple[str, ...], live: tuple[str, ...]
) -> Iterator[Row]:
    text = durability.replace(" ", "")
    for way in WAYS[name]:
        row = f"publish/100B/{name}/{way}/{text}"
        work = Work(durability=durability, mode=way)
        trial = Trial(row, peer.publish, work, first=_FIRST[way])
        yield Row(row, "publish", trial, durability=durability, ceilings=publish, who=name)
    best = WAYS[name][-1]
    work = Work(durability=durability, mode=best)
    trial = Trial(f"live/100B/{name}/{text}", peer.live, work, first=_FIRST[best])
    yield Row(trial.name, "live", trial, durability=durability, ceilings=live, who=name)
    if durability != "fsync":  # how it was synced does not matter to who reads it later
        trial = Trial(f"replay/100B/{name}", peer.replay, work, first=_FIRST[best])
        yield Row(trial.name, "replay", trial, ceilings=live[:1], who=name)
    yield from _timed(f"latency/deliver/1000/{name}/{text}", peer.deliver, name, durability)
    yield from _timed(f"latency/ack/1000/{name}/{text}", peer.acknowledge, name, durability)


def _timed(name: str, run: Measure, who: str, durability: str) -> Iterator[Row]:
    work = Work(rate=1000.0, durability=durability)
    trial = Trial(name, run, work, needs=("hdrh",), together=latencies.together)
    kind = "/".join(name.split("/")[:3])
    for figure in ("p50", "p99", "p99.9"):
        beside = (f"raw/{kind}/{figure}",)
        yield Row(f"{name}/{figure}", "latency", trial, "ms", figure, durability, beside, who)


def _c(publish: tuple[str, ...], live: tuple[str, ...]) -> Iterator[Row]:
    for group, run, ceilings in (
        ("publish", c_nodes.publish, publish),
        ("live", c_nodes.live, live),
        ("replay", c_nodes.replay, live[:1]),
    ):
        name = f"{group}/100B/c"
        trial = Trial(name, run, Work(durability="os"), first=20_000)
        yield Row(name, group, trial, durability="os", ceilings=ceilings, who="c")
