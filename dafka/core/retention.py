"""Decides which of a topic's records are no longer kept, by its rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dafka.retention import Retention


@dataclass(frozen=True, slots=True)
class Held:
    """What is kept of one partition, and of its oldest value, the least that can be dropped."""

    partition: str
    records: int
    bytes: int
    oldest_last: int
    """The last offset of the oldest value."""
    oldest_records: int
    oldest_bytes: int
    arrived: float
    """When the newest record of the oldest value arrived, in seconds since 1970."""


def overdue(rule: Retention, held: Iterable[Held], now: float) -> list[Held]:
    """The partitions of one topic whose oldest value has to go, the oldest first.

    `now` is in seconds since 1970. At most one value of each partition: ask again afterwards. By
    its bytes or number, the last value of a topic never goes.
    """
    values = sorted(held, key=lambda one: one.arrived)
    records = sum(one.records for one in values)
    size = sum(one.bytes for one in values)
    gone: list[Held] = []
    for one in values:
        left = records - one.oldest_records
        aged = rule.age_s is not None and one.arrived < now - rule.age_s
        large = rule.bytes is not None and size > rule.bytes
        many = rule.records is not None and left >= rule.records
        if not (aged or (left > 0 and (large or many))):
            break
        gone.append(one)
        records, size = left, size - one.oldest_bytes
    return gone
