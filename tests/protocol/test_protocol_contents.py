"""Contents in one frame: joined, checked and split as one by one, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_vectors import ADDRESS, assert_wire, load, quick, unhex

import protocol
from protocol.contents import complaint, count_in, lengths_in, pack, split

some = st.lists(st.binary(max_size=9), min_size=1, max_size=9) | st.builds(
    lambda one, n: [one] * n, st.binary(max_size=9), st.integers(1, 9)
)


def test_frame_is_count_lengths_and_contents_in_network_byte_order() -> None:
    frame = b"\0\0\0\2" + b"\0\0\1\0" + b"\0\0\0\1" + b"x" * 257
    assert pack([b"x" * 256, b"x"]) == frame
    assert (count_in(frame), list(lengths_in(frame))) == (2, [256, 1])


@given(some)
@quick
def test_contents_come_back(contents: list[bytes]) -> None:
    frame = pack(contents)
    assert complaint(frame) == ""
    assert split(frame) == contents
    assert frame == b"".join([len(contents).to_bytes(4, "big"), *_table(contents), *contents])


def _table(contents: list[bytes]) -> list[bytes]:
    return [len(content).to_bytes(4, "big") for content in contents]


@given(some, st.integers(0, 60), st.binary(max_size=4))
@quick
def test_no_other_frame_is_sound(contents: list[bytes], at: int, put: bytes) -> None:
    """A frame is sound exactly if what it holds makes the same frame again."""
    frame = pack(contents)
    changed = frame[:at] + put + frame[at + len(put) :]
    longer, shorter = frame + put, frame[: len(frame) - 1 - at % len(frame)]
    for other in (changed, longer, shorter):
        assert (complaint(other) == "") is (_read_slowly(other) is not None)


def _read_slowly(frame: bytes) -> list[bytes] | None:
    count, rest = int.from_bytes(frame[:4], "big"), frame[4:]
    if len(frame) < 4 or not count or 4 * count > len(rest):
        return None
    lengths = [int.from_bytes(rest[4 * i : 4 * i + 4], "big") for i in range(count)]
    rest, found = rest[4 * count :], []
    for length in lengths:
        found.append(rest[:length])
        rest = rest[length:]
    return found if not rest and [*map(len, found)] == lengths else None


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (b"", "a count of 4 bytes is expected, 0 follow"),
        (bytes(4), "0 records, from 1 to 262144 are allowed"),
        (b"\0\0\0\2" + bytes(7), "2 lengths are announced, 7 bytes follow"),
        (b"\0\0\0\1\0\0\0\5four", "5 bytes are announced, 4 follow"),
    ],
)
def test_what_is_wrong_is_told(frame: bytes, told: str) -> None:
    assert complaint(frame) == told
    with pytest.raises(protocol.RemoteProtocolError, match=f"RECORDS: {told}"):
        protocol.parse([protocol.build(_records())[0], frame])


def _records() -> protocol.Records:
    return protocol.Records("t", ADDRESS, "t", 0, (b"x",))


@pytest.mark.parametrize("vector", load("ours.json"), ids=lambda vector: vector["name"])
def test_our_own_messages_stay_as_they_are_on_the_wire(vector: dict) -> None:
    values = dict(vector["message"])
    kind = getattr(protocol, values.pop("type"))
    if "contents" in values:
        values["contents"] = tuple(map(bytes.fromhex, values["contents"]))
    assert_wire(kind(**values), [unhex(frame) for frame in vector["frames"]])
