"""The reference implementation's frames, and how to compare them with ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

import protocol

VECTORS = Path(__file__).parents[1] / "vectors"

quick = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
"""Hypothesis settings that do not depend on how busy the machine is."""

ADDRESS = "0123456789ABCDEF0123456789ABCDEF"
OTHER = "FEDCBA9876543210FEDCBA9876543210"

TYPES: dict[str, type[protocol.Message]] = {
    "RECORD": protocol.Record,
    "DIRECT-RECORD": protocol.DirectRecord,
    "FETCH": protocol.Fetch,
    "ACK": protocol.Ack,
    "HEAD": protocol.Head,
    "DIRECT-HEAD": protocol.DirectHead,
    "GET-HEADS": protocol.GetHeads,
    "CONSUMER-HELLO": protocol.ConsumerHello,
    "STORE-HELLO": protocol.StoreHello,
    "NODE-BEACON": protocol.NodeBeacon,
    "TOWER-BEACON": protocol.TowerBeacon,
    "WELCOME": protocol.Welcome,
}


def load(name: str) -> Any:
    """Return what a JSON file of vectors holds."""
    return json.loads((VECTORS / name).read_text("utf-8"))


def unhex(blob: str | dict[str, Any]) -> bytes:
    """Return the bytes of a frame or content as the vectors write it."""
    if isinstance(blob, str):
        return bytes.fromhex(blob)
    repeated: bytes = bytes.fromhex(blob["repeat_hex"]) * blob["times"]
    return repeated


def message_of(decoded: dict[str, Any]) -> protocol.Message:
    """Return our message for the decoded form of a vector or of a session's event."""
    values = dict(decoded)
    message_type = TYPES[values.pop("type")]
    values.pop("version", None)
    values.pop("content_length", None)
    if "content" in values:
        values["content"] = unhex(values["content"])
    if "content_text" in values:
        values["content"] = values.pop("content_text").encode()
    if "subjects" in values:
        values["subjects"] = tuple(values["subjects"])
    return message_type(**values)


def assert_wire(message: protocol.Message, frames: list[bytes]) -> None:
    """Check that these frames are this message, both ways."""
    assert protocol.parse(frames) == message
    assert protocol.build(message) == frames
