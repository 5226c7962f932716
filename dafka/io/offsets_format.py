"""The bytes of consumers' positions: keys and entries. Knows neither files nor SQLite.

All integers are big-endian, and a checksum covers its key as well.

    key of a position         "o" topic-length:u16 topic partition
    key of a subscription     "s", then "t" and a topic or "p" and a pattern
    position                  crc32:u32 next-offset:u72 saved-ms:u64
    subscription              crc32:u32 since-ms:u64 settled:u8

A position may be one more than the largest offset, which takes more than 64 bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from zlib import crc32

from dafka.core.partition import Key

VERSION = b"offsets 1"
"""What stands under the key of the format, where a record log has a number."""

POSITION, SUBSCRIPTION = b"o", b"s"

_LENGTH = Struct(">H")
_OFFSET_BYTES = 9
_CRC_BYTES = 4
_TIME_BYTES = 8


@dataclass(frozen=True, slots=True)
class Subscription:
    """Since when a topic, or a `pattern`, was subscribed to, in seconds since 1970.

    `settled`: the consumer has learned of all partitions there were.
    """

    text: str
    pattern: bool
    since: float
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """All that is kept of a named consumer."""

    positions: dict[Key, int] = field(default_factory=dict)
    times: dict[Key, float] = field(default_factory=dict)
    """When each position was saved, in seconds since 1970."""
    subscriptions: dict[tuple[str, bool], Subscription] = field(default_factory=dict)
    """By text, and whether that is a pattern."""
    damaged: list[Key] = field(default_factory=list)
    """Positions that are there, and cannot be read."""
    unreadable: list[str] = field(default_factory=list)
    """Subscriptions of which that is so."""

    def enter(self, key: bytes, entry: bytes) -> None:
        """Take in an entry as it is kept."""
        sound = entry[:_CRC_BYTES] == _checksum(key, entry[_CRC_BYTES:])
        rest = entry[_CRC_BYTES:]
        if key[:1] == POSITION:
            place = _parse_position_key(key)
            if not sound or len(rest) != _OFFSET_BYTES + _TIME_BYTES:
                self.damaged.append(place)
                return
            self.positions[place] = int.from_bytes(rest[:_OFFSET_BYTES], "big")
            self.times[place] = int.from_bytes(rest[_OFFSET_BYTES:], "big") / 1000
        else:
            text, pattern = _text(key[2:]), key[1:2] == b"p"
            if not sound or len(rest) != _TIME_BYTES + 1:
                self.unreadable.append(text)
                return
            since = int.from_bytes(rest[:_TIME_BYTES], "big") / 1000
            self.subscriptions[text, pattern] = Subscription(text, pattern, since, rest[-1] == 1)


def position_key(place: Key) -> bytes:
    """The key of a position."""
    topic = _bytes(place[0])
    return POSITION + _LENGTH.pack(len(topic)) + topic + _bytes(place[1])


def position(key: bytes, offset: int, now: float) -> bytes:
    """The entry of a position that is saved now."""
    rest = offset.to_bytes(_OFFSET_BYTES, "big") + _milliseconds(now)
    return _checksum(key, rest) + rest


def subscription_key(one: Subscription) -> bytes:
    """The key of a subscription."""
    return SUBSCRIPTION + (b"p" if one.pattern else b"t") + _bytes(one.text)


def subscription(key: bytes, one: Subscription) -> bytes:
    """The entry of a subscription."""
    rest = _milliseconds(one.since) + bytes([one.settled])
    return _checksum(key, rest) + rest


def _parse_position_key(key: bytes) -> Key:
    (length,) = _LENGTH.unpack_from(key.ljust(3, b"\0"), 1)
    at = 1 + _LENGTH.size
    return _text(key[at : at + length]), _text(key[at + length :])


def _checksum(key: bytes, rest: bytes) -> bytes:
    return crc32(rest, crc32(key)).to_bytes(_CRC_BYTES, "big")


def _milliseconds(seconds: float) -> bytes:
    return max(0, int(seconds * 1000)).to_bytes(_TIME_BYTES, "big")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
