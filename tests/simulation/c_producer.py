"""A producer that behaves like the reference implementation's, its faults included."""

from __future__ import annotations

from dafka.core.actions import Action, Send, SendDirect, SendRun, Subscribe
from dafka.core.role import Role
from dafka.core.run import Arrival, Origin, Run
from protocol import Ack, Fetch, Head, Message, subscription


class CProducer(Role):
    """Says nothing about itself in HEAD, and answers with wrong contents after the first ACK
    and from record 256 on (shared/wire, "Behaviour of the reference peer", 1).
    """

    def __init__(self, topic: str, address: str) -> None:
        self.topic, self.address = topic, address
        self.acked = 0
        self._contents: list[bytes] = []
        self._next_head: float | None = None

    def start(self, now: float) -> list[Action]:
        """Make acknowledgements and requests reach us."""
        return [Subscribe(subscription(kind, self.address)) for kind in (Fetch, Ack)]

    @property
    def unacknowledged(self) -> int:
        """Records that no store has acknowledged."""
        return len(self._contents) - self.acked

    def has_room(self, size: int) -> bool:
        """It never refuses a record."""
        return True

    def publish(self, contents: list[bytes], now: float) -> list[Action]:
        """Send records to everybody."""
        run = Run(self.topic, self.address, len(self._contents), list(contents))
        self._contents += contents
        self._next_head = self._next_head or now + 1.0
        return [SendRun(run)]

    def receive(
        self, message: Message | Arrival, now: float, origin: Origin = Origin.LIVE
    ) -> list[Action]:
        """Take an acknowledgement or a request."""
        if isinstance(message, Ack):
            self.acked = min(max(self.acked, message.sequence + 1), len(self._contents))
        if isinstance(message, Fetch) and self.acked <= message.sequence < len(self._contents):
            end = min(message.sequence + message.count, len(self._contents))
            wrong = [
                self._contents[(offset - self.acked) % 256]
                for offset in range(message.sequence, end)
            ]
            if wrong:
                run = Run(self.topic, self.address, message.sequence, wrong)
                return [SendDirect(message.address, run)]
        return []

    def blocked(self, answer: SendDirect, sent: int, now: float) -> list[Action]:
        """What a requester does not take is lost."""
        return []

    def tick(self, now: float) -> list[Action]:
        """Announce the head."""
        self._next_head = now + 1.0
        return [Send(Head(self.topic, self.address, self.topic, len(self._contents) - 1))]

    def next_deadline(self) -> float | None:
        """When the next HEAD is due."""
        return self._next_head
