"""`dafka describe`: the partitions of a topic, and how far each store is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from dafka.cli.inspecting import check_known, gathered, options, settings
from dafka.cli.options import Command
from dafka.cli.tables import UNKNOWN, count, number, size, table, text
from dafka.cli.texts import document
from dafka.core.inventory import Copy, Inventory, PartitionState
from dafka.names import check_topic

WIDTH = 36
"""Of the first column: a partition's name fits."""

HEADINGS = ["PARTITION / STORE", "PRODUCER", "EARLIEST", "NEXT", "LAG", "BYTES"]


@click.command(cls=Command)
@click.argument("topic")
@options
def describe(topic: str, as_json: bool, timeout: float, **given: Any) -> None:
    """Show the partitions of TOPIC, and below each what the stores have of it.

    EARLIEST is the first offset kept, NEXT the one that the next record gets. LAG is how many
    records a store lacks that a living producer or another store has. Stores that do not tell
    where they begin and what they take are C stores.

    \b
    Example:
      dafka describe hello
      dafka describe hello --json | jq '.partitions[].stores[].lag'
    """
    check_topic(topic)
    inventory = gathered(topic, settings(given), timeout)
    check_known(topic, inventory)
    if as_json:
        click.echo(document(_as_json(topic, inventory)))
        return
    (state,) = inventory.topics()
    click.echo(
        f"topic {text(topic, 60)}: {count(state.partitions, 'partition')}, "
        f"{count(state.records, 'record')}, {count(len(inventory.stores), 'store')}"
    )
    rows = [row for partition in inventory.partitions for row in _rows(partition)]
    click.echo(table(HEADINGS, "llrrrr", rows))


def _rows(partition: PartitionState) -> list[list[str]]:
    name, alive = text(partition.partition, WIDTH), "alive" if partition.alive else "gone"
    extent = [number(partition.earliest), number(partition.next)]
    return [
        [name, alive, *extent, "", size(partition.bytes)],
        *(_copy_row(copy) for copy in partition.copies),
    ]


def _copy_row(copy: Copy) -> list[str]:
    earliest = number(copy.earliest) if copy.next else UNKNOWN
    place = text(copy.store.endpoint or copy.store.address, WIDTH - 2)
    return [f"  {place}", "", earliest, number(copy.next), number(copy.lag), size(copy.bytes)]


def _as_json(topic: str, inventory: Inventory) -> dict[str, object]:
    partitions = []
    for partition in inventory.partitions:
        shown = {name: getattr(partition, name) for name in _OF_PARTITION}
        copies = [
            {**asdict(copy.store), **{name: getattr(copy, name) for name in _OF_COPY}}
            for copy in partition.copies
        ]
        partitions.append({**shown, "stores": copies})
    return {
        "topic": topic,
        "partitions": partitions,
        "stores": [asdict(store) for store in inventory.stores],
        "complete": inventory.complete,
    }


_OF_PARTITION = ("partition", "alive", "earliest", "next", "records", "bytes")
_OF_COPY = ("earliest", "next", "lag", "bytes")
