"""Machines survive whatever peers say, in any order and at any time, and keep their promises."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.machines import (
    CONSUMER,
    DIRECT,
    ENDPOINT,
    OTHER_CONSUMER,
    OTHER_ENDPOINT,
    OTHER_PRODUCER,
    OTHER_READER,
    PRODUCER,
    READER,
    TOPIC,
    WRITER,
    content,
    offsets,
    only,
    run,
    sent,
)

from dafka.config import ConsumerConfig, ProducerConfig, StoreConfig
from dafka.core.actions import Action, Append, Deliver, Drop, Read, Send, SendDirect
from dafka.core.consumer import Consumer
from dafka.core.extent import Extent
from dafka.core.producer import Producer
from dafka.core.run import Arrival, Origin, Run
from dafka.core.sources import REFERENCE_EXACT
from dafka.core.store_reader import StoreReader
from dafka.core.store_writer import StoreWriter
from protocol import (
    Ack,
    ConsumerHello,
    DirectHead,
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

BUFFER = 2_000
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

Step = tuple[str, tuple[Any, ...]]


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


class Shell:
    """Drives a machine, and checks all it does."""

    machine: Any

    def __init__(self) -> None:
        self.now = 1000.0

    def live(self, steps: list[Step]) -> None:
        for name, arguments in steps:
            getattr(self, name)(*arguments)
            self.check()

    def message(self, message: Message | Arrival, origin: Origin) -> None:
        self.perform(self.machine.receive(message, self.now, origin))

    def peer_found(self, address: str, endpoint: str) -> None:
        self.perform(self.machine.peer_found(address, endpoint, self.now))

    def peer_lost(self, address: str, endpoint: str) -> None:
        self.perform(self.machine.peer_lost(address, endpoint, self.now))

    def subscribed(self, prefix: bytes) -> None:
        self.perform(self.machine.subscribed(prefix, self.now))

    def unsubscribed(self, prefix: bytes) -> None:
        self.perform(self.machine.unsubscribed(prefix, self.now))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, even backwards; what is due is done soon, and without end."""
        self.now += seconds
        for _ in range(200):
            deadline = self.machine.next_deadline()
            if deadline is None or deadline > self.now:
                return
            self.perform(self.machine.tick(self.now))
        pytest.fail("the machine is never done")

    def perform(self, actions: list[Action]) -> None:
        for action in only(actions, Send):
            build(action.message)
        for answer in only(actions, SendDirect):
            assert answer.run.contents
            build(DirectRecord(answer.requester, answer.run.partition, answer.run.topic, 0, b""))
        self.look(actions)

    def look(self, actions: list[Action]) -> None:
        """What this machine in particular must do and must not do."""

    def check(self) -> None:
        """What must always hold."""


class ConsumerShell(Shell):
    def __init__(self, start: Any) -> None:
        super().__init__()
        config = ConsumerConfig(start=start, buffer_bytes=BUFFER, fetch_records=7)
        self.machine = Consumer(CONSUMER, config, DIRECT)
        self.next: dict[tuple[str, str], int] = {}
        self.queue: list[Run] = []
        self.perform(self.machine.start(self.now))
        self.perform(self.machine.subscribe(TOPIC, self.now))

    def look(self, actions: list[Action]) -> None:
        offsets(only(actions, Deliver))
        for delivered in only(actions, Deliver):
            part = delivered.run
            assert part.topic == TOPIC
            assert part.first == self.next.setdefault((part.topic, part.partition), part.first)
            assert part.contents
            self.next[(part.topic, part.partition)] = part.next
            self.queue.append(part)
        for fetch in sent(actions, Fetch):
            assert 0 < fetch.count <= REFERENCE_EXACT

    def take(self) -> None:
        if self.queue:
            self.perform(self.machine.taken(self.queue.pop(0), self.now))

    def seek(self, partition: str, offset: int) -> None:
        self.machine.forgotten([part for part in self.queue if part.partition == partition])
        self.queue = [part for part in self.queue if part.partition != partition]
        self.next[(TOPIC, partition)] = offset
        self.perform(self.machine.seek(TOPIC, partition, offset, self.now))

    def seek_all(self, start: str) -> None:
        self.machine.forgotten(self.queue)
        self.queue = []
        self.next = {}
        self.perform(self.machine.seek_all(start, self.now))

    def check(self) -> None:
        backlog = self.machine._backlog
        assert 0 <= backlog._held <= BUFFER
        assert backlog._held == sum(p.intake.waiting_bytes for _, p in backlog.items())
        assert self.machine._pending == sum(part.cost for part in self.queue)
        for key, offset in self.next.items():
            assert self.machine.partitions()[key] == offset


_partitions = st.sampled_from([PRODUCER, OTHER_PRODUCER])


@given(
    st.sampled_from(["earliest", "latest", 5, {PRODUCER: 3}]),
    _lives(
        _step("take"),
        _step("seek", _partitions, _small),
        _step("seek_all", st.sampled_from(["earliest", "latest"])),
    ),
)
@MANY
def test_consumer_delivers_in_order_whatever_comes(start: Any, steps: list[Step]) -> None:
    ConsumerShell(start).live(steps)


class WriterShell(Shell):
    def __init__(self) -> None:
        super().__init__()
        self.machine = StoreWriter(
            WRITER, READER, StoreConfig(buffer_bytes=BUFFER), store=WRITER, direct=DIRECT
        )
        self.log: dict[tuple[str, str], int] = defaultdict(int, {(TOPIC, PRODUCER): 3})
        self.accepted: list[Append | Drop] = []
        self.perform(self.machine.start([Extent(TOPIC, PRODUCER, 0, 3)], self.now))

    def look(self, actions: list[Action]) -> None:
        offsets(only(actions, Append))
        for change in actions:
            if isinstance(change, Append):
                assert change.run.first == self._end((change.run.topic, change.run.partition))
                assert change.run.contents
            if isinstance(change, Append | Drop):
                self.accepted.append(change)
        for ack in sent(actions, Ack):
            assert ack.sequence + 1 == self.log[(ack.subject, ack.topic)]

    def _end(self, key: tuple[str, str]) -> int:
        end = self.log[key]
        for change in self.accepted:
            if isinstance(change, Drop):
                end = max(end, change.before) if key == (change.topic, change.partition) else end
            elif key == (change.run.topic, change.run.partition):
                end = change.run.next
        return end

    def commit(self) -> None:
        if not self.accepted:
            return
        change = self.accepted.pop(0)
        if isinstance(change, Drop):
            key = (change.topic, change.partition)
            self.log[key] = max(self.log[key], change.before)
            self.machine.dropped(*key, change.before, change.deleted, self.now)
            return
        part = change.run
        self.log[(part.topic, part.partition)] = part.next
        done = (part.topic, part.partition, part.next, part.cost, self.now)
        self.perform(self.machine.committed(*done))

    def check(self) -> None:
        backlog = self.machine._backlog
        assert 0 <= backlog._held <= BUFFER
        assert self.machine._pending == sum(
            change.run.cost for change in self.accepted if isinstance(change, Append)
        )


@given(_lives(_step("commit")))
@MANY
def test_store_acknowledges_no_more_than_it_has_committed_whatever_comes(steps: list[Step]) -> None:
    WriterShell().live(steps)


class ReaderShell(Shell):
    def __init__(self) -> None:
        super().__init__()
        self.machine = StoreReader(READER, WRITER, DIRECT, store=READER)
        self.end = 10
        self.reads: list[Read] = []
        self.perform(self.machine.start([Extent(TOPIC, PRODUCER, 2, self.end)], self.now))

    def look(self, actions: list[Action]) -> None:
        offsets(only(actions, SendDirect))
        for read in only(actions, Read):
            assert (read.topic, read.partition) == (TOPIC, PRODUCER)
            assert 2 <= read.first < read.first + read.count <= self.end
            self.reads.append(read)
        for head in sent(actions, DirectHead):
            assert head.sequence < self.end

    def grow(self, number: int) -> None:
        self.end += number
        self.machine.stored(Extent(TOPIC, PRODUCER, 2, self.end))

    def read(self, most: int) -> None:
        """Finish one read: whole, in part, or (0) without a record."""
        if self.reads:
            read = self.reads.pop(0)
            found = run(read.first, min(read.first + read.count, read.first + most))
            done = found if found.contents else None
            self.perform(self.machine.read_done(read, done, self.now))

    def block(self, first: int, length: int, taken: int, who: str) -> None:
        part = run(first, first + length)
        if part.first >= 2 and part.next <= self.end:
            self.perform(self.machine.blocked(who, part, min(taken, length - 1), self.now))

    def check(self) -> None:
        assert len(self.reads) == len(self.machine._reading) <= 2
        assert len(self.machine._answers) <= 10_000


@given(
    _lives(
        _step("read", st.integers(0, 9)),
        _step("grow", st.integers(1, 5)),
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


class ProducerShell(Shell):
    def __init__(self) -> None:
        super().__init__()
        config = ProducerConfig(min_store_acks=2, buffer_bytes=BUFFER)
        self.machine = Producer(TOPIC, PRODUCER, config)
        self.perform(self.machine.start(self.now))

    def look(self, actions: list[Action]) -> None:
        offsets(only(actions, SendDirect))
        for answer in only(actions, SendDirect):
            assert self.machine.acked <= answer.run.first < answer.run.next <= self.machine.next
        for head in sent(actions, Head):
            assert head.sequence == self.machine.next - 1
            assert head.acked == self.machine.acked

    def publish(self, number: int) -> None:
        start = self.machine.next
        contents = [content(offset) for offset in range(start, start + number)]
        self.perform(self.machine.publish(contents, self.now))

    def check(self) -> None:
        machine = self.machine
        assert 0 <= machine.acked <= machine.next
        kept = [offset for part in machine._unacked for offset in range(part.first, part.next)]
        assert kept == list(range(machine.acked, machine.next))
        assert machine.unacked_bytes == sum(part.cost for part in machine._unacked)


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
