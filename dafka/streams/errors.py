"""What stops a stream application, and what is to be done about a record that code fails at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dafka.errors import DafkaError


class StreamError(DafkaError):
    """A stream application cannot go on: its code failed at a record, or its state is unusable."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Send records that code fails at to this topic, with the reason, and go on.

    A dead letter is JSON: operator, topic, partition, offset, error, and the record's content as
    `text`, or as `base64` if it is not UTF-8.
    """

    topic: str


OnError = Literal["stop", "skip"] | DeadLetter
"""What to do about a record that code fails at: stop (nothing of it is kept, and the next start
meets it again), skip it, counted and logged, or send it to a dead-letter topic."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An operator's code failed at a record."""

    operator: str
    error: Exception
    topic: str = ""
    partition: str = ""
    offset: int = -1
    content: bytes | None = None
    """None: there is none, or another worker has read it."""

    def __str__(self) -> str:
        where = (
            f"at topic {self.topic} partition {self.partition} offset {self.offset}"
            if self.topic
            else "at a result of earlier operators"
        )
        reason = str(self.error)
        kind = type(self.error).__name__
        return f"operator {self.operator} failed {where}: {kind}{': ' if reason else ''}{reason}"
