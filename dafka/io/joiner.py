"""Joins RECORDs, and RECORDS, into runs, whatever order their partitions come in. Knows no socket.

The grammar parses a header once; a header that differs from it only in the sequence, its last
8 bytes, is recognised by its prefix (`protocol.record_prefix`). What comes in one frame stays so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dafka.core.packed import Packed
from dafka.core.run import Run
from dafka.io.headers import SEQUENCE, Acks, remember
from protocol import (
    Ack,
    DirectRecord,
    DirectRecords,
    Message,
    ProtocolError,
    Record,
    Records,
    RemoteProtocolError,
    parse,
    record_prefix,
)
from protocol.contents import complaint

_END_OF_SEQUENCES = 1 << 64


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

    __slots__ = ("contents", "direct", "expected", "first", "joined", "partition", "topic")

    def __init__(self, direct: bool, joined: bool, topic: str, partition: str) -> None:
        """`joined`: contents come as frames of several."""
        self.direct = direct
        self.joined = joined
        self.topic = topic
        self.partition = partition
        self.first = 0
        self.expected = -1
        self.contents: list[bytes] = []

    def run(self) -> Run:
        """What has come of it."""
        contents = Packed.join([*map(Packed, self.contents)]) if self.joined else self.contents
        return Run(self.topic, self.partition, self.first, contents)


class Joiner:
    """Makes runs out of the frames of one drain after the other."""

    def __init__(self) -> None:
        self._acks = Acks()
        self._known: dict[bytes, tuple[bool, bool, str, str]] = {}
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
        """Add a record to the run of its partition, and return that run; None if it is none.

        None also if the content is that of several records.
        """
        prefix = header[:-8]
        opened = self._open.get(prefix)
        if opened is None:
            known = self._known.get(prefix) or self._parse(header, content)
            if known is None:
                return None
            opened = self._open[prefix] = OpenRun(*known)
        (sequence,) = SEQUENCE.unpack(header[-8:])
        if sequence != opened.expected:
            self._finish(opened)
            opened.contents = []
            opened.first = opened.expected = sequence
        if opened.joined:
            self._add(opened, content)
            return None
        opened.contents.append(content)
        opened.expected += 1
        if opened.expected < _END_OF_SEQUENCES:
            return opened
        del self._open[prefix]
        self._finish(opened)
        return None

    def message(self, frames: list[bytes]) -> None:
        """Add a message that is not a RECORD of exactly two frames."""
        message: Message | None = self._acks.known(frames[0]) if len(frames) == 1 else None
        if message is None:
            try:
                message = parse(frames)
            except ProtocolError as error:
                self.drained.errors.append(error)
                return
            if isinstance(message, Ack):
                self._acks.learn(frames[0], message)
        self.drained.messages.append(message)

    def _add(self, opened: OpenRun, frame: bytes) -> None:
        reason = complaint(frame)
        end = opened.expected + (0 if reason else len(Packed(frame)))
        if end > _END_OF_SEQUENCES:
            reason = "records pass the last sequence there is"
        if reason:
            self.drained.errors.append(RemoteProtocolError(f"RECORDS: {reason}", "contents", 0, 1))
            return
        opened.contents.append(frame)
        opened.expected = end

    def _parse(self, header: bytes, content: bytes) -> tuple[bool, bool, str, str] | None:
        try:
            message = parse([header, content])
        except ProtocolError as error:
            self.drained.errors.append(error)
            return None
        if not isinstance(message, Record | DirectRecord | Records | DirectRecords):
            self.drained.messages.append(message)
            return None
        direct = isinstance(message, DirectRecord | DirectRecords)
        joined = isinstance(message, Records | DirectRecords)
        if record_prefix(message) != header[:-8]:
            # Bytes behind the fields: a run of its own.
            contents = Packed(content) if joined else [content]
            run = Run(message.subject, message.address, message.sequence, contents)
            (self.drained.direct if direct else self.drained.runs).append(run)
            return None
        known = (direct, joined, message.subject, message.address)
        remember(self._known, header[:-8], known)
        return known

    def _finish(self, opened: OpenRun) -> None:
        if opened.contents:
            (self.drained.direct if opened.direct else self.drained.runs).append(opened.run())
