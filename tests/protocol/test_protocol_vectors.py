"""Our frames and those of the reference implementation are the same."""

from __future__ import annotations

from typing import Any

import pytest
from wire_vectors import TYPES, assert_wire, load, message_of, unhex

import protocol

_SESSIONS = load("sessions.json")


@pytest.mark.parametrize("vector", load("vectors.json"), ids=lambda vector: vector["name"])
def test_vector_is_read_and_written_byte_for_byte(vector: dict[str, Any]) -> None:
    assert_wire(message_of(vector["message"]), [unhex(frame) for frame in vector["frames"]])


def test_vectors_cover_every_message() -> None:
    assert {vector["message"]["type"] for vector in load("vectors.json")} == set(TYPES)


@pytest.mark.parametrize("session", _SESSIONS["sessions"], ids=lambda session: session["name"])
def test_session_is_read_and_written_byte_for_byte(session: dict[str, Any]) -> None:
    events = [e for e in session["events"] if "frames" in e and not e.get("malformed")]
    assert events
    for event in events:
        assert_wire(message_of(event["message"]), [unhex(frame) for frame in event["frames"]])


# What the probes sent ill formed on purpose: trailing bytes are read by everybody, the reference
# reads the rest in ways that depend on what it has read before, and we refuse it.
_READABLE = ("trailing",)


def _probes() -> list[Any]:
    probes, note = [], ""
    for session in _SESSIONS["sessions"]:
        for event in session["events"]:
            note = event.get("note", note)
            if event.get("malformed"):
                probes.append(pytest.param(event, id=note.removeprefix("probe: ")))
    return probes


def _is_readable(note: str) -> bool:
    return any(word in note for word in _READABLE)


@pytest.mark.parametrize("event", [p for p in _probes() if _is_readable(str(p.id))])
def test_probe_with_trailing_bytes_is_read_without_them(event: dict[str, Any]) -> None:
    frames = [unhex(frame) for frame in event["frames"]]
    message = protocol.parse(frames)
    rebuilt = protocol.build(message)
    assert rebuilt[1:] == frames[1:]
    assert frames[0].startswith(rebuilt[0])
    assert len(frames[0]) > len(rebuilt[0])


@pytest.mark.parametrize("event", [p for p in _probes() if not _is_readable(str(p.id))])
def test_probe_that_lacks_or_adds_something_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(protocol.RemoteProtocolError):
        protocol.parse([unhex(frame) for frame in event["frames"]])


def test_probes_are_all_looked_at() -> None:
    assert len(_probes()) == 33
    assert sum(_is_readable(str(p.id)) for p in _probes()) == 12


_PREFIX_TYPES = {
    b"M": protocol.Record,
    b"D": protocol.DirectRecord,
    b"F": protocol.Fetch,
    b"K": protocol.Ack,
    b"H": protocol.Head,
    b"E": protocol.DirectHead,
    b"G": protocol.GetHeads,
    b"L": protocol.StoreHello,
}


@pytest.mark.parametrize("row", _SESSIONS["subscriptions"], ids=lambda row: row["role"])
def test_role_subscribes_as_the_reference_does(row: dict[str, Any]) -> None:
    towards_tower = "tower" in row["role"]
    tower_types = {b"B": protocol.TowerBeacon, b"W": protocol.Welcome}
    data_types = {**_PREFIX_TYPES, b"W": protocol.ConsumerHello}
    types: dict[bytes, type[protocol.Message]] = tower_types if towards_tower else data_types
    for text, prefix in zip(row["example"], map(bytes.fromhex, row["example_hex"]), strict=True):
        assert protocol.subscription(types[prefix[:1]], text[1:]) == prefix


def test_every_subscription_of_a_session_is_read() -> None:
    for session in _SESSIONS["sessions"]:
        for event in session["events"]:
            if event.get("event") in ("subscribe", "unsubscribe"):
                prefix = bytes.fromhex(event["prefix_hex"])
                subscribes = event["event"] == "subscribe"
                frame = (b"\1" if subscribes else b"\0") + prefix
                assert protocol.parse_subscription(frame) == (subscribes, prefix)
