"""`scripts/simulate`: lives many lives, and shows the shortest form of the first that fails."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from importlib.util import find_spec
from multiprocessing import active_children, get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from dafka.cli import signals
from dafka.cli.options import Command, Fault, Whole
from dafka.cli.progress import progress
from simulation import scale
from simulation.breakages import BREAKAGES, broken
from simulation.chart import as_svg, as_text, chart
from simulation.plan import draw
from simulation.shrink import Failure, live, shrink
from simulation.trace import Trace

_DONE = "done"
_MOST_SHOWN = 10

_GO_TOGETHER = {
    "scale": {"plot"},
    "life": {"events", "chart", "broken"},
    "lives": {"seed", "jobs", "chart", "broken"},
}
"""What can be asked for, and the options that say more about it."""

_FILE = click.Path(dir_okay=False, path_type=Path)


class _Numbers(click.ParamType):
    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        try:
            return [int(number) for number in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers with commas between them.", param, ctx)


@click.command(cls=Command)
@click.option("--lives", type=Whole(min=1), default=2000, show_default=True, help="How many.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the first life.")
@click.option("--jobs", type=Whole(min=1), default=1, show_default=True, help="Processes.")
@click.option("--life", type=int, metavar="SEED", help="Live one life; shrink and draw it.")
@click.option(
    "--events", type=_Numbers(), metavar="N,N,...", help="With --life: only these of its events."
)
@click.option("--chart", type=_FILE, metavar="FILE.svg", help="Draw the failure here too.")
@click.option(
    "--broken",
    type=click.Choice(sorted(BREAKAGES)),
    metavar="NAME",
    help=f"Break the machines on purpose before: {', '.join(sorted(BREAKAGES))}.",
)
@click.option(
    "--scale",
    type=Whole(min=100),
    metavar="N",
    help="Instead: what a record costs as a cluster grows, up to N consumers (10000: minutes).",
)
@click.option("--plot", type=_FILE, metavar="FILE", help="With --scale: draw it (SVG, PNG).")
@click.pass_context
def simulate(ctx: click.Context, **options: Any) -> int:
    """Live random lives of whole clusters in memory, with every fault there is.

    The same seed is the same life. The first that fails is shrunk and drawn.

    Exit code 0: all ended well; 1: a life failed.

    \b
    Example:
      scripts/simulate --lives 2000 --seed 1 --jobs 2
    """
    _check_together(ctx)
    _check_file(options["chart"], "--chart")
    _check_file(options["plot"], "--plot")
    if options["scale"] is not None:
        return _scale(options["scale"], options["plot"])
    with broken(options["broken"]):
        if options["life"] is not None:
            return _explain(options["life"], options)
        return _many(options)


def _check_together(ctx: click.Context) -> None:
    """What would be ignored is refused."""
    default = ParameterSource.DEFAULT
    given = [name for name in ctx.params if ctx.get_parameter_source(name) is not default]
    what = next((name for name in _GO_TOGETHER if name in given), "lives")
    for name in given:
        if name != what and name not in _GO_TOGETHER[what]:
            places = [f"--{one}" for one, more in _GO_TOGETHER.items() if name in more]
            raise click.UsageError(
                f"--{name} goes with {' or '.join(places)}, not with --{what}."
                if places
                else f"--{name} does not go with --{what}."
            )


def _check_file(file: Path | None, option: str) -> None:
    """Nobody should wait for a picture that cannot be written in the end."""
    if file is not None and not os.access(file if file.exists() else file.parent, os.W_OK):
        raise click.UsageError(f"{option}: {file} cannot be written.")


def _many(options: dict[str, Any]) -> int:
    began = time.monotonic()
    failed: list[int] = []
    done = 0
    with progress(options["lives"], keep=False, unit="lives") as bar:
        for seed in _failures(options):
            done += 1
            bar.update()
            if seed is not None:
                failed.append(seed)
            if len(failed) >= _MOST_SHOWN:
                break
    seconds = time.monotonic() - began
    if not failed:
        rate = done / seconds * 60
        click.echo(f"{done} lives, all ended well, in {seconds:.1f} s: {rate:.0f} a minute")
        return 0
    failed.sort()
    click.echo(f"{len(failed)} of {done} lives failed: {', '.join(map(str, failed))}")
    _explain(failed[0], options)
    return 1


def _failures(options: dict[str, Any]) -> Iterator[int | None]:
    """For each life, its seed if it failed."""
    seeds = range(options["seed"], options["seed"] + options["lives"])
    if options["jobs"] == 1:
        yield from map(_failed, seeds)
        return
    context = get_context("fork")
    told: list[Connection] = []
    # A signal while processes begin could be lost; and it is for us, not for it, to end them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals.ending())
    try:
        for number in range(options["jobs"]):
            reader, writer = context.Pipe(duplex=False)
            told.append(reader)
            context.Process(target=_tell, args=(seeds[number :: options["jobs"]], writer)).start()
            writer.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.ending())
        yield from _heard(told)
    finally:
        for child in active_children():
            child.kill()


def _failed(seed: int) -> int | None:
    return seed if live(draw(seed)) is not None else None


def _tell(seeds: range, writer: Connection) -> None:
    for seed in seeds:
        writer.send(_failed(seed))
    writer.send(_DONE)


def _heard(told: list[Connection]) -> Iterator[int | None]:
    """What other processes tell, until all have done."""
    while told:
        for reader in wait(told):
            try:
                found = reader.recv()
            except EOFError as error:
                raise Fault("a process ended before its lives had; was it killed?") from error
            if found == _DONE:
                told.remove(reader)
            else:
                yield found


def _scale(most: int, file: Path | None) -> int:
    """Print a table for each way in which a cluster grows, and draw them if asked to."""
    if file is not None and find_spec("matplotlib") is None:
        raise Fault("--plot needs matplotlib: pip install '.[plots]'")
    drawn = []
    for curve in scale.curves(most):
        drawn.append(curve)
        click.echo("\n".join(curve.rows()) + "\n")
    if file is not None:
        scale.plot(drawn, file)
    return 0


def _explain(seed: int, options: dict[str, Any]) -> int:
    """Live one life; if it fails, tell how to repeat it, and draw its shortest form."""
    plan, events = draw(seed), options["events"]
    numbers = list(range(len(plan.events))) if events is None else events
    if not all(0 <= number < len(plan.events) for number in numbers):
        raise click.UsageError(f"life {seed} has the events 0 to {len(plan.events) - 1}.")
    failure = live(plan.only(numbers))
    if failure is None:
        click.echo(f"life {seed}: all ended well")
        return 0
    again = f"scripts/simulate --life {seed}"
    if options["broken"]:
        again += f" --broken {options['broken']}"
    click.echo(failure.text)
    click.echo(f"repeat it with: {again}")
    if events is None:
        numbers = shrink(plan, failure)
    _draw(seed, numbers, failure, again, options["chart"])
    return 1


def _draw(seed: int, numbers: list[int], failure: Failure, again: str, file: Path | None) -> None:
    plan = draw(seed).only(numbers)
    trace = Trace()
    shortest = live(plan, trace) or failure
    click.echo(f"{len(numbers)} events are enough: {', '.join(map(str, plan.events))}")
    click.echo(f"repeat these with: {again} --events {','.join(map(str, numbers))}")
    click.echo(shortest.text)
    trace.noted(None, f"FAILS: {shortest.what}")
    drawn = chart(trace.entries)
    click.echo(as_text(drawn))
    if file is not None:
        file.write_text(as_svg(drawn, f"{again}: {shortest.what}"), "utf-8")
        click.echo(f"drawn in {file}")
