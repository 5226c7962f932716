"""What a source reads, and how. Decides where partitions begin and end; opens nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dafka.beam.records import Place
from dafka.beam.spans import OPEN
from dafka.beginning import Beginning, Instant
from dafka.core.inventory import PartitionState

OffsetAt = Callable[[str, str, int], int | None]
"""Where a partition of a topic was at a time (ms since 1970); None if no store tells."""


@dataclass(frozen=True)
class Source:
    """The settings of a `ReadFromDafka`; see there."""

    topics: tuple[str, ...]
    start: Beginning
    bounded: bool
    with_metadata: bool
    max_records: int | None
    max_read_s: float | None
    discovery_s: float | None
    poll_s: float
    bundle_records: int
    bundle_s: float
    timeout: float
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def looks_once(self) -> bool:
        """Whether only those partitions are read that are there at the start."""
        return self.bounded or self.max_records is not None or self.discovery_s is None

    def place(
        self, state: PartitionState, offset_at: OffsetAt, until: float | None, *, is_new: bool
    ) -> Place | None:
        """What is to be read of a partition; None if nothing is, and nothing can come.

        `is_new`: it has come while others were being read already.
        """
        head = stored_head(state)
        first = state.earliest if is_new else self._first(state, head, offset_at)
        stop = head if self.bounded else OPEN
        if self.max_records is not None:
            stop = min(stop, first + self.max_records)
        if first >= stop:
            return None
        return Place(state.topic, state.partition, first, stop, head, until)

    def _first(self, state: PartitionState, head: int, offset_at: OffsetAt) -> int:
        start = self.start
        if isinstance(start, Instant):
            told = offset_at(state.topic, state.partition, start.ms)
            return state.earliest if told is None else max(told, state.earliest)
        if isinstance(start, Mapping):
            return start.get(state.partition, state.earliest)
        if isinstance(start, int):
            return start
        return head if start == "latest" else state.earliest


def stored_head(state: PartitionState, copies: int = 1) -> int:
    """How far the partition goes on the disks of so many stores: what lies behind may be lost."""
    heads = sorted((copy.next for copy in state.copies if copy.store.answered), reverse=True)
    return heads[copies - 1] if len(heads) >= copies else 0
