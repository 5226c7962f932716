"""The sentences that tell an operator what happened to a partition."""

from __future__ import annotations

from dafka.core.actions import Warn
from dafka.core.partition import Key


def hopeless(key: Key, missing: int) -> Warn:
    """Nobody who is there can be believed about a record.

    A producer that was killed before it could be asked is not told from a C one.
    """
    text = (
        f"topic {key[0]} partition {key[1]}: offset {missing} was missed, and its producer is "
        "gone, or is a C one, which cannot resend it reliably: waiting for a store that has it"
    )
    return Warn(f"gap {key[0]} {key[1]}", text)


def begun_anew(key: Key, position: int, end: int) -> Warn:
    """A consumer's position lies beyond what the partition's own producer has."""
    text = (
        f"topic {key[0]} partition {key[1]}: the position {position} lies beyond its end, {end}: "
        "its producer began it anew; going on at its first record"
    )
    return Warn(f"anew {key[0]} {key[1]}", text)


def timeless(key: Key) -> Warn:
    """No store can tell where a partition was at a time."""
    text = (
        f"topic {key[0]} partition {key[1]}: no store tells when records arrived (C stores "
        "cannot): beginning with the earliest record"
    )
    return Warn(f"timeless {key[0]}", text)


def skipped(key: Key, first: int, end: int) -> Warn:
    """A store goes on behind records that have expired everywhere."""
    text = (
        f"topic {key[0]} partition {key[1]}: the records from offset {first} to {end - 1} are "
        f"kept nowhere any more: going on at {end}, without what came before"
    )
    return Warn(f"skipped {key[0]} {key[1]}", text)


def too_large(key: Key, offset: int, limit: int) -> Warn:
    """A record cannot be stored, and nothing behind it."""
    text = (
        f"topic {key[0]} partition {key[1]}: a record at or after offset {offset} is larger than "
        f"{limit} bytes and cannot be stored"
    )
    return Warn(f"large {key[0]} {key[1]}", text)


def too_many(key: Key, limit: int) -> Warn:
    """A partition is ignored because so many are known."""
    text = (
        f"topic {key[0]} partition {key[1]}: ignored, as are all other new partitions, for "
        f"{limit} are known: raise max_partitions"
    )
    return Warn("partitions", text)
