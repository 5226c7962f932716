"""Turns frames into messages and messages into frames; the only algorithm of this package."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import takewhile
from typing import Any, cast

from construct import ConstructError

from protocol.beacon import BEACON_ID, WELCOME_ID, build_beacon, parse_beacon
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.extensions import MAX_BLOCK_BYTES, build_block, parse_block
from protocol.grammar import KINDS, Kind
from protocol.messages import (
    Ack,
    DirectRecord,
    DirectRecords,
    Message,
    NodeBeacon,
    Record,
    Records,
    TowerBeacon,
    Welcome,
)
from protocol.primitives import InlineTopic

_BY_ID = {kind.id: kind for kind in KINDS}
_BY_TYPE: dict[type, Kind] = {kind.message: kind for kind in KINDS}
_BEACON_PREFIX = {NodeBeacon: BEACON_ID, TowerBeacon: BEACON_ID, Welcome: WELCOME_ID}

SEQUENCE_BYTES = 8
"""The header of records ends with their sequence: so many bytes, big-endian."""


def parse(frames: Sequence[bytes]) -> Message:
    """Return the message these frames are, or raise `RemoteProtocolError`; never anything else.

    Time and memory are bounded by the size of the frames.
    """
    header = frames[0] if frames else b""
    if header[:1] == BEACON_ID:
        return parse_beacon(frames)
    if header == WELCOME_ID:  # a node of the reference accepts surplus frames here
        return Welcome()
    kind = _BY_ID.get(header[:1])
    if kind is None:
        reason = f"no message has the id {header[:1]!r}" if header else "an empty first frame"
        raise RemoteProtocolError(reason, "id")
    _check_frames(kind, len(frames))
    values, end = _parse_header(kind, header)
    trailing = parse_block(header[end : end + MAX_BLOCK_BYTES + 1], kind.extensions)
    content = frames[1:] if kind.contents is None else [_parse_contents(kind, frames[1])]
    message = kind.message(*values, *content, **trailing)
    if reason := _beyond(message):
        raise RemoteProtocolError(reason, "contents", frame=1)
    return message


def _beyond(message: Message) -> str:
    """Return what is wrong where records would have offsets that no record can have."""
    if not isinstance(message, Records | DirectRecords):
        return ""
    count = len(message.contents)
    if message.sequence + count <= 1 << 8 * SEQUENCE_BYTES:
        return ""
    return f"{count} records from {message.sequence} on pass the last sequence there is"


def _check_frames(kind: Kind, number: int) -> None:
    if number < kind.frames:
        raise RemoteProtocolError(f"{kind.name} without content frame", "content", frame=number)
    if number > kind.frames:
        reason = f"{kind.name} of {number} frames instead of {kind.frames}"
        raise RemoteProtocolError(reason, "frames", frame=kind.frames)


def _parse_header(kind: Kind, header: bytes) -> tuple[list[Any], int]:
    """Return the values of the header's fields, and where the last of them ends."""
    stream = BytesIO(header)
    try:
        parsed = kind.header.parse_stream(stream)
    except ConstructError as error:
        raise _remote_error(kind, header, error) from error
    values = [parsed[name] for name in kind.fields]
    return [tuple(v) if isinstance(v, list) else v for v in values], stream.tell()


def _parse_contents(kind: Kind, frame: bytes) -> Any:
    try:
        return kind.contents.parse(frame)
    except ConstructError as error:
        reason = f"{kind.name}: {_reason(error)}"
        raise RemoteProtocolError(reason, "contents", frame=1) from error


def _remote_error(kind: Kind, header: bytes, error: ConstructError) -> RemoteProtocolError:
    """Return the error that names the field that failed and where it begins."""
    name = _field(error)
    stream = BytesIO(header)
    for part in takewhile(lambda part: part.name != name, kind.header.subcons):
        part.parse_stream(stream)
    return RemoteProtocolError(f"{kind.name}: {_reason(error)}", name, stream.tell())


def _field(error: ConstructError) -> str:
    """Return the header's field from a path like `(parsing) -> subjects -> count`."""
    return str(error.path.split(" -> ")[1])


def _reason(error: ConstructError) -> str:
    """Return what went wrong, without the line that tells the path."""
    return str(error).splitlines()[-1]


def build(message: Message) -> list[bytes]:
    """Return the frames of a message, or raise `LocalProtocolError`."""
    kind = _BY_TYPE.get(type(message))
    if kind is not None:
        header = _build_header(kind, message)
        content = [_content(kind, message)] if kind.frames == 2 else []
        if reason := _beyond(message):
            raise LocalProtocolError(reason, "contents", frame=1)
        return [header, *content]
    if isinstance(message, (NodeBeacon, TowerBeacon, Welcome)):
        return build_beacon(message)
    raise LocalProtocolError(f"{type(message).__name__} is not a message", "id")


def _content(kind: Kind, message: Message) -> bytes:
    if kind.contents is not None:
        return _build_contents(kind, cast("Records | DirectRecords", message).contents)
    content = cast("Record | DirectRecord", message).content
    if not isinstance(content, bytes):
        raise LocalProtocolError(f"{type(content).__name__} is not bytes", "content", frame=1)
    return content


def _build_contents(kind: Kind, contents: Any) -> bytes:
    try:
        return bytes(kind.contents.build(contents))
    except ConstructError as error:
        reason = f"{kind.name}: {_reason(error)}"
        raise LocalProtocolError(reason, "contents", frame=1) from error


def _build_header(kind: Kind, message: Message) -> bytes:
    fields = _build_fields(kind, message)
    return fields + _build_extensions(kind, message, len(fields))


def _build_extensions(kind: Kind, message: Message, at: int) -> bytes:
    extensions = [(extension, getattr(message, extension.name)) for extension in kind.extensions]
    return build_block(extensions, at)


def _build_fields(kind: Kind, message: Message) -> bytes:
    stream = BytesIO()
    try:
        kind.header.build_stream({name: getattr(message, name) for name in kind.fields}, stream)
    except ConstructError as error:
        reason = f"{kind.name}: {_reason(error)}"
        raise LocalProtocolError(reason, _field(error), stream.tell()) from error
    return stream.getvalue()


def around_sequence(message: Ack) -> tuple[bytes, bytes]:
    """Return what the frame of an ACK has before its sequence, and what behind it.

    A frame with 8 other bytes in between is the same ACK with another sequence.
    """
    kind = _BY_TYPE[type(message)]
    fields = _build_fields(kind, message)
    return fields[:-SEQUENCE_BYTES], _build_extensions(kind, message, len(fields))


def record_prefix(message: Record | DirectRecord | Records | DirectRecords) -> bytes:
    """Return the header of a record, or of records, without the sequence, the last 8 bytes.

    Of two headers that begin with the same prefix and are 8 bytes longer, both are records
    that differ in sequence (and content) only. This holds for the prefix of a parsed message
    whether or not its own header had trailing bytes; a header had none exactly if its length
    is that of the prefix plus 8.
    """
    return _build_header(_BY_TYPE[type(message)], message)[:-SEQUENCE_BYTES]


def subscription(message_type: type[Message], topic: str = "", *, exact: bool = False) -> bytes:
    """Return the prefix to subscribe to for messages of this type with this inline topic.

    A subscription is a prefix match. `exact` adds the NUL that ends the inline topic, so that
    "metrics" does not match "metrics2". Leave it off for STORE-HELLO and CONSUMER-HELLO: the
    peer reads the address out of these subscriptions. Beacons have no inline topic.
    """
    if message_type in _BEACON_PREFIX:
        if topic or exact:
            raise LocalProtocolError(f"{message_type.__name__} has no inline topic", "topic", 1)
        return _BEACON_PREFIX[message_type]
    try:
        prefix = _BY_TYPE[message_type].id + bytes(InlineTopic.build(topic))
    except KeyError as error:
        raise LocalProtocolError(f"{message_type!r} is not a message type", "id") from error
    except ConstructError as error:
        raise LocalProtocolError(_reason(error), "topic", 1) from error
    return prefix if exact else prefix[:-1]


def parse_subscription(frame: bytes) -> tuple[bool, bytes]:
    """Return whether this frame from an XPUB socket subscribes or unsubscribes, and the prefix."""
    if frame[:1] not in (b"\0", b"\1"):
        raise RemoteProtocolError("neither a subscription nor an unsubscription", "subscription")
    return frame[:1] == b"\1", frame[1:]
