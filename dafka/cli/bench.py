"""`dafka bench`: what this machine does, beside the ceiling measured in the same run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from dafka.bench import report, rows
from dafka.bench.machine import machine
from dafka.bench.rounds import Plan, Result, Row, measure
from dafka.bench.scene import Scene
from dafka.cli.options import Command, Fault, Whole, version_option
from dafka.cli.tables import table

QUICK_S = 0.3

PACKAGES = {"hdrh": "hdrhistogram", "psutil": "psutil"}
"""By the names that they are imported by."""


@click.command(cls=Command)
@version_option
@click.argument("names", metavar="[ROW]...", nargs=-1)
@click.option(
    "--group",
    "groups",
    multiple=True,
    type=click.Choice(list(rows.GROUPS)),
    help="All rows of a group; may be repeated.",
)
@click.option("--all", "everything", is_flag=True, help="All rows: this takes hours.")
@click.option("--list", "listing", is_flag=True, help="Name the rows and measure nothing.")
@click.option("--rounds", default=3, show_default=True, type=Whole(1), metavar="N")
@click.option(
    "--seconds",
    default=3.0,
    show_default=True,
    type=click.FloatRange(min=0.01, max=3600),
    metavar="S",
    help="How long a round takes, at least; the number of records follows from it.",
)
@click.option("--quick", is_flag=True, help=f"One round of {QUICK_S:g} s: whether it works.")
@click.option(
    "--durability",
    type=click.Choice(["fsync", "os"]),
    help="Only rows with this durability of ours.",
)
@click.option(
    "--dir",
    "directory",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Where data is written meanwhile; default: the system's directory for that.",
)
@click.option("--json", "json_file", metavar="FILE", help="Write JSON to a file; - is stdout.")
def bench(
    names: Sequence[str],
    groups: Sequence[str],
    everything: bool,
    listing: bool,
    rounds: int,
    seconds: float,
    quick: bool,
    durability: str | None,
    directory: str | None,
    json_file: str | None,
) -> None:
    """Measure Dafka on this machine, beside the ceiling measured in the same run.

    Without arguments it measures the headline rows, which takes two to three minutes. ROW is the
    name of a row, the beginning of one ("live/100B"), or a pattern ("publish/*/os"). The nodes run
    as processes of their own over loopback. docs/performance.md explains rows and ceilings.

    \b
    Examples:
      dafka bench
      dafka bench --group latency --json latency.json
      dafka bench publish/100B/16p live/100B/16c --rounds 5
    """
    known = rows.all_rows()
    for name in rows.unknown(known, names):
        raise click.UsageError(f"there is no row {name!r}: 'dafka bench --list' names them")
    if listing and not (names or groups):
        _list(list(known.values()))
        return
    wanted = rows.chosen(known, names, groups, everything=everything)
    if durability:
        wanted = [row for row in wanted if row.who != "dafka" or row.durability == durability]
    if not wanted:
        raise click.UsageError("no row is left to measure: 'dafka bench --list' names them")
    if listing:
        _list(wanted)
        return
    if quick:
        rounds, seconds = 1, QUICK_S
    _measure(known, wanted, Plan(rounds, seconds), directory, json_file)


def _measure(
    known: dict[str, Row],
    wanted: Sequence[Row],
    plan: Plan,
    directory: str | None,
    json_file: str | None,
) -> None:
    wanted, absent = _possible(wanted)
    if not wanted:
        raise Fault(absent[0])
    with Scene(directory) as scene, _progress() as tell:
        about = machine(scene.path)
        results = measure(rows.with_ceilings(known, wanted), scene, replace(plan, tell=tell))
    names = [row.name for row in wanted]
    settings = {"rounds": plan.rounds, "seconds": plan.seconds, "rows": names}
    if json_file != "-":
        _print(results, about, settings)
    for text in absent:
        click.echo(text, err=True)
    if json_file:
        found = report.document(results, about, settings, absent)
        _write(json_file, json.dumps(found, indent=1))


def _list(listed: Sequence[Row]) -> None:
    lines = [[row.name, row.unit, " ".join(row.ceilings)] for row in listed]
    click.echo(table(("row", "unit", "beside"), "lll", lines))


def _possible(wanted: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows for which there is everything here, and a sentence for what others lack."""
    lacking: dict[str, list[Row]] = {}
    for row in wanted:
        for package in row.trial.needs:
            if find_spec(package) is None:
                lacking.setdefault(package, []).append(row)
    without = [row for rows_ in lacking.values() for row in rows_]
    sentences = [
        f"not measured: {rows.outline(left_out)}: the Python package {PACKAGES[package]} is "
        "missing; install Dafka with its extra bench: pip install 'dafka[bench]'"
        for package, left_out in lacking.items()
    ]
    return [row for row in wanted if row not in without], sentences


def _print(results: Sequence[Result], about: dict[str, Any], settings: dict[str, Any]) -> None:
    click.echo(
        f"{about['cores']} cores of {about['processor']}, {about['system']}, Python "
        f"{about['python']}, data on {about['file system']}; medians of {settings['rounds']} "
        f"rounds of {settings['seconds']:g} s"
    )
    if about["file system"] == "tmpfs":
        click.echo("tmpfs is memory, where fsync costs nothing: choose a disk with --dir")
    lines = [line for result in results for line in report.lines(result)]
    click.echo(table(report.HEADINGS, report.NUMERIC, lines))


def _write(file: str, text: str) -> None:
    if file == "-":
        click.echo(text)
        return
    try:
        Path(file).write_text(f"{text}\n", "utf-8")
    except OSError as error:
        raise Fault(f"cannot write {file}: {error.strerror}") from error


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    from tqdm import tqdm  # not everybody's start should wait for it

    tqdm.monitor_interval = 0
    with tqdm(disable=None, leave=False, unit=" trials") as bar:

        def tell(done: int, total: int, what: str) -> None:
            bar.total = total
            bar.n = done
            bar.set_description(what)

        yield tell
