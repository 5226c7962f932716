"""Results for a person, as a table, and for a program, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dafka.bench.rounds import Result

UNKNOWN = "-"


def lines(result: Result) -> list[list[str]]:
    """The lines of a row: its figures and the ratio to its ceiling, and that to each other one."""
    figures = result.summary
    numbers = [quantity(one) for one in (figures.median, figures.min, figures.max)]
    beside = [[f"{ratio:.2f}", name] for name, ratio in result.ratios.items()]
    first = [result.row.name, result.row.durability, *numbers, result.row.unit]
    rest = [[*[""] * len(first), *one] for one in beside[1:]]
    return [[*first, *(beside[0] if beside else [UNKNOWN, UNKNOWN])], *rest]


HEADINGS = ("row", "durability", "median", "min", "max", "unit", "ratio", "beside")
NUMERIC = "llrrrlrl"
"""Which columns are numbers, as `dafka.cli.tables` takes it."""


def quantity(value: float) -> str:
    """Three digits at least, thousands marked: 0.113, 12.5, 301,402."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def markdown(headings: Sequence[str], numeric: str, rows: Sequence[Sequence[str]]) -> str:
    """The table for a document."""
    ruler = ["---:" if letter == "r" else "---" for letter in numeric]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ruler, *rows))


def document(
    results: Sequence[Result], machine: dict[str, Any], settings: dict[str, Any], absent: list[str]
) -> dict[str, Any]:
    """Everything that was found, for programs."""
    return {
        "machine": machine,
        "settings": settings,
        "absent": absent,
        "rows": {result.row.name: member(result) for result in results},
    }


def member(result: Result) -> dict[str, Any]:
    """One row: its figures by round, what they come to, and the ratios to its ceilings."""
    row, figures = result.row, result.summary
    return {
        "group": row.group,
        "who": row.who,
        "unit": row.unit,
        "durability": row.durability,
        "figures": result.figures,
        "median": figures.median,
        "min": figures.min,
        "max": figures.max,
        "iqr": figures.iqr,
        "ratios": result.ratios,
        "notes": result.notes,
    }
