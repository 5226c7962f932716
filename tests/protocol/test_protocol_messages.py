"""Messages as values: read by people, compared, kept in sets, sent between processes."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from wire_vectors import ADDRESS, quick

import protocol
from protocol.strategies import messages


def test_repr_is_the_call_that_makes_the_message() -> None:
    record = protocol.Record("hello", "AB", "hello", 7, b"value 7")
    assert repr(record) == (
        "Record(topic='hello', address='AB', subject='hello', sequence=7, content=b'value 7')"
    )
    assert eval(repr(record), vars(protocol)) == record


def test_repr_leaves_out_what_is_not_told() -> None:
    assert repr(protocol.Ack("P", "t", 4)) == "Ack(topic='P', subject='t', sequence=4)"
    assert repr(protocol.Ack("P", "t", 4, "S")).endswith("sequence=4, store='S')")
    assert repr(protocol.Welcome()) == "Welcome()"


def test_repr_tells_the_size_of_what_is_long() -> None:
    shown = repr(protocol.Record("x" * 300, "AB", "", 0, bytes(1 << 20)))
    assert len(shown) < 400
    assert "… (300 characters)" in shown
    assert "… (1048576 bytes)" in shown
    hello = protocol.ConsumerHello("", "", tuple(map(str, range(1000))))
    assert repr(hello).endswith("'7', … 1000 in all))")
    assert repr(protocol.ConsumerHello("", "", ("a", "b"))).endswith("subjects=('a', 'b'))")


@given(messages())
@quick
def test_message_is_an_immutable_value(message: protocol.Message) -> None:
    copy = pickle.loads(pickle.dumps(message))
    assert copy == message
    assert len({copy, message}) == 1
    assert not hasattr(message, "__dict__")


def test_message_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        protocol.GetHeads("t", ADDRESS).topic = "u"  # type: ignore[misc]


def test_error_survives_pickling() -> None:
    error = protocol.RemoteProtocolError("no", "topic", 1, 2)
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, protocol.ProtocolError)
    assert (str(copy), copy.field, copy.position, copy.frame) == (str(error), "topic", 1, 2)
