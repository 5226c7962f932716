"""A picture of results: bars of each row beside its ceilings and peers, and latencies as curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dafka.bench import latency
from dafka.bench.process import Unmeasured
from dafka.bench.report import quantity
from dafka.bench.rounds import Result

COLOURS = {
    "dafka": "tab:blue",
    "raw": "silver",
    "nats": "tab:green",
    "redis": "tab:red",
    "c": "tab:orange",
}
_BAR_INCHES = 0.28
_TICKS = {50.0: "50 %", 90.0: "90 %", 99.0: "99 %", 99.9: "99.9 %", 99.99: "99.99 %"}


def plot(results: Sequence[Result], file: Path, title: str) -> None:
    """Write an SVG or PNG, by the file's name; `Unmeasured` if that cannot be."""
    from matplotlib.figure import Figure

    bars = list(panels(results))
    curves = [one for one in results if one.row.figure == "p50" and "histogram" in one.notes]
    heights = [len(rows) * _BAR_INCHES + 0.9 for _, rows in bars] + ([4.0] if curves else [])
    figure = Figure(figsize=(11, sum(heights) + 0.5), layout="constrained")
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for place, (name, rows) in zip(axes, bars, strict=False):
        _bars(place, name, rows)
    if curves:
        _curves(axes[-1], curves)
    figure.suptitle(title, fontsize="small")
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unmeasured(f"cannot draw {file}: {reason}") from error


def panels(results: Sequence[Result]) -> Iterator[tuple[str, list[Result]]]:
    """What belongs together: rows of a group and a unit, and the ceilings they stand beside."""
    kinds = dict.fromkeys(
        (one.row.group, one.row.unit) for one in results if one.row.group != "raw"
    )
    for group, unit in kinds:
        own = [one for one in results if (one.row.group, one.row.unit) == (group, unit)]
        beside = {name for one in own for name in one.row.ceilings[:1]}
        shown = [one for one in results if one in own or one.row.name in beside]
        yield f"{group}, {unit}", shown


def _bars(axes: Any, name: str, rows: Sequence[Result]) -> None:
    labels = [_label(one) for one in rows]
    middles = [one.summary.median for one in rows]
    spread = [
        [one.summary.median - one.summary.min for one in rows],
        [one.summary.max - one.summary.median for one in rows],
    ]
    colours = [_colour(one) for one in rows]
    drawn = axes.barh(range(len(rows)), middles, xerr=spread, color=colours, ecolor="dimgrey")
    axes.bar_label(drawn, [quantity(one) for one in middles], padding=4, fontsize="x-small")
    axes.set_yticks(range(len(rows)), labels, fontsize="x-small")
    axes.invert_yaxis()
    axes.set_title(name, fontsize="small", loc="left")
    axes.tick_params(axis="x", labelsize="x-small")
    if min(middles) > 0 and max(middles) > 30 * min(middles):
        axes.set_xscale("log")
    axes.margins(x=0.12, y=0.02)


def _colour(result: Result) -> tuple[str, float]:
    """Pale is what has not been synced when it is acknowledged."""
    return COLOURS.get(result.row.who, "grey"), 1.0 if result.row.durability in (
        "-",
        "fsync",
    ) else 0.5


def _label(result: Result) -> str:
    """The row's name, and its durability where that does not tell it."""
    name, durability = result.row.name, result.row.durability
    told = durability == "-" or durability.replace(" ", "") in name.split("/")
    return name if told else f"{name} ({durability})"


def _curves(axes: Any, rows: Sequence[Result]) -> None:
    for one in rows:
        found = latency.merged([one.notes["histogram"]])
        steps = [1 - 0.5**n for n in range(1, 40) if found.get_total_count() * 0.5**n >= 1]
        waits = [found.get_value_at_percentile(100 * step) / 1e6 for step in steps]
        colour = COLOURS.get(one.row.who, "grey")
        style = "-" if "deliver" in one.row.name else "--"
        label = _label(one).replace("/p50", "")
        axes.plot([1 / (1 - step) for step in steps], waits, style, label=label, color=colour)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([1 / (1 - at / 100) for at in _TICKS], _TICKS.values(), fontsize="x-small")
    axes.tick_params(axis="y", labelsize="x-small")
    axes.set_title("latency from when a record was due, ms", fontsize="small", loc="left")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))
