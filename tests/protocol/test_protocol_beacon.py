"""Beacons: which is which, and what the reference sends or tolerates."""

from __future__ import annotations

import pytest
from wire_vectors import ADDRESS, assert_wire

import protocol

A = ADDRESS.encode()
NODE = protocol.NodeBeacon(ADDRESS, "", "49152")
TOWER = protocol.TowerBeacon(ADDRESS, "tcp://192.0.2.2:49152")


def test_role_and_version_are_two_more_frames() -> None:
    node = protocol.NodeBeacon(ADDRESS, "host", "1", "store", "0.1.0")
    assert_wire(node, [b"B", A, b"host", b"1", b"store", b"0.1.0"])
    tower = protocol.TowerBeacon(ADDRESS, "tcp://h:1", "store", "0.1.0")
    assert_wire(tower, [b"B", A, b"tcp://h:1", b"store", b"0.1.0"])


def test_what_is_not_told_is_an_empty_frame() -> None:
    beacon = protocol.TowerBeacon(ADDRESS, "tcp://h:1", version="1")
    assert_wire(beacon, [b"B", A, b"tcp://h:1", b"", b"1"])
    assert protocol.parse([b"B", A, b"", b"49152", b"", b""]) == NODE


def test_port_for_runs_stands_behind_the_age_told_or_not() -> None:
    node = protocol.NodeBeacon(ADDRESS, "", "1", "producer", "2", 70, 65_535)
    assert_wire(node, [b"B", A, b"", b"1", b"producer", b"2", b"70", b"65535"])
    tower = protocol.TowerBeacon(ADDRESS, "tcp://h:1", "producer", "2", runs_port=9)
    assert_wire(tower, [b"B", A, b"tcp://h:1", b"producer", b"2", b"", b"9"])


@pytest.mark.parametrize("port", [b"", b"0", b"65536", b"-1", b"x", b"1" * 9, b"\xb2"])
def test_what_is_no_port_for_runs_is_not_told(port: bytes) -> None:
    told = protocol.NodeBeacon(ADDRESS, "", "49152", "producer", "2", 70)
    assert protocol.parse([*protocol.build(told), port]) == told


def test_scheme_in_the_third_frame_makes_a_tower_beacon() -> None:
    frames = [b"B", A, b"tcp://192.0.2.2:49152"]
    assert protocol.parse(frames) == TOWER
    assert protocol.parse([*frames, b"surplus"]) == TOWER
    assert protocol.parse([b"B", A, b"192.0.2.2", b"49152"]) == protocol.NodeBeacon(
        ADDRESS, "192.0.2.2", "49152"
    )


def test_surplus_frames_that_tell_nothing_are_ignored() -> None:
    frames = protocol.build(NODE)
    assert protocol.parse([*frames, b"surplus"]) == NODE
    assert protocol.parse([*frames, b"x" * 256, b"x" * 256]) == NODE
    told = protocol.NodeBeacon(ADDRESS, "", "49152", "store", "1")
    assert protocol.parse([*frames, b"store", b"1", b"surplus"]) == told


def test_welcome_may_have_surplus_frames() -> None:
    assert protocol.parse([b"W", b"surplus"]) == protocol.Welcome()


def test_address_and_port_are_not_looked_at() -> None:
    assert_wire(protocol.NodeBeacon("x" * 300, "", "-1"), [b"B", b"x" * 300, b"", b"-1"])
    assert_wire(protocol.NodeBeacon("\udcff", "", ""), [b"B", b"\xff", b"", b""])


@pytest.mark.parametrize(
    ("frames", "field", "frame"),
    [
        ([b"B"], "address", 1),
        ([b"B", A], "host", 2),
        ([b"B", A, b"192.0.2.2"], "port", 3),
        ([b"Bx", A, b"", b"1"], "id", 0),
        ([b"B", b"x" * 65_537, b"", b"1"], "address", 1),
        ([b"B", A, b"tcp://" + b"x" * 65_537], "endpoint", 2),
        ([b"B", A, b"x" * 65_537 + b"://", b"1"], "host", 2),
    ],
)
def test_beacon_that_lacks_something_is_refused(
    frames: list[bytes], field: str, frame: int
) -> None:
    with pytest.raises(protocol.RemoteProtocolError) as caught:
        protocol.parse(frames)
    assert (caught.value.field, caught.value.frame) == (field, frame)


@pytest.mark.parametrize(
    ("beacon", "field", "frame"),
    [
        (protocol.NodeBeacon(ADDRESS, "tcp://h", "1"), "host", 2),
        (protocol.TowerBeacon(ADDRESS, "h:1"), "endpoint", 2),
        (protocol.NodeBeacon("x" * 65_537, "", "1"), "address", 1),
        (protocol.NodeBeacon(ADDRESS, "", 49152), "port", 3),  # type: ignore[arg-type]
        (protocol.NodeBeacon(ADDRESS, "", "1", role=""), "role", 4),
        (protocol.TowerBeacon(ADDRESS, "tcp://h:1", version="x" * 256), "version", 4),
        (protocol.NodeBeacon(ADDRESS, "", "1", runs_port=0), "runs_port", 7),
        (protocol.TowerBeacon(ADDRESS, "tcp://h:1", runs_port=65_536), "runs_port", 6),
        (protocol.TowerBeacon(ADDRESS, "tcp://h:1", age_ms=-1), "age_ms", 5),
    ],
)
def test_beacon_that_would_be_misread_is_our_own_fault(
    beacon: protocol.Message, field: str, frame: int
) -> None:
    with pytest.raises(protocol.LocalProtocolError) as caught:
        protocol.build(beacon)
    assert (caught.value.field, caught.value.frame) == (field, frame)
