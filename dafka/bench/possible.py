"""What cannot be measured here, for want of a package or of a peer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec

from dafka.bench.rounds import Row
from dafka.bench.rows_peers import ABSENT

PACKAGES = {"hdrh": "hdrhistogram", "psutil": "psutil"}
"""By the names that they are imported by."""


def possible(wanted: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows for which there is everything, and a sentence for each thing that others lack."""
    peers = dict.fromkeys(row.who for row in wanted if row.who in ABSENT)
    absent = {who: sentence for who in peers if (sentence := ABSENT[who]())}
    rows = [row for row in wanted if row.who not in absent]
    sentences = list(absent.values())
    for package in dict.fromkeys(name for row in rows for name in row.trial.needs):
        if find_spec(package) is not None:
            continue
        lacking = [row for row in rows if package in row.trial.needs]
        rows = [row for row in rows if row not in lacking]
        sentences.append(
            f"not measured: {outline(lacking)}: the Python package {PACKAGES[package]} is missing; "
            "install Dafka with its extra bench: pip install 'dafka[bench]'"
        )
    return rows, sentences


def outline(rows: Iterable[Row]) -> str:
    """Names of rows in short: by their first part."""
    return ", ".join(dict.fromkeys(row.name.partition("/")[0] for row in rows))
