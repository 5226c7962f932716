"""Decides what a store answers: heads, hellos and requests for records. Never asks for anything.

Reading and sending are the shell's; this machine keeps the turns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dafka.core.actions import Action, Drop, Locate, Read, Send, SendDirect, Subscribe
from dafka.core.answerer import Answerer
from dafka.core.answers import Key
from dafka.core.deletions import Deletions
from dafka.core.extent import Extent
from dafka.core.locations import Locations
from dafka.core.role import milliseconds, named_in
from dafka.core.run import Arrival, Origin, Run
from protocol import (
    ConsumerHello,
    DeleteTopic,
    DirectHead,
    DirectRecord,
    Fetch,
    GetHeads,
    GetOffset,
    Message,
    StoreHello,
    subscription,
)

SLICE_RECORDS = 10_000
"""Most records in one turn of one answer."""
PACKED_RECORDS = 100_000
"""The same of an answer in DIRECT-RECORDS; the shell bounds their bytes."""

_CONCURRENT_READS = 2


@dataclass(slots=True)
class StoreReaderStats:
    """Counters since the start."""

    fetches: int = 0
    heads: int = 0
    records: int = 0
    refused: int = 0
    dropped: int = 0


class StoreReader(Answerer):
    """The reading half of a store."""

    def __init__(self, address: str, *own: str, store: str) -> None:
        """`own` are the addresses of this store's writer, which is not answered.

        `store` tells this store from others over restarts, as in the writer's ACKs.
        """
        super().__init__(address)
        self.stats = StoreReaderStats()
        self._own = frozenset(own)
        self._store = store
        self._extents: dict[str, dict[str, Extent]] = {}
        self._born: dict[tuple[str, str], float] = {}
        self._deletions = Deletions(address)
        self._locations = Locations(store)
        self._reading: set[Key] = set()

    # Commands

    def start(self, stored: Iterable[Extent], now: float) -> list[Action]:
        """Begin with what the log holds."""
        for extent in stored:
            self.stored(extent)
        hello = subscription(ConsumerHello, self.address)
        own = [subscription(kind) for kind in (Fetch, GetHeads, DeleteTopic, GetOffset)]
        return [Subscribe(prefix) for prefix in (*own, hello)]

    def stored(self, extent: Extent, born: float | None = None) -> None:
        """What the log now holds of a partition, and when that began, if it is known."""
        self._extents.setdefault(extent.topic, {})[extent.partition] = extent
        if born is not None:
            self._born[extent.topic, extent.partition] = born

    def dropped(self, drop: Drop) -> list[Action]:
        """A deletion is done; who asked for it is told once all of its topic is."""
        return self._deletions.done(drop) if drop.deleted else []

    # Events

    def subscribed(self, prefix: bytes, now: float) -> list[Action]:
        """A peer subscribed to us; a consumer that did can now hear our hello."""
        requester = named_in(prefix, StoreHello)
        if not requester or requester in self._own:
            return []
        return [Send(StoreHello(requester, self.address))]

    def unsubscribed(self, prefix: bytes, now: float) -> list[Action]:
        """A peer no longer hears something; answers that nobody hears end."""
        requester = named_in(prefix, DirectRecord)
        if requester:
            self._answers.drop_requester(requester)
        return []

    def receive(
        self, message: Message | Arrival, now: float, origin: Origin = Origin.LIVE
    ) -> list[Action]:
        """Answer a request."""
        match message:
            case Fetch():
                return self._on_fetch(message, now)
            case GetHeads():
                return self._heads(message.address, [message.topic], now)
            case ConsumerHello():
                return self._heads(message.address, message.subjects, now)
            case DeleteTopic():
                held = self._extents.get(message.topic, {}).values()
                return self._deletions.begin(message.topic, message.address, held)
            case GetOffset():
                return self._on_get_offset(message)
            case _:
                self.stats.refused += 1
                return []

    def tick(self, now: float) -> list[Action]:
        """Give the next answers their turn."""
        actions: list[Action] = []
        while len(self._reading) < _CONCURRENT_READS:
            read = self._next_read(now)
            if read is None:
                break
            actions.append(read)
        return actions

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        if self._reading:
            return None
        return self._answers.next_deadline()

    # What the shell reports

    def read_done(self, read: Read, run: Run | None, now: float) -> list[Action]:
        """A slice was read (None: the log does not have it): send it, go on with the next turn."""
        key = (read.requester, read.topic, read.partition)
        self._reading.discard(key)
        answer = self._answers.get(key)
        if answer is None:  # the requester has gone meanwhile
            return self.tick(now)
        actions: list[Action] = []
        if run is not None:
            run = run.until(read.first + read.count)
            self.stats.records += len(run)
            actions.append(SendDirect(read.requester, run, answer.runs))
            if run.next < read.first + read.count:
                answer.add(run.next, read.first + read.count)
        if not answer.ranges:
            self._answers.drop(key)
            actions += [] if run is None else self._more(key, run.next, now)
        return actions + self.tick(now)

    def located(self, wanted: Locate, offset: int | None) -> list[Action]:
        """Where a partition was at a time was looked for; None: it could not be found out."""
        return self._locations.found(wanted, offset)

    # Decisions

    def _unsent(self, records: int) -> None:
        self.stats.records -= records

    def _on_fetch(self, fetch: Fetch, now: float) -> list[Action]:
        if not fetch.address or fetch.address in self._own:
            return []
        if self._is_for_another(fetch):
            return []
        self.stats.fetches += 1
        extent = self._extents.get(fetch.subject, {}).get(fetch.topic)
        if extent is None or not fetch.count or fetch.sequence >= extent.next:
            return []
        if fetch.sequence < extent.earliest:
            return [self._head(fetch.address, extent, now)]  # says what is the earliest
        end = min(fetch.sequence + fetch.count, extent.next)
        key, runs = (fetch.address, fetch.subject, fetch.topic), bool(fetch.runs)
        if not self._answers.add(*key, fetch.sequence, end, runs=runs):
            self.stats.dropped += 1
        return self.tick(now)

    def _on_get_offset(self, question: GetOffset) -> list[Action]:
        if not question.address or question.address in self._own:
            return []
        return self._locations.asked(question)

    def _heads(self, requester: str, topics: Iterable[str], now: float) -> list[Action]:
        if requester in self._own:
            return []
        actions: list[Action] = []
        for topic in dict.fromkeys(topics):
            for name in [topic] if topic else self._extents:
                held = self._extents.get(name, {}).values()
                actions += [self._head(requester, one, now) for one in held if one.next]
        self.stats.heads += len(actions)
        return actions

    def _more(self, key: Key, end: int, now: float) -> list[Action]:
        """Tell a requester that got all it asked for if there is more.

        C consumers ask for a block of 100,000 records and then wait for a HEAD, which a dead
        producer never sends.
        """
        requester, topic, partition = key
        extent = self._extents[topic][partition]
        return [self._head(requester, extent, now)] if end < extent.next else []

    def _head(self, requester: str, extent: Extent, now: float) -> Send:
        born = self._born.get((extent.topic, extent.partition))
        head = DirectHead(
            requester,
            extent.partition,
            extent.topic,
            extent.next - 1,
            extent.earliest,
            self._store,
            extent.bytes,
            extent.deleted or None,
            None if born is None else milliseconds(now - born),
        )
        return Send(head)

    def _next_read(self, now: float) -> Read | None:
        for _ in range(len(self._answers)):
            answer = self._answers.turn(now)
            if answer is None:
                return None
            if answer.key not in self._reading:
                self._reading.add(answer.key)
                first, end = answer.take(PACKED_RECORDS if answer.runs else SLICE_RECORDS)
                return Read(*answer.key, first, end - first)
        return None
