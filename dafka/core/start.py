"""Decides where a consumer begins with a partition it has never seen."""

from __future__ import annotations

from dafka.config import Start
from dafka.core.sources import Sources
from protocol import DirectHead, Head

NEWCOMER_S = 1.0
"""A producer introduced this long after we subscribed, and after a tower welcomed us,
was not there before: every node shows itself within one beacon interval (shared/wire,
"Discovery")."""


def first_offset(start: Start, partition: str, latest: int, *, is_new: bool) -> int:
    """The first offset to deliver; `latest` is what "latest" means for an old partition."""
    if isinstance(start, str):
        return 0 if start == "earliest" or is_new else latest
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
    if introduced is None or contact is None:
        return False
    if introduced.born is not None:
        return introduced.born >= subscribed
    return introduced.at >= max(subscribed, contact) + NEWCOMER_S
