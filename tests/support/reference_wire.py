"""The reference's frames, built and read by hand: deliberately not by means of `protocol`.

An error in our grammar must not be able to hide behind itself.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

U64 = 1 << 64
"""Sequences are numbers modulo this one."""
NOTHING = U64 - 1
"""What the reference calls the head of a partition of which it has no record."""
BLOCK = 100_000
"""A FETCH of the reference asks for the rest of a block of this many records."""


class Malformed(Exception):
    """What was received is not what a reference node can read."""


@dataclass(frozen=True)
class Seen:
    """One received message, taken apart."""

    kind: str
    topic: str
    address: str = ""
    subject: str = ""
    sequence: int = 0
    count: int = 0
    subjects: tuple[str, ...] = ()
    trailing: bytes = b""
    content: bytes = b""


def short(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">B", len(data)) + data


def long(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">I", len(data)) + data


def begin(kind: str, topic: str) -> bytes:
    return kind.encode() + topic.encode() + b"\0\1"


def record_prefix(kind: str, topic: str, address: str, subject: str) -> bytes:
    """A RECORD's first frame but for its sequence."""
    return begin(kind, topic) + short(address) + short(subject)


def record(topic: str, address: str, sequence: int, content: bytes) -> list[bytes]:
    return [record_prefix("M", topic, address, topic) + struct.pack(">Q", sequence), content]


def direct_record(
    requester: str, address: str, subject: str, sequence: int, content: bytes
) -> list[bytes]:
    prefix = record_prefix("D", requester, address, subject)
    return [prefix + struct.pack(">Q", sequence), content]


def fetch(producer: str, requester: str, subject: str, sequence: int, count: int) -> list[bytes]:
    fields = short(requester) + short(subject) + struct.pack(">QI", sequence, count)
    return [begin("F", producer) + fields]


def ack(producer: str, subject: str, sequence: int) -> list[bytes]:
    return [begin("K", producer) + short(subject) + struct.pack(">Q", sequence)]


def head(topic: str, address: str, sequence: int) -> list[bytes]:
    return [begin("H", topic) + short(address) + short(topic) + struct.pack(">Q", sequence)]


def direct_head(requester: str, address: str, subject: str, sequence: int) -> list[bytes]:
    fields = short(address) + short(subject) + struct.pack(">Q", sequence)
    return [begin("E", requester) + fields]


def get_heads(topic: str, address: str) -> list[bytes]:
    return [begin("G", topic) + short(address)]


def consumer_hello(store: str, address: str, subjects: tuple[str, ...]) -> list[bytes]:
    listed = b"".join(map(long, subjects))
    return [begin("W", store) + short(address) + struct.pack(">I", len(subjects)) + listed]


def store_hello(consumer: str, address: str) -> list[bytes]:
    return [begin("L", consumer) + short(address)]


def node_beacon(address: str, port: int, host: str = "") -> list[bytes]:
    return [b"B", address.encode(), host.encode(), str(port).encode()]


def tower_beacon(address: str, endpoint: str) -> list[bytes]:
    return [b"B", address.encode(), endpoint.encode()]


class _Fields:
    """Takes a first frame apart from the left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) < size:
            raise Malformed(f"cut off at byte {self._at}: {self._data!r}")
        self._at += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def text(self, size_of_length: int = 1) -> str:
        return self.take(self.number(size_of_length)).decode()

    def rest(self) -> bytes:
        return self._data[self._at :]


FRAMES = {"M": 2, "D": 2}
"""Messages of more than one frame."""


def read(frames: list[bytes]) -> Seen:
    """Take a data message apart; `Malformed` for whatever the reference trips over."""
    first = frames[0]
    kind = first[:1].decode("latin-1")
    if not kind or kind not in "MDFKHEGWL":
        raise Malformed(f"no known message: {frames!r}")
    if len(frames) != FRAMES.get(kind, 1):
        raise Malformed(f"a message {kind} of {len(frames)} frames: {frames!r}")
    inline, nul, rest = first[1:].partition(b"\0")
    if not nul or rest[:1] != b"\1":
        raise Malformed(f"no NUL, or a wrong version: {frames!r}")
    values, trailing = _read_fields(kind, _Fields(rest[1:]))
    content = frames[1] if len(frames) > 1 else b""
    return Seen(kind, inline.decode(), trailing=trailing, content=content, **values)


def _read_fields(kind: str, fields: _Fields) -> tuple[dict, bytes]:
    values: dict = {}
    if kind != "K":
        values["address"] = fields.text()
    if kind in "MDFKHE":
        values["subject"] = fields.text()
        values["sequence"] = fields.number(8)
    if kind == "F":
        values["count"] = fields.number(4)
    if kind == "W":
        values["subjects"] = tuple(fields.text(4) for _ in range(fields.number(4)))
    return values, fields.rest()
