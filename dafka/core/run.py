"""The unit that moves through the system: consecutive records of one partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from dafka.core.packed import Packed, largest_of, size_of

MAX_CONTENT_BYTES = 256 * 1024 * 1024
"""No store takes a larger record: it would have to be held in memory several times."""

RECORD_COST = 64
"""Bytes that keeping a record in memory costs beyond its content."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive records of one partition: `contents[i]` has the offset `first + i`.

    Contents are a list, or `Packed`; what a consumer delivers is a list.
    """

    topic: str
    partition: str
    first: int
    contents: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.contents)

    @property
    def next(self) -> int:
        """The offset that follows the last record."""
        return self.first + len(self.contents)

    @property
    def size(self) -> int:
        """Bytes of all contents together."""
        return size_of(self.contents)

    @property
    def largest(self) -> int:
        """Bytes of the largest content."""
        return largest_of(self.contents)

    @property
    def cost(self) -> int:
        """Bytes of memory that keeping the run takes, nearly: what bounds in bytes count."""
        return size_of(self.contents) + RECORD_COST * len(self.contents)

    def listed(self) -> Run:
        """The same run with a list of contents, as users have it."""
        if not isinstance(self.contents, Packed):
            return self
        return Run(self.topic, self.partition, self.first, self.contents.split())

    def since(self, offset: int) -> Run:
        """The part from `offset` on (this run itself where nothing is cut; empty past the end)."""
        if offset <= self.first:
            return self
        cut = min(offset, self.next)
        return Run(self.topic, self.partition, cut, self.contents[cut - self.first :])

    def until(self, offset: int) -> Run:
        """The part before `offset` (this run itself where nothing is cut; empty before it)."""
        if offset >= self.next:
            return self
        return Run(
            self.topic, self.partition, self.first, self.contents[: max(0, offset - self.first)]
        )


class Origin(Enum):
    """How a run reached a node, which tells how far its contents can be trusted."""

    LIVE = "live"
    """A RECORD, published by its producer to everybody."""
    STORE = "store"
    """A DIRECT-RECORD from a node known to be a store."""
    PEER = "peer"
    """A DIRECT-RECORD from a node not known to be a store: perhaps the producer."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A run as a socket delivered it."""

    run: Run
    origin: Origin
