"""Frames to messages and back: what holds for all messages, and what is refused where."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from wire_vectors import ADDRESS, OTHER, assert_wire, quick

import protocol
from protocol.grammar import KINDS
from protocol.strategies import arbitrary_frames, frames, messages, mutated_frames, records, runs

ACK = b"K" + ADDRESS.encode() + b"\0\1\5hello" + bytes(8)
ONE, TWO = b"\0\0\0\1\0\0\0\1x", b"\0\0\0\2" + bytes(8)
RUN = b"Rhello\0\1\2AB\5hello" + bytes(8)
RECORD = b"Mhello\0\1\2AB\5hello" + bytes(8)


@given(messages())
@quick
def test_every_message_comes_back_from_its_frames(message: protocol.Message) -> None:
    assert_wire(message, protocol.build(message))


@given(arbitrary_frames())
@quick
def test_arbitrary_frames_are_a_message_or_an_error(sent: list[bytes]) -> None:
    _assert_message_or_error(sent)


@pytest.mark.no_cover
@given(mutated_frames())
@quick
def test_damaged_frames_are_a_message_or_an_error(sent: list[bytes]) -> None:
    _assert_message_or_error(sent)


def _assert_message_or_error(sent: list[bytes]) -> None:
    try:
        result: protocol.Message | protocol.ProtocolError = protocol.parse(sent)
    except protocol.RemoteProtocolError as error:
        result = error
    if isinstance(result, protocol.ProtocolError):
        assert 0 <= result.frame <= len(sent)
        assert 0 <= result.position <= max(map(len, sent), default=0) + 1
        assert result.field in str(result)
    else:
        assert protocol.parse(protocol.build(result)) == result
        assert repr(result)


@given(frames().filter(lambda sent: sent[0][:1] not in b"BW"), st.binary(max_size=40))
@quick
def test_trailing_bytes_change_nothing(sent: list[bytes], trailing: bytes) -> None:
    assume(not trailing.startswith(b"\xda"))
    message = protocol.parse(sent)
    bare = _without_extensions(message)
    header = protocol.build(bare)[0]
    assert protocol.parse([header + trailing, *sent[1:]]) == bare


def _without_extensions(message: protocol.Message) -> protocol.Message:
    names = [extension.name for kind in KINDS for extension in kind.extensions]
    values = {name: getattr(message, name) for name in message.__dataclass_fields__}
    return type(message)(**{name: v for name, v in values.items() if name not in names})


@given(runs(), st.integers(0, 2**64 - 8))
@quick
def test_headers_with_the_prefix_of_a_run_differ_in_sequence_only(
    run: protocol.Records, first: int
) -> None:
    header, contents = protocol.build(run)
    prefix = protocol.record_prefix(run)
    assert header[:-8] == prefix
    other = protocol.parse([prefix + first.to_bytes(8, "big"), contents])
    assert other == dataclasses.replace(run, sequence=first)


@given(records(), st.binary(min_size=8, max_size=8))
@quick
def test_headers_with_the_prefix_of_a_record_differ_in_sequence_only(
    record: protocol.Record, last: bytes
) -> None:
    header = protocol.build(record)[0]
    other = protocol.parse([header[:-8] + last, record.content])
    values = {name: getattr(record, name) for name in record.__dataclass_fields__}
    assert other == type(record)(**{**values, "sequence": int.from_bytes(last, "big")})


@given(records(), st.binary(max_size=20))
@quick
def test_prefix_plus_eight_bytes_is_the_header_exactly_if_nothing_trails(
    record: protocol.Record, trailing: bytes
) -> None:
    header = protocol.build(record)[0] + trailing
    parsed = protocol.parse([header, b""])
    assert isinstance(parsed, type(record))
    prefix = protocol.record_prefix(parsed)
    assert header.startswith(prefix)
    assert (len(prefix) + 8 == len(header)) is (trailing == b"")


def test_subject_cut_inside_a_character_is_sent_back_byte_for_byte() -> None:
    header = b"Mgr\xc3\xb6\0\1\2AB\3gr\xc3" + bytes(8)
    message = protocol.parse([header, b""])
    assert message == protocol.Record("grö", "AB", "gr\udcc3", 0, b"")
    assert protocol.build(message) == [header, b""]


def test_inline_topic_may_be_longer_than_a_subject() -> None:
    message = protocol.GetHeads("x" * 65_536, ADDRESS)
    assert_wire(message, [b"G" + b"x" * 65_536 + b"\0\1 " + ADDRESS.encode()])


@pytest.mark.parametrize(
    ("sent", "field", "frame", "position"),
    [
        pytest.param([], "id", 0, 0, id="no frame"),
        pytest.param([b""], "id", 0, 0, id="an empty frame"),
        pytest.param([b"Z" + ACK[1:]], "id", 0, 0, id="an unknown id"),
        pytest.param([b"K" + b"A" * 32], "topic", 0, 1, id="a topic without end"),
        pytest.param([b"K" + b"A" * 65_537 + ACK[33:]], "topic", 0, 1, id="an endless topic"),
        pytest.param([ACK[:34]], "version", 0, 34, id="no version"),
        pytest.param([ACK[:34] + b"\2" + ACK[35:]], "version", 0, 34, id="version 2"),
        pytest.param([ACK[:38]], "subject", 0, 35, id="a cut subject"),
        pytest.param([ACK[:-1]], "sequence", 0, 41, id="a cut sequence"),
        pytest.param([ACK.replace(b"hello", b"he\0lo")], "subject", 0, 35, id="a NUL in a subject"),
        pytest.param(
            [RECORD.replace(b"AB", b"A\0"), b""], "address", 0, 8, id="a NUL in an address"
        ),
        pytest.param([ACK, b""], "frames", 1, 0, id="a surplus frame"),
        pytest.param([RECORD], "content", 1, 0, id="a record without content"),
        pytest.param([RECORD, b"", b""], "frames", 2, 0, id="a record with surplus frame"),
        pytest.param([RUN], "content", 1, 0, id="records without contents"),
        pytest.param([RUN, ONE, b""], "frames", 2, 0, id="records with surplus frame"),
        pytest.param([RUN, b""], "contents", 1, 0, id="records in an empty frame"),
        pytest.param([RUN, bytes(4)], "contents", 1, 0, id="no records"),
        pytest.param([RUN, b"\0\4\0\1" + bytes(4 << 18)], "contents", 1, 0, id="too many records"),
        pytest.param([RUN, ONE[:7]], "contents", 1, 0, id="a cut length"),
        pytest.param([RUN, ONE[:-1]], "contents", 1, 0, id="a cut content"),
        pytest.param([RUN, ONE + b"x"], "contents", 1, 0, id="surplus behind the contents"),
        pytest.param([RUN[:-8] + b"\xff" * 8, TWO], "contents", 1, 0, id="past the last sequence"),
    ],
)
def test_error_names_the_field_and_where_it_begins(
    sent: list[bytes], field: str, frame: int, position: int
) -> None:
    with pytest.raises(protocol.RemoteProtocolError) as caught:
        protocol.parse(sent)
    assert (caught.value.field, caught.value.frame, caught.value.position) == (
        field,
        frame,
        position,
    )
    assert str(caught.value).endswith(f"(field {field}, byte {position} of frame {frame})")


_LONG = "x" * 256


@pytest.mark.parametrize(
    ("message", "field", "position"),
    [
        (protocol.Ack("a\0b", "s", 0), "topic", 1),
        (protocol.Ack("x" * 65_537, "s", 0), "topic", 1),
        (protocol.Ack(None, "s", 0), "topic", 1),  # type: ignore[arg-type]
        (protocol.Ack("\ud800", "s", 0), "topic", 1),
        (protocol.Ack("a", _LONG, 0), "subject", 4),
        (protocol.Ack("a", "ä" * 128, 0), "subject", 4),
        (protocol.Ack("a", "s", -1), "sequence", 6),
        (protocol.Ack("a", "s", 2**64), "sequence", 6),
        (protocol.Ack("a", "s", 1.0), "sequence", 6),  # type: ignore[arg-type]
        (protocol.Ack("a", "s", 0, store="short"), "store", 18),
        (protocol.Ack("a", "s", 0, store="ä" * 32), "store", 18),
        (protocol.GetHeads("a", _LONG), "address", 4),
        (protocol.GetHeads("a", "b\0"), "address", 4),
        (protocol.Ack("a", "\0", 0), "subject", 4),
        (protocol.Fetch("a", "b", "s", 0, 2**32), "count", 16),
        (protocol.Head("a", "b", "s", 0, acked=2**64), "acked", 20),
        (protocol.Head("a", "b", "s", 0, acked=1, age_ms=-1), "age_ms", 30),
        (protocol.ConsumerHello("a", "b", ("x" * 65_537,)), "subjects", 10),
        (protocol.ConsumerHello("a", "b", ("",) * 65_537), "subjects", 6),
    ],
)
def test_message_that_does_not_fit_is_our_own_fault(
    message: protocol.Message, field: str, position: int
) -> None:
    with pytest.raises(protocol.LocalProtocolError) as caught:
        protocol.build(message)
    assert (caught.value.field, caught.value.position, caught.value.frame) == (field, position, 0)


def test_content_must_be_bytes() -> None:
    record = protocol.Record("t", ADDRESS, "t", 0, "text")  # type: ignore[arg-type]
    with pytest.raises(protocol.LocalProtocolError) as caught:
        protocol.build(record)
    assert (caught.value.field, caught.value.frame) == ("content", 1)


@pytest.mark.parametrize(
    ("first", "contents"),
    [(0, ()), (0, (b"",) * 262_145), (0, ("text",)), (0, b"x"), (0, None), (2**64 - 1, (b"", b""))],
    ids=["none", "too many", "no bytes", "bytes alone", "no sequence", "past the last sequence"],
)
def test_contents_that_do_not_fit_are_our_own_fault(first: int, contents: Any) -> None:
    with pytest.raises(protocol.LocalProtocolError) as caught:
        protocol.build(protocol.Records("t", ADDRESS, "t", first, contents))
    assert (caught.value.field, caught.value.frame) == ("contents", 1)


def test_as_many_records_as_there_can_be_end_at_the_last_sequence() -> None:
    many = protocol.DirectRecords("t", ADDRESS, "t", 2**64 - 262_144, (b"",) * 262_144)
    assert protocol.parse(protocol.build(many)) == many


def test_only_messages_are_built() -> None:
    with pytest.raises(protocol.LocalProtocolError, match="str is not a message"):
        protocol.build("hello")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message_type", "prefix"),
    [
        (protocol.Record, b"M"),
        (protocol.DirectRecord, b"D"),
        (protocol.Fetch, b"F"),
        (protocol.Ack, b"K"),
        (protocol.Head, b"H"),
        (protocol.DirectHead, b"E"),
        (protocol.GetHeads, b"G"),
        (protocol.ConsumerHello, b"W"),
        (protocol.StoreHello, b"L"),
        (protocol.NodeBeacon, b"B"),
        (protocol.Records, b"R"),
        (protocol.DirectRecords, b"J"),
        (protocol.TowerBeacon, b"B"),
        (protocol.Welcome, b"W"),
    ],
)
def test_subscription_without_topic_is_the_id(
    message_type: type[protocol.Message], prefix: bytes
) -> None:
    assert protocol.subscription(message_type) == prefix


def test_what_a_store_hello_proves_is_subscribed_to_before_it() -> None:
    kinds = (protocol.DirectRecord, protocol.DirectRecords, protocol.DirectHead)
    hello = protocol.subscription(protocol.StoreHello)
    assert all(protocol.subscription(kind) < hello for kind in kinds)


def test_exact_subscription_ends_with_the_nul_of_the_topic() -> None:
    assert protocol.subscription(protocol.Record, "metrics") == b"Mmetrics"
    assert protocol.subscription(protocol.Record, "metrics", exact=True) == b"Mmetrics\0"
    assert protocol.subscription(protocol.Record, exact=True) == b"M\0"


@given(messages().filter(lambda message: hasattr(message, "topic")))
@quick
def test_exact_subscription_matches_the_message_it_is_for(message: protocol.Record) -> None:
    header = protocol.build(message)[0]
    assert header.startswith(protocol.subscription(type(message), message.topic, exact=True))
    other = protocol.subscription(type(message), message.topic[:-1], exact=True)
    assert header.startswith(other) is (message.topic == "")


@pytest.mark.parametrize("exact", [True, False])
def test_beacons_have_no_topic_to_subscribe_to(exact: bool) -> None:
    with pytest.raises(protocol.LocalProtocolError, match="TowerBeacon has no inline topic"):
        protocol.subscription(protocol.TowerBeacon, "" if exact else "x", exact=exact)


def test_names_in_a_hello_end_where_their_length_says_and_can_hold_a_nul() -> None:
    hello = protocol.ConsumerHello(ADDRESS, OTHER, ("a\0b", ""))
    assert protocol.parse(protocol.build(hello)) == hello


@pytest.mark.parametrize("topic", ["a\0b", "x" * 65_537])
def test_subscription_to_a_topic_that_cannot_be_is_our_own_fault(topic: str) -> None:
    with pytest.raises(protocol.LocalProtocolError) as caught:
        protocol.subscription(protocol.Record, topic)
    assert (caught.value.field, caught.value.position) == ("topic", 1)


def test_only_message_types_can_be_subscribed_to() -> None:
    with pytest.raises(protocol.LocalProtocolError, match="is not a message type"):
        protocol.subscription(int)  # type: ignore[arg-type]


def test_subscriptions_are_read_from_an_xpub() -> None:
    assert protocol.parse_subscription(b"\1L" + OTHER.encode()) == (True, b"L" + OTHER.encode())
    assert protocol.parse_subscription(b"\0M") == (False, b"M")
    assert protocol.parse_subscription(b"\1") == (True, b"")


@given(st.binary(max_size=20).filter(lambda frame: frame[:1] not in (b"\0", b"\1")))
@quick
def test_anything_else_from_an_xpub_is_refused(frame: bytes) -> None:
    with pytest.raises(protocol.RemoteProtocolError):
        protocol.parse_subscription(frame)


def test_a_number_or_an_address_out_of_bounds_is_told_with_what_is_allowed() -> None:
    with pytest.raises(protocol.RemoteProtocolError) as remote:
        protocol.parse([b"WSTORE\0\1\1A\xff\xff\xff\xff"])
    assert remote.value.reason == "CONSUMER-HELLO: 4294967295 topics, at most 65536 are allowed"
    with pytest.raises(protocol.LocalProtocolError) as local:
        protocol.build(protocol.Ack("A", "t", 1, "xyz"))
    assert local.value.reason == "'xyz' is not an address of 32 ASCII characters"
    with pytest.raises(protocol.LocalProtocolError) as odd:
        protocol.build(protocol.Ack("A", "t", 1, 5))  # type: ignore[arg-type]
    assert odd.value.reason == "int is not a text"
