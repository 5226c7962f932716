"""`dafka store`: one store."""

from __future__ import annotations

import click

import dafka
from dafka.cli import nodes
from dafka.cli.options import Command, common, configure, data_option, json_option, towers
from dafka.cli.texts import document
from dafka.config import StoreConfig


def run_store(config: StoreConfig, as_json: bool) -> None:
    """Run a store until a signal ends it."""
    store = dafka.Store(config)

    def serve(_interrupts: nodes.Interrupts) -> None:
        if as_json:
            nodes.announce(document({"store": {"data": config.data, "endpoint": store.endpoint}}))
        else:
            nodes.announce(f"store {config.data}: ready")
        store.wait()

    nodes.run(store, serve)


@click.command(cls=Command, kinds=[StoreConfig])
@common
@towers
@data_option("Directory of the records; made if missing; default: dafka-data.")
@json_option
def store(
    config: str | None,
    verbose: bool,
    tower: tuple[str, ...],
    sub: str | None,
    pub: str | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Run a store, which keeps the records of all topics on disk.

    Prints one line once it is ready, and runs until Ctrl-C, SIGTERM or SIGHUP (exit code 0).

    \b
    Example:
      dafka store --data ./records --tower localhost
    """
    flags = {"tower": tower, "sub": sub, "pub": pub, "data": data}
    run_store(configure(StoreConfig, config, verbose, flags), as_json)
