"""Decides how results look to a person: aligned columns, readable numbers, no surprises."""

from __future__ import annotations

from collections.abc import Sequence

from dafka.cli.texts import visible

UNKNOWN = "-"
"""Where a node does not say."""

LEFT, RIGHT = str.ljust, str.rjust


def table(headings: Sequence[str], numeric: str, rows: Sequence[Sequence[str]]) -> str:
    """Rows below headings, in columns; `numeric` has a letter per column: l(eft) or r(ight)."""
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = [RIGHT if letter == "r" else LEFT for letter in numeric]
    return "\n".join(
        "  ".join(
            pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def number(value: int | None) -> str:
    """A number with its thousands marked."""
    return UNKNOWN if value is None else f"{value:,}"


def size(value: int | None) -> str:
    """Bytes in the unit that gives a short number: "0 B", "999 B", "1.0 kB", "12.3 MB"."""
    if value is None:
        return UNKNOWN
    if value < 1000:
        return f"{value} B"
    amount = value / 1000
    for unit in ("kB", "MB", "GB", "TB"):
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} PB"


def count(value: int, noun: str) -> str:
    """A number of things in words: "1 record", "2 records"."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def text(value: str | None, width: int) -> str:
    """What a peer said of itself, fit for a terminal: one line, no controls, `width` at most.

    What is too long loses its middle: names often differ at their ends.
    """
    if value is None:
        return UNKNOWN
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in visible(value)) or "''"
    if len(shown) <= width:
        return shown
    end = (width - 1) // 3
    return f"{shown[: width - 1 - end]}…{shown[len(shown) - end :]}"
