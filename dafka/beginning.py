"""Where a consumer may begin: what `start` takes. Decides what is valid; finds nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dafka.errors import ConfigError
from dafka.names import check_offset, check_partition

Start = Literal["latest", "earliest"] | int | datetime | Mapping[str, int]
"""Where a consumer begins: at the newest records, the oldest, at an offset of every partition,
at the records that arrived since a time, or at one offset per partition."""


@dataclass(frozen=True, slots=True)
class Instant:
    """A time as stores tell it: milliseconds since 1970."""

    ms: int


Beginning = str | int | Instant | Mapping[str, int]
"""A `Start` in parsed form."""


def parse_start(start: object) -> Beginning:
    """A start in parsed form; `ConfigError` for what is none."""
    if isinstance(start, datetime):
        return instant(start)
    if isinstance(start, str):
        if start not in ("latest", "earliest"):
            raise ConfigError(
                f"start {start!r} is neither 'latest', 'earliest', an offset, a time nor a "
                "mapping of partition to offset"
            )
        return start
    if isinstance(start, Mapping):
        for partition, offset in start.items():
            check_partition(partition)
            check_offset(offset, f"start of partition {partition}:")
        return start
    if not isinstance(start, int) or isinstance(start, bool):
        raise ConfigError(f"start is {start!r}: use earliest, latest, an offset, or a time")
    check_offset(start, "start")
    return start


def instant(when: object) -> Instant:
    """A time as stores tell it; one without a time zone is local time."""
    if not isinstance(when, datetime):
        raise ConfigError(f"{when!r} is not a time: give a datetime")
    try:
        seconds = when.timestamp()
    except (OverflowError, ValueError, OSError) as error:
        raise ConfigError(f"{when} cannot be told in seconds since 1970") from error
    # Rounded down, as times of arrival are: never too late.
    return Instant(max(0, int(seconds * 1000)))


def read_time(text: str) -> datetime:
    """Read a time in ISO 8601, such as 2026-11-25T17:00:00Z; `ConfigError` for anything else."""
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is not a time in ISO 8601, such as 2026-11-25, 2026-11-25T17:00 (local "
            "time) or 2026-11-25T17:00:00Z"
        ) from error
