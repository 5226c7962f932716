"""A store as the reference's is one: a writer and a reader, two nodes that share a database."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tests.support import reference_wire as wire
from tests.support.reference_node import Abort, FetchFilter, ReferenceNode

Key = tuple[str, str]
"""Topic and producer."""


class Database:
    """Records by (topic, producer), from a first sequence on, without gaps."""

    def __init__(self) -> None:
        self.records: dict[Key, list[bytes]] = {}
        self.firsts: dict[Key, int] = {}

    def fill(self, topic: str, producer: str, contents: Sequence[bytes], first: int = 0) -> None:
        """Prepare a partition in advance."""
        self.records[(topic, producer)] = list(contents)
        self.firsts[(topic, producer)] = first

    def head(self, key: Key) -> int:
        """The last sequence stored, `NOTHING` if there is none."""
        if key not in self.records:
            return wire.NOTHING
        return self.firsts[key] + len(self.records[key]) - 1

    def append(self, key: Key, content: bytes) -> None:
        self.firsts.setdefault(key, 0)
        self.records.setdefault(key, []).append(content)

    def read(self, key: Key, first: int, last: int) -> list[bytes]:
        """What is stored of [first, last] if `first` is."""
        at = first - self.firsts.get(key, 0)
        return self.records.get(key, [])[at : at + last - first + 1] if at >= 0 else []


class ReferenceStoreWriter(ReferenceNode):
    """Stores the next expected sequence of every partition, and acknowledges once per batch."""

    role = "store.writer"

    def __init__(self, tower: object, database: Database, lost_acks: int) -> None:
        super().__init__(tower)
        self.database = database
        self.lost_acks = lost_acks
        self.acks: list[tuple[Key, int]] = []
        self.requests = 0
        self._filter = FetchFilter()
        self._stored: dict[Key, int] = {}

    def open(self) -> None:
        super().open()
        self.listen("D" + self.address)
        self.listen("M", "H")

    def on_message(self, seen: wire.Seen) -> None:
        key = (seen.subject, seen.address)
        expected = (self.database.head(key) + 1) % wire.U64
        if seen.kind in "MD" and seen.sequence == expected:
            self.database.append(key, seen.content)
            self._stored[key] = seen.sequence
        elif seen.sequence > expected or (seen.kind == "H" and seen.sequence == expected):
            self._fetch(key, expected)

    def on_batch_end(self) -> None:
        for key, sequence in self._stored.items():
            self.acks.append((key, sequence))
            if len(self.acks) > self.lost_acks:
                self.say(wire.ack(key[1], key[0], sequence))
        self._stored.clear()

    def _fetch(self, key: Key, first: int) -> None:
        frames = self._filter.frames(*key, self.address, first)
        if frames is not None:
            self.requests += 1
            self.say(frames)


class ReferenceStoreReader(ReferenceNode):
    """Answers GET-HEADS, FETCH and hellos; a surplus frame behind a request ends it."""

    role = "store.reader"

    def __init__(self, tower: object, database: Database, writer: str) -> None:
        super().__init__(tower)
        self.database = database
        self.writer = writer
        self.fetches: list[wire.Seen] = []
        self.asked: list[str] = []
        """Topics that GET-HEADS and hellos named."""
        self._hello_to: str | None = None

    def open(self) -> None:
        super().open()
        self.listen("F", "G", "W" + self.address)

    def on_subscription(self, prefix: bytes) -> None:
        if prefix[:1] == b"L":
            self._hello_to = prefix[1:].rstrip(b"\0").decode("latin-1")
        elif prefix:
            return
        # An empty prefix: the answer to the last one is given again.
        if self._hello_to is not None:
            self.say(wire.store_hello(self._hello_to, self.address))

    def on_malformed(self, frames: list[bytes], why: str) -> None:
        if frames[0][:1] in b"FG" and len(frames) > 1:
            raise Abort(f"a surplus frame: {frames!r}")
        super().on_malformed(frames, why)

    def on_message(self, seen: wire.Seen) -> None:
        if seen.address == self.writer:
            return
        if seen.kind == "F":
            self.fetches.append(seen)
            self._answer(seen)
        elif seen.kind == "G":
            self._heads(seen.address, seen.topic)
        elif seen.kind == "W":
            for topic in seen.subjects:
                self._heads(seen.address, topic)

    def _heads(self, requester: str, prefix: str) -> None:
        self.asked.append(prefix)
        for topic, producer in sorted(self.database.records):
            if topic.startswith(prefix):
                sequence = self.database.head((topic, producer))
                self.say(wire.direct_head(requester, producer, topic, sequence))

    def _answer(self, seen: wire.Seen) -> None:
        last = seen.sequence + seen.count
        if last >= wire.U64:
            return
        prefix = wire.record_prefix("D", seen.address, seen.topic, seen.subject)
        found = self.database.read((seen.subject, seen.topic), seen.sequence, last)
        for sequence, content in enumerate(found, seen.sequence):
            self.say([prefix + struct.pack(">Q", sequence), content])


class ReferenceStore:
    """Both halves of a store."""

    def __init__(self, tower: object, *, lost_acks: int = 0) -> None:
        """`lost_acks`: so many acknowledgements, the first ones, never leave."""
        self.database = Database()
        self.writer = ReferenceStoreWriter(tower, self.database, lost_acks)
        self.reader = ReferenceStoreReader(tower, self.database, self.writer.address)

    @property
    def faults(self) -> list[str]:
        return self.writer.faults + self.reader.faults

    def contents(self, topic: str, producer: str) -> list[bytes]:
        """What is stored of a partition."""
        return list(self.database.records.get((topic, producer), []))

    def start(self) -> None:
        self.writer.start()
        self.reader.start()

    def stop(self) -> None:
        self.writer.stop()
        self.reader.stop()
