"""What the stores of a running cluster hold at this moment, for export and import.

Both need to be sure: a store that does not answer is a fault, not a note.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dafka.cli import nodes
from dafka.cli.options import Fault
from dafka.config import NodeConfig
from dafka.core.inventory import Inventory, Key, PartitionState
from dafka.errors import ConfigError
from dafka.io.archive import Part
from dafka.io.inspector import Inspector
from dafka.names import check_partition, check_topic

LOOK_S = 10.0
"""How long the cluster has to tell what it holds; usually it takes two seconds."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What can be exported, and the partitions that cannot, with the reason."""

    parts: list[Part]
    left_out: list[str]


@dataclass(frozen=True, slots=True)
class Held:
    """How far enough stores have a partition, and whether its producer is running."""

    next: int
    alive: bool


def look(config: NodeConfig, timeout: float) -> Inventory:
    """What all stores hold; `Fault` if there are none, or one stays silent.

    `timeout` shortens the patience with towers, which answer at once, not that with stores.
    """
    inspector = Inspector(config=config)
    nodes.start(inspector)
    patience = min(timeout, LOOK_S)
    try:
        inventory = inspector.gather(patience)
        if inspector.introduced and not inventory.complete:
            inventory = inspector.gather(LOOK_S - patience)
    finally:
        inspector.stop(timeout=nodes.STOP_TIMEOUT_S)
    if not inspector.introduced:
        raise Fault(
            f"{nodes.no_tower(config)} within {patience:g} s: start one with 'dafka server', "
            "or name it with --tower"
        )
    for store in inventory.stores:
        if not store.answered:
            raise Fault(
                f"the store at {store.endpoint} did not answer within {LOOK_S:g} s: stop it if "
                "it hangs, and start it again"
            )
    if not inventory.stores:
        raise Fault(f"no store was found within {LOOK_S:g} s: is one running at this tower?")
    if not inventory.complete:
        raise Fault(f"the cluster did not come to rest within {LOOK_S:g} s: try again")
    return inventory


def snapshot(inventory: Inventory, topics: Iterable[str]) -> Snapshot:
    """What the stores hold of `topics`, or of all; `Fault` for an unknown topic."""
    known = {state.topic for state in inventory.partitions}
    for topic in topics:
        if topic not in known:
            raise Fault(f"topic {topic!r} is unknown: no store has a record of it")
    wanted = set(topics) or known
    result = Snapshot([], [])
    for state in inventory.partitions:
        end = max((copy.next for copy in state.copies), default=0)
        if state.topic not in wanted or end <= state.earliest:
            continue
        try:
            check_topic(state.topic)
            check_partition(state.partition)
        except ConfigError as error:
            result.left_out.append(str(error))
        else:
            result.parts.append(Part(state.topic, state.partition, state.earliest, end))
    return result


def held(inventory: Inventory, stores: int) -> dict[Key, Held]:
    """How far at least so many stores have each partition."""
    return {
        (state.topic, state.partition): Held(_nth(state, stores), state.alive)
        for state in inventory.partitions
    }


def _nth(state: PartitionState, stores: int) -> int:
    ends = sorted((copy.next for copy in state.copies), reverse=True)
    return ends[stores - 1] if len(ends) >= stores else 0
