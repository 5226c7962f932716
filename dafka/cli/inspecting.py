"""What the commands that look at a running cluster share: options, the run, the usual faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from dafka.cli import nodes
from dafka.cli.options import Fault, of_cluster, reach
from dafka.cli.signals import INTERRUPTED
from dafka.cli.tables import text
from dafka.config import ConsumerConfig
from dafka.core.inventory import Inventory
from dafka.io.inspector import Inspector

T = TypeVar("T")

TIMEOUT_S = 5.0


options = of_cluster(TIMEOUT_S, "Answer after S seconds at the latest, with what is known by then.")
"""The options of every command that looks at a cluster."""


def settings(given: dict[str, Any]) -> ConsumerConfig:
    """Take what tells how to reach the cluster out of `given`."""
    return reach(ConsumerConfig, given)


def inspected(
    topic: str | None, config: ConsumerConfig, timeout: float, look: Callable[[Inspector], T]
) -> T:
    """What `look` found with an inspector that has gathered; `Fault` if no tower is there."""
    inspector = Inspector(topic, config=config)
    found: list[T] = []

    def body(_interrupts: nodes.Interrupts) -> None:
        inspector.gather(timeout)
        if not inspector.introduced:
            raise Fault(
                f"{nodes.no_tower(config)} within {timeout:g} s: start one with `dafka "
                "server`, or name it with --tower"
            )
        found.append(look(inspector))

    nodes.run(inspector, body)
    if not found:
        raise Fault("interrupted before the cluster had answered", INTERRUPTED)
    return found[0]


def gathered(topic: str, config: ConsumerConfig, timeout: float) -> Inventory:
    """What the cluster holds; tells on stderr what could not be found out."""
    inventory = inspected(topic, config, timeout, lambda inspector: inspector.gather(0))
    for note in shortcomings(inventory, timeout):
        click.echo(f"note: {note}", err=True)
    return inventory


def shortcomings(inventory: Inventory, timeout: float) -> Iterator[str]:
    """What the reader of an inventory has to know to trust it."""
    silent = [store for store in inventory.stores if not store.answered]
    for store in silent:
        yield f"the store at {text(store.endpoint, 60)} did not answer within {timeout:g} s"
    if not inventory.stores:
        yield "no store was found: only what living producers announce is known"
    elif not inventory.complete and not silent:
        yield f"not everybody had answered within {timeout:g} s: try a longer --timeout"


def check_known(topic: str, inventory: Inventory) -> None:
    """Refuse a topic that nobody knows."""
    if topic in inventory.deleted:
        raise Fault(f"topic {topic!r} was deleted: no store has a record of it")
    if not inventory.partitions:
        raise Fault(
            f"topic {topic!r} is unknown: no store has it and no living producer announces it; "
            "see `dafka topics`"
        )
