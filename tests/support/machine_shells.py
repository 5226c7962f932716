"""Drive single machines with anything, and check after each step what they promise."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from support.machines import (
    CONSUMER,
    DIRECT,
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

from dafka.beginning import Instant
from dafka.config import ConsumerConfig, ProducerConfig, StoreConfig
from dafka.core.actions import (
    Action,
    Append,
    Begin,
    Deliver,
    Drop,
    Expire,
    Locate,
    Read,
    Send,
    SendDirect,
)
from dafka.core.consumer import Consumer
from dafka.core.extent import Extent
from dafka.core.producer import Producer
from dafka.core.run import Arrival, Origin, Run
from dafka.core.sources import REFERENCE_EXACT
from dafka.core.store_reader import StoreReader
from dafka.core.store_writer import StoreWriter
from protocol import Ack, DirectHead, DirectRecord, Fetch, Head, Message, build

BUFFER = 2_000

Step = tuple[str, tuple[Any, ...]]
"""A method of a shell, and its arguments."""


class Shell:
    """Drives a machine, and checks all it does."""

    machine: Any

    def __init__(self) -> None:
        self.now = 1000.0
        self.welcomed: set[str] = set()
        """Who has welcomed DIRECT-RECORDS."""

    def live(self, steps: list[Step]) -> None:
        for name, arguments in steps:
            getattr(self, name)(*arguments)
            self.check()

    def message(self, message: Message | Arrival, origin: Origin) -> None:
        if isinstance(message, Fetch) and message.runs:
            self.welcomed.add(message.address)
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
        raise AssertionError("the machine is never done")

    def perform(self, actions: list[Action]) -> None:
        for action in only(actions, Send):
            build(action.message)
        for answer in only(actions, SendDirect):
            assert answer.run.contents
            assert not answer.runs or answer.requester in self.welcomed
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
        self.met: set[tuple[str, str]] = set()
        self.perform(self.machine.start(self.now))
        self.perform(self.machine.subscribe(TOPIC, self.now))

    def look(self, actions: list[Action]) -> None:
        offsets(only(actions, Deliver))
        for action in actions:
            if isinstance(action, Deliver):
                self._delivered(action.run)
            if isinstance(action, Begin):
                assert action.found == ((action.topic, action.partition) not in self.met)
                self.met.add((action.topic, action.partition))
            if isinstance(action, Expire):
                self._go_on((action.topic, action.partition), action.first, action.end)
        for fetch in sent(actions, Fetch):
            assert 0 < fetch.count <= REFERENCE_EXACT

    def _delivered(self, part: Run) -> None:
        assert part.topic == TOPIC
        self._go_on((part.topic, part.partition), part.first, part.next)
        self.queue.append(part)

    def _go_on(self, key: tuple[str, str], first: int, end: int) -> None:
        """A partition continues where it stood, and not behind that."""
        assert first == self.next.setdefault(key, first)
        assert first < end
        self.next[key] = end

    def take(self) -> None:
        if self.queue:
            self.perform(self.machine.taken(self.queue.pop(0), self.now))

    def seek(self, partition: str, offset: int) -> None:
        self.machine.forgotten([part for part in self.queue if part.partition == partition])
        self.queue = [part for part in self.queue if part.partition != partition]
        self.next[(TOPIC, partition)] = offset
        self.met.add((TOPIC, partition))
        self.perform(self.machine.seek(TOPIC, partition, offset, self.now))

    def seek_all(self, start: str) -> None:
        self.machine.forgotten(self.queue)
        self.queue = []
        self.next = {}
        self.perform(self.machine.seek_all(start, self.now))

    def seek_time(self, time_ms: int) -> None:
        self.machine.forgotten(self.queue)
        self.queue = []
        self.next = {}
        self.perform(self.machine.seek_time(Instant(time_ms), None, self.now))

    def pause(self, partition: str) -> None:
        """Pause, and throw away what waits to be taken."""
        key = (TOPIC, partition)
        gone = [part for part in self.queue if part.partition == partition]
        self.machine.forgotten(gone)
        self.queue = [part for part in self.queue if part.partition != partition]
        known = self.machine.partitions()
        at = {key: gone[0].first if gone else known[key]} if key in known else {}
        self.next |= at
        self.perform(self.machine.pause(TOPIC, partition, at))

    def resume(self, partition: str) -> None:
        self.perform(self.machine.resume(TOPIC, partition, self.now))

    def check(self) -> None:
        backlog = self.machine._backlog
        assert 0 <= backlog._held <= BUFFER
        for key in [*self.machine.paused(), *self.machine._lookups._open]:
            assert key not in backlog.behind
        assert backlog._held == sum(p.intake.waiting_bytes for _, p in backlog.items())
        assert self.machine._pending == sum(part.cost for part in self.queue)
        for key, offset in self.next.items():
            assert self.machine.partitions()[key] == offset


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


class ReaderShell(Shell):
    def __init__(self) -> None:
        super().__init__()
        self.machine = StoreReader(READER, WRITER, DIRECT, store=READER)
        self.end = 10
        self.reads: list[Read] = []
        self.wanted: list[Locate] = []
        self.perform(self.machine.start([Extent(TOPIC, PRODUCER, 2, self.end)], self.now))

    def look(self, actions: list[Action]) -> None:
        offsets(only(actions, SendDirect))
        for read in only(actions, Read):
            assert (read.topic, read.partition) == (TOPIC, PRODUCER)
            assert 2 <= read.first < read.first + read.count <= self.end
            self.reads.append(read)
        self.wanted += only(actions, Locate)
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

    def locate(self, offset: int | None) -> None:
        """Find where a partition was, or (None) fail to."""
        if self.wanted:
            self.perform(self.machine.located(self.wanted.pop(0), offset))

    def block(self, first: int, length: int, taken: int, who: str) -> None:
        part = run(first, first + length)
        if part.first >= 2 and part.next <= self.end:
            self.perform(
                self.machine.blocked(SendDirect(who, part), min(taken, length - 1), self.now)
            )

    def check(self) -> None:
        assert len(self.reads) == len(self.machine._reading) <= 2
        assert len(self.machine._answers) <= 10_000
        assert len(self.wanted) == min(1, len(self.machine._locations))


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
