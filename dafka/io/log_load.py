"""Fills the index of a log that is being opened: from keys and small entries, never from values."""

from __future__ import annotations

import logging
from typing import Any

from dafka.io import log_format as fmt
from dafka.io.log_format import BadValue
from dafka.io.log_index import Index

_KEYS_AT_ONCE = 10_000
_KEYS = (
    "SELECT key FROM Cache WHERE key >= ? AND key < ? AND length(key) = ? AND raw = 1 ORDER BY key"
)

logger = logging.getLogger("dafka.log")


def load(index: Index, cache: Any) -> None:
    """Enter every partition and every value; what is damaged is logged, and does no harm."""
    for key in _keys(cache, b"p", b"q", fmt.PARTITION_KEY_BYTES):
        number = fmt.partition_number(key)
        try:
            topic, partition = fmt.decode_partition(key, cache.get(key) or b"")
            index.name(number, topic, partition)
        except BadValue as error:
            index.reserve(number)
            logger.warning("damaged_partition key=%s reason=%s", key.hex(), error)
    for key in _keys(cache, b"f", b"g", fmt.PARTITION_KEY_BYTES):
        try:
            index.load_floor(
                fmt.partition_number(key), fmt.decode_floor(key, cache.get(key) or b"")
            )
        except BadValue as error:
            logger.warning("damaged_floor key=%s reason=%s", key.hex(), error)
    # Not iterkeys(), which asks for 100 keys at a time. This reads SQLite's index over the keys.
    cursor = cache._sql(_KEYS, (b"r", b"s", fmt.RECORD_KEY_BYTES))
    while keys := [key for (key,) in cursor.fetchmany(_KEYS_AT_ONCE)]:
        for number in index.load(keys):
            logger.warning("nameless_partition number=%d", number)
    index.settle()


def _keys(cache: Any, first: bytes, after: bytes, size: int) -> list[bytes]:
    return [key for (key,) in cache._sql(_KEYS, (first, after, size)).fetchall()]
