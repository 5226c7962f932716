"""`dafka topics`: what topics a cluster has; and how one is deleted."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from click.core import ParameterSource

from dafka.cli.inspecting import check_known, gathered, inspected, options, settings
from dafka.cli.options import Command, Fault, sentences
from dafka.cli.stdio import done_all_the_same
from dafka.cli.tables import count, number, size, table, text
from dafka.cli.texts import document
from dafka.config import ConsumerConfig
from dafka.core.inventory import Inventory
from dafka.io.inspector import Deletion, Inspector
from dafka.names import check_topic

TOPIC_WIDTH = 60


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@options
@click.pass_context
def topics(ctx: click.Context, /, **given: Any) -> None:
    """List the topics of a running cluster: partitions, records kept, bytes on disk.

    Asks all stores, and hears what living producers announce. Bytes are those at the store that
    needs most; C stores do not tell.

    \b
    Example:
      dafka topics
      dafka topics --json | jq '.topics[].topic'
      dafka topics delete hello
    """
    if ctx.invoked_subcommand is None:
        with sentences(ctx):
            _list(**given)
        return
    for name in given:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"Give the options behind {ctx.invoked_subcommand!r}.", ctx)


@topics.command("list", cls=Command)
@options
def list_topics(**given: Any) -> None:
    """List the topics of a running cluster, as `dafka topics` does.

    \b
    Example:
      dafka topics list --tower localhost
    """
    _list(**given)


def _list(as_json: bool, timeout: float, **given: Any) -> None:
    inventory = gathered("", settings(given), timeout)
    found = inventory.topics()
    if as_json:
        listed = {"topics": [asdict(topic) for topic in found], "complete": inventory.complete}
        click.echo(document(listed))
    elif not found:
        click.echo("no topics")
    else:
        rows = [
            [text(t.topic, TOPIC_WIDTH), number(t.partitions), number(t.records), size(t.bytes)]
            for t in found
        ]
        click.echo(table(["TOPIC", "PARTITIONS", "RECORDS", "BYTES"], "lrrr", rows))


@topics.command(cls=Command)
@click.argument("topic")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options
def delete(topic: str, yes: bool, as_json: bool, timeout: float, **given: Any) -> None:
    """Delete all records of TOPIC on all stores, for good.

    A store that is away deletes them when it comes back and meets the others. Producers that go
    on publish into their partitions at the next offset. C stores cannot delete: they keep what
    they have, and are named. Exit code 1 unless every store has confirmed within the timeout.

    \b
    Example:
      dafka topics delete hello --yes
    """
    check_topic(topic)
    config = settings(given)
    if not yes:
        _confirm(topic, config, timeout)

    def delete_known(inspector: Inspector) -> list[Deletion]:
        _check_deletable(topic, inspector.gather(0))
        return inspector.delete(timeout)

    deletions = inspected(topic, config, timeout, delete_known)
    missing = sum(one.records is None for one in deletions)
    if as_json:
        stores = [{"records": one.records, **asdict(one.store)} for one in deletions]
        shown = document({"topic": topic, "stores": stores})
    else:
        shown = "\n".join(
            f"store {text(one.store.endpoint, 60)}: {_said(one, timeout)}" for one in deletions
        )
    with done_all_the_same(
        f"topic {topic!r} was deleted at {count(len(deletions) - missing, 'store')}"
        + (f", not at {missing} more" if missing else "")
    ):
        click.echo(shown)
    if missing:
        raise Fault(f"topic {topic!r} was not deleted at {count(missing, 'store')}")


def _confirm(topic: str, config: ConsumerConfig, timeout: float) -> None:
    """Ask. Nothing is connected while the question stands, since nobody would answer beacons."""
    inventory = gathered(topic, config, timeout)
    _check_deletable(topic, inventory)
    (state,) = inventory.topics()
    alive = sum(partition.alive for partition in inventory.partitions)
    click.echo(
        f"topic {topic!r}: {count(state.records, 'record')} in "
        f"{count(state.partitions, 'partition')} at {count(len(inventory.stores), 'store')}"
        + (f"; {count(alive, 'producer')} still publishing" if alive else ""),
        err=True,
    )
    try:
        click.confirm("Delete all of it, for good?", abort=True, err=True)
    except click.Abort as error:
        raise Fault("nothing was deleted: answer y, or give --yes") from error


def _check_deletable(topic: str, inventory: Inventory) -> None:
    check_known(topic, inventory)
    if not inventory.stores:
        raise Fault(f"topic {topic!r}: no store was found, so there is nothing to delete")


def _said(one: Deletion, timeout: float) -> str:
    if one.records is not None:
        return f"{count(one.records, 'record')} deleted"
    if one.able:
        return f"has not confirmed within {timeout:g} s; it may still delete"
    return "cannot delete (a C store); its records stay"
