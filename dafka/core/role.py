"""What every role's machine understands; what a role has no use for changes nothing."""

from __future__ import annotations

from dafka.core.actions import Action, SendDirect
from dafka.core.run import Arrival, Origin
from protocol import Message, subscription

CONTINUED_MS = 1 << 40
"""The least age of a continued partition: older than every subscription, so no consumer of the
latest records takes it for a new one."""


def named_in(prefix: bytes, kind: type[Message]) -> str | None:
    """The address in a peer's subscription to messages of one kind; None if it is another's."""
    own = subscription(kind)
    if not prefix.startswith(own):
        return None
    address = prefix[len(own) :].split(b"\0")[0]
    return address.decode("utf-8", "surrogateescape")


def milliseconds(seconds: float) -> int:
    """A pause as it is told on the wire, where none is negative."""
    return max(0, int(seconds * 1000))


class Role:
    """Base of the machines that have peers. Roles override what concerns them."""

    @property
    def full(self) -> bool:
        """True while reading has to pause."""
        return False

    @property
    def age_ms(self) -> int:
        """How old the node is at its start, in milliseconds, by what it has to tell."""
        return 0

    def welcomed(self, now: float) -> list[Action]:
        """A tower welcomed us: within a beacon interval it introduces whoever is there."""
        return []

    def peer_found(
        self, address: str, endpoint: str, now: float, born: float | None = None
    ) -> list[Action]:
        """A node was introduced; it started at `born`, if it said so."""
        return []

    def peer_lost(self, address: str, endpoint: str, now: float) -> list[Action]:
        """A node fell silent."""
        return []

    def subscribed(self, prefix: bytes, now: float) -> list[Action]:
        """A peer has begun to listen to messages that start with `prefix`."""
        return []

    def unsubscribed(self, prefix: bytes, now: float) -> list[Action]:
        """A peer no longer listens to messages that start with `prefix`, or has gone."""
        return []

    def receive(
        self, message: Message | Arrival, now: float, origin: Origin = Origin.LIVE
    ) -> list[Action]:
        """Take a run or a message; `origin` tells the socket it came from."""
        raise NotImplementedError

    def blocked(self, answer: SendDirect, sent: int, now: float) -> list[Action]:
        """The requester took only the first `sent` records of a direct answer for now."""
        raise NotImplementedError

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        raise NotImplementedError

    def next_deadline(self) -> float | None:
        """When `tick` will have something to do, in the time of `now`."""
        raise NotImplementedError
