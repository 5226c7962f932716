"""A producer as the reference's console producer is one, with its faulty answers to FETCH."""

from __future__ import annotations

import struct
from time import monotonic

from tests.support import reference_wire as wire
from tests.support.reference_node import ReferenceNode

HEAD_S = 1.0
CHUNK = 256


class UnacknowledgedList:
    """The reference's list of what is not acknowledged: chunks of 256, and its two faults.

    A record is put at its distance from `begin`, the first unacknowledged one, at the time it
    comes; but an acknowledgement moves `begin` and no record. And who looks one up looks into
    the first chunk only.
    """

    def __init__(self) -> None:
        self.begin = 0
        self.next = 0
        self._chunks: list[dict[int, bytes]] = [{}]

    def append(self, content: bytes) -> int:
        chunk, slot = divmod(self.next - self.begin, CHUNK)
        while len(self._chunks) <= chunk:
            self._chunks.append({})
        self._chunks[chunk][slot] = content
        self.next += 1
        return self.next - 1

    def acknowledge(self, sequence: int) -> None:
        if sequence < self.begin:
            return  # going back is ignored
        self.begin = min(sequence + 1, self.next)  # beyond the head: everything
        if self.begin == self.next:
            self._chunks = [{}]

    def get(self, sequence: int) -> bytes:
        return self._chunks[0][(sequence - self.begin) % CHUNK]


class ReferenceProducer(ReferenceNode):
    """Publishes one topic; `finish` is the end of its input."""

    role = "producer"

    def __init__(self, tower: object, topic: str, head_s: float = HEAD_S) -> None:
        super().__init__(tower)
        self.topic = topic
        self.head_s = head_s
        self.acks: list[int] = []
        self.fetches: list[wire.Seen] = []
        self.list = UnacknowledgedList()
        self._next_head: float | None = None
        self._input_ended = False

    @property
    def acknowledged(self) -> int:
        """Records that a store has acknowledged."""
        return self.list.begin

    def open(self) -> None:
        super().open()
        self.listen("F" + self.address, "K" + self.address)

    # Commands

    def publish(self, *contents: bytes) -> None:
        """Publish records, as lines of input that come together."""
        self.call(lambda: self._publish(contents))

    def lose(self, *contents: bytes) -> None:
        """Publish records that reach nobody, as if every peer's high-water mark was reached."""
        self.call(lambda: [self.list.append(content) for content in contents] and self._published())

    def finish(self) -> None:
        """The input ends: stay until everything is acknowledged, then end."""

        def end() -> None:
            self._input_ended = True

        self.call(end)

    def _publish(self, contents: tuple[bytes, ...]) -> None:
        prefix = wire.record_prefix("M", self.topic, self.address, self.topic)
        for content in contents:
            sequence = self.list.append(content)
            self.say([prefix + struct.pack(">Q", sequence), content])
        self._published()

    def _published(self) -> None:
        if self._next_head is None:
            self._next_head = monotonic() + self.head_s

    # Loop

    def due(self) -> float | None:
        times = [t for t in (super().due(), self._next_head) if t is not None]
        return min(times, default=None)

    def tick(self, now: float) -> None:
        super().tick(now)
        if self._next_head is not None and now >= self._next_head:
            self._next_head += self.head_s
            self.say(wire.head(self.topic, self.address, self.list.next - 1))
        if self._input_ended and self.list.begin == self.list.next:
            self._ended = True

    def on_message(self, seen: wire.Seen) -> None:
        if seen.kind == "K":
            if seen.sequence >= self.list.next:
                self.faults.append(f"ACK {seen.sequence} beyond the head {self.list.next - 1}")
            self.acks.append(seen.sequence)
            self.list.acknowledge(seen.sequence)
        elif seen.kind == "F":
            self.fetches.append(seen)
            if seen.sequence >= self.list.next:
                self.faults.append(f"FETCH {seen.sequence} beyond the head {self.list.next - 1}")
            self._answer(seen)

    def _answer(self, seen: wire.Seen) -> None:
        if not self.list.begin <= seen.sequence < self.list.next:
            return
        prefix = wire.record_prefix("D", seen.address, self.address, self.topic)
        for sequence in range(seen.sequence, min(seen.sequence + seen.count, self.list.next)):
            self.say([prefix + struct.pack(">Q", sequence), self.list.get(sequence)])
