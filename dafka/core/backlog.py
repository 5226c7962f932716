"""Partitions on their way in: keeps their order, knows which lack something and whom to ask.

What consumers and store writers have in common. Decides nothing about delivering or storing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dafka.core import notices
from dafka.core.actions import Action, Send
from dafka.core.fetcher import FetchPolicy
from dafka.core.partition import Key, Partition
from dafka.core.run import Run
from dafka.core.sources import REFERENCE_EXACT, Sources
from dafka.core.turns import Turns
from protocol import Fetch

_HOPELESS_AFTER = 3


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
    """All partitions of a node that takes records in. Held-back runs share `buffer_bytes`."""

    def __init__(
        self, policy: FetchPolicy, buffer_bytes: int, max_partitions: int, *, from_stores: bool
    ) -> None:
        """`from_stores`: stores are asked first for what an inexact producer may have as well."""
        self._from_stores = from_stores
        self.sources = Sources()
        self.fetches = 0
        """Requests made so far."""
        self.behind: dict[Key, Partition] = {}
        """The partitions that lack something."""
        self._turns = Turns()
        self._silent: dict[Key, None] = {}
        self._all: dict[Key, Partition] = {}
        self._policy = policy
        self._buffer_bytes = buffer_bytes
        self._max_partitions = max_partitions
        self._lost: dict[Key, None] = {}
        self._held = 0

    def get(self, key: Key) -> Partition | None:
        """A partition that was opened."""
        return self._all.get(key)

    def items(self) -> list[tuple[Key, Partition]]:
        """Every partition that was opened."""
        return list(self._all.items())

    @property
    def crowded(self) -> bool:
        """Whether there is no room for a partition that was never heard of.

        Room is made by forgetting those that were announced, but of which nothing ever came,
        though it was asked for: whoever brings such a one back says so again.
        """
        while self._lost and len(self._all) >= self._max_partitions:
            key = next(iter(self._lost))
            del self._lost[key]
            if key in self.behind and self.behind[key].lost:
                self._close(key)
                del self._all[key]
        return len(self._all) >= self._max_partitions

    def open(self, key: Key, first: int) -> Partition:
        """Begin with a partition at offset `first`, or begin with it again."""
        self._close(key)
        partition = self._all[key] = Partition(first, self._policy)
        return partition

    def _close(self, key: Key) -> None:
        self.behind.pop(key, None)
        self._turns.remove(key)
        old = self._all.get(key)
        if old is not None:
            self._held -= old.intake.waiting_bytes

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
        """Of one partition, or of those that were asked for in vain just now: whose next offset
        is kept nowhere any more, and where each goes on.
        """
        stores = len(self.sources.ready)
        names, self._silent = ({key: None}, self._silent) if key else (self._silent, {})
        lacking = [(name, self.behind[name]) for name in names if name in self.behind]
        found = [(name, partition, partition.floor(stores)) for name, partition in lacking]
        return [(name, partition, floor) for name, partition, floor in found if floor is not None]

    def note(self, key: Key, partition: Partition) -> None:
        """Remember whether a partition lacks something."""
        if partition.intake.next < partition.intake.end:
            self.behind[key] = partition
            self._turns.place(key, partition)
        elif self.behind.pop(key, None) is not None:
            partition.fetcher.reset()
            self._turns.remove(key)

    def retry(self) -> None:
        """Ask anew, for somebody has turned up who can answer; but not what a store was asked for
        just now: of several that turn up one after the other, each would send the same.
        """
        for partition in self.behind.values():
            if partition.asked not in self.sources.ready or not partition.fetcher.waiting:
                partition.fetcher.reset()
        self._turns.rebuild(self.behind.items())

    def extend(self, now: float) -> None:
        """It is we who were not reading: what is on its way gets its full time again."""
        for partition in self._turns.asked():
            partition.fetcher.extend(now)

    def wanted(self, now: float, key: Key | None = None) -> Iterator[Wanted]:
        """What to ask for now, of one partition or of all."""
        for name in self._turns.next(now) if key is None else [key]:
            partition = self.behind.get(name)
            if partition is None or (self._turns.full and not partition.fetcher.asking):
                continue
            asked = partition.fetcher.request(partition.intake, now)
            self._turns.place(name, partition)
            if asked is not None:
                if partition.fetcher.attempts:
                    self._silent[name] = None
                if partition.lost:
                    self._lost[name] = None
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
            fetch = Fetch(partition, asker, topic, wanted.first, count, wanted.store, runs=1)
            actions.append(Send(fetch))
        return actions

    def _want(self, key: Key, partition: Partition, first: int, end: int) -> Wanted:
        attempts = partition.fetcher.attempts
        unknown = self._from_stores and not partition.exact
        from_store = unknown or partition.held_by_stores(first, len(self.sources.ready))
        direct = self._only_stores(partition, first, from_store)
        store = (
            self.sources.pick(key[1], attempts, partition.fetcher.silences)
            if direct and from_store
            else None
        )
        partition.asked = store
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
        return self._turns.next_deadline()
