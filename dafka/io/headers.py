"""Headers that are like the last one of their kind but for the sequence. Knows no socket.

The grammar says what the rest is, once for each kind: `protocol.record_prefix` of records,
`protocol.around_sequence` of ACKs. Building or parsing each would take ten times as long.
"""

from __future__ import annotations

from collections.abc import Hashable
from struct import Struct
from typing import TypeVar

from dafka.core.run import Run
from protocol import (
    Ack,
    DirectRecord,
    DirectRecords,
    Record,
    Records,
    around_sequence,
    build,
    record_prefix,
)

SEQUENCE = Struct(">Q")
"""A sequence as it stands in a header."""

_MOST = 4096

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def record_header(run: Run, *, runs: bool = False) -> bytes:
    """What all headers of a run's RECORDs, or RECORDS (`runs`), have in common."""
    name = (run.topic, run.partition, run.topic, 0)
    return record_prefix(Records(*name, ()) if runs else Record(*name, b""))


def direct_header(requester: str, run: Run, *, runs: bool = False) -> bytes:
    """What all headers of a run's DIRECT-RECORDs, or DIRECT-RECORDS (`runs`), have in common."""
    name = (requester, run.partition, run.topic, 0)
    return record_prefix(DirectRecords(*name, ()) if runs else DirectRecord(*name, b""))


class Acks:
    """Builds ACKs, and recognises those that come."""

    def __init__(self) -> None:
        self._built: dict[tuple[str, str, str | None], tuple[bytes, bytes]] = {}
        self._known: dict[bytes, tuple[str, str, str | None]] = {}
        self._at = 0
        """Where the last ACK that was parsed has its sequence."""

    def build(self, ack: Ack) -> list[bytes]:
        """The frames of an ACK; `LocalProtocolError` if it cannot be said."""
        kind = (ack.topic, ack.subject, ack.store)
        around = self._built.get(kind)
        if around is None:
            frames = build(ack)
            remember(self._built, kind, around_sequence(ack))
            return frames
        before, after = around
        return [before + SEQUENCE.pack(ack.sequence) + after]

    def known(self, frame: bytes) -> Ack | None:
        """The ACK that a frame is; None if that is for the grammar to say."""
        at = self._at
        if len(frame) < at + 8:
            return None
        kind = self._known.get(frame[:at] + frame[at + 8 :])
        if kind is None:
            return None
        topic, subject, store = kind
        return Ack(topic, subject, SEQUENCE.unpack_from(frame, at)[0], store)

    def learn(self, frame: bytes, ack: Ack) -> None:
        """Recognise from now on what is like this frame, which the grammar has parsed."""
        before, after = around_sequence(ack)
        if frame != before + SEQUENCE.pack(ack.sequence) + after:
            return  # bytes behind the fields
        if len(before) != self._at:
            self._known.clear()
            self._at = len(before)
        remember(self._known, before + after, (ack.topic, ack.subject, ack.store))


def remember(cache: dict[K, V], key: K, value: V) -> None:
    """Keep `value`; of 4096 that are kept, the oldest makes room for it."""
    if len(cache) >= _MOST:
        del cache[next(iter(cache))]
    cache[key] = value
