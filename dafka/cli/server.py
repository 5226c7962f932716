"""`dafka server`: a tower and a store in one process."""

from __future__ import annotations

import click

import dafka
from dafka.cli import nodes
from dafka.cli.options import Command, common, configure, data_option, json_option, tower_endpoints
from dafka.cli.texts import document
from dafka.cli.tower import bound, port_option
from dafka.config import LOCALHOST, StoreConfig, TowerConfig


def _hint(address: str) -> str:
    at = "" if address == LOCALHOST.sub else f" --tower {address}"
    return (
        "next, in two other terminals:\n"
        f"  dafka consume hello --from earliest{at}\n"
        f"  echo 'A first event' | dafka produce hello{at}"
    )


@click.command(cls=Command, kinds=[TowerConfig, StoreConfig])
@common
@tower_endpoints("bind")
@port_option
@data_option("Directory of the records; made if missing; default: dafka-data.")
@json_option
def server(
    config: str | None,
    verbose: bool,
    sub: str | None,
    pub: str | None,
    port: int | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Run a tower and a store in one process: all a newcomer starts.

    Prints one line once it is ready, then what to type next, and runs until Ctrl-C,
    SIGTERM or SIGHUP (exit code 0).

    \b
    Example:
      dafka server --data ./records
    """
    tower_config = configure(TowerConfig, config, verbose, bound(port, sub, pub))
    store_config = configure(StoreConfig, config, verbose, {"data": data})
    cluster = dafka.Cluster(store_config.data, tower=tower_config, store=store_config)

    def serve(_interrupts: nodes.Interrupts) -> None:
        endpoints = cluster.tower
        address = nodes.notation(endpoints)
        if as_json:
            ready = {"tower": {"sub": endpoints.sub, "pub": endpoints.pub}}
            nodes.announce(document(ready | {"store": {"data": store_config.data}}))
        else:
            ready_line = f"tower {address}  store {store_config.data}: ready"
            nodes.announce(f"{ready_line}\n{_hint(address)}")
        cluster.wait()

    nodes.run(cluster, serve)
