"""Positions of an earlier life that lie beyond the end: has the partition been begun anew?

A position may well lie beyond what stores have: records are delivered before they are stored, and a
producer that is killed takes the last of them with it. But its living producer has no fewer records
than it ever had, unless it began anew, as one does whose outbox and stores were lost.
"""

from __future__ import annotations

from collections.abc import Iterable

from dafka.core.partition import Key, Partition
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
        since = self._beyond[key]
        if since is None:
            self._beyond[key] = now
            return False
        return now >= since + CERTAIN_S
