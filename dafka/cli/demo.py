"""`dafka demo`: the main job on real data, a store killed half-way, and a check of it all."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from dafka.cli.demo_data import archive
from dafka.cli.demo_nodes import TOPIC
from dafka.cli.demo_processes import Processes
from dafka.cli.demo_report import Progress, Result
from dafka.cli.demo_story import Demo, Plan
from dafka.cli.options import Command, Fault, Whole, version_option


@contextmanager
def working_directory(keep: str | None) -> Iterator[Path]:
    """The directory to keep, which must be new or empty, or one that is removed afterwards."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="dafka-demo-") as temporary:
            yield Path(temporary)
        return
    path = Path(keep)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise Fault(f"{keep} is not empty: name a new directory to keep")
    except OSError as error:
        raise Fault(f"cannot use {keep}: {error.strerror}") from error
    yield path


@contextmanager
def ended_in_order() -> Iterator[None]:
    """While entered, SIGTERM and SIGHUP end the demo as Ctrl-C does: with all its processes."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    previous = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


def _report(result: Result, as_json: bool) -> None:
    click.echo(json.dumps(result.as_json()) if as_json else result.as_text())


def _stay(demo: Demo, processes: Processes, directory: Path) -> None:
    """Keep the cluster running until Ctrl-C or SIGTERM."""
    click.echo(
        f"\nThe tower and the stores stay up until Ctrl-C, with their records in {directory}.\n"
        "In another terminal:\n"
        f"  dafka consume {TOPIC} --from earliest --count 3 --tower {demo.tower}\n"
        f"  dafka consume {TOPIC} --tower {demo.tower}\n"
        f"  echo '{{\"flight\": 1}}' | dafka produce {TOPIC} --tower {demo.tower}",
        err=True,
    )
    try:
        processes.wait(lambda: False, stall_s=None)
    except KeyboardInterrupt:
        click.echo(err=True)


@click.command(cls=Command)
@version_option
@click.option(
    "--keep",
    metavar="DIR",
    help="Keep the records in DIR and the cluster running until Ctrl-C; prints what to type next.",
)
@click.option("--flights", type=Whole(min=1), metavar="N", help="Only the first N of each airport.")
@click.option(
    "--rate",
    type=click.FloatRange(min=1),
    metavar="N",
    help="Records per second and producer; default: as fast as the stores acknowledge, but the "
    "whole stream takes two seconds at least, so that the kill falls into it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def demo(keep: str | None, flights: int | None, rate: float | None, as_json: bool) -> int:
    """Show the main job on real data, end to end.

    A tower, two stores, three producers and two consumers, each a process of its own, stream the
    336,776 flights that left New York in 2013: a JSON record per flight, in time order, a partition
    per airport. Half-way a store is killed by SIGKILL and started again. When all producers have
    exited, late consumers read everything from the beginning, from each store alone.

    Ends with a table, and with exit code 0 only if every consumer got exactly the bytes that were
    published, in order, each record once.

    \b
    Example:
      dafka demo
      dafka demo --flights 3000 --json
      dafka demo --keep ./flights
    """
    archive()
    with working_directory(keep) as directory, ended_in_order():
        logs = directory / "logs"
        logs.mkdir()
        progress = Progress()
        with Processes(logs) as processes:
            show = Demo(Plan(directory, flights, rate), processes, progress)
            try:
                result = show.run()
            finally:
                progress.end()
            _report(result, as_json)
            if keep is not None:
                _stay(show, processes, directory)
    return 1 if result.problems else 0


if __name__ == "__main__":
    from dafka.cli.main import main as run

    run(demo, "dafka demo")
