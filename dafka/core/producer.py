"""Decides what a producer keeps, re-sends and forgets.

A record is kept until enough distinct stores have acknowledged it. HEADs tell stores and
consumers what exists; whoever lacks something asks, and gets exactly what it asked for.

A partition can be continued: by a producer that was restarted with its outbox, for example.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dafka.config import ProducerConfig
from dafka.core.actions import Action, Send, SendDirect, SendRun, Subscribe, Warn
from dafka.core.answerer import Answerer
from dafka.core.packed import Packed
from dafka.core.role import CONTINUED_MS, milliseconds
from dafka.core.run import RECORD_COST, Arrival, Origin, Run
from protocol import Ack, DirectHead, Fetch, GetHeads, Head, Message, subscription

SLICE_RECORDS = 1_000
"""Most records of one answer in one turn."""
PACKED_RECORDS = 100_000
"""The same of an answer in DIRECT-RECORDS: at most as many as were published together."""

_PACK_RECORDS = 16
"""Contents are packed if there are so many; fewer are kept with the ones before."""
_STALL_S = 2.0
_MAX_STORES = 1000
_HEAD_PAUSE_S = 0.02
_REFERENCE_PAUSE_S = 0.5
"""After a C consumer has subscribed, no HEAD is sent for this long: it answers the first one with
its only FETCH, which is lost if we are not connected to it yet (shared/wire, "FETCH")."""

_NOTHING = 1 << 63
"""C nodes say "nothing" as the offset -1, which is 2^64 - 1."""


@dataclass(slots=True)
class ProducerStats:
    """Counters since the start."""

    records: int = 0
    bytes: int = 0
    acks: int = 0
    fetches: int = 0
    resent: int = 0
    refused: int = 0


class Producer(Answerer):
    """The producer's machine: one topic, one partition, which is named by its address."""

    def __init__(
        self,
        topic: str,
        address: str,
        config: ProducerConfig,
        first: int = 0,
        end: int = 0,
        earliest: int = 0,
    ) -> None:
        """Begin at offset `first`: what lies before it is acknowledged, or is not our concern.

        The records from `first` up to `end` may have been sent before. They are published again,
        but a store may acknowledge them earlier: then they need not be. The partition begins at
        `earliest`: nobody need look for records before it.
        """
        super().__init__(address)
        self.topic = topic
        self.stats = ProducerStats()
        self.next = first
        """The offset of the next record."""
        self.acked = first
        """Records acknowledged by enough stores: the offset of the first that is not."""
        self._sent = max(first, end)
        self._earliest = earliest or None
        self._continued = self._sent > 0
        self.unacked_bytes = 0
        self.config = config
        self._unacked: deque[Run] = deque()
        self._acks: dict[str, int] = {}
        self._started = 0.0
        self._next_head: float | None = None
        self._last_head = 0.0
        self._progress = 0.0

    # Commands

    def start(self, now: float) -> list[Action]:
        """Make acknowledgements and requests reach us."""
        self._started = self._progress = now
        if self._continued:
            self._next_head = self._last_head = now
        kinds = (Fetch, Ack, DirectHead)
        return [Subscribe(subscription(kind, self.address)) for kind in kinds]

    def publish(self, contents: Sequence[bytes], now: float) -> list[Action]:
        """Give the next offsets to `contents`, which are kept, and send them to everybody."""
        if not isinstance(contents, Packed) and len(contents) >= _PACK_RECORDS:
            contents = Packed.of(contents)
        run = Run(self.topic, self.address, self.next, contents)
        if not self._unacked:
            self._progress = now
        if self._next_head is None:
            self._last_head = now
            self._next_head = now + self.config.head_interval_s
        self._keep(run)
        size = run.size
        self.unacked_bytes += size + RECORD_COST * len(run)
        self.next = run.next
        self.stats.records += len(run)
        self.stats.bytes += size
        return [SendRun(run)]

    def has_room(self, size: int) -> bool:
        """Whether records of `size` bytes, their keeping included, can be accepted now."""
        return self.unacked_bytes + size <= self.config.buffer_bytes

    @property
    def age_ms(self) -> int:
        """A partition that is continued is not new."""
        return CONTINUED_MS if self._continued else 0

    @property
    def unacknowledged(self) -> int:
        """Records that not enough stores have acknowledged."""
        return self.next - self.acked

    @property
    def stores(self) -> int:
        """How many distinct stores have the first record that not enough of them have."""
        return sum(end > self.acked for end in self._acks.values())

    # Events

    def subscribed(self, prefix: bytes, now: float) -> list[Action]:
        """A peer has begun to listen to us: it may have missed the records so far."""
        own = subscription(Head, self.topic, exact=True)
        if self._next_head is None or not own.startswith(prefix):
            return []
        if len(subscription(Head)) < len(prefix) < len(own):
            # Only C consumers leave out the NUL. However many come, HEADs go on.
            latest = self._last_head + 2 * self.config.head_interval_s
            later = max(self._next_head, now + _REFERENCE_PAUSE_S)
            self._next_head = max(self._next_head, min(later, latest))
        elif self._continued and now - self._last_head >= _HEAD_PAUSE_S:
            # Before any record: by the age it tells, a newcomer knows that the partition is old.
            return self._head(now)
        else:
            # A moment later, so that several newcomers cost one HEAD.
            self._next_head = min(self._next_head, now + _HEAD_PAUSE_S)
        return []

    def receive(
        self, message: Message | Arrival, now: float, origin: Origin = Origin.LIVE
    ) -> list[Action]:
        """Take an acknowledgement or a request."""
        match message:
            case Ack() if message.subject == self.topic:
                return self._on_ack(message.sequence, message.store or "", now)
            case DirectHead() if (message.subject, message.address) == (self.topic, self.address):
                return self._on_ack(message.sequence, message.store or "", now)
            case Fetch():
                return self._on_fetch(message, now)
            case _:
                self.stats.refused += 1
                return []

    def tick(self, now: float) -> list[Action]:
        """Announce the head; ask the stores where they are if nothing moves; answer requests."""
        actions: list[Action] = []
        if self._next_head is not None and now >= self._next_head:
            actions += self._head(now)
            if self._lacking and now - self._progress >= _STALL_S:
                # A C store does not repeat an ACK that was lost; its head says the same.
                self._progress = now
                actions.append(Send(GetHeads(self.topic, self.address)))
        return actions + self._answer(now)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        times = (self._next_head, self._answers.next_deadline())
        return min((t for t in times if t is not None), default=None)

    # Decisions

    def _unsent(self, records: int) -> None:
        self.stats.resent -= records

    @property
    def _lacking(self) -> bool:
        """Whether there are records that not enough stores are known to have."""
        return self.acked < max(self.next, self._sent)

    def _head(self, now: float) -> list[Action]:
        self._next_head = now + self.config.head_interval_s
        self._last_head = now
        if not self.next:
            return []  # the first record was sent in an earlier life, and not yet in this one
        age_ms = self.age_ms + milliseconds(now - self._started)
        told = (self.next - 1, self.acked, age_ms, self._earliest)
        return [Send(Head(self.topic, self.address, self.topic, *told))]

    def _on_ack(self, sequence: int, store: str, now: float) -> list[Action]:
        if sequence >= max(self.next, self._sent):
            self.stats.refused += 1
            return self._beyond(sequence)
        self.stats.acks += 1
        if store not in self._acks and len(self._acks) >= _MAX_STORES:
            return []
        self._acks[store] = max(self._acks.get(store, 0), sequence + 1)
        wanted = self.config.min_store_acks
        if len(self._acks) < wanted:
            return []
        enough = sorted(self._acks.values(), reverse=True)[wanted - 1]
        if enough > self.acked:
            self.acked = enough
            self.next = max(self.next, enough)
            self._progress = now
            self._forget()
        return []

    def _beyond(self, sequence: int) -> list[Action]:
        """Somebody has what was never sent: nobody can, unless an outbox was lost in part."""
        if not self._continued or sequence >= _NOTHING:
            return []
        text = (
            f"topic {self.topic} partition {self.address}: a store has records up to offset "
            f"{sequence}, but this producer continues at {self.next}: unless another one uses the "
            "partition, its outbox was restored from a copy, or lost records in a power failure; "
            "use a new outbox"
        )
        return [Warn("beyond", text)]

    def _keep(self, run: Run) -> None:
        """Lone records are kept together, so that millions of them stay cheap."""
        if isinstance(run.contents, Packed):
            self._unacked.append(run)
            return
        last = self._unacked[-1].contents if self._unacked else None
        if isinstance(last, list) and len(last) + len(run) <= SLICE_RECORDS:
            last.extend(run.contents)
        else:
            self._unacked.append(replace(run, contents=list(run.contents)))

    def _forget(self) -> None:
        while self._unacked and self._unacked[0].first < self.acked:
            run = self._unacked.popleft()
            rest = run.since(self.acked)
            self.unacked_bytes -= run.cost - rest.cost
            if rest.contents:
                self._unacked.appendleft(rest)

    def _on_fetch(self, fetch: Fetch, now: float) -> list[Action]:
        if not fetch.address or fetch.subject != self.topic or not fetch.count:
            return []
        if self._is_for_another(fetch):
            return []
        self.stats.fetches += 1
        if self.acked <= fetch.sequence < self.next:
            end = min(fetch.sequence + fetch.count, self.next)
            key = (fetch.address, self.topic, self.address)
            self._answers.add(*key, fetch.sequence, end, runs=bool(fetch.runs))
        return self._answer(now)

    def _answer(self, now: float) -> list[Action]:
        answer = self._answers.turn(now)
        if answer is None:
            return []
        first, end = answer.take(PACKED_RECORDS if answer.runs else SLICE_RECORDS)
        run = self._slice(first, end)
        if run is not None and run.next < end:
            answer.add(run.next, end)
        if not answer.ranges:
            self._answers.drop(answer.key)
        if run is None:  # acknowledged meanwhile: the stores have it
            return []
        self.stats.resent += len(run)
        return [SendDirect(answer.requester, run, answer.runs)]

    def _slice(self, first: int, end: int) -> Run | None:
        """Unacknowledged records from `first` on, out of one kept run, or None."""
        for run in self._unacked:
            if run.first <= first < run.next:
                return run.since(first).until(end)
        return None
