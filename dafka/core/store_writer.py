"""Decides what a store writes, what it acknowledges, and what it asks for again.

Every partition is stored in order and without gaps. An ACK leaves only for what the shell has
reported as durable.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dafka.config import StoreConfig
from dafka.core import notices
from dafka.core.actions import Action, Append, Drop, Send, Subscribe
from dafka.core.extent import Extent
from dafka.core.partition import Key, Partition
from dafka.core.receiver import Receiver, ReceiverStats
from dafka.core.repairs import Repairs
from dafka.core.role import named_in
from dafka.core.run import MAX_CONTENT_BYTES, Arrival, Origin, Run
from protocol import (
    Ack,
    ConsumerHello,
    DirectHead,
    DirectRecord,
    DirectRecords,
    GetHeads,
    Head,
    Message,
    Record,
    Records,
    StoreHello,
    subscription,
)


@dataclass(slots=True)
class StoreWriterStats(ReceiverStats):
    """Counters since the start."""

    acks: int = 0
    duplicates: int = 0


class StoreWriter(Receiver):
    """The writing half of a store."""

    stats: StoreWriterStats

    def __init__(
        self,
        address: str,
        reader_address: str,
        config: StoreConfig,
        *,
        store: str,
        direct: str,
    ) -> None:
        """`store` tells this store from others over restarts; a producer counts such names.

        `direct` is a second address: answers to it are heard from stores only.
        """
        super().__init__(address, config, direct, from_stores=False)
        self.stats = StoreWriterStats()
        self._reader_address = reader_address
        self._store = store
        self._compare_interval_s = config.compare_interval_s
        self._durable: dict[Key, int] = {}
        self._deleted: dict[Key, int] = {}
        self._born: dict[Key, float] = {}
        self._repairs = Repairs(self._sources, direct, config.fetch_timeout_max_s)
        self._compare_at: float | None = None

    # Commands

    def start(self, stored: Iterable[Extent], now: float) -> list[Action]:
        """Begin with what the log holds."""
        for extent in stored:
            key = (extent.topic, extent.partition)
            self._backlog.open(key, extent.next)
            self._durable[key] = extent.next
            self._deleted[key] = extent.deleted
        kinds = (DirectRecord, DirectRecords, DirectHead, StoreHello)
        return [
            *(Subscribe(subscription(kind, self.address)) for kind in kinds),
            Subscribe(subscription(Record), runs=False),
            Subscribe(subscription(Records), runs=True),
            Subscribe(subscription(Head)),
        ]

    def committed(
        self, topic: str, partition: str, end: int, cost: int, now: float
    ) -> list[Action]:
        """The records before `end` are durable; the runs that were new had this `cost`."""
        key = (topic, partition)
        self._durable[key] = end
        return [self._ack(key), *self._dealt_with(cost, now)]

    def dropped(self, topic: str, partition: str, before: int, deleted: bool, now: float) -> None:
        """The records before `before` are gone, for good if they were `deleted`."""
        key = (topic, partition)
        self._durable[key] = max(before, self._durable.get(key, 0))
        if deleted:
            self._deleted[key] = max(before, self._deleted.get(key, 0))
        self._repairs.done(key, 0, before)

    def damaged(
        self, topic: str, partition: str, first: int, last: int, now: float
    ) -> list[Action]:
        """Records of the log can no longer be read: get them from another store."""
        self._repairs.add((topic, partition), first, last + 1)
        return self._repairs.ask(now)

    def repaired(self, topic: str, partition: str, first: int, end: int) -> None:
        """The records [first, end) can be read again, or are no longer kept."""
        self._repairs.done((topic, partition), first, end)

    def born(self, topic: str, partition: str) -> float | None:
        """When a partition began, as far as is known: no store was told in its earlier lives."""
        return self._born.get((topic, partition))

    # Events

    def subscribed(self, prefix: bytes, now: float) -> list[Action]:
        """A peer subscribed to us; only store readers wait for hellos of consumers."""
        store = named_in(prefix, ConsumerHello)
        if not store or store == self._reader_address:
            return []
        # A reader subscribes to GET-HEADS before: only now can it hear the question.
        return [*self._sources.store_found(store, now), *self._compare(now)]

    def receive(
        self, message: Message | Arrival, now: float, origin: Origin = Origin.LIVE
    ) -> list[Action]:
        """Take a run or a message; `origin` tells the socket a message came from."""
        match message:
            case Arrival():
                return self._on_arrival(message, now)
            case Head():
                return self._on_head(message, now)
            case DirectHead():
                return self._on_store_head(message, now)
            case StoreHello():
                return self._on_store_hello(message, origin, now)
            case _:
                self.stats.refused += 1
                return []

    def tick(self, now: float) -> list[Action]:
        """Repeat what stayed unanswered."""
        actions: list[Action] = []
        if self._sources.overdue(now):
            self._backlog.retry()
            actions += self._compare(now)
        elif self._compare_at is not None and now >= self._compare_at:
            actions += self._compare(now)
        actions += self._repairs.ask(now)
        return actions + self._fetch(now) + self._skip(now)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._first_of(self._compare_at, self._repairs.next_deadline())

    # Decisions

    def _on_arrival(self, arrival: Arrival, now: float) -> list[Action]:
        key = (arrival.run.topic, arrival.run.partition)
        partition = self._partition(key)
        if partition is None:
            return self._unopened(key)
        run = self._believed(arrival, partition)
        if run is None:
            return []
        if run.size > MAX_CONTENT_BYTES and run.largest > MAX_CONTENT_BYTES:
            self.stats.refused += 1
            return [notices.too_large(key, run.first, MAX_CONTENT_BYTES)]
        if arrival.origin is Origin.LIVE and not run.first and not partition.intake.next:
            self._note_birth(key, now)
        repaired = self._repairs.offer(key, run)
        if repaired is not None:
            return [repaired]
        if run.next <= partition.intake.next:
            self.stats.duplicates += len(run)
            return [self._ack(key)] if run.next <= self._durable.get(key, 0) else []
        return self._take(partition, run, arrival.origin, now)

    def _hand_on(self, run: Run) -> Action:
        return Append(run)

    def _on_head(self, head: Head, now: float) -> list[Action]:
        key = (head.subject, head.address)
        if self._learn(key, head, now) is None:
            return self._unopened(key)
        actions = self._fetch(now, key) + self._skip(now, key)
        # A C producer does not say what it knows of; it waits for its last ACK for ever.
        acked = head.sequence if head.acked is None else head.acked
        return [*actions, self._ack(key)] if acked < self._durable.get(key, 0) else actions

    def _on_store_hello(self, hello: StoreHello, origin: Origin, now: float) -> list[Action]:
        if hello.address == self._reader_address:
            return []
        if origin is not Origin.STORE:
            return self._sources.store_found(hello.address, now)
        if self._sources.store_proven(hello.address):
            self._backlog.retry()
            return [*self._compare(now), *self._fetch(now)]
        return []

    def _compare(self, now: float) -> list[Action]:
        """Ask the other stores what they have: what is missing here is fetched from them."""
        self._compare_at = now + self._compare_interval_s if self._sources.ready else None
        return [Send(GetHeads("", self.address))] if self._sources.ready else []

    def _on_store_head(self, head: DirectHead, now: float) -> list[Action]:
        key = (head.subject, head.address)
        partition = self._learn(key, head, now)
        if partition is None:
            return self._unopened(key)
        actions: list[Action] = []
        if (head.deleted or 0) > self._deleted.get(key, 0):
            self._deleted[key] = before = head.deleted or 0
            actions.append(Drop(*key, before, deleted=True))
            actions += self._handed_on(self._backlog.skip(key, partition, before))
        return actions + self._fetch(now, key) + self._skip(now, key)

    def _skip(self, now: float, only: Key | None = None) -> list[Action]:
        """Go on behind what is kept nowhere any more: a log has no holes, so ours goes as well."""
        actions: list[Action] = []
        for key, partition, floor in self._backlog.gone(only):
            first = partition.intake.next
            actions.append(Drop(*key, floor))
            if first:
                actions.append(notices.skipped(key, first, floor))
            actions += self._handed_on(self._backlog.skip(key, partition, floor))
        return [*actions, *self._fetch(now)] if actions else actions

    def _learn(self, key: Key, head: Head | DirectHead, now: float) -> Partition | None:
        """Take in what a producer or another store says of a partition."""
        partition = self._partition(key)
        if partition is None:
            return None
        partition.learn(head)
        self._backlog.note(key, partition)
        if head.age_ms is not None:
            self._note_birth(key, now - head.age_ms / 1000)
        return partition

    def _note_birth(self, key: Key, at: float) -> None:
        # What was read late makes a partition seem younger than it is: the earliest counts.
        self._born[key] = min(at, self._born.get(key, at))

    def _partition(self, key: Key) -> Partition | None:
        return self._backlog.get(key) or self._begin_with(key, 0)

    def _ack(self, key: Key) -> Send:
        self.stats.acks += 1
        topic, partition = key
        return Send(Ack(partition, topic, self._durable[key] - 1, self._store))
