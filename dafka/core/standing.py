"""Where a consumer stands in each partition: seeking, pausing, and finding where it was at a time.

A partition that is paused, or of which a store has yet to tell where to begin, stands still: what
is heard of it is noted, nothing is kept or asked for, and it catches up afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dafka.beginning import Beginning, Instant
from dafka.config import ConsumerConfig
from dafka.core import notices
from dafka.core.actions import Action, Begin, Expire, Send
from dafka.core.interest import Interest
from dafka.core.lookups import Found, Lookups
from dafka.core.partition import Key
from dafka.core.pauses import Pauses
from dafka.core.receiver import Receiver, ReceiverStats
from dafka.core.run import Run
from dafka.core.unproven import Unproven
from protocol import DirectOffset, GetHeads, Head

HEADS_RETRY_S = 1.0


@dataclass(slots=True)
class ConsumerStats(ReceiverStats):
    """Counters since the start."""

    foreign: int = 0
    expired: int = 0


class Standing(Receiver):
    """Base of the consumer's machine: its places in the partitions."""

    stats: ConsumerStats

    def __init__(
        self,
        address: str,
        config: ConsumerConfig,
        direct: str,
    ) -> None:
        """`direct` is a second address: answers to it are heard from stores only."""
        super().__init__(address, config, direct, from_stores=True)
        self.stats = ConsumerStats()
        self._start = config.beginning
        self._named = False
        self._positions: dict[Key, int] = {}
        self._unproven = Unproven(())
        self._interest = Interest()
        self._pauses = Pauses()
        self._lookups = Lookups(address)
        self._missed = False
        self._heads_at: float | None = None
        self._heads_pause = HEADS_RETRY_S

    # Commands

    def remember(self, positions: Mapping[Key, int]) -> None:
        """Before the start: this consumer has a name, and these are the positions it has kept.

        One that is named learns of all partitions there are, says `Begin` of each, and `Settled`
        when that is done: so that its next life can tell which partitions have come since.
        """
        self._named = True
        self._positions = dict(positions)
        self._unproven = Unproven(self._positions)

    def seek(self, topic: str, partition: str, offset: int, now: float) -> list[Action]:
        """Continue a partition at `offset`, older or newer. The shell forgets what is queued."""
        self._move((topic, partition), offset, sought=True)
        return [*self._ask_heads(now), *self._fetch(now)]

    def seek_all(self, start: str, now: float) -> list[Action]:
        """Continue every partition at its earliest or its latest record, new ones as well."""
        self._forget_earlier_lives("earliest" if start == "earliest" else "latest", now)
        for key, partition in self._backlog.items():
            self._move(key, 0 if start == "earliest" else partition.intake.end, sought=False)
        return [*self._ask_heads(now), *self._fetch(now)]

    def seek_time(self, instant: Instant, key: Key | None, now: float) -> list[Action]:
        """Continue a partition, or all and new ones as well, where they were at a time.

        Until stores have told where that is, they stand still, and have no position.
        """
        keys = [key] if key is not None else [name for name, _ in self._backlog.items()]
        if key is None:
            self._forget_earlier_lives(instant, now)
        actions = self._ask_heads(now)
        for name in keys:
            fresh = self._lookups.cancel(name) or self._backlog.get(name) is None
            self._unproven.proven(name)
            actions += self._lookups.begin(name, instant, now, fresh=fresh)
            self._open(name, 0, sought=False)
        return actions

    def pause(
        self, topic: str | None, partition: str | None, at: Mapping[Key, int]
    ) -> list[Action]:
        """Deliver nothing of some partitions; those that are known stand `at` these offsets.

        All of a topic, or of all topics, where the partition or both are None: also those that
        are found later. The shell forgets what is queued.
        """
        self._pauses.pause(topic, partition, at)
        for key, offset in at.items():
            known = self._backlog.get(key)
            if key not in self._lookups:
                self._open(key, offset, sought=known is not None and known.sought)
        return []

    def resume(self, topic: str | None, partition: str | None, now: float) -> list[Action]:
        """Deliver them again, from where they stood."""
        for key in self._pauses.resume(topic, partition):
            known = self._backlog.get(key)
            if known is not None and not self._stands(key):
                self._backlog.note(key, known)
        return [*self._fetch(now), *self._expire(now)]

    def forgotten(self, runs: list[Run]) -> None:
        """The shell threw away delivered runs (after a seek, or for a pause)."""
        self._pending -= sum(run.cost for run in runs)

    # What is known

    def partitions(self) -> dict[Key, int]:
        """The offset that will be delivered next, of every partition where that is known."""
        return {
            key: partition.intake.next
            for key, partition in self._backlog.items()
            if key not in self._lookups
        }

    def ends(self) -> dict[Key, int]:
        """The offset behind the last record known to exist, of every partition."""
        return {key: partition.intake.end for key, partition in self._backlog.items()}

    def known(self) -> list[Key]:
        """Every partition that was heard of, or sought."""
        return [key for key, _ in self._backlog.items()]

    def paused(self) -> set[Key]:
        """The partitions that are paused."""
        return set(self._pauses.keys)

    def behind(self) -> int:
        """Records known to exist that have not been delivered."""
        lacking = dict(self._backlog.behind)
        for key in self._pauses.keys:
            partition = self._backlog.get(key)
            if partition is not None and key not in self._lookups:
                lacking[key] = partition
        return sum(max(0, one.intake.end - one.intake.next) for one in lacking.values())

    # Decisions

    def _forget_earlier_lives(self, start: Beginning, now: float) -> None:
        """What was not met yet begins at `start`."""
        self._start = start
        self._positions.clear()
        self._interest.renew(now)

    def _stands(self, key: Key) -> bool:
        """Whether a partition stands still."""
        return key in self._pauses.keys or key in self._lookups

    def _move(self, key: Key, offset: int, *, sought: bool) -> None:
        self._lookups.cancel(key)
        self._unproven.proven(key)
        self._open(key, offset, sought=sought)

    def _open(self, key: Key, offset: int, *, sought: bool) -> None:
        old = self._backlog.get(key)
        fresh = self._backlog.open(key, offset)
        if old is not None:
            fresh.inherit(old)
        fresh.sought = sought
        if not self._stands(key):
            self._backlog.note(key, fresh)

    def _on_direct_offset(self, answer: DirectOffset, now: float) -> list[Action]:
        found = self._lookups.answered(answer, len(self._sources.ready), now)
        return [] if found is None else self._go_to(found, now)

    def _look(self, now: float) -> list[Action]:
        """Go where stores have told to go by now, and ask again for the rest."""
        found, actions = self._lookups.tick(len(self._sources.ready), now)
        for one in found:
            actions += self._go_to(one, now)
        return actions

    def _go_to(self, found: Found, now: float) -> list[Action]:
        key = found.key
        actions: list[Action] = [] if found.offset is not None else [notices.timeless(key)]
        self._open(key, found.offset or 0, sought=False)
        actions.append(Begin(*key, found.offset or 0, found.fresh))
        return [*actions, *self._fetch(now, key), *self._expire(now, key)]

    def _begin_anew(self, key: Key, head: Head, now: float) -> list[Action]:
        """A position lies beyond the end of a partition that its producer has begun anew."""
        position = self.partitions()[key]
        partition = self._backlog.open(key, 0)
        partition.learn(head)
        if not self._stands(key):
            self._backlog.note(key, partition)
        anew = notices.begun_anew(key, position, head.sequence + 1)
        return [anew, Begin(*key, 0), *self._fetch(now, key)]

    def _expire(self, now: float, only: Key | None = None) -> list[Action]:
        """Go on behind what is kept nowhere any more."""
        actions: list[Action] = []
        for key, partition, floor in self._backlog.gone(only):
            first = partition.intake.next
            if first or partition.sought:
                actions.append(Expire(*key, first, floor))
                self.stats.expired += floor - first
            partition.sought = False
            actions += self._handed_on(self._backlog.skip(key, partition, floor))
        return [*actions, *self._fetch(now)] if actions else actions

    def _ask_heads(self, now: float) -> list[Action]:
        """Ask the stores what there is; again later, in case nobody could hear us yet."""
        self._heads_pause = HEADS_RETRY_S
        self._heads_at = now + HEADS_RETRY_S
        curious = self._named or self._missed or self._start != "latest"
        if not curious and not self._backlog.items():
            self._heads_at = None
            return []
        return [Send(GetHeads(topic, self.address)) for topic in self._interest.questions()]
