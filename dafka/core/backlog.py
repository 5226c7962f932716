"""Partitions on their way in: keeps their order, knows which lack something and whom to ask.

What consumers and store writers have in common. Decides nothing about delivering or storing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dafka.core import notices
from dafka.core.actions import Action, Send
from dafka.core.fetcher import Fetcher, FetchPolicy
from dafka.core.intake import Intake
from dafka.core.run import Run
from dafka.core.sources import REFERENCE_EXACT, Sources
from protocol import DirectHead, Fetch, Head

Key = tuple[str, str]
"""Topic and partition."""

_HOPELESS_AFTER = 3
_GONE_AFTER = 3
"""Silent requests after which what one store no longer keeps is believed to be kept by none."""
_MAX_FLOORS = 1000
MAX_ASKING = 16
"""Partitions that are asked for at the same time."""


class Partition:
    """One partition of a topic: what came, what is missing, whom to believe."""

    __slots__ = (
        *("acked", "begins", "exact", "fetcher", "floors", "fresh", "intake"),
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
        self.intake.announce(old.intake.end)

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

    def floor(self, stores: int) -> int | None:
        """Where to go on if the next offset is kept nowhere any more; `stores` are there now.

        Somebody has been asked for it in vain, and every store has said that it keeps only later
        ones (or some have, and the others stay silent: C stores cannot say it).
        """
        at, attempts = self.intake.next, self.fetcher.attempts
        if at < self.begins:
            return self.begins
        above = [floor for floor in self.floors.values() if floor > at]
        if not above or not attempts:
            return None
        kept = len(above) < max(stores, len(self.floors))
        if self.acked is not None and self.acked <= at:
            kept = True  # by its producer
        return None if kept and attempts < _GONE_AFTER else min(above)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Records to ask for: the offsets [first, end) of a partition, after `attempts` in vain."""

    key: Key
    missing: int
    """The first offset that is missing, which need not be the first to ask for."""
    first: int
    end: int
    attempts: int
    store: str | None
    """The store that should answer; None: whoever can."""
    direct: bool
    """Only stores shall be heard: ask under the address that only they are listened to with."""
    hopeless: bool
    """Nobody who is known can be believed about these records."""


class Backlog:
    """All partitions of a node that takes records in. Held-back runs share `buffer_bytes`.

    At most `MAX_ASKING` partitions are asked for at once, so that a node that lacks everything
    takes it in bit by bit.
    """

    def __init__(self, policy: FetchPolicy, buffer_bytes: int, *, from_stores: bool) -> None:
        """`from_stores`: stores are asked first for what an inexact producer may have as well."""
        self._from_stores = from_stores
        self.sources = Sources()
        self.fetches = 0
        """Requests made so far."""
        self.behind: dict[Key, Partition] = {}
        """The partitions that lack something."""
        self._all: dict[Key, Partition] = {}
        self._policy = policy
        self._buffer_bytes = buffer_bytes
        self._held = 0

    def get(self, key: Key) -> Partition | None:
        """A partition that was opened."""
        return self._all.get(key)

    def items(self) -> list[tuple[Key, Partition]]:
        """Every partition that was opened."""
        return list(self._all.items())

    def open(self, key: Key, first: int) -> Partition:
        """Begin with a partition at offset `first`, or begin with it again."""
        self.behind.pop(key, None)
        old = self._all.get(key)
        if old is not None:
            self._held -= old.intake.waiting_bytes
        partition = self._all[key] = Partition(first, self._policy)
        return partition

    def offer(self, key: Key, partition: Partition, run: Run) -> list[Run]:
        """Take a run; return the runs that can be handed on now, in order."""
        intake = partition.intake
        held = intake.waiting_bytes
        ready = intake.offer(run, self._buffer_bytes - self._held + held)
        self._held += intake.waiting_bytes - held
        if intake.next < intake.end or self.behind:
            self.note(key, partition)
        return ready

    def skip(self, key: Key, partition: Partition, offset: int) -> list[Run]:
        """Go on at `offset`; return the runs that can be handed on now, in order."""
        intake = partition.intake
        held = intake.waiting_bytes
        ready = intake.skip(offset)
        self._held += intake.waiting_bytes - held
        partition.fetcher.reset()
        self.note(key, partition)
        return ready

    def gone(self, key: Key | None = None) -> list[tuple[Key, Partition, int]]:
        """Of one partition, or of all: whose next offset is kept nowhere any more, and where
        each goes on.
        """
        stores = len(self.sources.ready)
        names = list(self.behind) if key is None else [key] if key in self.behind else []
        lacking = [(name, self.behind[name]) for name in names]
        found = [(name, partition, partition.floor(stores)) for name, partition in lacking]
        return [(name, partition, floor) for name, partition, floor in found if floor is not None]

    def note(self, key: Key, partition: Partition) -> None:
        """Remember whether a partition lacks something."""
        if partition.intake.next < partition.intake.end:
            self.behind[key] = partition
        elif self.behind.pop(key, None) is not None:
            partition.fetcher.reset()

    def retry(self) -> None:
        """Ask for everything anew: somebody has turned up who can answer."""
        for partition in self.behind.values():
            partition.fetcher.reset()

    def extend(self, now: float) -> None:
        """It is we who were not reading: what is on its way gets its full time again."""
        for partition in self.behind.values():
            partition.fetcher.extend(now)

    def wanted(self, now: float, key: Key | None = None) -> Iterator[Wanted]:
        """What to ask for now, of one partition or of all."""
        asking = sum(partition.fetcher.waiting for partition in self.behind.values())
        for name in list(self.behind) if key is None else [key]:
            partition = self.behind.get(name)
            if partition is None:
                continue
            begins = not partition.fetcher.asking
            if begins and asking >= MAX_ASKING:
                continue
            asked = partition.fetcher.request(partition.intake, now)
            if asked is not None:
                asking += begins
                yield self._want(name, partition, *asked)

    def ask(self, now: float, address: str, direct: str, key: Key | None = None) -> list[Action]:
        """The requests for what is wanted; `direct` is the address only stores are heard under."""
        actions: list[Action] = []
        for wanted in self.wanted(now, key):
            if wanted.hopeless:
                actions.append(notices.hopeless(wanted.key, wanted.missing))
            self.fetches += 1
            asker = direct if wanted.direct else address
            topic, partition = wanted.key
            count = wanted.end - wanted.first
            fetch = Fetch(partition, asker, topic, wanted.first, count, wanted.store)
            actions.append(Send(fetch))
        return actions

    def _want(self, key: Key, partition: Partition, first: int, end: int) -> Wanted:
        attempts = partition.fetcher.attempts
        unknown = self._from_stores and not partition.exact
        from_store = unknown or first < partition.stored
        direct = self._only_stores(partition, first, from_store)
        store = (
            self.sources.pick(key[1], attempts, partition.fetcher.silences)
            if direct and from_store
            else None
        )
        missing = first
        hopeless = not partition.exact and missing > 0 and attempts >= _HOPELESS_AFTER
        if not direct:
            if not partition.exact:
                # A C producer answers a request for 0 only while nothing at all is
                # acknowledged; then, and below 256, its contents are right.
                first = 0 if first < REFERENCE_EXACT else first
                end = min(end, first + REFERENCE_EXACT)
            partition.fresh = partition.fresh is not False and first == 0
        return Wanted(key, missing, first, end, attempts, store, direct, hopeless)

    def _only_stores(self, partition: Partition, first: int, from_store: bool) -> bool:
        """Whether to hear stores alone, who can be believed; else producers as well."""
        attempts = partition.fetcher.attempts
        if not self.sources.ready:
            return False
        if partition.exact:
            return from_store and attempts < 2
        # Perhaps no store has the first records of a C producer: every other time, ask it.
        usable = first < REFERENCE_EXACT and partition.fresh is not False
        return not usable or attempts < 2 or attempts % 2 == 1

    def next_deadline(self) -> float | None:
        """When `wanted` may have something new to say without anything having come."""
        times = [partition.fetcher.next_deadline() for partition in self.behind.values()]
        return min((t for t in times if t is not None), default=None)
