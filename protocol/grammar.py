"""The header of every data message, in the order of the protocol's table of messages.

Declarations only: `codec` reads and writes frames by them. The ABNF above each is the rule it
declares; `topic`, `version`, `string` and so on are those of `primitives`, `contents` that of
`contents`, and `[block]` is the trailing block of `extensions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from construct import Const, Struct

from protocol.contents import Contents
from protocol.extensions import ACKED, AGE, BYTES, DELETED, EARLIEST, RUNS, STORE, Extension
from protocol.messages import (
    Ack,
    ConsumerHello,
    DataMessage,
    DeleteTopic,
    DirectHead,
    DirectOffset,
    DirectRecord,
    DirectRecords,
    Fetch,
    GetHeads,
    GetOffset,
    Head,
    Record,
    Records,
    StoreHello,
    TopicDeleted,
)
from protocol.primitives import InlineTopic, Number4, Number8, String, Subjects, Version

# address  = string     ; who published the record, or who speaks: 32 upper-case hex digits
# subject  = string     ; the topic a record belongs to
# sequence = number-8   ; the record's offset in its partition
# count    = number-4
# content  = *OCTET     ; a frame of its own
# time     = number-8   ; milliseconds since 1970

# record = %s"M" topic version address subject sequence, content
RecordHeader = Struct(
    "id" / Const(b"M"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
    "subject" / String,
    "sequence" / Number8,
)

# direct-record = %s"D" topic version address subject sequence, content
DirectRecordHeader = Struct(
    "id" / Const(b"D"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
    "subject" / String,
    "sequence" / Number8,
)

# fetch = %s"F" topic version address subject sequence count [block]
FetchHeader = Struct(
    "id" / Const(b"F"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
    "subject" / String,
    "sequence" / Number8,
    "count" / Number4,
)

# ack = %s"K" topic version subject sequence [block]
AckHeader = Struct(
    "id" / Const(b"K"),
    "topic" / InlineTopic,
    "version" / Version,
    "subject" / String,
    "sequence" / Number8,
)

# head = %s"H" topic version address subject sequence [block]
HeadHeader = Struct(
    "id" / Const(b"H"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
    "subject" / String,
    "sequence" / Number8,
)

# direct-head = %s"E" topic version address subject sequence [block]
DirectHeadHeader = Struct(
    "id" / Const(b"E"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
    "subject" / String,
    "sequence" / Number8,
)

# get-heads = %s"G" topic version address
GetHeadsHeader = Struct(
    "id" / Const(b"G"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
)

# consumer-hello = %s"W" topic version address subjects
ConsumerHelloHeader = Struct(
    "id" / Const(b"W"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
    "subjects" / Subjects,
)

# store-hello = %s"L" topic version address
StoreHelloHeader = Struct(
    "id" / Const(b"L"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
)

# The messages below are ours alone. Reference nodes never see them: they do not subscribe to them.

# delete-topic = %s"X" topic version address
DeleteTopicHeader = Struct(
    "id" / Const(b"X"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
)

# topic-deleted = %s"Y" topic version address subject sequence
TopicDeletedHeader = Struct(
    "id" / Const(b"Y"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
    "subject" / String,
    "sequence" / Number8,
)

# get-offset = %s"T" topic version address subject time
GetOffsetHeader = Struct(
    "id" / Const(b"T"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
    "subject" / String,
    "time_ms" / Number8,
)

# direct-offset = %s"O" topic version address subject sequence time [block]
DirectOffsetHeader = Struct(
    "id" / Const(b"O"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
    "subject" / String,
    "sequence" / Number8,
    "time_ms" / Number8,
)

# records = %s"R" topic version address subject sequence, contents
RecordsHeader = Struct(
    "id" / Const(b"R"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
    "subject" / String,
    "sequence" / Number8,
)

# Its id comes before that of STORE-HELLO: ZeroMQ subscribes in that order, and so the hello proves
# that this subscription has arrived.
# direct-records = %s"J" topic version address subject sequence, contents
DirectRecordsHeader = Struct(
    "id" / Const(b"J"),
    "topic" / InlineTopic,
    "version" / Version,
    "address" / String,
    "subject" / String,
    "sequence" / Number8,
)


@dataclass(frozen=True)
class Kind:
    """All that is known about one kind of data message."""

    id: bytes
    name: str
    message: type[DataMessage]
    header: Any
    route: str
    extensions: tuple[Extension, ...] = ()
    contents: Any = None
    """What the second frame is, where it is not the content of one record."""

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of the header's variable fields, which are the message's first ones."""
        return tuple(part.name for part in self.header.subcons if part.name not in _CONSTANT)

    @cached_property
    def frames(self) -> int:
        """How many frames the message has."""
        content = self.contents or "content" in self.message.__dataclass_fields__
        return 2 if content else 1


_CONSTANT = ("id", "version")

KINDS = (
    Kind(b"M", "RECORD", Record, RecordHeader, "producer to consumers and store writers"),
    Kind(
        b"D",
        "DIRECT-RECORD",
        DirectRecord,
        DirectRecordHeader,
        "producer or store reader to who fetched it",
    ),
    Kind(
        b"F",
        "FETCH",
        Fetch,
        FetchHeader,
        "consumer or store writer to producer and store readers",
        (STORE, RUNS),
    ),
    Kind(b"K", "ACK", Ack, AckHeader, "store writer to producer", (STORE,)),
    Kind(
        b"H",
        "HEAD",
        Head,
        HeadHeader,
        "producer to consumers and store writers",
        (ACKED, AGE, EARLIEST),
    ),
    Kind(
        b"E",
        "DIRECT-HEAD",
        DirectHead,
        DirectHeadHeader,
        "store reader to who asked",
        (EARLIEST, STORE, BYTES, DELETED, AGE),
    ),
    Kind(b"G", "GET-HEADS", GetHeads, GetHeadsHeader, "who wants heads to store readers"),
    Kind(
        b"W",
        "CONSUMER-HELLO",
        ConsumerHello,
        ConsumerHelloHeader,
        "consumer to one store reader",
    ),
    Kind(b"L", "STORE-HELLO", StoreHello, StoreHelloHeader, "store reader to one consumer"),
    Kind(b"X", "DELETE-TOPIC", DeleteTopic, DeleteTopicHeader, "operator's tool to store readers"),
    Kind(
        b"Y",
        "TOPIC-DELETED",
        TopicDeleted,
        TopicDeletedHeader,
        "store reader to the operator's tool",
    ),
    Kind(b"T", "GET-OFFSET", GetOffset, GetOffsetHeader, "consumer to store readers"),
    Kind(
        b"O",
        "DIRECT-OFFSET",
        DirectOffset,
        DirectOffsetHeader,
        "store reader to who asked",
        (STORE,),
    ),
    Kind(
        b"R",
        "RECORDS",
        Records,
        RecordsHeader,
        "producer to consumers and store writers",
        contents=Contents,
    ),
    Kind(
        b"J",
        "DIRECT-RECORDS",
        DirectRecords,
        DirectRecordsHeader,
        "producer or store reader to who fetched them",
        contents=Contents,
    ),
)
