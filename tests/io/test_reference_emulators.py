"""The emulators themselves, against what was recorded of the reference: bytes, and its faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import reference_wire as wire
from tests.support.reference_producer import UnacknowledgedList
from tests.support.reference_stage import values

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "vectors.json").read_text())

BUILDERS: dict[str, Callable[[dict[str, Any], bytes], list[bytes]]] = {
    "RECORD": lambda m, content: wire.record(m["topic"], m["address"], m["sequence"], content),
    "DIRECT-RECORD": lambda m, content: wire.direct_record(
        m["topic"], m["address"], m["subject"], m["sequence"], content
    ),
    "FETCH": lambda m, _: wire.fetch(
        m["topic"], m["address"], m["subject"], m["sequence"], m["count"]
    ),
    "ACK": lambda m, _: wire.ack(m["topic"], m["subject"], m["sequence"]),
    "HEAD": lambda m, _: wire.head(m["topic"], m["address"], m["sequence"]),
    "DIRECT-HEAD": lambda m, _: wire.direct_head(
        m["topic"], m["address"], m["subject"], m["sequence"]
    ),
    "GET-HEADS": lambda m, _: wire.get_heads(m["topic"], m["address"]),
    "CONSUMER-HELLO": lambda m, _: wire.consumer_hello(
        m["topic"], m["address"], tuple(m["subjects"])
    ),
    "STORE-HELLO": lambda m, _: wire.store_hello(m["topic"], m["address"]),
    "NODE-BEACON": lambda m, _: wire.node_beacon(m["address"], m["port"], m["host"]),
    "TOWER-BEACON": lambda m, _: wire.tower_beacon(m["address"], m["endpoint"]),
}


def octets(frame: str | dict[str, Any]) -> bytes:
    if isinstance(frame, str):
        return bytes.fromhex(frame)
    return bytes.fromhex(frame["repeat_hex"]) * frame["times"]


def ordinary(vector: dict[str, Any]) -> bool:
    """What an emulator can send: it has no topic that the reference would have to cut."""
    message = vector["message"]
    cut = message["type"] in ("RECORD", "HEAD") and message["subject"] != message["topic"]
    return message["type"] in BUILDERS and not cut


@pytest.mark.parametrize("vector", list(filter(ordinary, VECTORS)), ids=lambda v: v["name"])
def test_emulators_send_the_bytes_of_the_reference(vector: dict[str, Any]) -> None:
    message, frames = vector["message"], [octets(frame) for frame in vector["frames"]]
    content = octets(message["content"]) if "content" in message else b""
    assert BUILDERS[message["type"]](message, content) == frames
    if "BEACON" not in message["type"]:
        seen = wire.read(frames)
        assert (seen.topic, seen.trailing, seen.content) == (message["topic"], b"", content)
        for name in ("address", "subject", "sequence", "count"):
            assert getattr(seen, name) == message.get(name, getattr(wire.Seen("", ""), name))


def test_answers_are_right_while_nothing_is_acknowledged_up_to_256() -> None:
    unacknowledged = UnacknowledgedList()
    for content in values(600):
        unacknowledged.append(content)
    assert [unacknowledged.get(n) for n in range(256)] == values(256)
    assert unacknowledged.get(256) == b"value 0"
    assert unacknowledged.get(599) == b"value 87"
    unacknowledged.acknowledge(255)
    assert [unacknowledged.get(n) for n in (256, 257, 258)] == values(3)


def test_answers_after_an_acknowledgement_as_in_the_trace_of_a_producer() -> None:
    unacknowledged = UnacknowledgedList()
    for content in values(10):
        unacknowledged.append(content)
    unacknowledged.acknowledge(4)
    assert [unacknowledged.get(n) for n in (5, 6, 7)] == values(3)
    unacknowledged.append(b"value 10")
    assert [unacknowledged.get(n) for n in range(5, 11)] == [*values(5), b"value 10"]
    unacknowledged.acknowledge(2)
    assert unacknowledged.get(6) == b"value 1"
    unacknowledged.acknowledge(7)
    assert unacknowledged.get(8) == b"value 0"
    unacknowledged.acknowledge(1000)
    assert (unacknowledged.begin, unacknowledged.append(b"value 11")) == (11, 11)
    assert unacknowledged.get(11) == b"value 11"
