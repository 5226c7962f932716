"""Reads records: finds their value, verifies it, and tells damage from what has just moved.

Any number of threads may read beside one that changes the log. Decides what is damaged; what to do
about it is the caller's to decide.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any

from dafka.core.packed import Packed
from dafka.core.run import Run
from dafka.errors import StoreError
from dafka.io import log_format as fmt
from dafka.io.log_connections import FAILURES, cause, is_damage
from dafka.io.log_damage import Damage, Damaged, Quarantine
from dafka.io.log_format import BadValue, Value
from dafka.io.log_index import Index
from dafka.io.log_recent import Recent
from dafka.io.log_values import Span
from protocol.contents import COUNT_BYTES, LENGTH_BYTES, lengths_in

Lend = Callable[[], AbstractContextManager[Any]]

_TRIES = 8
"""How many values after a damaged oldest one are asked for the time it may have arrived."""


@dataclass(frozen=True, slots=True)
class Oldest:
    """The oldest value of a partition: its last offset, its bytes and its newest arrival.

    `arrival` is in seconds since 1970, and infinite where damage leaves nothing that tells it.
    """

    last: int
    bytes: int
    arrival: float


class Reader:
    """Reads what an index says is there. `settling` is held while a change becomes visible."""

    def __init__(self, directory: Path, index: Index, quarantine: Quarantine, lend: Lend) -> None:
        self._directory = directory
        self._index = index
        self._quarantine = quarantine
        self._lend = lend
        self._oldest: dict[tuple[str, str], tuple[Span, Oldest]] = {}
        self.recent = Recent()
        self.settling = threading.Lock()

    def read(
        self, topic: str, partition: str, first: int, max_records: int, max_bytes: int
    ) -> Run | None:
        """Stored records from offset `first` on; None if that offset is not stored."""
        parts: list[Packed] = []
        at, room = first, max_bytes
        while True:
            try:
                found = self._at(topic, partition, at)
            except Damaged:
                if parts:
                    break
                raise
            if found is None:
                break
            span, value = found
            more = value.contents(
                at - span.first,
                min(first + max_records - at, self._sound(topic, partition, at)),
                room,
                at_least=0 if parts else 1,
            )
            whole = at + len(more) > span.last
            if not whole:
                self.recent.keep(span, value)
            if whole or 2 * room >= max_bytes:
                # Else the rest of the value stays in one piece: there is enough without it.
                parts.append(more)
            at, room = at + len(more), room - more.size
            if not whole or room <= 0 or at >= first + max_records:
                break
        return Run(topic, partition, first, Packed.join(parts)) if parts else None

    def _sound(self, topic: str, partition: str, offset: int) -> int:
        """How many records from a sound one on are not known to be damaged."""
        damage = self._quarantine.following(topic, partition, offset)
        return fmt.MAX_OFFSET if damage is None else damage.first - offset

    def _at(self, topic: str, partition: str, offset: int) -> tuple[Span, Value] | None:
        """The value that holds an offset; None if that is not kept. Raises `Damaged`."""
        damage = self._quarantine.following(topic, partition, offset)
        if damage is not None and damage.first <= offset:
            if self._index.find(topic, partition, offset) is None:
                return None
            raise Damaged(topic, partition, damage.first, damage.last, damage.reason)
        while (span := self._index.find(topic, partition, offset)) is not None:
            value = self.recent.take(span) or self.value(topic, partition, span)
            if value is not None:
                return span, value
        return None

    def value(self, topic: str, partition: str, span: Span) -> Value | None:
        """The value of a span, verified; None if it has been removed or replaced meanwhile.

        Raises `Damaged`, and remembers it, or `StoreError` if it cannot be read now. Damage is
        believed when it is found again while nothing changes.
        """
        try:
            return self._load(span)
        except BadValue:
            pass
        with self.settling:
            if not self._index.holds(topic, partition, span):
                return None
            try:
                return self._load(span)
            except BadValue as error:
                extent = self._index.extent(topic, partition)
                first = max(span.first, extent.earliest) if extent else span.first
                self._quarantine.add(Damage(topic, partition, first, span.last, str(error)))
                raise Damaged(topic, partition, first, span.last, str(error)) from error

    def verify(self, topic: str, partition: str, offset: int) -> tuple[int, int] | None:
        """Verify the value at an offset: where the next one begins, and the size of this one.

        None if the offset is not kept. Raises `Damaged`, and remembers it.
        """
        span = self._index.find(topic, partition, offset)
        if span is None:
            return None
        self.value(topic, partition, span)
        return span.last + 1, 0 if span.key is None else fmt.key_size(span.key)

    def _load(self, span: Span) -> Value:
        try:
            if span.key is None:
                raise BadValue("they are missing")
            with self._lend() as cache:
                data = cache.get(span.key)
            return fmt.decode_value(span.key, data or b"")
        except FAILURES as error:
            if is_damage(error):
                raise BadValue(cause(error)) from error
            raise StoreError(f"{self._directory} cannot be read: {cause(error)}") from error

    def oldest(self, topic: str, partition: str) -> Oldest | None:
        """What is known of the oldest value; None if nothing is kept."""
        extent = self._index.extent(topic, partition)
        span = extent and self._index.find(topic, partition, extent.earliest)
        if not span:
            self._oldest.pop((topic, partition), None)
            return None
        known = self._oldest.get((topic, partition))
        if known is None or known[0] != span:
            arrival = self._arrival(topic, partition, span.first)
            size = 0 if span.key is None else fmt.key_size(span.key)
            known = span, Oldest(span.last, size, arrival)
            if arrival != inf:
                self._oldest[topic, partition] = known
        return known[1]

    def _arrival(self, topic: str, partition: str, offset: int) -> float:
        """When the value at an offset had arrived; for a damaged one, the next that tells."""
        for _ in range(_TRIES):
            arrival = self.arrival_ms(topic, partition, offset)
            if arrival is not None:
                return arrival / 1000
            damage = self._quarantine.following(topic, partition, offset)
            if damage is None:
                break
            offset = damage.last + 1
        return inf

    def arrival_ms(self, topic: str, partition: str, offset: int) -> int | None:
        """When the value at an offset had arrived; None if it is damaged or not kept."""
        try:
            found = self._at(topic, partition, offset)
        except Damaged:
            return None
        return None if found is None else found[1].arrival_ms

    def arrived(self, topic: str, partition: str, moment_ms: int) -> int | None:
        """The first record kept that arrived at a moment or later; None: the partition is unknown.

        The next offset if there is none. Values are read as of a book that is in order: each tells
        on which side to go on. A damaged one tells nothing, and counts as late: what is found may
        be earlier than need be, never later.
        """
        extent = self._index.extent(topic, partition)
        if extent is None:
            return None
        low, high = extent.earliest, extent.next
        while low < high:
            middle = (low + high) // 2
            try:
                found = self._at(topic, partition, middle)
            except Damaged as damage:
                high = max(low, damage.first)
                continue
            if found is None:  # it was forgotten meanwhile, and so was what is before it
                low = middle + 1
                continue
            span, value = found
            at = span.first + value.arrived_since(moment_ms)
            if at > span.last:
                low = span.last + 1
            elif at > span.first:
                return max(low, at)
            else:
                high = max(low, at)
        return low

    def digest(self, topic: str, partition: str) -> str:
        """A hash of where a partition begins and ends, and of each record's length and content."""
        extent = self._index.extent(topic, partition)
        at, end = (extent.earliest, extent.next) if extent else (0, 0)
        lengths, contents = sha256(), sha256()
        whole = sha256(f"{at} {end} ".encode())
        while at < end:
            found = self._at(topic, partition, at)
            if found is None:
                raise StoreError(
                    f"offset {at} of topic {topic!r}, partition {partition} was forgotten while it"
                    " was being read: try again"
                )
            span, value = found
            skip = at - span.first
            stop = min(end - span.first, len(value), skip + self._sound(topic, partition, at))
            frame = value.packed.between(skip, stop).frame
            lengths.update(array("Q", lengths_in(frame)).tobytes())
            contents.update(memoryview(frame)[COUNT_BYTES + LENGTH_BYTES * (stop - skip) :])
            at = span.first + stop
        whole.update(lengths.digest() + contents.digest())
        return whole.hexdigest()
