"""Positions of an earlier life that lie beyond the end: has the partition been begun anew?

A position may well lie beyond what stores have: records are delivered before they are stored, and a
producer that is killed takes the last of them with it. But its living producer has no fewer records
than it ever had, unless it began anew, as one does whose outbox and stores were lost. One that was
continued says so: until all of it is acknowledged, more may be in its outbox than it has told of.
"""

from __future__ import annotations

from collections.abc import Iterable

from dafka.core.partition import Key, Partition
from dafka.core.role import CONTINUED_MS
from protocol import Head

CERTAIN_S = 10.0
"""How long it is waited for the position to turn up. Stores that have it tell so at once; but what
is being imported from a backup comes bit by bit, by a producer that has less at first."""


class Unproven:
    """The positions that nobody has shown to exist yet."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._beyond: dict[Key, float | None] = dict.fromkeys(keys)
        """Since when a living producer says that it has less."""

    def proven(self, key: Key) -> None:
        """The position exists, or does not matter any more."""
        self._beyond.pop(key, None)

    def is_begun_anew(self, key: Key, partition: Partition, head: Head, now: float) -> bool:
        """Whether a producer's head, learned of by the partition, shows that it was begun anew."""
        if key not in self._beyond:
            return False
        position = partition.intake.next
        if partition.stored >= position or head.sequence + 1 >= position:
            self.proven(key)
            return False
        if _may_have_more(head):
            self._beyond[key] = None
            return False
        since = self._beyond[key]
        if since is None:
            self._beyond[key] = now
            return False
        return now >= since + CERTAIN_S


def _may_have_more(head: Head) -> bool:
    """Whether a producer that was continued may still be loading its outbox."""
    continued = head.age_ms is not None and head.age_ms >= CONTINUED_MS
    return continued and head.acked is not None and head.acked <= head.sequence
