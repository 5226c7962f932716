"""What the rounds of a measurement come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, slots=True)
class Summary:
    """The middle of some figures, and how far they lie apart."""

    median: float
    min: float
    max: float
    iqr: float
    """Between the quartiles; between the ends for fewer than four figures."""


def summary(figures: Sequence[float]) -> Summary:
    """Of at least one figure."""
    low, high = min(figures), max(figures)
    iqr = high - low
    if len(figures) >= 4:
        first, _, third = quantiles(figures, n=4, method="inclusive")
        iqr = third - first
    return Summary(median(figures), low, high, iqr)


def ratio(figures: Sequence[float], ceiling: Sequence[float]) -> float:
    """The median of the rounds' ratios: both of a round have seen the same machine."""
    if len(figures) != len(ceiling):  # one of them takes long and was measured once
        return median(figures) / median(ceiling)
    return median(a / b for a, b in zip(figures, ceiling, strict=True))
