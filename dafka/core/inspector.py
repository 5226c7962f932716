"""Decides whom a tool asks what a cluster holds, and when it knows enough; and has topics deleted.

First everybody gets the time to show himself, which nodes do once a second. Then all stores are
asked at the same moment, and what producers announce from then on no longer counts: otherwise
records published meanwhile would look like a store's lag.

Each store is asked by a CONSUMER-HELLO of its own and answers to an address of its own, since a
DIRECT-HEAD of a C store does not say whose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dafka.core.actions import Action, Send, Settled, Subscribe
from dafka.core.asked import AskedStore
from dafka.core.inventory import Inventory, Key, take
from dafka.core.kinds import Kind, Kinds
from dafka.core.role import Role
from dafka.core.run import Arrival, Origin
from protocol import (
    ConsumerHello,
    DeleteTopic,
    DirectHead,
    Head,
    Message,
    StoreHello,
    TopicDeleted,
    subscription,
)

DISCOVERY_S = 1.1
"""Every node shows itself once a second."""

HEAD_S = 1.3
"""A producer announces its head once a second, to whoever is connected."""

REPEAT_S = 2.0
"""A deletion that was not confirmed is asked for again."""

MAX_STORES = 1_000
MAX_HEADS = 1_000_000
"""What more nodes than that say is not kept."""


class Inspector(Role):
    """The machine of a tool that looks at a cluster."""

    def __init__(self, address: str, topic: str | None, new_address: Callable[[], str]) -> None:
        """`topic` is what to ask for: "" for all topics, None for nothing but who is there."""
        self.address = address
        self.kinds = Kinds()
        self.deletions: dict[str, int] = {}
        """How many records each store deleted, by its reader's address."""
        self._topic = topic
        self._new_address = new_address
        self._peers: dict[str, dict[str, float]] = {}
        self._stores: dict[str, AskedStore] = {}
        self._replies: dict[str, AskedStore] = {}
        self._heads: dict[Key, Head] = {}
        self._kept = 0
        self._since: float | None = None
        self._asking = False
        self._settled = False
        self._awaited: set[str] = set()
        self._repeat_at: float | None = None

    # Commands

    def start(self, now: float) -> list[Action]:
        """Make what is meant for us reach us."""
        wanted = [subscription(kind, self.address) for kind in (StoreHello, TopicDeleted)]
        if self._topic is not None:
            wanted.append(subscription(Head, self._topic, exact=bool(self._topic)))
        return [Subscribe(prefix) for prefix in wanted]

    def welcomed(self, now: float) -> list[Action]:
        """A tower is there: from now on everybody is introduced to us."""
        self._since = now
        return []

    def delete(self, stores: Iterable[str], now: float) -> list[Action]:
        """Have the topic deleted by every store, and wait for `stores` (readers' addresses)."""
        self._awaited = set(stores)
        return self._ask_deletion(now)

    @property
    def deleting(self) -> bool:
        """Whether a deletion waits to be confirmed."""
        return self._repeat_at is not None

    def inventory(self) -> Inventory:
        """What is known by now."""
        stores = {
            store.state(reader, self.endpoint(reader)): store.heads
            for reader, store in self._stores.items()
        }
        complete = self._settled and self._kept < MAX_HEADS
        return take(stores, self._heads, self._peers.keys(), complete=complete)

    def endpoint(self, address: str) -> str:
        """Where a node was introduced; empty if it was not."""
        return next(iter(self._peers.get(address, ())), "")

    # Events

    def peer_found(self, address: str, endpoint: str, now: float) -> list[Action]:
        """A node was introduced."""
        self._peers.setdefault(address, {})[endpoint] = now
        return []

    def peer_lost(self, address: str, endpoint: str, now: float) -> list[Action]:
        """A node fell silent: what it had does not count any more."""
        endpoints = self._peers.get(address, {})
        endpoints.pop(endpoint, None)
        if not endpoints:
            self._peers.pop(address, None)
            store = self._stores.pop(address, None)
            if store is not None:
                self._kept -= len(store.heads)
                del self._replies[store.reply]
        return []

    def subscribed(self, prefix: bytes, now: float) -> list[Action]:
        """A peer has begun to listen to us, and so shows what it is."""
        told = self.kinds.subscribed(prefix)
        if told is None or told[1] is not Kind.STORE_READER:
            return []
        return self._on_store_listens(told[0], now)

    def receive(
        self, message: Message | Arrival, now: float, origin: Origin = Origin.LIVE
    ) -> list[Action]:
        """Take an answer or an announcement."""
        match message:
            case Head():
                return self._on_head(message)
            case DirectHead():
                return self._on_direct_head(message, now)
            case StoreHello():
                return self._on_store_hello(message, now)
            case TopicDeleted():
                return self._on_topic_deleted(message)
            case _:
                return []

    def tick(self, now: float) -> list[Action]:
        """Ask when everybody had the time to show himself; say when all is known."""
        actions: list[Action] = []
        gathered = self._gathered_at()
        if not self._asking and gathered is not None and now >= gathered:
            self._asking = True
        for reader, store in self._stores.items():
            actions += self._ask(reader, store, now)
        settles = self._settles_at()
        if not self._settled and settles is not None and now >= settles:
            self._settled = True
            actions.append(Settled())
        if self._repeat_at is not None and now >= self._repeat_at:
            actions += self._ask_deletion(now)
        return actions

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        times = [self._repeat_at]
        if not self._settled:
            times.append(self._settles_at() if self._asking else self._gathered_at())
        if self._asking and self._topic is not None:
            waiting = [s for s in self._stores.values() if s.asked is None and s.hears]
            times += [store.ready_at for store in waiting]
        return min((time for time in times if time is not None), default=None)

    # Decisions

    def _on_store_listens(self, reader: str, now: float) -> list[Action]:
        actions = self._store_found(reader, now)
        store = self._stores.get(reader)
        if store is not None:
            store.hears = True
            actions += self._ask(reader, store, now)
        return actions

    def _on_store_hello(self, hello: StoreHello, now: float) -> list[Action]:
        actions = self._store_found(hello.address, now)
        store = self._stores.get(hello.address)
        if store is not None and hello.topic == store.reply:
            store.proven = True
            actions += self._ask(hello.address, store, now)
        return actions

    def _store_found(self, reader: str, now: float) -> list[Action]:
        if reader in self._stores or len(self._stores) >= MAX_STORES:
            return []
        store = self._stores[reader] = AskedStore(self._new_address(), now)
        self._replies[store.reply] = store
        return [Subscribe(subscription(kind, store.reply)) for kind in (DirectHead, StoreHello)]

    def _ask(self, reader: str, store: AskedStore, now: float) -> list[Action]:
        if self._topic is None or not self._asking or not store.ready(now):
            return []
        store.asked = now
        return [Send(ConsumerHello(reader, store.reply, (self._topic,)))]

    def _on_head(self, head: Head) -> list[Action]:
        key = (head.subject, head.address)
        if self._asking and key in self._heads:
            return []
        if key in self._heads or self._has_room(head.subject):
            self._heads[key] = head
        return []

    def _on_direct_head(self, head: DirectHead, now: float) -> list[Action]:
        store = self._replies.get(head.topic)
        key = (head.subject, head.address)
        if store is not None:
            store.answered = now
            if key in store.heads or self._has_room(head.subject):
                store.heads[key] = head
        return []

    def _has_room(self, topic: str) -> bool:
        """C stores answer with all topics that begin like the one asked for."""
        if self._kept >= MAX_HEADS or topic != (self._topic or topic):
            return False
        self._kept += 1
        return True

    def _ask_deletion(self, now: float) -> list[Action]:
        self._repeat_at = now + REPEAT_S
        return [Send(DeleteTopic(self._topic or "", self.address))]

    def _on_topic_deleted(self, message: TopicDeleted) -> list[Action]:
        if message.subject != self._topic or message.address not in self._stores:
            return []
        # The first answer counts: a repeated request finds nothing left to delete.
        self.deletions.setdefault(message.address, message.sequence)
        if not self.deleting or not self._awaited <= self.deletions.keys():
            return []
        self._repeat_at = None
        return [Settled()]

    # Waiting

    def _gathered_at(self) -> float | None:
        """When everybody had the time to be introduced, and producers to announce their heads."""
        if self._since is None:
            return None
        shown = self._since + DISCOVERY_S
        spoken = {partition for _, partition in self._heads}
        times = [shown]
        for address, endpoints in self._peers.items():
            found = min(endpoints.values())
            # Whoever comes later does not count: it may be the first of many.
            if found <= shown and address not in spoken and self._may_announce(address):
                times.append(found + HEAD_S)
        return max(times)

    def _may_announce(self, address: str) -> bool:
        return self._topic is not None and self.kinds.get(address) in (None, Kind.PRODUCER)

    def _settles_at(self) -> float | None:
        """When all that is known has been said; None if a store cannot be asked yet."""
        times = [self._gathered_at()]
        if self._topic is not None:
            times += [store.said_at() for store in self._stores.values()]
        known = [time for time in times if time is not None]
        return max(known) if self._asking and len(known) == len(times) else None
