"""The strategies make what the other tests rely on."""

from __future__ import annotations

import pytest
from hypothesis import Phase, find, given, settings
from wire_vectors import quick

import protocol
from protocol.strategies import addresses, frames, messages, mutated_frames, topics

_SEARCH = settings(deadline=None, max_examples=5_000, database=None, phases=[Phase.generate])


@pytest.mark.parametrize("message_type", protocol.Message.__args__, ids=lambda t: t.__name__)
def test_every_message_is_made(message_type: type[protocol.Message]) -> None:
    find(messages(), lambda message: isinstance(message, message_type), settings=_SEARCH)


def test_damaged_frames_are_sometimes_messages_and_sometimes_not() -> None:
    find(mutated_frames(), _is_message, settings=_SEARCH)
    find(mutated_frames(), lambda sent: not _is_message(sent), settings=_SEARCH)


def _is_message(sent: list[bytes]) -> bool:
    try:
        return bool(protocol.parse(sent))
    except protocol.RemoteProtocolError:
        return False


@given(frames())
@quick
def test_valid_frames_are_valid(sent: list[bytes]) -> None:
    assert protocol.build(protocol.parse(sent)) == sent


@given(addresses(), topics())
@quick
def test_addresses_and_topics_are_as_nodes_have_them(address: str, topic: str) -> None:
    assert len(address) == 32
    assert set(address) <= set("0123456789ABCDEF")
    assert "\0" not in topic
    assert len(topic.encode("utf-8", "surrogateescape")) <= 300
