"""Latencies: when a record was due, when it came, and what many of them come to.

Whoever sends carries the time at which a record was *due* in its content, and whoever receives
subtracts that. A sender that has been held up thereby counts the wait of every record that it
should have sent meanwhile: leaving those out is called coordinated omission.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any

LEAD_S = 0.3
"""Records due so long before the clock runs are sent, but not counted."""

_HEAD = Struct("<dd")
HEAD_BYTES = _HEAD.size
PERCENTILES = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
_HIGHEST_NS = 600 * 10**9
_DIGITS = 3


def content(due: float, now: float, padding: bytes) -> bytes:
    """A record: when it was due, when it is sent, and what makes it as long as it should be."""
    return _HEAD.pack(due, now) + padding


def padding(size: int) -> bytes:
    """What is missing to so many bytes."""
    return bytes(max(0, size - HEAD_BYTES))


def times(data: bytes) -> tuple[float, float]:
    """When a record was due, and when it was sent."""
    due, sent = _HEAD.unpack_from(data)
    return due, sent


def histogram(seconds: Iterable[float] = ()) -> Any:
    """An HDR histogram of nanoseconds, of three digits."""
    from hdrh.histogram import HdrHistogram

    made = HdrHistogram(1, _HIGHEST_NS, _DIGITS)
    for one in seconds:
        made.record_value(min(max(1, int(one * 1e9)), _HIGHEST_NS))
    return made


def encoded(seconds: Iterable[float]) -> str:
    """As HDR histograms are handed on, for tools that merge and draw them."""
    text: bytes = histogram(seconds).encode()
    return text.decode()


def merged(texts: Sequence[str]) -> Any:
    """All of them in one."""
    total = histogram()
    for text in texts:
        total.decode_and_add(text)
    return total


def percentiles(found: Any) -> dict[str, float]:
    """The usual ones, in milliseconds."""
    return {name: found.get_value_at_percentile(at) / 1e6 for name, at in PERCENTILES.items()}
