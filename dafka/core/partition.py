"""One partition on its way in: what came, what is missing, whom to believe, what is gone.

Decides nothing about asking for what is missing.
"""

from __future__ import annotations

from dafka.core.fetcher import Fetcher, FetchPolicy
from dafka.core.intake import Intake
from protocol import DirectHead, Head

Key = tuple[str, str]
"""Topic and partition."""

_GONE_AFTER = 3
"""Silent requests after which what one store no longer keeps is believed to be kept by none, as C
stores cannot say what they keep."""
_KEPT_AFTER = 6
"""The same where a store has said to keep it: half a minute, in which it may start again."""
_LOST_AFTER = 5
"""Silent requests after which a partition of which nothing ever came may be forgotten."""
_MAX_FLOORS = 1000


class Partition:
    """One partition of a topic: what came, what is missing, whom to believe."""

    __slots__ = (
        *("acked", "asked", "begins", "exact", "fetcher", "floors", "fresh", "intake"),
        *("sought", "stored"),
    )

    def __init__(self, first: int, policy: FetchPolicy) -> None:
        self.intake = Intake(first)
        self.fetcher = Fetcher(policy)
        self.exact = False
        """Its producer answers requests exactly (see `dafka.core.sources`)."""
        self.fresh: bool | None = None
        """True once something was asked for, as long as it was from offset 0 on."""
        self.stored = 0
        """One past the last offset that some store is known to have."""
        self.acked: int | None = None
        """The first offset its producer still keeps, as it last said."""
        self.asked: str | None = None
        """The store that was asked last; None: whoever can answer."""
        self.begins = 0
        """The first offset there ever was, as its producer says."""
        self.floors: dict[str, int] = {}
        """The earliest offset that each store has said to keep."""
        self.sought = False
        """Whether the user asked for the very offset at which we began."""

    def inherit(self, old: Partition) -> None:
        """Keep what is known of the partition, though we begin with it again."""
        self.exact, self.fresh, self.stored = old.exact, old.fresh, old.stored
        self.acked, self.begins, self.floors = old.acked, old.begins, old.floors
        self.intake.end = old.intake.end

    def learn(self, head: Head | DirectHead) -> None:
        """Take in what a producer or a store says of the partition."""
        end = head.sequence + 1
        if isinstance(head, DirectHead):
            self.stored = max(self.stored, end)
            room = head.store in self.floors or len(self.floors) < _MAX_FLOORS
            if head.store is not None and head.earliest is not None and room:
                self.floors[head.store] = head.earliest
        elif head.acked is not None:
            self.stored = max(self.stored, head.acked)
            self.acked = head.acked
            self.begins = head.earliest or 0
            if not self.exact:
                self.exact = True
                self.fetcher.reset()
        self.intake.announce(end)
        if end > self.intake.next:
            self.fetcher.hope()

    @property
    def lost(self) -> bool:
        """It was announced, but nothing ever came, though it was asked for."""
        nothing = not self.intake.next and not self.intake.waiting_bytes
        return nothing and not self.sought and self.fetcher.attempts >= _LOST_AFTER

    def held_by_stores(self, offset: int, stores: int) -> bool:
        """Whether some store may have a record; `stores` are there now."""
        if offset >= self.stored:
            return False
        floors = self.floors.values()
        return len(floors) < max(stores, 1) or min(floors) <= offset

    def floor(self, stores: int) -> int | None:
        """Where to go on if the next offset is kept nowhere any more; `stores` are there now.

        Somebody has been asked for it in vain, and every store has said that it keeps only later
        ones; or some have, and the others, or the producer, stay silent for long.
        """
        at, attempts = self.intake.next, self.fetcher.attempts
        if at < self.begins:
            return self.begins
        above = [floor for floor in self.floors.values() if floor > at]
        if not above:
            return None
        if len(above) < len(self.floors):
            patience = _KEPT_AFTER
        elif len(above) < stores or (self.acked is not None and self.acked <= at):
            patience = _GONE_AFTER
        else:
            patience = 1
        return None if attempts < patience else min(above)
