"""Machines survive whatever peers say, in any order and at any time, and keep their promises."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.machine_shells import ConsumerShell, ProducerShell, ReaderShell, Step, WriterShell
from support.machines import (
    CONSUMER,
    ENDPOINT,
    OTHER_CONSUMER,
    OTHER_ENDPOINT,
    OTHER_PRODUCER,
    OTHER_READER,
    PRODUCER,
    READER,
    TOPIC,
    WRITER,
    run,
)

from dafka.core.run import Arrival, Origin
from protocol import (
    Ack,
    ConsumerHello,
    DirectHead,
    DirectOffset,
    DirectRecord,
    Fetch,
    GetHeads,
    Head,
    Message,
    Record,
    RemoteProtocolError,
    StoreHello,
    build,
    parse,
)
from protocol.strategies import messages

MANY = settings(max_examples=150)

_topics = st.sampled_from([TOPIC, "flights2", ""])
_nodes = st.sampled_from(
    [PRODUCER, OTHER_PRODUCER, WRITER, READER, OTHER_READER, CONSUMER, OTHER_CONSUMER]
)
_endpoints = st.sampled_from([ENDPOINT, OTHER_ENDPOINT])
_small = st.integers(0, 30)
_numbers = _small | st.sampled_from([255, 256, 2**40, 2**64 - 1])
_maybe = st.none() | _small


_likely = st.one_of(
    st.builds(Fetch, _nodes, _nodes, _topics, _numbers, _numbers.map(lambda n: n % 2**32), _nodes),
    st.builds(Fetch, _nodes, _nodes, _topics, _small, _small),
    st.builds(Ack, _nodes, _topics, _numbers, st.none() | _nodes),
    st.builds(Head, _topics, _nodes, _topics, _numbers, _maybe, _maybe),
    st.builds(DirectHead, _nodes, _nodes, _topics, _numbers, _maybe, st.none() | _nodes),
    st.builds(GetHeads, _topics, _nodes),
    st.builds(ConsumerHello, _nodes, _nodes, st.lists(_topics, max_size=3).map(tuple)),
    st.builds(StoreHello, _nodes, _nodes),
)
_lengths = st.integers(1, 8)
_runs = st.builds(
    lambda first, length, topic, name: run(first, first + length, topic, name),
    st.integers(0, 30) | st.sampled_from([250, 2**64 - 8]),
    _lengths,
    _topics,
    st.sampled_from([PRODUCER, OTHER_PRODUCER]),
)
_origins = st.sampled_from(list(Origin))
_prefixes = st.builds(
    lambda kind, who, end: kind + who.encode() + end,
    st.sampled_from([b"", b"M", b"H", b"D", b"E", b"L", b"W", b"F"]),
    _nodes | _topics,
    st.sampled_from([b"", b"\0", b"\xff"]),
)


def _step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.tuples(*arguments))


_common = st.one_of(
    _step("message", _likely, _origins),
    _step("message", messages(), _origins),
    _step("message", st.builds(Arrival, _runs, _origins), _origins),
    _step("peer_found", _nodes, _endpoints),
    _step("peer_lost", _nodes, _endpoints),
    _step("subscribed", _prefixes),
    _step("unsubscribed", _prefixes),
    _step("pass_time", st.sampled_from([0.0, 0.01, 0.5, 3.0, 100.0, -1.0])),
)


def _lives(*more: st.SearchStrategy[Step]) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.one_of(_common, _common, *more), max_size=50)


_partitions = st.sampled_from([PRODUCER, OTHER_PRODUCER])
_where = st.builds(
    DirectOffset, st.just(CONSUMER), _partitions, st.just(TOPIC), _small, _small, _nodes
)


@given(
    st.sampled_from(["earliest", "latest", 5, {PRODUCER: 3}, datetime.fromtimestamp(0.005, UTC)]),
    _lives(
        _step("take"),
        _step("seek", _partitions, _small),
        _step("seek_all", st.sampled_from(["earliest", "latest"])),
        _step("seek_time", _small),
        _step("pause", _partitions),
        _step("resume", _partitions),
        _step("message", _where, _origins),
    ),
)
@MANY
def test_consumer_delivers_in_order_whatever_comes(start: Any, steps: list[Step]) -> None:
    ConsumerShell(start).live(steps)


@given(_lives(_step("commit")))
@MANY
def test_store_acknowledges_no_more_than_it_has_committed_whatever_comes(steps: list[Step]) -> None:
    WriterShell().live(steps)


@given(
    _lives(
        _step("read", st.integers(0, 9)),
        _step("grow", st.integers(1, 5)),
        _step("locate", _maybe),
        _step("block", _small, _lengths, _lengths, _nodes),
    )
)
@MANY
def test_store_answers_only_with_what_it_has_whatever_comes(steps: list[Step]) -> None:
    shell = ReaderShell()
    shell.live(steps)
    for _ in range(1_000):
        shell.read(9)
        shell.pass_time(0.01)
    assert shell.machine.next_deadline() is None


@given(_lives(_step("publish", st.integers(1, 9)), _step("publish", st.integers(1, 9))))
@MANY
def test_producer_keeps_exactly_what_is_not_acknowledged_whatever_comes(steps: list[Step]) -> None:
    ProducerShell().live(steps)


# A text with a NUL cannot be sent as an inline topic: it does not get past the grammar.


@pytest.mark.parametrize(
    "message",
    [
        GetHeads(TOPIC, "A-B"),
        ConsumerHello(READER, "A-B", (TOPIC,)),
        Fetch(PRODUCER, "A-B", TOPIC, 2, 1),
        Fetch(PRODUCER, CONSUMER, "A-B", 2, 1),
        Record(TOPIC, "A-B", TOPIC, 0, b""),
        DirectRecord(CONSUMER, "A-B", TOPIC, 0, b""),
        Head(TOPIC, "A-B", TOPIC, 3),
        DirectHead(CONSUMER, "A-B", TOPIC, 3),
        StoreHello(CONSUMER, "A-B"),
        Ack(PRODUCER, "A-B", 3),
    ],
    ids=lambda message: type(message).__name__,
)
def test_text_that_could_not_be_answered_reaches_no_machine(message: Message) -> None:
    header, *content = build(message)
    assert parse([header, *content]) == message
    with pytest.raises(RemoteProtocolError):
        parse([header.replace(b"A-B", b"A\0B"), *content])


@pytest.mark.parametrize("prefix", [b"L", b"W", b"D", b"L\0\1", b"W\0\1", b"WA\0B", b"LA\0B"])
def test_subscription_with_a_nul_is_answered_to_what_comes_before_it(prefix: bytes) -> None:
    for shell in (ConsumerShell("earliest"), WriterShell(), ReaderShell(), ProducerShell()):
        shell.subscribed(prefix)
        shell.unsubscribed(prefix)
        shell.check()
