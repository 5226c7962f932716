"""What a node is, by what it listens to."""

from __future__ import annotations

import pytest
from support.machines import CONSUMER, DIRECT, PRODUCER, READER, WRITER, only

from dafka.config import ConsumerConfig, ProducerConfig, StoreConfig
from dafka.core import kinds
from dafka.core.actions import Action, Subscribe
from dafka.core.consumer import Consumer
from dafka.core.kinds import Kind, Kinds
from dafka.core.producer import Producer
from dafka.core.store_reader import StoreReader
from dafka.core.store_writer import StoreWriter
from protocol import DirectHead, DirectRecord, StoreHello, subscription


def learnt(actions: list[Action]) -> Kinds:
    known = Kinds()
    for action in only(actions, Subscribe):
        known.subscribed(action.prefix)
    return known


def test_each_of_our_roles_shows_what_it_is() -> None:
    producer = Producer("t", PRODUCER, ProducerConfig()).start(0.0)
    assert learnt(producer).get(PRODUCER) is Kind.PRODUCER
    consumer = Consumer(CONSUMER, ConsumerConfig(), DIRECT).start(0.0)
    assert learnt(consumer).get(CONSUMER) is Kind.CONSUMER
    reader = StoreReader(READER, WRITER, store=WRITER).start([], 0.0)
    assert learnt(reader).get(READER) is Kind.STORE_READER
    writer = StoreWriter(WRITER, READER, StoreConfig(), store=WRITER, direct=DIRECT).start([], 0.0)
    assert learnt(writer).get(WRITER) is Kind.CONSUMER  # its beacon says more


@pytest.mark.parametrize("backwards", [False, True])
def test_order_of_subscriptions_does_not_matter(backwards: bool) -> None:
    prefixes = [subscription(kind, CONSUMER) for kind in (DirectRecord, DirectHead, StoreHello)]
    known = Kinds()
    for prefix in reversed(prefixes) if backwards else prefixes:
        assert known.subscribed(prefix) is not None
    assert known.get(CONSUMER) is Kind.CONSUMER


def test_writer_of_a_c_store_listens_to_direct_records_only() -> None:
    known = Kinds()
    assert known.subscribed(subscription(DirectRecord, WRITER)) == (WRITER, Kind.STORE_WRITER)
    assert known.get(WRITER) is Kind.STORE_WRITER


@pytest.mark.parametrize("prefix", [b"", b"M", b"Mtopic\0", b"F", b"G", b"W", b"\xff"])
def test_what_tells_nobody_is_nobody(prefix: bytes) -> None:
    known = Kinds()
    assert known.subscribed(prefix) is None
    assert known.get("") is None


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "MAX_NODES", 1)
    known = Kinds()
    known.subscribed(subscription(DirectRecord, WRITER))
    assert known.subscribed(subscription(DirectRecord, CONSUMER)) is None
    assert known.get(CONSUMER) is None
