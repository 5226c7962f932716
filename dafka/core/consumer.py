"""Decides what a consumer delivers, and how it gets what it missed.

Each partition is delivered in order, once and without gaps. The shell hands in messages and
runs, delivers what `Deliver` says and stops reading while `full` is true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dafka.config import ConsumerConfig
from dafka.core.actions import Action, Deliver, Expire, Send, Subscribe
from dafka.core.partition import Key, Partition
from dafka.core.receiver import Receiver, ReceiverStats
from dafka.core.role import named_in
from dafka.core.run import Arrival, Origin, Run
from dafka.core.start import first_offset, is_newcomer
from protocol import (
    ConsumerHello,
    DirectHead,
    DirectRecord,
    GetHeads,
    Head,
    Message,
    Record,
    StoreHello,
    subscription,
)

_HEADS_RETRY_S = 1.0
_HEADS_RETRY_MAX_S = 60.0
_MISSED_PAUSE_S = 16.0
"""Stores that are asked for what a consumer may have missed have answered before this pause."""


@dataclass(slots=True)
class ConsumerStats(ReceiverStats):
    """Counters since the start."""

    foreign: int = 0
    expired: int = 0


class Consumer(Receiver):
    """The consumer's machine."""

    stats: ConsumerStats

    def __init__(self, address: str, config: ConsumerConfig, direct: str) -> None:
        """`direct` is a second address: answers to it are heard from stores only."""
        super().__init__(address, config, direct, from_stores=True)
        self.stats = ConsumerStats()
        self._start = config.start
        self._topics: dict[str, float] = {}
        self._paused = False
        self._missed = False
        self._heads_at: float | None = None
        self._heads_pause = _HEADS_RETRY_S

    # Commands

    def start(self, now: float) -> list[Action]:
        """Make what is meant for us reach us."""
        return [
            Subscribe(subscription(kind, self.address))
            for kind in (DirectRecord, DirectHead, StoreHello)
        ]

    def subscribe(self, topic: str, now: float) -> list[Action]:
        """Begin with a topic; delivery starts where the configuration says."""
        self._topics[topic] = now
        # The NUL ends the topic on the wire: `metrics` must not let `metrics2` in.
        actions: list[Action] = [
            Subscribe(subscription(kind, topic, exact=True)) for kind in (Record, Head)
        ]
        return actions + self._ask_heads(now)

    def taken(self, run: Run, now: float) -> list[Action]:
        """The user has taken a run that was delivered."""
        return self._dealt_with(run.cost, now)

    def seek(self, topic: str, partition: str, offset: int, now: float) -> list[Action]:
        """Continue a partition at `offset`, older or newer. The shell forgets what is queued."""
        self._move((topic, partition), offset, sought=True)
        return [*self._ask_heads(now), *self._fetch(now)]

    def seek_all(self, start: str, now: float) -> list[Action]:
        """Continue every partition at its earliest or its latest record, new ones as well."""
        self._start = "earliest" if start == "earliest" else "latest"
        for key, partition in self._backlog.items():
            self._move(key, 0 if start == "earliest" else partition.intake.end, sought=False)
        return [*self._ask_heads(now), *self._fetch(now)]

    def _move(self, key: Key, offset: int, *, sought: bool) -> None:
        old = self._backlog.get(key)
        fresh = self._backlog.open(key, offset)
        if old is not None:
            fresh.inherit(old)
        fresh.sought = sought
        self._backlog.note(key, fresh)

    def forgotten(self, runs: list[Run]) -> None:
        """The shell threw away delivered runs (after a seek)."""
        self._pending -= sum(run.cost for run in runs)

    def partitions(self) -> dict[Key, int]:
        """The offset that will be delivered next, of every partition seen so far."""
        return {key: partition.intake.next for key, partition in self._backlog.items()}

    def behind(self) -> int:
        """Records known to exist that have not been delivered."""
        lacking = self._backlog.behind.values()
        return sum(partition.intake.end - partition.intake.next for partition in lacking)

    # Events

    def welcomed(self, now: float) -> list[Action]:
        """A tower welcomed us: whoever is there already will be introduced soon."""
        self._sources.contact = now
        return []

    def peer_lost(self, address: str, endpoint: str, now: float) -> list[Action]:
        """A node fell silent. A producer's last records may have reached only the stores.

        Or all of its records, if it was gone before we had connected, or while we stood still.
        """
        actions = super().peer_lost(address, endpoint, now)
        if any(partition == address for (_, partition), _ in self._backlog.items()):
            return actions + self._ask_heads(now)
        if any(is_newcomer(self._sources, address, at, now) for at in self._topics.values()):
            self._missed = True
            self._heads_at, self._heads_pause = now, _HEADS_RETRY_S
        return actions

    def subscribed(self, prefix: bytes, now: float) -> list[Action]:
        """A peer subscribed to us; a store reader that did can now hear our hello."""
        store = named_in(prefix, ConsumerHello)
        return [*self._sources.store_found(store, now), self._hello(store)] if store else []

    def receive(
        self, message: Message | Arrival, now: float, origin: Origin = Origin.LIVE
    ) -> list[Action]:
        """Take a run or a message; `origin` tells the socket a message came from."""
        match message:
            case Arrival():
                return self._on_arrival(message, now)
            case Head() | DirectHead():
                return self._on_head(message, now)
            case StoreHello():
                return self._on_store_hello(message, origin, now)
            case _:
                self.stats.refused += 1
                return []

    def tick(self, now: float) -> list[Action]:
        """Repeat what stayed unanswered."""
        actions: list[Action] = []
        for store in self._sources.overdue(now):
            actions += self._store_ready(store, now)
        if self._heads_at is not None and now >= self._heads_at:
            pause = min(self._heads_pause * 2, _HEADS_RETRY_MAX_S)
            # Not every node that goes was a producer, and not each of them had published.
            self._missed = self._missed and pause < _MISSED_PAUSE_S
            asking = self._ask_heads(now)
            if asking:
                self._heads_at, self._heads_pause = now + pause, pause
            actions += asking
        return actions + self._fetch(now) + self._expire(now)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._first_of(self._heads_at)

    # Decisions

    def _on_arrival(self, arrival: Arrival, now: float) -> list[Action]:
        key = (arrival.run.topic, arrival.run.partition)
        partition = self._backlog.get(key) or self._begin(key, arrival.run.first, now)
        if partition is None:
            return self._unopened(key)
        run = self._believed(arrival, partition)
        return [] if run is None else self._take(partition, run, arrival.origin, now)

    def _hand_on(self, run: Run) -> Action:
        self._paused = self._paused or self.full
        return Deliver(run)

    def _on_head(self, head: Head | DirectHead, now: float) -> list[Action]:
        key = (head.subject, head.address)
        partition = self._backlog.get(key) or self._begin(key, head.sequence + 1, now, head)
        if partition is None:
            return self._unopened(key)
        partition.learn(head)
        self._backlog.note(key, partition)
        return self._fetch(now, key) + self._expire(now, key)

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

    def _begin(
        self, key: Key, latest: int, now: float, head: Head | DirectHead | None = None
    ) -> Partition | None:
        """Begin with a partition that was never seen before, if its topic is one of ours."""
        topic, name = key
        subscribed = self._topics.get(topic)
        if subscribed is None:
            self.stats.foreign += 1
            return None
        # After a pause, messages may have waited for long: their age says nothing any more.
        age_head = None if self._paused else head
        is_new = is_newcomer(self._sources, name, subscribed, now, age_head)
        first = first_offset(self._start, name, latest, is_new=is_new)
        partition = self._open(key, first)
        if partition is None:
            return None
        named = isinstance(self._start, Mapping) and name in self._start
        partition.sought = named or isinstance(self._start, int)
        return partition

    def _on_store_hello(self, hello: StoreHello, origin: Origin, now: float) -> list[Action]:
        if origin is not Origin.STORE:
            actions = self._sources.store_found(hello.address, now)
            return actions or [self._hello(hello.address)]
        if not self._sources.store_proven(hello.address):
            return []
        return self._store_ready(hello.address, now)

    def _store_ready(self, store: str, now: float) -> list[Action]:
        self._backlog.retry()
        return [self._hello(store), *self._fetch(now)]

    def _hello(self, store: str) -> Send:
        topics = () if self._start == "latest" else tuple(self._topics)
        return Send(ConsumerHello(store, self.address, topics))

    def _ask_heads(self, now: float) -> list[Action]:
        """Ask the stores what there is; again later, in case nobody could hear us yet."""
        self._heads_pause = _HEADS_RETRY_S
        self._heads_at = now + _HEADS_RETRY_S
        if self._start == "latest" and not self._backlog.items() and not self._missed:
            self._heads_at = None
            return []
        return [Send(GetHeads(topic, self.address)) for topic in self._topics]
