"""Decides what a consumer delivers, and how it gets what it missed.

Each partition is delivered in order, once and without gaps. The shell hands in messages and
runs, delivers what `Deliver` says and stops reading while `full` is true.
"""

from __future__ import annotations

from collections.abc import Callable

from dafka.beginning import Instant
from dafka.config import ConsumerConfig
from dafka.core.actions import Action, Begin, Deliver, Send, Settled, Subscribe
from dafka.core.interest import Wish
from dafka.core.partition import Key, Partition
from dafka.core.role import named_in
from dafka.core.run import Arrival, Origin, Run
from dafka.core.standing import HEADS_RETRY_S, ConsumerStats, Standing
from dafka.core.start import Place, is_newcomer, place
from dafka.names import literal_prefix
from protocol import (
    ConsumerHello,
    DirectHead,
    DirectOffset,
    DirectRecord,
    DirectRecords,
    Head,
    Message,
    Record,
    Records,
    StoreHello,
    subscription,
)

__all__ = ["Consumer", "ConsumerStats"]

SETTLED_S = 2.0
"""A store that hears us has told of all its partitions by then."""

_HEADS_RETRY_MAX_S = 60.0
_MISSED_PAUSE_S = 16.0
"""Stores that are asked for what a consumer may have missed have answered before this pause."""


class Consumer(Standing):
    """The consumer's machine."""

    def __init__(
        self,
        address: str,
        config: ConsumerConfig,
        direct: str,
        only: Callable[[str, str], bool] = lambda topic, partition: True,
    ) -> None:
        """`direct` is a second address: answers to it are heard from stores only.

        `only` says which partitions of which topics are wanted, always the same of each.
        """
        super().__init__(address, config, direct)
        self.wants = only
        """Whether a partition of a topic of ours is one of those that are wanted."""
        self._stalled = False
        self._settles_at: float | None = None
        self._settled = False

    # Commands

    def start(self, now: float) -> list[Action]:
        """Make what is meant for us reach us."""
        return [
            Subscribe(subscription(kind, self.address))
            for kind in (DirectRecord, DirectRecords, DirectHead, StoreHello, DirectOffset)
        ]

    def subscribe(
        self, topic: str, now: float, since: float | None = None, *, settled: bool = False
    ) -> list[Action]:
        """Begin with a topic; delivery starts where positions, or else the configuration, say.

        `since` and `settled` are known of an earlier life (see `Wish`).
        """
        self._interest.add(topic, Wish(now, since, settled))
        # The NUL ends the topic on the wire: `metrics` must not let `metrics2` in.
        return self._listen(topic, now, exact=True)

    def subscribe_pattern(
        self, pattern: str, now: float, since: float | None = None, *, settled: bool = False
    ) -> list[Action]:
        """Begin with every topic that matches, also with those that come later."""
        self._interest.add_pattern(pattern, Wish(now, since, settled))
        return self._listen(literal_prefix(pattern), now, exact=False)

    def taken(self, run: Run, now: float) -> list[Action]:
        """The user has taken a run that was delivered."""
        return self._dealt_with(run.cost, now)

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
        wishes = self._interest.wishes()
        if any(is_newcomer(self._sources, address, wish.at, now) for wish in wishes):
            self._missed = True
            self._heads_at, self._heads_pause = now, HEADS_RETRY_S
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
            case DirectOffset():
                return self._on_direct_offset(message, now)
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
        if self._settles_at is not None and now >= self._settles_at:
            self._settles_at, self._settled = None, True
            actions.append(Settled())
        return [*actions, *self._look(now), *self._fetch(now), *self._expire(now)]

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._first_of(self._heads_at, self._settles_at, self._lookups.next_deadline())

    # Decisions

    def _listen(self, prefix: str, now: float, *, exact: bool) -> list[Action]:
        actions: list[Action] = [
            Subscribe(subscription(kind, prefix, exact=exact), runs)
            for kind, runs in ((Record, False), (Records, True), (Head, None))
        ]
        return actions + self._ask_heads(now)

    def _on_arrival(self, arrival: Arrival, now: float) -> list[Action]:
        key = (arrival.run.topic, arrival.run.partition)
        partition = self._backlog.get(key)
        begun: list[Action] = []
        if partition is None:
            partition, begun = self._begin(key, arrival.run.first, now)
            if partition is None:
                return self._unopened(key)
        run = self._believed(arrival, partition)
        if run is None:
            return begun
        if self._stands(key):
            partition.intake.announce(run.next)
            return begun
        return begun + self._take(partition, run, arrival.origin, now)

    def _hand_on(self, run: Run) -> Action:
        self._stalled = self._stalled or self.full
        return Deliver(run)

    def _on_head(self, head: Head | DirectHead, now: float) -> list[Action]:
        key = (head.subject, head.address)
        partition = self._backlog.get(key)
        begun: list[Action] = []
        if partition is None:
            partition, begun = self._begin(key, head.sequence + 1, now, head)
            if partition is None:
                return self._unopened(key)
        partition.learn(head)
        if isinstance(head, Head) and self._unproven.is_begun_anew(key, partition, head, now):
            return [*begun, *self._begin_anew(key, head, now)]
        if self._stands(key):
            return begun
        self._backlog.note(key, partition)
        return [*begun, *self._fetch(now, key), *self._expire(now, key)]

    def _begin(
        self, key: Key, latest: int, now: float, head: Head | DirectHead | None = None
    ) -> tuple[Partition | None, list[Action]]:
        """Begin with a partition that was never seen before, if its topic is one of ours."""
        topic, name = key
        wish = self._interest.find(topic)
        if wish is None or not self.wants(topic, name):
            self.stats.foreign += 1
            return None, []
        if key in self._positions:
            at = Place(self._positions[key], sought=True)
        else:
            # After a pause, messages may have waited for long: their age says nothing any more.
            age_head = None if self._stalled else head
            at = place(self._start, name, latest, wish, self._sources, now, age_head)
        partition = self._begin_with(key, 0 if isinstance(at.first, Instant) else at.first)
        if partition is None:
            return None, []
        self._pauses.found(key)
        if isinstance(at.first, Instant):
            return partition, self._lookups.begin(key, at.first, now, fresh=True)
        partition.sought = at.sought
        return partition, [Begin(*key, at.first)]

    def _on_store_hello(self, hello: StoreHello, origin: Origin, now: float) -> list[Action]:
        if origin is not Origin.STORE:
            actions = self._sources.store_found(hello.address, now)
            return actions or [self._hello(hello.address)]
        if not self._sources.store_proven(hello.address):
            return []
        return self._store_ready(hello.address, now)

    def _store_ready(self, store: str, now: float) -> list[Action]:
        self._backlog.retry()
        if self._named and not self._settled and self._settles_at is None:
            self._settles_at = now + SETTLED_S
        return [self._hello(store), *self._lookups.repeat(), *self._fetch(now)]

    def _hello(self, store: str) -> Send:
        everything = self._named or self._start != "latest"
        topics = self._interest.questions() if everything else ()
        return Send(ConsumerHello(store, self.address, topics))
