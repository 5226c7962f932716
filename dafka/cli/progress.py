"""A progress bar on stderr, for commands that work through a known number of things."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress(
    total: int | None, *, initial: int = 0, keep: bool = True, unit: str = "records"
) -> Iterator[Any]:
    """A bar, drawn if stderr is a terminal; `keep` leaves it there in the end."""
    from tqdm import tqdm  # not everybody's start should wait for it

    tqdm.monitor_interval = 0  # no thread beside gevent
    with tqdm(
        total=total, initial=initial, unit=f" {unit}", unit_scale=True, disable=None, leave=keep
    ) as bar:
        yield bar
