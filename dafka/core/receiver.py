"""What consumers and store writers have in common: they take records in, and ask for what lacks.

Decides when reading pauses and when to ask; what becomes of a record is the role's to decide.
"""

from __future__ import annotations

from dataclasses import dataclass

from dafka.config import ConsumerConfig, StoreConfig
from dafka.core import notices
from dafka.core.actions import Action
from dafka.core.backlog import Backlog
from dafka.core.fetcher import FetchPolicy
from dafka.core.partition import Key, Partition
from dafka.core.role import Role
from dafka.core.run import Arrival, Origin, Run


@dataclass(slots=True)
class ReceiverStats:
    """Counters since the start."""

    records: int = 0
    bytes: int = 0
    fetches: int = 0
    refused: int = 0


class Receiver(Role):
    """Base of the machines that take records in."""

    stats: ReceiverStats

    def __init__(
        self,
        address: str,
        config: ConsumerConfig | StoreConfig,
        direct: str,
        *,
        from_stores: bool,
    ) -> None:
        """`direct` is a second address: answers to it are heard from stores only."""
        self.address = address
        self._direct = direct
        self._buffer_bytes = config.buffer_bytes
        policy = FetchPolicy(
            config.fetch_records,
            config.buffer_bytes,
            config.fetch_timeout_s,
            config.fetch_timeout_max_s,
        )
        self._max_partitions = config.max_partitions
        self._backlog = Backlog(
            policy, config.buffer_bytes, config.max_partitions, from_stores=from_stores
        )
        self._sources = self._backlog.sources
        self._pending = 0

    @property
    def full(self) -> bool:
        """So much is handed on, but not dealt with, that reading has to pause."""
        return self._pending >= self._buffer_bytes

    def peer_found(
        self, address: str, endpoint: str, now: float, born: float | None = None
    ) -> list[Action]:
        """A node was introduced."""
        return self._sources.peer_found(address, endpoint, now, born)

    def peer_lost(self, address: str, endpoint: str, now: float) -> list[Action]:
        """A node fell silent."""
        return self._sources.peer_lost(address, endpoint, now)

    # For the roles

    def _hand_on(self, run: Run) -> Action:
        """What to do with a run, the next of its partition."""
        raise NotImplementedError

    def _handed_on(self, runs: list[Run]) -> list[Action]:
        for run in runs:
            self._pending += run.cost
            self.stats.records += len(run)
            self.stats.bytes += run.size
        return [self._hand_on(run) for run in runs]

    def _dealt_with(self, cost: int, now: float) -> list[Action]:
        """Runs of this cost are out of the way; go on if that makes room."""
        was_full = self.full
        self._pending -= cost
        if not was_full or self.full:
            return []
        self._backlog.extend(now)
        return self._fetch(now)

    def _begin_with(self, key: Key, first: int) -> Partition | None:
        """Begin with a partition that was never heard of; None if there are too many."""
        if self._backlog.crowded:
            self.stats.refused += 1
            return None
        return self._backlog.open(key, first)

    def _unopened(self, key: Key) -> list[Action]:
        """A partition was not begun with: say so if there are too many."""
        if not self._backlog.crowded:
            return []
        return [notices.too_many(key, self._max_partitions)]

    def _believed(self, arrival: Arrival, partition: Partition) -> Run | None:
        """The part of an arrival that can be trusted."""
        run = self._sources.trusted(arrival, exact=partition.exact, fresh=bool(partition.fresh))
        self.stats.refused += run is None
        return run

    def _take(self, partition: Partition, run: Run, origin: Origin, now: float) -> list[Action]:
        """Take a run in, hand on what is next, and ask for what still lacks."""
        key = (run.topic, run.partition)
        if origin is not Origin.LIVE:
            first = run.first <= partition.intake.next < run.next
            partition.fetcher.arrived(len(run), run.size, now, first=first)
        lacked = key in self._backlog.behind
        actions = self._handed_on(self._backlog.offer(key, partition, run))
        if key in self._backlog.behind:
            return [*actions, *self._fetch(now, key)]
        # What is complete leaves its place to the next partition that lacks something.
        return [*actions, *self._fetch(now)] if lacked else actions

    def _fetch(self, now: float, key: Key | None = None) -> list[Action]:
        """Ask for what is missing of one partition, or of all."""
        if self.full:
            return []
        actions = self._backlog.ask(now, self.address, self._direct, key)
        self.stats.fetches = self._backlog.fetches
        return actions

    def _first_of(self, *times: float | None) -> float | None:
        """The first of these times, and of those when something is to be asked for."""
        asking = None if self.full else self._backlog.next_deadline()
        known = (*times, self._sources.next_deadline(), asking)
        return min((time for time in known if time is not None), default=None)
