"""Virtual stores: two nodes, and a disk that outlives them and knows what a commit is."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from dafka.config import StoreConfig
from dafka.core import actions as act
from dafka.core.extent import Extent
from dafka.core.run import Run
from dafka.core.store_reader import StoreReader
from dafka.core.store_writer import StoreWriter
from protocol import Ack
from simulation.nodes import Key, Node
from simulation.process import Process

if TYPE_CHECKING:
    from simulation.world import World

Change = act.Append | act.Drop


class _WriterNode(Node):
    """The writing half."""

    def __init__(self, store: StoreNode, machine: StoreWriter, direct: str) -> None:
        self.store = store
        process, port = store.process, store.ports[0]
        super().__init__(store.world, machine, direct, process=process, role="store", port=port)
        self._append = self._drop = store.change

    def _send(self, action: act.Send) -> None:
        message = action.message
        if isinstance(message, Ack):
            durable = len(self.store.disk.get((message.subject, message.topic), ()))
            holds = message.sequence < durable
            self.world.check(holds, "an ACK tells of what is durable", message, durable)
        super()._send(action)


class _ReaderNode(Node):
    """The reading half."""

    def __init__(self, store: StoreNode, machine: StoreReader) -> None:
        super().__init__(
            store.world, machine, process=store.process, role="store", port=store.ports[1]
        )
        self._drop, self._read, self._locate = store.change, store.look, store.locate


class StoreNode:
    """A store's two halves and its disk, which outlives them."""

    def __init__(self, world: World, config: StoreConfig, *, same_ports: bool = False) -> None:
        """`same_ports`: it binds the same endpoints after each restart (in a world with towers)."""
        self.world, self.config = world, config
        self.process: Process = world.process("store")
        self.name = world.address()
        self.same_ports = same_ports
        self.ports = (world.port(), world.port())
        self.disk: dict[Key, list[bytes]] = {}
        """Every record by its offset; what was dropped is an empty content below the floor."""
        self.times: dict[Key, list[int]] = {}
        """When each record arrived, in milliseconds of the world's clock."""
        self.floors: dict[Key, int] = defaultdict(int)
        self.deleted: dict[Key, int] = defaultdict(int)
        self.alive = False
        self._life = 0

    def start(self) -> None:
        """Begin with what is on disk."""
        world, now = self.world, self.process.now
        self.alive, self._life = True, self._life + 1
        self._accepted: list[Change] = []
        self._committing: list[Change] = []
        if not self.same_ports or not world.towers:
            self.ports = (world.port(), world.port())
        writer, reader, direct = world.address(), world.address(), world.address()
        names = {"store": self.name, "direct": direct}
        self.writer = _WriterNode(self, StoreWriter(writer, reader, self.config, **names), direct)
        self.reader = _ReaderNode(self, StoreReader(reader, writer, direct, store=self.name))
        world.note(self.writer, "starts")
        extents = [self.extent(key) for key in self.disk]
        self.writer.perform(self.writer.machine.start(extents, now))
        self.reader.perform(self.reader.machine.start(extents, now))
        for node in (self.writer, self.reader):
            world.introduce(node)

    def crash(self) -> None:
        """Lose what is not committed; of a commit under way, some or all may be on disk."""
        random = self.world.random
        if random.random() < 0.5:
            batch = _transactions(self._committing)
            for transaction in batch[: random.randint(0, len(batch))]:
                self._write(transaction)
        self.alive = False
        self.world.crash(self.writer)
        self.world.crash(self.reader)
        self.process.ended()

    def wipe(self) -> None:
        """Lose the disk, and with it the name, as a store does whose directory was deleted."""
        for part in (self.disk, self.times, self.floors, self.deleted):
            part.clear()
        self.name = self.world.address()

    def extent(self, key: Key) -> Extent:
        """What is on disk of a partition."""
        end = len(self.disk[key])
        return Extent(*key, self.floors[key], end, deleted=self.deleted[key])

    def trim(self, key: Key, before: int) -> None:
        """Drop what has expired, as retention does."""
        self._write([act.Drop(*key, min(before, len(self.disk[key])))])
        if self.alive:
            self.reader.machine.stored(self.extent(key))
            self.writer.machine.repaired(*key, 0, self.floors[key])

    # Committing

    def change(self, action: Change) -> None:
        """Do this after what was asked for before."""
        self._accepted.append(action)
        self._commit()

    def _commit(self) -> None:
        if self._accepted and not self._committing:
            self._committing, self._accepted = self._accepted, []
            done = partial(self._done, self._life)
            pause = self.world.random.uniform(0.0005, 0.03)
            self.world.after(pause, lambda: self.process.do(done))

    def _done(self, life: int) -> None:
        if not self.alive or life != self._life:
            return
        batch, self._committing = self._committing, []
        self._write(batch)
        for transaction in _transactions(batch):
            if isinstance(transaction[0], act.Drop):
                self._report_drop(transaction[0])
            else:
                self._report([change.run for change in transaction])
        self.writer.read()
        self._commit()

    def _report_drop(self, change: act.Drop) -> None:
        key = (change.topic, change.partition)
        self.reader.machine.stored(self.extent(key))
        self.writer.machine.dropped(*key, change.before, change.deleted, self.process.now)
        self.reader.perform(self.reader.machine.dropped(change))

    def _report(self, runs: list[Run]) -> None:
        ends: dict[Key, int] = {}
        costs: dict[Key, int] = defaultdict(int)
        for run in runs:
            key = (run.topic, run.partition)
            ends[key] = run.next
            costs[key] += run.cost
        for key, end in ends.items():
            self.reader.machine.stored(self.extent(key), self.writer.machine.born(*key))
            now = self.process.now
            self.writer.perform(self.writer.machine.committed(*key, end, costs[key], now))

    def _write(self, batch: list[Change]) -> None:
        for change in batch:
            if isinstance(change, act.Drop):
                self._forget(change)
                continue
            run = change.run
            key = (run.topic, run.partition)
            records = self.disk.setdefault(key, [])
            self.world.check(run.first == len(records), "no gap on disk", run)
            truth = self.world.truth[key][run.first : run.next]
            self.world.check(run.contents == truth, "right contents on disk", run)
            records += run.contents
            self.times.setdefault(key, []).extend([self.now_ms] * len(run))
            self.world.durable[key][self.name] = len(records)
            if self.world.trace is not None:
                self.world.note(self.writer, f"commits {self.world.trace.span(run)}")

    def _forget(self, drop: act.Drop) -> None:
        key = (drop.topic, drop.partition)
        records = self.disk.setdefault(key, [])
        records += [b""] * (drop.before - len(records))
        records[: drop.before] = [b""] * drop.before
        times = self.times.setdefault(key, [])
        times += [self.now_ms] * (drop.before - len(times))
        self.floors[key] = max(self.floors[key], drop.before)
        self.world.dropped[key] = max(self.world.dropped[key], drop.before)
        self.world.durable[key][self.name] = len(records)
        if drop.deleted:
            self.deleted[key] = max(self.deleted[key], drop.before)
        self.world.note(self.writer, f"drops before {drop.before}")

    # Reading

    def look(self, action: act.Read) -> None:
        """Read a slice, in a thread."""
        most = min(action.count, self.world.random.randint(1, 200))
        key = (action.topic, action.partition)
        floor = self.floors.get(key, 0)
        first = max(action.first, floor)
        slice_ = self.disk.get(key, [])[first : action.first + most]
        run = Run(*key, first, slice_) if slice_ and first == action.first else None
        reader = self.reader

        def done() -> None:
            if reader.alive:
                reader.perform(reader.machine.read_done(action, run, reader.now))

        pause = self.world.random.uniform(0.0001, self.world.read_s)
        self.world.after(pause, lambda: self.process.do(done))

    def locate(self, action: act.Locate) -> None:
        """Find where a partition was at a time, in a thread."""
        key = (action.topic, action.partition)
        floor, times = self.floors.get(key, 0), self.times.get(key, [])
        found = max(floor, bisect_left(times, action.time_ms))
        reader = self.reader

        def done() -> None:
            if reader.alive:
                reader.perform(reader.machine.located(action, found))

        self.world.after(self.world.random.uniform(0.001, 0.02), lambda: self.process.do(done))

    @property
    def now_ms(self) -> int:
        """The time that is written beside records."""
        return int(self.world.now * 1000)


def _transactions(batch: list[Change]) -> list[list[Change]]:
    """Appends in a row are one transaction; each drop is one."""
    found: list[list[Change]] = []
    for change in batch:
        if found and isinstance(change, act.Append) and isinstance(found[-1][0], act.Append):
            found[-1].append(change)
        else:
            found.append([change])
    return found
