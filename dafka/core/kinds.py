"""Tells what a node is by what it listens to: C nodes do not say it in any other way."""

from __future__ import annotations

from enum import Enum

from dafka.core.role import named_in
from protocol import (
    Ack,
    ConsumerHello,
    DirectHead,
    DirectRecord,
    Fetch,
    Message,
    StoreHello,
)

MAX_NODES = 100_000
"""Nodes that are told apart; what more of them listen to is not kept."""


class Kind(Enum):
    """What a node can be. A store of ours or of C is two nodes."""

    PRODUCER = "producer"
    CONSUMER = "consumer"
    STORE_READER = "store reader"
    STORE_WRITER = "store writer"


_LISTENS: tuple[tuple[type[Message], Kind], ...] = (
    (Fetch, Kind.PRODUCER),
    (Ack, Kind.PRODUCER),
    (ConsumerHello, Kind.STORE_READER),
    (DirectHead, Kind.CONSUMER),
    (StoreHello, Kind.CONSUMER),
    (DirectRecord, Kind.STORE_WRITER),
)


class Kinds:
    """What each node is, by its address, as far as that can be told.

    A store's writer of ours listens to all that a consumer does; its beacon tells it from one.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}

    def get(self, address: str) -> Kind | None:
        """What a node is; None if it is not known."""
        return self._kinds.get(address)

    def subscribed(self, prefix: bytes) -> tuple[str, Kind] | None:
        """Learn from a subscription whose it is; None if it does not tell."""
        for message, kind in _LISTENS:
            address = named_in(prefix, message)
            if address and len(self._kinds) < MAX_NODES:
                # Consumers listen to DIRECT-RECORD as well: that alone is a writer's.
                if self._kinds.get(address) in (None, Kind.STORE_WRITER):
                    self._kinds[address] = kind
                return address, kind
        return None
