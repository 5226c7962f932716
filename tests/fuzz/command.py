"""The command `scripts/fuzz`."""

from __future__ import annotations

import logging

import click

from dafka.cli.options import Command, Fault
from dafka.config import parse_tower
from tests.fuzz.machines import fuzz_machines
from tests.fuzz.nodes import fuzz_nodes
from tests.fuzz.parsing import fuzz_parse
from tests.fuzz.tally import Found

PARTS = {"parse": 100_000, "machines": 80_000, "nodes": 20_000}
"""What can be fuzzed, and with how many inputs unless told."""


@click.command(cls=Command)
@click.argument("part", type=click.Choice([*PARTS, "all"]), default="all")
@click.option("--inputs", type=click.IntRange(min=1), help="So many inputs for each part.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another one, other inputs.")
@click.option("--life", type=click.IntRange(min=0), help="machines: only the life of this number.")
@click.option(
    "--tower",
    metavar="ADDRESS",
    help="nodes: a cluster of yours, of any implementation, instead of one of ours.",
)
def fuzz(part: str, inputs: int | None, seed: int, life: int | None, tower: str | None) -> int:
    """Try the grammar, the machines and live nodes with valid, damaged and arbitrary messages.

    Never may anything crash, hang, or acknowledge or deliver what is wrong. The same seed makes
    the same inputs. What is found is shown with the command that shows it again.

    Without a part, all three take their turn. `nodes` starts a cluster and talks to it over real
    sockets; with --tower it joins yours, which must contain a store, and fills it with garbage.

    Exit code 0: nothing was found; 1: something was.

    \b
    Example:
      scripts/fuzz
      scripts/fuzz machines --inputs 10000000
      scripts/fuzz nodes --tower tcp://127.0.0.1:5556,tcp://127.0.0.1:5557
    """
    if life is not None and part != "machines":
        raise click.UsageError("--life goes with machines.")
    if tower is not None and part != "nodes":
        raise click.UsageError("--tower goes with nodes.")
    if not __debug__:
        raise Fault("PYTHONOPTIMIZE is set, so nothing would be checked: unset it")
    logging.getLogger("dafka").setLevel(logging.ERROR)  # that garbage came is no news here
    for name in PARTS if part == "all" else [part]:
        count = inputs or PARTS[name]
        try:
            if name == "parse":
                tally = fuzz_parse(count, seed)
            elif name == "machines":
                tally = fuzz_machines(count, seed, life)
            else:
                tally = fuzz_nodes(count, seed, None if tower is None else parse_tower(tower))
        except Found as found:
            click.echo(f"{name}: {found}", err=True)
            raise Fault(f"{name}: something was found, see above") from found
        click.echo(tally.line())
    return 0
