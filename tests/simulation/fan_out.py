"""Measures what it costs when many consumers catch up at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulation.world import ConsumerNode, World

TOPIC = "metrics"


@dataclass(frozen=True)
class Cost:
    """What was said and delivered, all consumers together."""

    delivered: int
    """Records."""
    heard: int
    """Messages that reached a consumer, RECORDs and DIRECT-RECORDs included."""
    requests: int
    """FETCHes."""
    seconds: float
    """Of virtual time, until the last consumer had everything."""


def catch_up(
    consumers: int,
    records: int,
    *,
    producer_alive: bool = True,
    stores: int = 2,
    seed: int = 1,
    within_s: float = 60.0,
    read_s: float = 0.001,
    **settings: Any,
) -> Cost:
    """Let consumers begin with the earliest record, all at the same moment.

    A store reads a slice within `read_s`; `settings` are the consumers', who do not meet each
    other here: they have nothing to say to each other.
    """
    world = World(seed)
    world.read_s = read_s
    for _ in range(stores):
        world.store()
    producer = world.producer(TOPIC, min_store_acks=stores)
    key = (TOPIC, producer.address)
    world.run(1.0)
    producer.publish(records)
    world.until(lambda: not producer.machine.unacknowledged, 30.0)
    if not producer_alive:
        world.crash(producer)
        world.run(6.0)
    world.strangers = (ConsumerNode,)
    crowd = [world.consumer(TOPIC, start="earliest", **settings) for _ in range(consumers)]
    began = world.now
    world.until(lambda: all(one.next.get(key) == records for one in crowd), within_s)
    took = world.now - began
    world.run(5.0)
    delivered = sum(one.delivered for one in crowd)
    return Cost(
        delivered,
        sum(one.heard for one in crowd),
        sum(one.machine.stats.fetches for one in crowd),
        took,
    )
