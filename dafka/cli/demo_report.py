"""How the demo looks: progress on stderr, and at the end a table or JSON on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tqdm import tqdm

LINE_EVERY_S = 2.0
"""Where stderr is no terminal, progress is a line this often."""


@dataclass(slots=True)
class Airport:
    """What became of one airport's partition."""

    airport: str
    partition: str
    published: int
    acknowledged: int
    bytes: int
    sha256: str
    seconds: float
    """From the first acknowledgement to the last."""
    live: list[int] = field(default_factory=list)
    """Records each live consumer got."""
    replayed: list[int] = field(default_factory=list)
    """Records each late consumer got, from one store each."""


@dataclass(slots=True)
class Rate:
    """Records and bytes in a time, and what exactly was timed."""

    what: str
    records: int
    bytes: int
    seconds: float

    @property
    def per_s(self) -> float:
        """Records in a second."""
        return self.records / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        megabytes = self.bytes / self.seconds / 1e6 if self.seconds > 0 else 0.0
        return f"{self.per_s:>9,.0f} records/s  {megabytes:>6.1f} MB/s  {self.what}"


@dataclass(slots=True)
class Killing:
    """The store that was killed, and what happened meanwhile."""

    store: str
    acknowledged: int
    """Records acknowledged when it was killed."""
    published: int
    """Records published when it was killed."""
    down_s: float
    """From SIGKILL until it was ready again."""
    acknowledged_meanwhile: int
    """Records acknowledged in that time."""
    complete_s: float | None = None
    """From SIGKILL until it held every record; None if that was not seen."""


@dataclass(slots=True)
class Result:
    """All that was found out."""

    airports: list[Airport]
    killing: Killing
    rates: list[Rate]
    problems: list[str]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The same as an object for programs."""
        rates = [asdict(rate) | {"records_per_s": round(rate.per_s, 1)} for rate in self.rates]
        return {
            "ok": not self.problems,
            "published": sum(row.published for row in self.airports),
            "acknowledged": sum(row.acknowledged for row in self.airports),
            **asdict(self),
            "rates": rates,
        }

    def as_text(self) -> str:
        """The table, the rates and the verdict."""
        parts = [table(self.airports), _killing(self.killing, self.airports)]
        parts.append("\n".join(str(rate) for rate in self.rates))
        if self.problems:
            parts.append("\n".join(["FAILED:", *(f"  {text}" for text in self.problems)]))
        else:
            parts.append(
                "OK: every consumer got exactly the bytes that were published, in order, each "
                f"record once ({self.seconds:.0f} s)."
            )
        return "\n\n".join(parts)


def table(airports: Sequence[Airport]) -> str:
    """A row for each partition, and their sums."""
    head = ["airport", "partition", "published", "acknowledged"]
    head += [f"live {number}" for number, _ in enumerate(airports[0].live, 1)]
    head += [f"replay {number}" for number, _ in enumerate(airports[0].replayed, 1)]
    numbers = [[row.published, row.acknowledged, *row.live, *row.replayed] for row in airports]
    rows = [
        [
            row.airport,
            f"{row.partition[:8]}…",
            *(f"{number:,}" for number in line),
            f"{row.acknowledged / row.seconds:,.0f}/s" if row.seconds else "",
            row.sha256[:12],
        ]
        for row, line in zip(airports, numbers, strict=True)
    ]
    total = ["total", "", *(f"{sum(column):,}" for column in zip(*numbers, strict=True)), "", ""]
    lines = [[*head, "ack rate", "sha256"], *rows, total]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    texts = []
    for line in lines:
        cells = [
            cell.ljust(width) if at < 2 or at == len(line) - 1 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        texts.append("  ".join(cells).rstrip())
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1]])


def _killing(killing: Killing, airports: Sequence[Airport]) -> str:
    total = sum(row.published for row in airports) or 1
    text = (
        f"{killing.store} was killed by SIGKILL when {killing.published / total:.0%} of the "
        f"records were published and {killing.acknowledged / total:.0%} acknowledged; it was back "
        f"after {killing.down_s:.1f} s.\nMeanwhile {killing.acknowledged_meanwhile:,} more records "
        "were acknowledged by the other store."
    )
    if killing.complete_s is None:
        return f"{text} It never became complete."
    return f"{text} It held every record {killing.complete_s:.1f} s after the kill."


class Progress:
    """A bar if stderr is a terminal, otherwise a line every few seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._bar: tqdm[Any] | None = None
        self._title = ""
        self._total = 0
        self._line_at = 0.0

    def say(self, text: str) -> None:
        """A line of its own."""
        seconds = time.monotonic() - self._began
        tqdm.write(f"{seconds:5.1f} s  {text}", file=sys.stderr)

    def begin(self, title: str, total: int) -> None:
        """From now on `update` counts towards `total`."""
        self.end()
        self._title, self._total, self._line_at = title, total, time.monotonic()
        if sys.stderr.isatty():
            tqdm.monitor_interval = 0  # no thread of its own
            self._bar = tqdm(total=total, desc=title, unit=" records", mininterval=0.1)

    def update(self, count: int) -> None:
        """So many are done."""
        if self._bar is not None:
            self._bar.update(count - self._bar.n)
        elif self._total and time.monotonic() - self._line_at >= LINE_EVERY_S:
            self._line_at = time.monotonic()
            share = count / self._total
            self.say(f"{self._title}: {count:,} of {self._total:,} records ({share:.0%})")

    def end(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._total = 0
