"""Joins single RECORDs into runs, whatever order their partitions come in. Knows no socket.

The grammar parses a header once; a header that differs from it only in the sequence, its last
8 bytes, is recognised by its prefix (`protocol.record_prefix`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct

from dafka.core.run import Run
from protocol import DirectRecord, Message, ProtocolError, Record, parse, record_prefix

SEQUENCE = Struct(">Q")
"""The last 8 bytes of a RECORD's header."""

_PREFIXES = 4096
_END_OF_SEQUENCES = 1 << 64


def record_header(run: Run) -> bytes:
    """What all headers of a run's RECORDs have in common."""
    return record_prefix(Record(run.topic, run.partition, run.topic, 0, b""))


def direct_header(requester: str, run: Run) -> bytes:
    """What all headers of a run's DIRECT-RECORDs have in common."""
    return record_prefix(DirectRecord(requester, run.partition, run.topic, 0, b""))


@dataclass(slots=True)
class Drained:
    """What one drain brought: runs first, so that a HEAD never outruns the records before it."""

    runs: list[Run] = field(default_factory=list)
    direct: list[Run] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    errors: list[ProtocolError] = field(default_factory=list)
    count: int = 0


class OpenRun:
    """A run that is being joined: `expected` is the sequence that would continue it."""

    __slots__ = ("contents", "direct", "expected", "first", "partition", "topic")

    def __init__(self, direct: bool, topic: str, partition: str) -> None:
        self.direct = direct
        self.topic = topic
        self.partition = partition
        self.first = 0
        self.expected = 0
        self.contents: list[bytes] = []


class Joiner:
    """Makes runs out of the frames of one drain after the other."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[bool, str, str]] = {}
        self._open: dict[bytes, OpenRun] = {}
        self.drained = Drained()
        """What has been joined so far; `finish` hands it out."""

    def finish(self) -> Drained:
        """Close all runs, and begin anew."""
        for opened in self._open.values():
            self._finish(opened)
        self._open.clear()
        drained, self.drained = self.drained, Drained()
        return drained

    def record(self, header: bytes, content: bytes) -> OpenRun | None:
        """Add a record to the run of its partition, and return that run; None if it is none."""
        prefix = header[:-8]
        opened = self._open.get(prefix)
        if opened is None:
            known = self._known.get(prefix) or self._parse(header, content)
            if known is None:
                return None
            opened = self._open[prefix] = OpenRun(*known)
            (opened.first,) = SEQUENCE.unpack(header[-8:])
            opened.expected = opened.first
        else:
            (sequence,) = SEQUENCE.unpack(header[-8:])
            if sequence != opened.expected:
                self._finish(opened)
                opened.contents = []
                opened.first = opened.expected = sequence
        opened.contents.append(content)
        opened.expected += 1
        if opened.expected < _END_OF_SEQUENCES:
            return opened
        del self._open[prefix]
        self._finish(opened)
        return None

    def message(self, frames: list[bytes]) -> None:
        """Add a message that is not a RECORD of exactly two frames."""
        try:
            self.drained.messages.append(parse(frames))
        except ProtocolError as error:
            self.drained.errors.append(error)

    def _parse(self, header: bytes, content: bytes) -> tuple[bool, str, str] | None:
        try:
            message = parse([header, content])
        except ProtocolError as error:
            self.drained.errors.append(error)
            return None
        if not isinstance(message, Record | DirectRecord):
            self.drained.messages.append(message)
            return None
        direct = isinstance(message, DirectRecord)
        if record_prefix(message) != header[:-8]:
            # Bytes behind the fields: a run of its own.
            run = Run(message.subject, message.address, message.sequence, [content])
            (self.drained.direct if direct else self.drained.runs).append(run)
            return None
        if len(self._known) >= _PREFIXES:
            del self._known[next(iter(self._known))]
        known = self._known[header[:-8]] = (direct, message.subject, message.address)
        return known

    def _finish(self, opened: OpenRun) -> None:
        run = Run(opened.topic, opened.partition, opened.first, opened.contents)
        (self.drained.direct if opened.direct else self.drained.runs).append(run)
