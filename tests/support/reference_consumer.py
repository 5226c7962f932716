"""A consumer as the reference's console consumer is one."""

from __future__ import annotations

from time import monotonic

import zmq

from tests.support import reference_wire as wire
from tests.support.reference_node import FetchFilter, ReferenceNode

SUBSCRIBE_AFTER_S = 1.0


class ReferenceConsumer(ReferenceNode):
    """Delivers in order what it can get; drops what shows a gap, and asks for what is missing."""

    role = "consumer"

    def __init__(
        self,
        tower: object,
        *topics: str,
        earliest: bool = False,
        subscribe_after_s: float = SUBSCRIBE_AFTER_S,
    ) -> None:
        super().__init__(tower)
        self.earliest = earliest
        self.subscribe_after_s = subscribe_after_s
        self.delivered: list[wire.Seen] = []
        self.requests: list[int] = []
        """The sequence of every FETCH sent."""
        self.subscribed = False
        self._topics = topics
        self._current: tuple[str, ...] = ()
        self._last: dict[tuple[str, str], int] = {}
        self._filter = FetchFilter()
        self._hello_to: str | None = None

    def contents(self, producer: str) -> list[bytes]:
        """What was delivered of a partition, in order."""
        return [seen.content for seen in self.delivered if seen.address == producer]

    def sequences(self, producer: str) -> list[int]:
        """Which records were delivered of a partition, in order."""
        return [seen.sequence for seen in self.delivered if seen.address == producer]

    def open(self) -> None:
        super().open()
        self._subscriber = self.listen(*(kind + self.address for kind in "DEL"))
        self._subscribe_at = monotonic() + self.subscribe_after_s

    def due(self) -> float | None:
        times = [super().due(), None if self.subscribed else self._subscribe_at]
        return min((t for t in times if t is not None), default=None)

    def tick(self, now: float) -> None:
        super().tick(now)
        if not self.subscribed and self.welcomed and now >= self._subscribe_at:
            self.subscribed = True
            self._current = self._topics
            for topic in self._topics:
                for kind in "MH":
                    self._subscriber.setsockopt(zmq.SUBSCRIBE, (kind + topic).encode())
                if self.earliest:
                    self.say(wire.get_heads(topic, self.address))

    # Hellos

    def on_subscription(self, prefix: bytes) -> None:
        if prefix[:1] == b"W":
            self._hello_to = prefix[1:].rstrip(b"\0").decode("latin-1")
        elif prefix:
            return
        # An empty prefix: the answer to the last one is given again.
        if self._hello_to is not None:
            self._hello(self._hello_to)

    def _hello(self, store: str) -> None:
        topics = self._current if self.earliest else ()
        self.say(wire.consumer_hello(store, self.address, topics))

    # Records

    def on_message(self, seen: wire.Seen) -> None:
        if seen.kind == "L":
            self._hello(seen.address)
            return
        key = (seen.subject, seen.address)
        if seen.kind in "MD":
            self._on_record(key, seen)
        elif seen.kind in "HE":
            self._on_head(key, seen.sequence)

    def _on_record(self, key: tuple[str, str], seen: wire.Seen) -> None:
        last = self._last.get(key)
        if last is None:
            last = wire.NOTHING if self.earliest else (seen.sequence - 1) % wire.U64
            self._last[key] = last
        expected = (last + 1) % wire.U64
        if seen.sequence == expected:
            self._last[key] = seen.sequence
            self.delivered.append(seen)
        elif seen.sequence > expected:
            self._fetch(key, expected)

    def _on_head(self, key: tuple[str, str], sequence: int) -> None:
        last = self._last.get(key)
        if last is None:
            first = 0 if self.earliest else sequence
            self._last[key] = (first - 1) % wire.U64
            self._fetch(key, first)
        elif sequence > last:
            self._fetch(key, last + 1)

    def _fetch(self, key: tuple[str, str], first: int) -> None:
        frames = self._filter.frames(*key, self.address, first)
        if frames is not None:
            self.requests.append(first)
            self.say(frames)
