"""Decides where a consumer begins with a partition that is new to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dafka.beginning import Beginning, Instant
from dafka.core.interest import Wish
from dafka.core.sources import Sources
from protocol import DirectHead, Head

NEWCOMER_S = 1.0
"""A producer introduced this long after we subscribed, and after a tower welcomed us,
was not there before: every node shows itself within one beacon interval (shared/wire,
"Discovery")."""

_CLOCKS_S = 1.0
"""So much may clocks differ that tell what was before an earlier life and what was after."""


def first_offset(start: Beginning, partition: str, latest: int, *, is_new: bool) -> int | Instant:
    """The first offset to deliver; `latest` is what "latest" means for an old partition."""
    if isinstance(start, str):
        return 0 if start == "earliest" or is_new else latest
    if isinstance(start, Instant):
        return 0 if is_new else start
    if isinstance(start, int):
        return start
    return start.get(partition, 0)


def is_newcomer(
    sources: Sources,
    partition: str,
    subscribed: float,
    now: float,
    head: Head | DirectHead | None = None,
) -> bool:
    """Whether all records of a partition were published after we subscribed.

    Then "latest" means all of them, also those that were lost while its producer and we were
    still connecting, and those of a producer that has gone since. Its producer knows best, then a
    store that was there when it began, then we.
    """
    if head is not None and head.age_ms is not None:
        return now - head.age_ms / 1000 >= subscribed
    introduced, contact = sources.introduced(partition), sources.contact
    if introduced is None:
        return False
    if introduced.born is not None:
        return introduced.born >= subscribed
    return contact is not None and introduced.at >= max(subscribed, contact) + NEWCOMER_S


class Place(NamedTuple):
    """Where to begin with a partition. `sought`: at this very offset, so tell if it is gone."""

    first: int | Instant
    sought: bool


def place(
    start: Beginning,
    partition: str,
    latest: int,
    wish: Wish,
    sources: Sources,
    now: float,
    head: Head | DirectHead | None = None,
) -> Place:
    """Where to begin with a partition that has no position."""
    named = isinstance(start, Mapping) and partition in start
    if not named and came_since(sources, partition, wish, now, head):
        return Place(0, sought=True)
    is_new = is_newcomer(sources, partition, wish.at, now, head)
    first = first_offset(start, partition, latest, is_new=is_new)
    return Place(first, sought=named or isinstance(start, int))


def came_since(
    sources: Sources,
    partition: str,
    wish: Wish,
    now: float,
    head: Head | DirectHead | None = None,
) -> bool:
    """Whether a partition without a position began after this consumer's first life did.

    Then nothing of it may be skipped. Where nobody knows how old it is, it is one that came since
    if an earlier life was told of all that there were.
    """
    if wish.since is None:
        return False
    born: float | None = None
    if head is not None and head.age_ms is not None:
        born = now - head.age_ms / 1000
    else:
        introduced = sources.introduced(partition)
        born = None if introduced is None else introduced.born
    return wish.settled if born is None else born >= wish.since - _CLOCKS_S
