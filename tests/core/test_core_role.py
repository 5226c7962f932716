"""What every role understands."""

from __future__ import annotations

import pytest
from support.machines import CONSUMER, DIRECT, ENDPOINT, PRODUCER, READER, WRITER, live, run

from dafka.config import ConsumerConfig, StoreConfig
from dafka.core.actions import SendDirect
from dafka.core.consumer import Consumer
from dafka.core.role import Role
from dafka.core.store_writer import StoreWriter


def test_role_that_has_no_use_for_an_event_does_nothing() -> None:
    role = Role()
    assert not role.full
    assert role.peer_found(PRODUCER, ENDPOINT, 0.0) == []
    assert role.peer_lost(PRODUCER, ENDPOINT, 0.0) == []
    assert role.subscribed(b"M", 0.0) == []
    assert role.unsubscribed(b"M", 0.0) == []


def test_role_must_say_what_it_does_with_messages_and_time() -> None:
    role = Role()
    with pytest.raises(NotImplementedError):
        role.receive(live(0, 1), 0.0)
    with pytest.raises(NotImplementedError):
        role.tick(0.0)
    with pytest.raises(NotImplementedError):
        role.next_deadline()


def test_roles_that_answer_nobody_are_never_told_that_a_requester_is_slow() -> None:
    consumer = Consumer(CONSUMER, ConsumerConfig(), DIRECT)
    writer = StoreWriter(WRITER, READER, StoreConfig(), store=WRITER, direct=DIRECT)
    for role in (consumer, writer):
        with pytest.raises(NotImplementedError):
            role.blocked(SendDirect(CONSUMER, run(0, 1)), 0, 0.0)
