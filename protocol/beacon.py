"""The messages by which nodes find each other: one text in each frame, no header.

Beacons and data messages never travel on the same socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from construct import StringError

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.messages import Beacon, NodeBeacon, TowerBeacon, Welcome
from protocol.primitives import MAX_STRING_BYTES, MAX_TEXT_BYTES, decode_text, encode_text

BEACON_ID = b"B"
WELCOME_ID = b"W"

# node-beacon  = %s"B", address, host, port     [, role, version [, age [, runs-port]]]
# tower-beacon = %s"B", address, endpoint       [, role, version [, age [, runs-port]]]
# welcome      = %s"W"
#
# address      = *OCTET
# host         = *OCTET                    ; without "://", which tells the two apart
# port         = *OCTET                    ; decimal digits, if the node is sane
# endpoint     = *OCTET "://" *OCTET
# role         = *255OCTET                 ; extensions: they let towers and tools list nodes,
# version      = *255OCTET                 ; an empty frame stands for "not told"
# age          = 1*20DIGIT                 ; extension: milliseconds since the node's start, so
#                                          ; that a consumer can tell new producers from old ones
# runs-port    = 1*5DIGIT                  ; extension: where on the same host the node publishes
#                                          ; RECORDS in place of RECORD
NODE_FIELDS = ("address", "host", "port")
TOWER_FIELDS = ("address", "endpoint")
EXTENSION_FIELDS = ("role", "version")
MAX_AGE = 10**20 - 1
MAX_PORT = 65_535

_SCHEME = "://"


def parse_beacon(frames: Sequence[bytes]) -> NodeBeacon | TowerBeacon:
    """Return the beacon; surplus frames that are no extensions are ignored."""
    if frames[0] != BEACON_ID:
        raise RemoteProtocolError("a beacon begins with the frame 'B' alone", "id", 1)
    is_tower = len(frames) > 2 and _SCHEME.encode() in frames[2][:MAX_TEXT_BYTES]
    names = TOWER_FIELDS if is_tower else NODE_FIELDS
    if len(frames) <= len(names):
        missing = names[len(frames) - 1]
        reason = f"a beacon of {len(frames)} frames that has no port, nor an endpoint with '://'"
        raise RemoteProtocolError(reason, missing, frame=len(frames))
    values: list[Any] = [_parse_text(frames[i], name, i) for i, name in enumerate(names, start=1)]
    values += _parse_extensions(frames[1 + len(names) :])
    return TowerBeacon(*values) if is_tower else NodeBeacon(*values)


def _parse_text(frame: bytes, name: str, number: int) -> str:
    if len(frame) > MAX_TEXT_BYTES:
        reason = f"a text of {len(frame)} bytes, at most {MAX_TEXT_BYTES} are allowed"
        raise RemoteProtocolError(reason, name, frame=number)
    return decode_text(frame)


def _parse_extensions(surplus: Sequence[bytes]) -> list[Any]:
    texts = len(EXTENSION_FIELDS)
    if len(surplus) < texts:
        return []
    return [
        *(
            decode_text(frame) if 0 < len(frame) <= MAX_STRING_BYTES else None
            for frame in surplus[:texts]
        ),
        *(_number(frame, MAX_AGE) for frame in surplus[texts : texts + 1]),
        *(_number(frame, MAX_PORT) or None for frame in surplus[texts + 1 : texts + 2]),
    ]


def _number(frame: bytes, largest: int) -> int | None:
    if len(frame) > len(str(largest)) or not frame.isdigit():
        return None
    number = int(frame)
    return number if number <= largest else None


def build_beacon(message: Beacon) -> list[bytes]:
    """Return the frames of a beacon, or of a welcome."""
    if isinstance(message, Welcome):
        return [WELCOME_ID]
    is_tower = isinstance(message, TowerBeacon)
    frames = [BEACON_ID]
    for name in TOWER_FIELDS if is_tower else NODE_FIELDS:
        frames.append(_build_text(getattr(message, name), name, MAX_TEXT_BYTES, len(frames)))
    if (_SCHEME.encode() in frames[2]) is not is_tower:
        reason = f"a tower's endpoint contains {_SCHEME!r}, a node's host does not"
        raise LocalProtocolError(reason, "endpoint" if is_tower else "host", frame=2)
    told = (message.role, message.version, message.age_ms, message.runs_port)
    if any(value is not None for value in told):
        for name in EXTENSION_FIELDS:
            frames.append(_build_extension(getattr(message, name), name, len(frames)))
    if any(value is not None for value in told[2:]):
        frames.append(_build_age(message.age_ms, len(frames)))
    if message.runs_port is not None:
        frames.append(_build_port(message.runs_port, len(frames)))
    return frames


def _build_age(value: int | None, number: int) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, int) or not 0 <= value <= MAX_AGE:
        raise LocalProtocolError(f"{value!r} is no number of milliseconds", "age_ms", frame=number)
    return b"%d" % value


def _build_port(value: int, number: int) -> bytes:
    if not isinstance(value, int) or not 0 < value <= MAX_PORT:
        raise LocalProtocolError(f"{value!r} is no port", "runs_port", frame=number)
    return b"%d" % value


def _build_extension(value: str | None, name: str, number: int) -> bytes:
    if value == "":
        raise LocalProtocolError("an empty text cannot be told from None", name, frame=number)
    return _build_text(value or "", name, MAX_STRING_BYTES, number)


def _build_text(value: str, name: str, limit: int, number: int) -> bytes:
    try:
        return encode_text(value, limit)
    except StringError as error:
        raise LocalProtocolError(str(error), name, frame=number) from error
