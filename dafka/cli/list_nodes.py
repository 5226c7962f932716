"""`dafka nodes`: who is in a cluster."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from dafka.cli import nodes
from dafka.cli.inspecting import inspected, options, settings
from dafka.cli.options import Command
from dafka.cli.tables import table, text
from dafka.cli.texts import document
from dafka.io.inspector import NodeState


@click.command("nodes", cls=Command)
@options
def list_nodes(as_json: bool, timeout: float, **given: Any) -> None:
    """List the nodes that a tower introduces: role, endpoint, version, when last seen, address.

    A store is two nodes, a writer and a reader. Towers do not introduce themselves; the ones
    asked are named. C nodes tell neither role nor version: their role is told by what they
    listen to.

    \b
    Example:
      dafka nodes
      dafka nodes --json | jq '.nodes[] | select(.role == "producer")'
    """
    config = settings(given)
    found = inspected(None, config, timeout, lambda inspector: inspector.nodes())
    if as_json:
        towers = [asdict(tower) for tower in config.towers]
        click.echo(document({"towers": towers, "nodes": [asdict(node) for node in found]}))
        return
    for tower in config.towers:
        click.echo(f"tower {nodes.notation(tower)}")
    if not found:
        click.echo("no nodes")
        return
    headings = ["ROLE", "ENDPOINT", "VERSION", "SEEN", "ADDRESS"]
    click.echo(table(headings, "lllrl", [_row(node) for node in found]))


def _row(node: NodeState) -> list[str]:
    return [
        text(node.role, 12),
        text(node.endpoint, 32),
        text(node.version, 10),
        f"{node.seen_s:.1f} s",
        text(node.address, 32),
    ]
