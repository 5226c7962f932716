"""`dafka bench`: what this machine does, beside the ceiling measured in the same run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from dafka.bench import report, rows
from dafka.bench.machine import machine
from dafka.bench.possible import possible
from dafka.bench.rounds import Plan, Result, Row, measure
from dafka.bench.scene import Scene
from dafka.bench.servers import versions
from dafka.cli.options import Command, Fault, Whole, version_option
from dafka.cli.tables import table

QUICK_S = 0.3


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
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="All rows but those of peers: this takes about an hour.",
)
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
    help="Only rows that are synced when they are acknowledged, or only those that are not.",
)
@click.option(
    "--dir",
    "directory",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Where data is written meanwhile; default: the system's directory for that.",
)
@click.option(
    "--peers",
    is_flag=True,
    help="Also measure NATS JetStream, Redis Streams and the C nodes, as far as they are here.",
)
@click.option("--markdown", is_flag=True, help="Print the table as Markdown, for a document.")
@click.option("--json", "json_file", metavar="FILE", help="Write JSON to a file; - is stdout.")
@click.option("--plot", "plot_file", metavar="FILE", help="Draw a chart: FILE.svg or FILE.png.")
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
    peers: bool,
    markdown: bool,
    json_file: str | None,
    plot_file: str | None,
) -> None:
    """Measure Dafka on this machine, beside the ceiling measured in the same run.

    Without arguments it measures the headline rows, which takes three to four minutes. ROW is the
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
    wanted = rows.chosen(known, names, groups, everything=everything, peers=peers)
    wanted = [row for row in wanted if _has(row, durability)]
    if not wanted:
        raise click.UsageError("no row is left to measure: 'dafka bench --list' names them")
    if listing:
        _list(wanted)
        return
    if quick:
        rounds, seconds = 1, QUICK_S
    _check_plot(plot_file)
    _measure(
        known, wanted, Plan(rounds, seconds), directory, Output(markdown, json_file, plot_file)
    )


def _has(row: Row, durability: str | None) -> bool:
    """Whether a row is of a durability, as far as it has one."""
    if durability is None or row.durability == "-":
        return True
    return (row.durability == "fsync") == (durability == "fsync")


@dataclass(frozen=True, slots=True)
class Output:
    """What becomes of results."""

    markdown: bool
    json: str | None
    plot: str | None


def _check_plot(file: str | None) -> None:
    """Before hours are spent on it."""
    if file is None:
        return
    if not file.endswith((".svg", ".png")):
        raise click.UsageError(f"--plot {file}: the name must end with .svg or .png")
    if find_spec("matplotlib") is None:
        raise Fault("--plot needs matplotlib: pip install 'dafka[plots]'")


def _measure(
    known: dict[str, Row],
    wanted: Sequence[Row],
    plan: Plan,
    directory: str | None,
    output: Output,
) -> None:
    wanted, absent = possible(wanted)
    if not wanted:
        raise Fault("; ".join(absent))
    with Scene(directory) as scene, _progress() as tell:
        about = machine(scene.path) | {"servers": versions({row.who for row in wanted})}
        results = measure(rows.with_ceilings(known, wanted), scene, replace(plan, tell=tell))
    names = [row.name for row in wanted]
    settings = {"rounds": plan.rounds, "seconds": plan.seconds, "rows": names}
    if output.json != "-":
        _print(results, about, settings, markdown=output.markdown)
    for text in absent:
        click.echo(text, err=True)
    if output.json:
        found = report.document(results, about, settings, absent)
        _write(output.json, json.dumps(found, indent=1))
    if output.plot:
        from dafka.bench.plot import plot

        plot(results, Path(output.plot), _about(about, settings))


def _list(listed: Sequence[Row]) -> None:
    lines = [[row.name, row.unit, " ".join(row.ceilings)] for row in listed]
    click.echo(table(("row", "unit", "beside"), "lll", lines))


def _print(
    results: Sequence[Result], about: dict[str, Any], settings: dict[str, Any], *, markdown: bool
) -> None:
    click.echo(_about(about, settings))
    if about["file system"] == "tmpfs":
        click.echo("tmpfs is memory, where fsync costs nothing: choose a disk with --dir")
    lines = [line for result in results for line in report.lines(result)]
    shape = report.markdown if markdown else table
    click.echo(shape(report.HEADINGS, report.NUMERIC, lines))


def _about(about: dict[str, Any], settings: dict[str, Any]) -> str:
    return (
        f"{about['cores']} cores of {about['processor']}, {about['system']}, Python "
        f"{about['python']}, data on {about['file system']}; medians of {settings['rounds']} "
        f"rounds of {settings['seconds']:g} s"
    )


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
