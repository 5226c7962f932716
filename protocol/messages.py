"""What nodes say to each other, as immutable values. Decides nothing about bytes.

`topic` is always the inline topic: the text the first frame begins with, by which ZeroMQ
routes the message. Depending on the message it is the name of a topic or an address.
`address` is who speaks, or whose record it is; `subject` is the topic the record belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

_LONG_TEXT = 64
_LONG_CONTENT = 32
_MANY_SUBJECTS = 8


def _readable(value: Any) -> str:
    """Return a short `repr`: the beginning and the true size of whatever is long."""
    if isinstance(value, bytes) and len(value) > _LONG_CONTENT:
        return f"{value[:_LONG_CONTENT]!r}… ({len(value)} bytes)"
    if isinstance(value, str) and len(value) > _LONG_TEXT:
        return f"{value[:_LONG_TEXT]!r}… ({len(value)} characters)"
    if isinstance(value, tuple):
        shown = ", ".join(map(_readable, value[:_MANY_SUBJECTS]))
        return f"({shown}{f', … {len(value)} in all' if len(value) > _MANY_SUBJECTS else ''})"
    return repr(value)


class _Readable:
    """Gives messages a `repr` that fits a log line; absent extensions are left out."""

    __slots__ = ()

    def __repr__(self) -> str:
        shown = [(field.name, getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]
        inner = ", ".join(
            f"{name}={_readable(value)}" for name, value in shown if value is not None
        )
        return f"{type(self).__name__}({inner})"


@dataclass(frozen=True, slots=True, repr=False)
class Record(_Readable):
    """A record as it is published. `topic` is the topic's name, whole; `subject` may be cut."""

    topic: str
    address: str
    subject: str
    sequence: int
    content: bytes


@dataclass(frozen=True, slots=True, repr=False)
class DirectRecord(_Readable):
    """A record sent again to the one who fetched it, whose address is `topic`."""

    topic: str
    address: str
    subject: str
    sequence: int
    content: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Fetch(_Readable):
    """A request for records of producer `topic`, from `sequence` on, to be sent to `address`.

    A reference producer sends at most `count` records, a reference store `count` + 1.
    `store` (extension) is the address of the store reader asked to answer; None asks everybody.
    `runs` (extension), 1 if it is there: the answer may come as DIRECT-RECORDS.
    """

    topic: str
    address: str
    subject: str
    sequence: int
    count: int
    store: str | None = None
    runs: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Ack(_Readable):
    """Confirms to producer `topic` that all its records up to `sequence` are stored.

    `store` (extension) is the name of the records of the store that has them, which outlives its
    addresses.
    """

    topic: str
    subject: str
    sequence: int
    store: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Head(_Readable):
    """A living producer's last record is `sequence`.

    `acked` (extension) is the number of its records that are acknowledged, so the offset of
    the first that is not; its presence also promises that the producer answers a FETCH with
    the right contents. `age_ms` (extension) is how long ago the producer started. `earliest`
    (extension) is the offset the partition begins at, where that is not 0.
    """

    topic: str
    address: str
    subject: str
    sequence: int
    acked: int | None = None
    age_ms: int | None = None
    earliest: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class DirectHead(_Readable):
    """The last record a store has of a partition is `sequence`; sent to `topic`, who asked.

    Extensions: `earliest` is the first offset the store still keeps, `store` the name of its
    records (not an address: it outlives them), `bytes` what the partition takes on its disk,
    `age_ms` how long ago its producer started, if the store knows. The records before `deleted`
    were deleted by an operator, for good; if that is all, `earliest` and `deleted` are
    `sequence` + 1.
    """

    topic: str
    address: str
    subject: str
    sequence: int
    earliest: int | None = None
    store: str | None = None
    bytes: int | None = None
    deleted: int | None = None
    age_ms: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class GetHeads(_Readable):
    """`address` asks stores for a DIRECT-HEAD of each partition of `topic`; empty: of all.

    A reference store answers for every topic whose name begins with `topic`.
    """

    topic: str
    address: str


@dataclass(frozen=True, slots=True, repr=False)
class ConsumerHello(_Readable):
    """Consumer `address` tells store `topic` of which topics it needs all records."""

    topic: str
    address: str
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class StoreHello(_Readable):
    """Store `address` tells consumer `topic` that it is there."""

    topic: str
    address: str


@dataclass(frozen=True, slots=True, repr=False)
class DeleteTopic(_Readable):
    """Ours alone: tool `address` asks every store to delete all records of `topic`, for good."""

    topic: str
    address: str


@dataclass(frozen=True, slots=True, repr=False)
class TopicDeleted(_Readable):
    """Ours alone: store `address` tells tool `topic` that it has deleted topic `subject`.

    `sequence` is how many records that were; 0 if it had none of the topic.
    """

    topic: str
    address: str
    subject: str
    sequence: int


@dataclass(frozen=True, slots=True, repr=False)
class GetOffset(_Readable):
    """Ours alone: `address` asks stores where a partition was at a time.

    The partition is that of producer `topic` in topic `subject`. `time_ms` is milliseconds since
    1970, by the clocks of the stores.
    """

    topic: str
    address: str
    subject: str
    time_ms: int


@dataclass(frozen=True, slots=True, repr=False)
class DirectOffset(_Readable):
    """Ours alone: a store's answer to `topic`, who asked by a GET-OFFSET with this `time_ms`.

    No record of partition (`subject`, `address`) before `sequence` arrived at or after that time,
    at the store whose records are named `store`; if none did at all, `sequence` is the next offset.
    """

    topic: str
    address: str
    subject: str
    sequence: int
    time_ms: int
    store: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Records(_Readable):
    """Ours alone: consecutive records, of which the first is `sequence`, as they are published."""

    topic: str
    address: str
    subject: str
    sequence: int
    contents: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, repr=False)
class DirectRecords(_Readable):
    """Ours alone: consecutive records sent again to the one who fetched them, who is `topic`."""

    topic: str
    address: str
    subject: str
    sequence: int
    contents: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, repr=False)
class NodeBeacon(_Readable):
    """A node tells a tower where it listens; an empty `host` means "where this comes from".

    Extensions: what it is, its version, how old it is, and the port where it publishes RECORDS in
    place of RECORD.
    """

    address: str
    host: str
    port: str
    role: str | None = None
    version: str | None = None
    age_ms: int | None = None
    runs_port: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class TowerBeacon(_Readable):
    """A tower tells all nodes where the node `address` listens; extensions as in its beacon."""

    address: str
    endpoint: str
    role: str | None = None
    version: str | None = None
    age_ms: int | None = None
    runs_port: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Welcome(_Readable):
    """A tower greets a new connection; without it a node stays silent."""


DataMessage = (
    Record
    | DirectRecord
    | Fetch
    | Ack
    | Head
    | DirectHead
    | GetHeads
    | ConsumerHello
    | StoreHello
    | DeleteTopic
    | TopicDeleted
    | GetOffset
    | DirectOffset
    | Records
    | DirectRecords
)
"""What nodes say directly to each other."""

Beacon = NodeBeacon | TowerBeacon | Welcome
"""What nodes and towers say to each other."""

Message = DataMessage | Beacon
