"""`dafka offsets`: where named consumers are, and how they are sent elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from dafka.cli.destinations import Goal, destinations
from dafka.cli.options import (
    Command,
    Fault,
    common,
    configure,
    json_option,
    of_cluster,
    offsets_option,
    reach,
    time_option,
)
from dafka.cli.stdio import done_all_the_same
from dafka.cli.tables import UNKNOWN, count, number, table, text
from dafka.cli.texts import document
from dafka.config import ConsumerConfig
from dafka.core.partition import Key
from dafka.io.offsets import Offsets, default_directory, look, names
from dafka.io.offsets_format import Saved, Subscription
from dafka.names import check_name, check_offset, check_partition, check_topic, matches

TOPIC_WIDTH = 40
TIMEOUT_S = 10.0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def offsets() -> None:
    """Show where named consumers are, or send them elsewhere.

    A position is the offset of the record that comes next. A consumer that runs holds its
    positions: stop it before you set or reset them.

    \b
    Example:
      dafka offsets show billing
      dafka offsets reset billing --to-time 2026-11-25T06:00
      dafka offsets set billing 0123456789ABCDEF0123456789ABCDEF 4711
    """


@offsets.command(cls=Command)
@click.argument("name", required=False)
@common
@offsets_option
@json_option
def show(
    name: str | None, config: str | None, verbose: bool, offsets: str | None, as_json: bool
) -> None:
    """Show the positions of the consumer NAME, or of all. It may be running meanwhile.

    \b
    Example:
      dafka offsets show
      dafka offsets show billing --json | jq '.consumers[].positions'
    """
    directory = _directory(config, verbose, offsets)
    found = names(directory) if name is None else [check_name(name)]
    if name is not None and not Offsets(directory, name).exists:
        raise Fault(_unknown(directory, name))
    consumers = {one: look(directory, one) for one in found}
    if as_json:
        told = [_told(one, saved) for one, saved in consumers.items()]
        click.echo(document({"directory": directory, "consumers": told}))
    elif not consumers:
        click.echo(f"no positions in {directory}")
    else:
        rows = [row for one, saved in consumers.items() for row in _rows(one, saved)]
        click.echo(table(["NAME", "TOPIC", "PARTITION", "POSITION", "SAVED"], "lllrl", rows))


@offsets.command("set", cls=Command)
@click.argument("name")
@click.argument("partition")
@click.argument("offset", type=int)
@click.option("--topic", metavar="TOPIC", help="Needed if NAME has no position in PARTITION yet.")
@common
@offsets_option
@json_option
def set_position(
    name: str,
    partition: str,
    offset: int,
    topic: str | None,
    config: str | None,
    verbose: bool,
    offsets: str | None,
    as_json: bool,
) -> None:
    """Let the consumer NAME go on at OFFSET of PARTITION.

    Nobody is asked whether there is such a record. The consumer must not be running.

    \b
    Example:
      dafka offsets set billing 0123456789ABCDEF0123456789ABCDEF 4711
    """
    check_partition(partition)
    check_offset(offset, "the position")
    directory = _directory(config, verbose, offsets)
    with _opened(directory, name, create=topic is not None) as (store, saved):
        known = [key for key in (*saved.positions, *saved.damaged) if key[1] == partition]
        if topic is not None:
            known = [(check_topic(topic), partition)]
        if not known:
            raise Fault(
                f"consumer {name!r} has no position in partition {partition}: name its topic by "
                "--topic"
            )
        _change(store, saved, dict.fromkeys(known, offset), as_json)


@offsets.command(cls=Command)
@click.argument("name")
@click.option(
    "--to", "to", metavar="[earliest|latest|OFFSET]", help="Go on there; an offset in each one."
)
@time_option("--to-time", "Go on with the first record that reached a store at TIME or later.")
@click.option(
    "--topic",
    "topics",
    multiple=True,
    metavar="TOPIC",
    help="Only this topic, which may be new to NAME; may be repeated. Default: all it has.",
)
@click.option("--partition", metavar="PARTITION", help="Only this partition.")
@offsets_option
@of_cluster(TIMEOUT_S, "Give up after S seconds in which the stores have not answered.")
def reset(
    name: str,
    to: str | None,
    to_time: datetime | None,
    topics: tuple[str, ...],
    partition: str | None,
    offsets: str | None,
    as_json: bool,
    timeout: float,
    **given: Any,
) -> None:
    """Let the consumer NAME go on elsewhere, in all of its partitions or some.

    The stores of the running cluster are asked where that is, and which partitions there are.
    Times are those at which records reached the stores, by their clocks; C stores do not know
    them. The consumer must not be running.

    \b
    Example:
      dafka offsets reset billing --to earliest
      dafka offsets reset billing --to-time 2026-11-25T06:00:00Z --topic orders
    """
    if (to is None) == (to_time is None):
        raise click.UsageError("Give either --to or --to-time.")
    goal = Goal.read(to) if to_time is None else Goal(time=to_time)
    for topic in topics:
        check_topic(topic)
    if partition is not None:
        check_partition(partition)
    settings = reach(ConsumerConfig, given, offsets=offsets)
    directory = settings.offsets or str(default_directory())
    with _opened(directory, name, create=bool(topics)) as (store, saved):
        found = destinations(goal, saved, topics, partition, settings, timeout)
        _change(store, saved, found, as_json)


# Inside


def _directory(config: str | None, verbose: bool, offsets: str | None) -> str:
    settings = configure(ConsumerConfig, config, verbose, {"offsets": offsets})
    return settings.offsets or str(default_directory())


@contextmanager
def _opened(directory: str, name: str, *, create: bool) -> Iterator[tuple[Offsets, Saved]]:
    """The positions of a consumer, held so that it cannot start meanwhile."""
    store = Offsets(directory, check_name(name))
    if not create and not store.exists:
        raise Fault(f"{_unknown(directory, name)}; --topic would begin some")
    saved = store.open()
    try:
        yield store, saved
    finally:
        store.close()


def _unknown(directory: str, name: str) -> str:
    known = names(directory)
    others = f"; there are those of {', '.join(known[:5])}" if known else ""
    return f"consumer {name!r} has no positions in {directory}{others}"


def _change(store: Offsets, saved: Saved, positions: Mapping[Key, int], as_json: bool) -> None:
    """Save positions, and tell what they were before."""
    now = time.time()
    known = {topic for topic, _ in saved.positions}
    fresh = {topic for topic, _ in positions if not (topic in known or _covers(saved, topic))}
    # What comes later to a topic that was begun here is new to its consumer.
    store.save(positions, [Subscription(topic, False, now, True) for topic in sorted(fresh)])
    rows = sorted(positions.items())
    with done_all_the_same(f"{count(len(rows), 'position')} of consumer {store.name!r} saved"):
        if as_json:
            told = [
                {**_place(key), "offset": offset, "was": saved.positions.get(key)}
                for key, offset in rows
            ]
            click.echo(document({"name": store.name, "positions": told}))
            return
        lines = [
            [
                text(key[0], TOPIC_WIDTH),
                text(key[1], TOPIC_WIDTH),
                number(offset),
                number(saved.positions.get(key)),
            ]
            for key, offset in rows
        ]
        click.echo(table(["TOPIC", "PARTITION", "POSITION", "WAS"], "llrr", lines))


def _covers(saved: Saved, topic: str) -> bool:
    """Whether a consumer has subscribed to a topic."""
    return any(
        matches(text, topic) if pattern else text == topic for text, pattern in saved.subscriptions
    )


def _told(name: str, saved: Saved) -> dict[str, Any]:
    positions = [
        {**_place(key), "offset": offset, "saved": _when(saved.times[key])}
        for key, offset in sorted(saved.positions.items())
    ]
    damaged = [_place(key) for key in saved.damaged]
    subscriptions = [
        {"pattern" if one.pattern else "topic": one.text, "since": _when(one.since)}
        for one in saved.subscriptions.values()
    ]
    told = {"name": name, "positions": positions, "subscriptions": subscriptions}
    return told | ({"damaged": damaged} if damaged else {})


def _rows(name: str, saved: Saved) -> Iterator[list[str]]:
    places = [(key, number(at), _when(saved.times[key])) for key, at in saved.positions.items()]
    places += [(key, "damaged", UNKNOWN) for key in saved.damaged]
    if not places:
        yield [text(name, TOPIC_WIDTH), UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    for (topic, partition), at, when in sorted(places):
        where = text(topic, TOPIC_WIDTH), text(partition, TOPIC_WIDTH)
        yield [text(name, TOPIC_WIDTH), *where, at, when]


def _place(key: Key) -> dict[str, str]:
    return {"topic": key[0], "partition": key[1]}


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
