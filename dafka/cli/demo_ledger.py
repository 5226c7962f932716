"""Decides whether a partition was delivered exactly as it was published.

Publisher and consumers keep a `Ledger` each, in processes of their own; what is compared are the
two `Tally`s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct

from dafka.cli.tables import count

_PREFIX = Struct(">QI")


@dataclass(frozen=True, slots=True)
class Tally:
    """What one process saw of one partition."""

    records: int
    bytes: int
    sha256: str
    """Over offset, length and content of every record, in the order they were seen."""
    missing: int = 0
    """Offsets passed over that never came."""
    doubled: int = 0
    """Records that came again."""
    disordered: int = 0
    """Records that came after a later one."""


class Ledger:
    """Takes a partition's records as they come, and notes what is wrong with their offsets."""

    def __init__(self) -> None:
        self.records = 0
        self._bytes = 0
        self._digest = sha256()
        self._next = 0
        self._missing: set[int] = set()
        self._doubled = 0
        self._disordered = 0

    def add(self, offset: int, content: bytes) -> None:
        """Note one record."""
        if offset != self._next:
            self._irregular(offset)
        else:
            self._next += 1
        self.records += 1
        self._bytes += len(content)
        self._digest.update(_PREFIX.pack(offset, len(content)))
        self._digest.update(content)

    def tally(self) -> Tally:
        """What was seen so far."""
        return Tally(
            self.records,
            self._bytes,
            self._digest.hexdigest(),
            len(self._missing),
            self._doubled,
            self._disordered,
        )

    def _irregular(self, offset: int) -> None:
        if offset > self._next:
            self._missing.update(range(self._next, offset))
            self._next = offset + 1
        elif offset in self._missing:
            self._missing.discard(offset)
            self._disordered += 1
        else:
            self._doubled += 1


def differences(published: Mapping[str, Tally], seen: Mapping[str, Tally]) -> list[str]:
    """What is wrong with what was seen, a sentence each; nothing if it is what was published."""
    problems = [
        f"partition {name}: {count(seen[name].records, 'record')} nobody published"
        for name in sorted(seen.keys() - published.keys())
    ]
    for name, tally in published.items():
        problems += [f"partition {name}: {text}" for text in _faults(tally, seen.get(name))]
    return problems


def _faults(published: Tally, seen: Tally | None) -> list[str]:
    if seen is None:
        return ["nothing was seen of it"] if published.records else []
    distinct = seen.records - seen.doubled
    # What is missing at the end leaves no gap in the offsets.
    missing = max(published.records - distinct, seen.missing)
    counts = {
        "missing": missing,
        "doubled": seen.doubled,
        "out of order": seen.disordered,
        "too many": max(0, distinct - published.records),
    }
    faults = [f"{count(number, 'record')} {what}" for what, number in counts.items() if number]
    if not faults and (seen.bytes, seen.sha256) != (published.bytes, published.sha256):
        faults.append("contents differ from what was published")
    return faults
