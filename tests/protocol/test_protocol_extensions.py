"""Trailing blocks: what we add to messages, and what others may put there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_vectors import ADDRESS, OTHER, assert_wire, quick

import protocol
from protocol.extensions import MAGIC, MAX_BLOCK_BYTES

HEAD = protocol.Head("t", ADDRESS, "t", 5)
HEADER = protocol.build(HEAD)[0]
ACKED = b"\3\x08" + (3).to_bytes(8, "big")
AGE = b"\4\x08" + (70_000).to_bytes(8, "big")
STORE = b"\1 " + OTHER.encode()


def _head(trailing: bytes) -> protocol.Message:
    return protocol.parse([HEADER + trailing])


@pytest.mark.parametrize(
    ("message", "block"),
    [
        (protocol.Head("t", ADDRESS, "t", 5, acked=3, age_ms=70_000), ACKED + AGE),
        (protocol.Head("t", ADDRESS, "t", 5, age_ms=70_000), AGE),
        (protocol.Ack(ADDRESS, "t", 5, store=OTHER), STORE),
        (protocol.Fetch(ADDRESS, OTHER, "t", 5, 9, store=OTHER), STORE),
        (
            protocol.DirectHead(ADDRESS, OTHER, "t", 5, earliest=3, store=OTHER),
            b"\2" + ACKED[1:] + STORE,
        ),
        (
            protocol.DirectHead(ADDRESS, OTHER, "t", 5, store=OTHER, bytes=3, deleted=6, age_ms=9),
            STORE
            + (b"\5" + ACKED[1:])
            + (b"\6\x08" + (6).to_bytes(8, "big"))
            + (AGE[:2] + (9).to_bytes(8, "big")),
        ),
        (protocol.Head("t", ADDRESS, "t", 5, acked=3, earliest=3), ACKED + b"\2" + ACKED[1:]),
        (protocol.DirectOffset(ADDRESS, OTHER, "t", 5, 9, store=OTHER), STORE),
    ],
)
def test_extension_stands_behind_the_fields(message: protocol.Message, block: bytes) -> None:
    frames = protocol.build(message)
    assert frames[0].endswith(MAGIC + block)
    assert_wire(message, frames)


def test_zero_is_told_and_none_is_not() -> None:
    told = protocol.Head("t", ADDRESS, "t", 5, acked=0, age_ms=0)
    assert protocol.parse(protocol.build(told)) == told
    assert len(protocol.build(told)[0]) == len(HEADER) + 24


def test_order_of_the_fields_does_not_matter_and_the_last_of_equal_tags_counts() -> None:
    expected = protocol.Head("t", ADDRESS, "t", 5, acked=3, age_ms=70_000)
    other = b"\3\x08" + bytes(8)
    assert _head(MAGIC + AGE + ACKED) == expected
    assert _head(MAGIC + other + AGE + ACKED) == expected


def test_unknown_tags_and_those_of_other_messages_are_skipped() -> None:
    expected = protocol.Head("t", ADDRESS, "t", 5, acked=3)
    assert _head(MAGIC + b"\xee\3abc" + STORE + ACKED + b"\x77\0") == expected
    assert _head(MAGIC) == HEAD


@pytest.mark.parametrize(
    "trailing",
    [
        pytest.param(ACKED, id="no magic"),
        pytest.param(MAGIC[:3], id="half the magic"),
        pytest.param(MAGIC[:3] + b"\2" + ACKED, id="another version of blocks"),
        pytest.param(MAGIC + ACKED[:-1], id="a cut value"),
        pytest.param(MAGIC + ACKED + b"\xee", id="a tag without length"),
        pytest.param(MAGIC + ACKED + b"\xee\2a", id="a cut unknown value"),
        pytest.param(MAGIC + b"\3\x09" + bytes(9), id="a number of nine bytes"),
        pytest.param(MAGIC + b"\3\0" + ACKED, id="a number of no bytes"),
        pytest.param(MAGIC + b"\1\5short" + ACKED, id="an address of five bytes"),
        pytest.param(MAGIC + ACKED + b"\xee\0" * MAX_BLOCK_BYTES, id="a block too long"),
        pytest.param(b"\0" + MAGIC + ACKED, id="a block after other bytes"),
    ],
)
def test_malformed_block_is_as_good_as_none(trailing: bytes) -> None:
    assert _head(trailing) == HEAD


def test_messages_without_extensions_ignore_blocks() -> None:
    for message in (
        protocol.StoreHello(ADDRESS, OTHER),
        protocol.GetHeads("t", OTHER),
        protocol.ConsumerHello(ADDRESS, OTHER, ("t",)),
        protocol.DeleteTopic("t", OTHER),
        protocol.TopicDeleted(ADDRESS, OTHER, "t", 5),
        protocol.GetOffset(ADDRESS, OTHER, "t", 5),
    ):
        (header,) = protocol.build(message)
        assert protocol.parse([header + MAGIC + STORE + ACKED]) == message


@given(st.binary(max_size=60))
@quick
def test_whatever_follows_the_magic_never_is_an_error(rest: bytes) -> None:
    message = _head(MAGIC + rest)
    assert isinstance(message, protocol.Head)
    assert (message.topic, message.address, message.sequence) == ("t", ADDRESS, 5)
