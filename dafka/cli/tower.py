"""`dafka tower`: one tower."""

from __future__ import annotations

import json

import click

import dafka
from dafka.cli import nodes
from dafka.cli.options import (
    Command,
    Function,
    Whole,
    common,
    configure,
    json_option,
    tower_endpoints,
)
from dafka.config import TowerConfig


def port_option(function: Function) -> Function:
    """Add `--port`."""
    return click.option(
        "--port",
        type=Whole(0, 65534),
        metavar="PORT",
        help="Bind this port and the next one on all interfaces; 0: any two free ports.",
    )(function)


def bound(port: int | None, sub: str | None, pub: str | None) -> dict[str, object]:
    """The two endpoints to bind, from either notation."""
    if port is None:
        return {"sub": sub, "pub": pub}
    if sub is not None or pub is not None:
        raise click.UsageError(
            "Give either --port, or --sub and --pub.", click.get_current_context()
        )
    if port == 0:
        return {"sub": "tcp://*:*", "pub": "tcp://*:*"}
    return {"sub": f"tcp://*:{port}", "pub": f"tcp://*:{port + 1}"}


def run_tower(config: TowerConfig, as_json: bool) -> None:
    """Run a tower until a signal ends it."""
    tower = dafka.Tower(config)

    def serve(_interrupts: nodes.Interrupts) -> None:
        address = tower.address
        if as_json:
            nodes.announce(json.dumps({"tower": {"sub": address.sub, "pub": address.pub}}))
        else:
            nodes.announce(f"tower {nodes.notation(address)}: ready")
        tower.wait()

    nodes.run(tower, serve)


@click.command(cls=Command, kinds=[TowerConfig])
@common
@tower_endpoints("bind")
@port_option
@json_option
def tower(
    config: str | None,
    verbose: bool,
    sub: str | None,
    pub: str | None,
    port: int | None,
    as_json: bool,
) -> None:
    """Run a tower, which introduces nodes to each other and carries no records.

    Prints one line once it is ready, and runs until Ctrl-C, SIGTERM or SIGHUP (exit code 0).

    \b
    Example:
      dafka tower --port 6000
      dafka store --data ./records --tower localhost:6000
    """
    flags = bound(port, sub, pub)
    run_tower(configure(TowerConfig, config, verbose, flags), as_json)
