"""The programs of the C implementation, under their names and with their flags."""

from __future__ import annotations

import click

from dafka.cli.consume import print_records
from dafka.cli.options import Command, common, configure, data_option, tower_endpoints
from dafka.cli.produce import publish_lines
from dafka.cli.store import run_store
from dafka.cli.tower import run_tower
from dafka.config import ConsumerConfig, ProducerConfig, StoreConfig, TowerConfig

C_DATA = "storedb"
"""Where the C store keeps its records, below the working directory, unless told otherwise."""


@click.command(cls=Command, kinds=[TowerConfig])
@common
@tower_endpoints("bind")
def towerd(config: str | None, verbose: bool, sub: str | None, pub: str | None) -> None:
    """Run a tower.

    \b
    Example:
      dafka_towerd --pub tcp://*:5557 --sub tcp://*:5556
    """
    run_tower(configure(TowerConfig, config, verbose, {"sub": sub, "pub": pub}), as_json=False)


@click.command(cls=Command, kinds=[StoreConfig])
@common
@tower_endpoints("connect to")
@data_option(f"Directory of the records; default: store/db, or {C_DATA}.")
def stored(
    config: str | None, verbose: bool, sub: str | None, pub: str | None, data: str | None
) -> None:
    """Run a store.

    \b
    Example:
      dafka_stored --pub tcp://127.0.0.1:5557 --sub tcp://127.0.0.1:5556
    """
    settings = configure(
        StoreConfig, config, verbose, {"sub": sub, "pub": pub, "data": data}, {"data": C_DATA}
    )
    run_store(settings, as_json=False)


@click.command(cls=Command, kinds=[ProducerConfig])
@common
@tower_endpoints("connect to")
@click.argument("topic")
def console_producer(
    config: str | None, verbose: bool, sub: str | None, pub: str | None, topic: str
) -> None:
    """Publish a record of TOPIC for each line of standard input.

    At its end it stays until a store has acknowledged every record.

    \b
    Example:
      echo 'A first event' | dafka_console_producer hello
    """
    publish_lines(topic, None, configure(ProducerConfig, config, verbose, {"sub": sub, "pub": pub}))


@click.command(cls=Command, kinds=[ConsumerConfig])
@common
@tower_endpoints("connect to")
@click.option("--from-beginning", is_flag=True, help="Begin at the earliest records.")
@click.argument("topic")
def console_consumer(
    config: str | None,
    verbose: bool,
    sub: str | None,
    pub: str | None,
    from_beginning: bool,
    topic: str,
) -> None:
    """Print the records of TOPIC: topic, producer's address, content.

    \b
    Example:
      dafka_console_consumer --from-beginning hello
    """
    start = "earliest" if from_beginning else None
    settings = configure(ConsumerConfig, config, verbose, {"sub": sub, "pub": pub, "start": start})
    print_records([topic], settings, "text")
