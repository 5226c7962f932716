"""What a store keeps of one partition."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Extent:
    """The offsets from `earliest` up to, but without, `next`: none if they are equal."""

    topic: str
    partition: str
    earliest: int
    next: int
    bytes: int = field(default=0, compare=False)
    """What the records take on disk, nearly; no part of comparisons."""
    deleted: int = 0
    """The records before this offset were deleted by an operator, for good."""

    @property
    def records(self) -> int:
        """How many records are kept."""
        return self.next - self.earliest
