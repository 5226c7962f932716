"""What happens in a life, drawn from its seed before it begins.

So a life can be lived again without some of its events. An event holds chances, numbers from 0
to 1, which `life` turns into a choice among whoever is there when it happens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

CHANCES = 5

WEIGHTS = {
    "publish": 20,
    "weather": 4,
    "producer": 0.8,
    "consumer": 0.6,
    "store": 0.4,
    "end": 1.5,
    "restart_store": 2,
    "lose_disk": 0.6,
    "restart_outbox": 1.5,
    "restart_tower": 0.8,
    "seek": 1,
    "cut": 1.2,
    "deaf": 0.8,
    "heal": 1.5,
    "stand": 1,
    "go_on": 1.5,
    "leap": 0.4,
    "trim": 0.8,
    "delete": 0.25,
}
"""What happens, and how often in proportion."""

PAUSES = (0.001, 0.02, 0.02, 0.02, 0.3, 0.3, 0.3, 1.5, 1.5, 7.0)
"""Seconds that may pass after an event. The longest is longer than any patience of a node."""


@dataclass(frozen=True)
class Event:
    """Something that happens, and how many seconds pass until the next thing does."""

    kind: str
    chances: tuple[float, ...]
    pause: float

    def __str__(self) -> str:
        return f"{self.kind} ({self.pause:g} s)"


@dataclass(frozen=True)
class Plan:
    """A life to be."""

    seed: int
    towers: int
    acks: int
    """How many stores the producers wait for."""
    older: float
    """The share of nodes that are of an older version, which knows nothing of RECORDS."""
    events: tuple[Event, ...]

    def only(self, numbers: list[int]) -> Plan:
        """The same life with nothing but these of its events."""
        return replace(self, events=tuple(self.events[number] for number in numbers))


def draw(seed: int) -> Plan:
    """The life of a seed: a cluster of two to six nodes, and what happens to it."""
    random = Random(f"plan {seed}")
    # C stores do not tell their name, so a producer cannot count them.
    c_nodes = random.random() < 0.2
    acks = 1 if c_nodes else random.choice((1, 1, 2))
    kinds = ["store"] * max(acks, random.choice((1, 1, 2)))
    if c_nodes:
        # Not both: a C store believes what a C producer answers wrongly.
        kinds.append(random.choice(("c_store", "c_producer")))
        kinds += random.choice(([], ["c_consumer"]))
    kinds += random.choice((["producer"], ["outbox"], ["producer", "outbox"]))
    kinds += ["consumer"] * random.choice((1, 1, 2))
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    kinds += random.choices(names, weights, k=random.randint(3, 25))
    events = tuple(
        Event(
            kind,
            tuple(random.random() for _ in range(CHANCES)),
            0.0 if number < 3 else random.choice(PAUSES),
        )
        for number, kind in enumerate(kinds)
    )
    towers, older = random.choice((0, 1, 1, 2)), random.choice((0.0, 0.0, 0.3, 0.7, 1.0))
    return Plan(seed, towers, acks, older, events)
