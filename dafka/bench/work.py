"""What is to be done in a round: the same words for a trial and for each of its processes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

MANY = "many"
"""The mode in which records are published by `publish_many`."""
KB = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A round's measures; a process is told those of the round, and where to find the others."""

    records: int = 1
    """How many; what comes before the clock runs is not counted."""
    size: int = 100
    """Bytes of a record's content."""
    producers: int = 1
    consumers: int = 1
    stores: int = 1
    durability: str = "fsync"
    """Of a store: fsync or os; of a peer: as its own setting is called."""
    mode: str = ""
    """Which of several ways: a consumer's runs or records, a peer's way to publish."""
    rate: float = 0.0
    """Records a second that fall due, where the pace is given; 0: as fast as it goes."""
    seconds: float = 0.0
    """How long, where time is what is given."""
    chunk: int = 0
    """Bytes of a transaction."""
    endpoints: tuple[str, ...] = ()
    """Where to connect to."""
    data: str = ""
    """Directory of a process of this round."""

    @classmethod
    def read(cls, text: str) -> Self:
        """What `text` wrote."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "endpoints": tuple(fields["endpoints"])})

    @property
    def text(self) -> str:
        """On one line, for a process."""
        return json.dumps(asdict(self))

    def but(self, **changes: Any) -> Work:
        """The same with other measures."""
        return replace(self, **changes)
