"""What a delivered record costs as a cluster grows: messages, bytes, and the machines' time.

Real machines and real frames in a world without faults; nodes of a kind that have nothing to say
to each other do not meet. The time is that of the machines alone (`receive`, `tick` and what the
shells report), not of sockets and disks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from gc import collect
from math import log
from pathlib import Path
from statistics import linear_regression
from time import thread_time
from typing import Any

from protocol import Message, build
from simulation.links import Connection, Frames
from simulation.world import ConsumerNode, Node, ProducerNode, World

TOPIC = "metrics"
_TIMED = ("receive", "tick", "publish", "committed", "read_done", "taken", "subscribed")


@dataclass
class Cost:
    """What one cluster has cost. `size` is the number that grows."""

    size: int
    delivered: int
    messages: int
    bytes: int
    seconds: dict[str, float] = field(default_factory=dict)
    """The machines' time, by role."""

    def figures(self) -> dict[str, float]:
        """Each per delivered record; times in microseconds."""
        each = {"messages": self.messages, "bytes": self.bytes}
        times = {f"{role} us": seconds * 1e6 for role, seconds in sorted(self.seconds.items())}
        return {name: value / self.delivered for name, value in {**each, **times}.items()}


class Measured(World):
    """A world that counts what is carried, and the time that machines take."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__(seed)
        self.read_s = 0.001
        self.strangers = (ConsumerNode, ProducerNode)
        self.carried = 0
        self.carried_bytes = 0
        self.seconds: Counter[str] = Counter()

    def bind(self, node: Node) -> None:
        """Nobody waits for an endpoint here; looking for who might would take N² steps."""
        self.bound[node.endpoint] = node
        role = node.role or "node"
        for name in _TIMED:
            if hasattr(node.machine, name):
                setattr(node.machine, name, self._timed(getattr(node.machine, name), role))

    def _timed(self, method: Callable[..., Any], role: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            began = thread_time()
            try:
                return method(*arguments)
            finally:
                self.seconds[role] += thread_time() - began

        return call

    def cost(self, delivered: int) -> Cost:
        """All that was counted."""
        return Cost(1, delivered, self.carried, self.carried_bytes, dict(self.seconds))

    def reset(self) -> None:
        """Count anew."""
        self.carried = self.carried_bytes = 0
        self.seconds.clear()


@contextmanager
def _counting(world: Measured) -> Iterator[None]:
    carry = Connection.carry

    def counted(self: Connection, messages: list[Frames]) -> None:
        world.carried += len(messages)
        world.carried_bytes += sum(len(frame) for frames in messages for frame in frames)
        carry(self, messages)

    Connection.carry = counted  # type: ignore[method-assign]
    try:
        yield
    finally:
        Connection.carry = carry  # type: ignore[method-assign]


# What grows


def live(consumers: int, records: int, *, producers: int = 1, stores: int = 2) -> Cost:
    """Records while they are published, at some thousand a second."""
    world = Measured()
    with _counting(world):
        for _ in range(stores):
            world.store()
        crowd = [world.consumer(TOPIC, start="earliest") for _ in range(consumers)]
        sources = [world.producer(TOPIC, min_store_acks=stores) for _ in range(producers)]
        world.run(5.0)
        world.reset()
        for _ in range(10):
            for source in sources:
                source.publish(records // 10)
            world.run(0.1)
        _settle(world, crowd, sources, records)
        return world.cost(consumers * producers * records)


def catch_up(consumers: int, records: int, *, stores: int = 2) -> Cost:
    """The records of a producer that has gone, for all consumers at once."""
    world = Measured()
    with _counting(world):
        for _ in range(stores):
            world.store()
        source = world.producer(TOPIC, min_store_acks=stores)
        world.run(1.0)
        source.publish(records)
        _settle(world, [], [source], records)
        world.crash(source)
        world.run(6.0)
        world.reset()
        crowd = [world.consumer(TOPIC, start="earliest") for _ in range(consumers)]
        _settle(world, crowd, [source], records)
        return world.cost(consumers * records)


def _settle(
    world: Measured,
    crowd: Sequence[ConsumerNode],
    sources: Sequence[ProducerNode],
    records: int,
) -> None:
    keys = [source.key for source in sources]

    def all_is_done() -> bool:
        acked = not any(one.machine.unacknowledged for one in sources if one.alive)
        return acked and all(one.next.get(key) == records for one in crowd for key in keys)

    world.until(all_is_done, 120.0)


@lru_cache
def _size(message: Message) -> int:
    return sum(map(len, build(message)))


def beacons(nodes: int, seconds: float = 10.0) -> Cost:
    """What a tower and the nodes say of themselves, while nothing is published.

    Here `delivered` is the number of seconds.
    """
    world = World(1, towers=1)
    crowd = [world.consumer(TOPIC) for _ in range(nodes)]
    world.run(10.0)
    tower = world.towers[0]
    count = Counter[str]()
    hear, send = tower.hear, Node.on_tower

    def heard(frames: Frames, node: Node, life: int) -> None:
        count["messages"] += 1
        count["bytes"] += sum(map(len, frames))
        began = thread_time()
        hear(frames, node, life)
        count["tower"] += thread_time() - began  # type: ignore[assignment]

    def told(node: Node, message: Any) -> None:
        count["messages"] += 1
        count["bytes"] += _size(message)
        began = thread_time()
        send(node, message)
        count["node"] += thread_time() - began  # type: ignore[assignment]

    tower.hear = heard  # type: ignore[method-assign]
    Node.on_tower = told  # type: ignore[method-assign]
    try:
        world.run(seconds)
    finally:
        Node.on_tower = send  # type: ignore[method-assign]
    assert len(crowd) == nodes
    times = {"tower": float(count["tower"]), "node": float(count["node"])}
    return Cost(nodes, int(seconds), count["messages"], count["bytes"], times)


def slope(costs: Iterable[Cost], name: str) -> float:
    """The exponent with which a figure grows: 0 if it stays, 1 if it doubles with the size."""
    costs = list(costs)
    sizes = [log(cost.size) for cost in costs]
    return linear_regression(sizes, [log(cost.figures()[name]) for cost in costs]).slope


# The report


@dataclass(frozen=True)
class Curve:
    """A cluster that grows in one respect."""

    title: str
    per: str
    costs: tuple[Cost, ...]

    def rows(self) -> list[str]:
        """A table in Markdown: the figures at each size, and how each grows."""
        names = list(self.costs[0].figures())
        head = f"| {self.title} | " + " | ".join(names) + " |"
        rows = [head, "|---:" * (len(names) + 1) + "|"]
        for cost in self.costs:
            figures = " | ".join(f"{value:,.3f}" for value in cost.figures().values())
            rows.append(f"| {cost.size:,} | {figures} |")
        grows = " | ".join(f"{slope(self.costs, name):+.2f}" for name in names)
        return [*rows, f"| *exponent* | {grows} |"]


def curves(most: int = 10_000) -> Iterator[Curve]:
    """All that grows; `most` consumers, and a tenth as many producers."""
    sizes = [10**n for n in range(1, 6) if 10**n <= most]
    yield Curve(
        "consumers, live", "delivered record", _each(sizes, lambda size: live(size, 100, stores=5))
    )
    yield Curve(
        "consumers that catch up at once",
        "delivered record",
        _each(sizes, lambda size: catch_up(size, 100, stores=5)),
    )
    yield Curve(
        "producers, live, 10 consumers",
        "delivered record",
        _each([size // 10 for size in sizes], lambda size: live(10, 100, producers=size, stores=5)),
    )
    yield Curve(
        "consumers, live, a tenth as many producers",
        "delivered record",
        # Their connections grow with the square: a thousand is what memory and patience bear.
        _each(
            [size for size in sizes if size <= 1_000],
            lambda size: live(size, 100, producers=size // 10, stores=5),
        ),
    )
    yield Curve(
        "stores, live, 10 consumers",
        "delivered record",
        _each(range(1, 6), lambda size: live(10, 100, stores=size)),
    )
    yield Curve(
        "nodes that are idle", "second", _each([s for s in (10, 30, 100, 300) if s < most], beacons)
    )


def _each(sizes: Iterable[int], measure: Callable[[int], Cost]) -> tuple[Cost, ...]:
    costs = []
    for size in sizes:
        collect()  # what is left of the last cluster is not this one's to clear away
        costs.append(replace(measure(size), size=size))
    return tuple(costs)


def plot(drawn: Sequence[Curve], file: Path) -> None:
    """Draw the curves; needs matplotlib (the extra `plots`)."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams["svg.fonttype"] = "none"  # text as text
    figure = Figure(figsize=(12, 3.2 * -(-len(drawn) // 2)), layout="constrained")
    for number, curve in enumerate(drawn, 1):
        axes = figure.add_subplot(-(-len(drawn) // 2), 2, number)
        for name in curve.costs[0].figures():
            values = [cost.figures()[name] for cost in curve.costs]
            label = f"{name}, exponent {slope(curve.costs, name):+.2f}"
            axes.loglog([cost.size for cost in curve.costs], values, marker="o", label=label)
        axes.set_xlabel(curve.title)
        axes.set_ylabel(f"per {curve.per}")
        axes.grid(visible=True, which="both", alpha=0.2)
        axes.legend(fontsize="small")
    figure.savefig(file, metadata={"Date": None})
