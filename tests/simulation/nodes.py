"""Virtual nodes: what the shells of `dafka.io` are to the machines, and their users and disks."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from dafka.config import StoreConfig
from dafka.core import actions as act
from dafka.core.consumer import Consumer
from dafka.core.extent import Extent
from dafka.core.producer import Producer
from dafka.core.run import Arrival, Origin, Run
from dafka.core.store_reader import StoreReader
from dafka.core.store_writer import StoreWriter
from protocol import DirectHead, DirectRecord, Message, Record, StoreHello, build, record_prefix
from protocol import subscription as prefix_of
from simulation.c_producer import CProducer
from simulation.links import Connection, Frames, join

if TYPE_CHECKING:
    from simulation.world import World

Key = tuple[str, str]
"""Topic and partition."""


class Node:
    """One machine with its sockets: what a shell in `dafka.io` is to it."""

    def __init__(self, world: World, machine: Any, direct: str | None = None) -> None:
        """`direct`: the address under which it hears stores, through connections of their own."""
        self.world, self.machine = world, machine
        self.address: str = machine.address
        self.endpoint = f"tcp://{self.address}:1"
        self.alive = True
        self.deadline: float | None = None
        self.sources: list[Connection] = []
        self.listeners: list[Connection] = []
        self.prefixes: dict[Origin, list[bytes]] = {Origin.LIVE: [], Origin.STORE: []}
        if direct is not None:
            own = [prefix_of(kind, direct) for kind in (DirectRecord, DirectHead)]
            self.prefixes[Origin.STORE] = [*own, prefix_of(StoreHello, self.address)]
        self._inbox: deque[tuple[Arrival | Message, Origin]] = deque()
        world.nodes.append(self)

    def hear(self, batch: list[Frames], origin: Origin) -> None:
        """Hand in what has come, unless the machine is full: then it waits in the socket."""
        self._inbox.extend((item, origin) for item in join(batch, origin))
        self.read()

    def read(self) -> None:
        """Hand in what has waited."""
        while self._inbox and self.alive and not self.machine.full:
            item, origin = self._inbox.popleft()
            self.perform(self.machine.receive(item, self.world.now, origin))

    def on_subscription(self, prefix: bytes, subscribed: bool) -> None:
        """A listener's wish has come; only the last to leave is noticed, as by XPUB."""
        now, machine = self.world.now, self.machine
        if subscribed:
            self.perform(machine.subscribed(prefix, now))
        elif not any(prefix in listener.prefixes for listener in self.listeners if listener.open):
            self.perform(machine.unsubscribed(prefix, now))

    def tick(self) -> None:
        """The machine's time has come."""
        self.perform(self.machine.tick(self.world.now))

    def perform(self, actions: list[act.Action]) -> None:
        """Execute actions in order."""
        for action in actions:
            getattr(self, f"_{type(action).__name__.lower()}")(action)
        self.deadline = self.machine.next_deadline()

    def listen(self, speaker: Node, origin: Origin) -> None:
        """Connect a SUB socket to a publisher."""
        connection = Connection(self.world, speaker, self, origin)
        speaker.listeners.append(connection)
        self.sources.append(connection)
        for prefix in self.prefixes[origin]:
            connection.change(prefix, True)

    def lose(self, speaker: Node) -> None:
        """The discovery says that a peer has gone."""
        if not self.alive:
            return
        self.perform(self.machine.peer_lost(speaker.address, speaker.endpoint, self.world.now))
        for connection in [c for c in self.sources if c.speaker is speaker]:
            connection.close()

    def _publish(self, messages: list[Frames]) -> None:
        self.world.messages += 1
        start = messages[0][0]
        for listener in list(self.listeners):
            if any(map(start.startswith, listener.prefixes)):
                listener.carry(messages)

    def _send(self, action: act.Send) -> None:
        self._publish([build(action.message)])

    def _sendrun(self, action: act.SendRun) -> None:
        run = action.run
        self._records(Record(run.topic, run.partition, run.topic, 0, b""), run)

    def _senddirect(self, action: act.SendDirect) -> None:
        run = action.run
        taken = run
        if self.world.random.random() < self.world.blocking:
            taken = run.until(run.first + self.world.random.randrange(len(run)))
        if taken.contents:
            model = DirectRecord(action.requester, run.partition, run.topic, 0, b"")
            self._records(model, taken)
        if len(taken) < len(run):
            now = self.world.now
            self.perform(self.machine.blocked(action.requester, run, len(taken), now))

    def _records(self, model: Record | DirectRecord, run: Run) -> None:
        prefix = record_prefix(model)
        numbered = enumerate(run.contents, run.first)
        self._publish([[prefix + n.to_bytes(8, "big"), content] for n, content in numbered])

    def _subscribe(self, action: act.Subscribe) -> None:
        self.prefixes[Origin.LIVE].append(action.prefix)
        self._tell(action.prefix, True)

    def _tell(self, prefix: bytes, subscribed: bool) -> None:
        for connection in self.sources:
            if connection.origin is Origin.LIVE:
                connection.change(prefix, subscribed)

    def _connectstore(self, action: act.ConnectStore) -> None:
        for node in self.world.living():
            if node.endpoint == action.endpoint:
                self.listen(node, Origin.STORE)

    def _disconnectstore(self, action: act.DisconnectStore) -> None:
        for connection in list(self.sources):
            if connection.origin is Origin.STORE and connection.speaker.endpoint == action.endpoint:
                connection.close()

    def _warn(self, action: act.Warn) -> None:
        self.world.warnings.append(action)


class ProducerNode(Node):
    """A producer and its user."""

    machine: Producer | CProducer

    def publish(self, number: int) -> None:
        """Publish some records, as far as there is room."""
        truth = self.world.truth[(self.machine.topic, self.address)]
        contents = [b"%s %d" % (self.address[-4:].encode(), len(truth) + i) for i in range(number)]
        if self.alive and self.machine.has_room(Run("", "", 0, contents).cost):
            truth += contents
            self.perform(self.machine.publish(contents, self.world.now))


class ConsumerNode(Node):
    """A consumer, and a user who takes what is delivered after a while."""

    machine: Consumer

    def __init__(
        self,
        world: World,
        machine: Consumer,
        direct: str,
        topics: tuple[str, ...],
        patience: float,
    ) -> None:
        super().__init__(world, machine, direct)
        self.topics = topics
        self.before = {key: len(records) for key, records in world.truth.items()}
        """What had been published when this consumer began."""
        self.next: dict[Key, int] = {}
        """The offset that has to be delivered next."""
        self.expired: list[tuple[int, int]] = []
        """The ranges that the user was told to be kept nowhere any more."""
        self._queue: deque[Run] = deque()
        self._patience = patience

    def seek(self, key: Key, offset: int) -> None:
        """Continue a partition somewhere else."""
        gone = [run for run in self._queue if (run.topic, run.partition) == key]
        self._queue = deque(run for run in self._queue if (run.topic, run.partition) != key)
        self.next[key] = offset
        self.machine.forgotten(gone)
        self.perform(self.machine.seek(*key, offset, self.world.now))

    def _deliver(self, action: act.Deliver) -> None:
        run = action.run
        key = (run.topic, run.partition)
        self.world.check(run.first == self.next.setdefault(key, run.first), "in order, once", run)
        truth = self.world.truth[key]
        self.world.check(run.contents == truth[run.first : run.next], "right contents", run)
        self.next[key] = run.next
        self.world.on_delivery(run)
        self._queue.append(run)
        self.world.after(self.world.random.uniform(0, self._patience), self._take)

    def _expire(self, action: act.Expire) -> None:
        key = (action.topic, action.partition)
        expected = self.next.setdefault(key, action.first)
        self.world.check(action.first == expected, "expired where it stands", action)
        self.next[key] = action.end
        self.expired.append((action.first, action.end))

    def _take(self) -> None:
        if self._queue and self.alive:
            self.perform(self.machine.taken(self._queue.popleft(), self.world.now))
            self.read()


class StoreNode:
    """A store's two halves and its disk, which outlives them."""

    def __init__(self, world: World, config: StoreConfig) -> None:
        self.world, self.config = world, config
        self.name = world.address()
        self.disk: dict[Key, list[bytes]] = {}
        """Every record by its offset; what was dropped is an empty content below the floor."""
        self.floors: dict[Key, int] = defaultdict(int)
        self.deleted: dict[Key, int] = defaultdict(int)
        self.alive = False
        self._life = 0

    def start(self) -> None:
        """Begin with what is on disk."""
        world, now = self.world, self.world.now
        self.alive, self._life = True, self._life + 1
        self._accepted: list[act.Append | act.Drop] = []
        self._committing: list[act.Append | act.Drop] = []
        writer, reader, direct = world.address(), world.address(), world.address()
        names = {"store": self.name, "direct": direct}
        self.writer = Node(world, StoreWriter(writer, reader, self.config, **names), direct)
        self.reader = Node(world, StoreReader(reader, writer, direct, store=self.name))
        self.writer._append = self.writer._drop = self._change  # type: ignore[attr-defined]
        self.reader._drop = self._change  # type: ignore[attr-defined]
        self.reader._read = self._read  # type: ignore[attr-defined]
        extents = [self.extent(key) for key in self.disk]
        self.writer.perform(self.writer.machine.start(extents, now))
        self.reader.perform(self.reader.machine.start(extents, now))
        for node in (self.writer, self.reader):
            world.introduce(node)

    def crash(self) -> None:
        """Lose what is not committed; a commit under way may have reached the disk."""
        if self.world.random.random() < 0.5:
            self._write(self._committing)
        self.alive = False
        self.world.crash(self.writer)
        self.world.crash(self.reader)

    def wipe(self) -> None:
        """Lose the disk, and with it the name, as a store does whose directory was deleted."""
        for part in (self.disk, self.floors, self.deleted):
            part.clear()
        self.name = self.world.address()

    def extent(self, key: Key) -> Extent:
        """What is on disk of a partition."""
        end = len(self.disk[key])
        return Extent(*key, self.floors[key], end, deleted=self.deleted[key])

    def trim(self, key: Key, before: int) -> None:
        """Drop what has expired, as retention does."""
        self._write([act.Drop(*key, min(before, len(self.disk[key])))])
        self.reader.machine.stored(self.extent(key))

    def _change(self, action: act.Append | act.Drop) -> None:
        self._accepted.append(action)
        self._commit()

    def _commit(self) -> None:
        if self._accepted and not self._committing:
            self._committing, self._accepted = self._accepted, []
            life = self._life
            self.world.after(self.world.random.uniform(0.0005, 0.03), lambda: self._done(life))

    def _done(self, life: int) -> None:
        if not self.alive or life != self._life:
            return
        batch, self._committing = self._committing, []
        self._write(batch)
        now = self.world.now
        for change in batch:
            if isinstance(change, act.Drop):
                key = (change.topic, change.partition)
                self.reader.machine.stored(self.extent(key))
                self.writer.machine.dropped(*key, change.before, change.deleted, now)
                self.reader.perform(self.reader.machine.dropped(change))
                continue
            run = change.run
            key = (run.topic, run.partition)
            self.reader.machine.stored(self.extent(key))
            self.writer.perform(self.writer.machine.committed(*key, run.next, run.cost, now))
        self.writer.read()
        self._commit()

    def _write(self, batch: list[act.Append | act.Drop]) -> None:
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

    def _forget(self, drop: act.Drop) -> None:
        key = (drop.topic, drop.partition)
        records = self.disk.setdefault(key, [])
        records += [b""] * (drop.before - len(records))
        records[: drop.before] = [b""] * drop.before
        self.floors[key] = max(self.floors[key], drop.before)
        if drop.deleted:
            self.deleted[key] = max(self.deleted[key], drop.before)

    def _read(self, action: act.Read) -> None:
        reader = self.reader
        most = min(action.count, self.world.random.randint(1, 200))
        slice_ = self.disk[(action.topic, action.partition)][action.first : action.first + most]
        run = Run(action.topic, action.partition, action.first, slice_) if slice_ else None

        def done() -> None:
            if reader.alive:
                reader.perform(reader.machine.read_done(action, run, self.world.now))

        self.world.after(self.world.random.uniform(0.0001, 0.01), done)
