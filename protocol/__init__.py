r"""Dafka's wire: messages to frames and back, useful on its own.

    >>> from protocol import Ack, build, parse
    >>> build(Ack("PRODUCER", "hello", 4))
    [b'KPRODUCER\x00\x01\x05hello\x00\x00\x00\x00\x00\x00\x00\x04']
    >>> parse(_)
    Ack(topic='PRODUCER', subject='hello', sequence=4)

Start at `messages` (what is said), then `grammar` (how it looks on the wire).
"""

from __future__ import annotations

from protocol.codec import (
    around_sequence,
    build,
    parse,
    parse_subscription,
    record_prefix,
    subscription,
)
from protocol.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from protocol.messages import (
    Ack,
    Beacon,
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
    Message,
    NodeBeacon,
    Record,
    Records,
    StoreHello,
    TopicDeleted,
    TowerBeacon,
    Welcome,
)

__all__ = [
    "Ack",
    "Beacon",
    "ConsumerHello",
    "DataMessage",
    "DeleteTopic",
    "DirectHead",
    "DirectOffset",
    "DirectRecord",
    "DirectRecords",
    "Fetch",
    "GetHeads",
    "GetOffset",
    "Head",
    "LocalProtocolError",
    "Message",
    "NodeBeacon",
    "ProtocolError",
    "Record",
    "Records",
    "RemoteProtocolError",
    "StoreHello",
    "TopicDeleted",
    "TowerBeacon",
    "Welcome",
    "around_sequence",
    "build",
    "parse",
    "parse_subscription",
    "record_prefix",
    "subscription",
]
