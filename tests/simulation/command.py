"""`scripts/simulate`: lives many lives, and shows the shortest form of the first that fails."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from simulation import scale
from simulation.breakages import BREAKAGES, broken
from simulation.chart import as_svg, as_text, chart
from simulation.plan import draw
from simulation.shrink import Failure, live, shrink
from simulation.trace import Trace

_CHUNK = 25
_MOST_SHOWN = 10
_PROGRESS_S = 0.5


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments ask for; 1 if a life failed."""
    options = _parser().parse_args(arguments)
    if options.scale is not None:
        return _scale(options)
    with broken(options.broken):
        if options.life is not None:
            return _one(options)
        return _many(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Live random lives of whole clusters in memory, with every fault there is.",
        epilog="example: scripts/simulate --lives 2000 --seed 1 --jobs 2",
    )
    parser.add_argument("--lives", type=_positive, default=2000, help="how many (default: 2000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first life (default: 1)")
    parser.add_argument("--jobs", type=_positive, default=1, help="processes (default: 1)")
    parser.add_argument(
        "--life", type=int, metavar="SEED", help="live one life; shrink and draw it"
    )
    parser.add_argument(
        "--events", type=_numbers, metavar="N,N,...", help="with --life: only these of its events"
    )
    parser.add_argument("--chart", type=Path, metavar="FILE.svg", help="draw the failure here too")
    parser.add_argument(
        "--broken", choices=sorted(BREAKAGES), help="break the machines on purpose before"
    )
    parser.add_argument(
        "--scale",
        type=_positive,
        metavar="N",
        help="instead: what a record costs as a cluster grows, up to N consumers (10000: minutes)",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="with --scale: draw it (SVG, PNG)"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not greater than zero")
    return number


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _many(options: argparse.Namespace) -> int:
    began = time.monotonic()
    seeds = range(options.seed, options.seed + options.lives)
    failed: list[int] = []
    done = 0
    for seed in _show(_failures(seeds, options), options.lives):
        done += 1
        if seed is not None:
            failed.append(seed)
        if len(failed) >= _MOST_SHOWN:
            break
    seconds = time.monotonic() - began
    if not failed:
        rate = done / seconds * 60
        print(f"{done} lives, all ended well, in {seconds:.1f} s: {rate:.0f} a minute")
        return 0
    print(f"{len(failed)} of {done} lives failed: {', '.join(map(str, failed))}")
    _explain(failed[0], None, options)
    return 1


def _failures(seeds: range, options: argparse.Namespace) -> Iterator[int | None]:
    """For each life, its seed if it failed."""
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    if options.jobs == 1:
        for chunk in chunks:
            yield from _chunk(options.broken, chunk)
        return
    with get_context("fork").Pool(options.jobs) as pool:
        for some in pool.imap_unordered(partial(_chunk, options.broken), chunks):
            yield from some


def _chunk(broken_by: str | None, seeds: range) -> list[int | None]:
    with broken(broken_by):
        return [seed if live(draw(seed)) is not None else None for seed in seeds]


def _show(results: Iterable[int | None], total: int) -> Iterator[int | None]:
    """Pass results on, with a line of progress on a terminal."""
    shown = 0.0
    for done, result in enumerate(results, 1):
        now = time.monotonic()
        if sys.stderr.isatty() and (now - shown > _PROGRESS_S or done == total):
            shown = now
            print(f"\r{done} of {total} lives", end="", file=sys.stderr, flush=True)
        yield result
    if sys.stderr.isatty():
        print(file=sys.stderr)


def _one(options: argparse.Namespace) -> int:
    return _explain(options.life, options.events, options)


def _scale(options: argparse.Namespace) -> int:
    """Print a table for each way in which a cluster grows, and draw them if asked to."""
    drawn = []
    for curve in scale.curves(options.scale):
        drawn.append(curve)
        print("\n".join(curve.rows()), end="\n\n", flush=True)
    if options.plot is not None:
        scale.plot(drawn, options.plot)
    return 0


def _explain(seed: int, events: list[int] | None, options: argparse.Namespace) -> int:
    """Live one life; if it fails, tell how to repeat it, and draw its shortest form."""
    plan = draw(seed)
    numbers = list(range(len(plan.events))) if events is None else events
    if not all(0 <= number < len(plan.events) for number in numbers):
        print(f"life {seed} has the events 0 to {len(plan.events) - 1}", file=sys.stderr)
        return 2
    failure = live(plan.only(numbers))
    if failure is None:
        print(f"life {seed}: all ended well")
        return 0
    again = f"scripts/simulate --life {seed}"
    if options.broken:
        again += f" --broken {options.broken}"
    print(failure.text)
    print(f"repeat it with: {again}")
    if events is None:
        numbers = shrink(plan, failure)
    _draw(seed, numbers, failure, again, options.chart)
    return 1


def _draw(seed: int, numbers: list[int], failure: Failure, again: str, file: Path | None) -> None:
    plan = draw(seed).only(numbers)
    trace = Trace()
    shortest = live(plan, trace) or failure
    print(f"{len(numbers)} events are enough: {', '.join(map(str, plan.events))}")
    print(f"repeat these with: {again} --events {','.join(map(str, numbers))}")
    print(shortest.text)
    trace.noted(None, f"FAILS: {shortest.what}")
    drawn = chart(trace.entries)
    print(as_text(drawn))
    if file is not None:
        file.write_text(as_svg(drawn, f"{again}: {shortest.what}"), "utf-8")
        print(f"drawn in {file}")
