"""Virtual nodes: what the shells of `dafka.io` are to the machines, and their users."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from dafka.core import actions as act
from dafka.core.beacon import Beacon
from dafka.core.consumer import Consumer
from dafka.core.packed import Packed
from dafka.core.producer import Producer
from dafka.core.run import Arrival, Origin, Run
from protocol import (
    DirectHead,
    DirectRecord,
    DirectRecords,
    Fetch,
    Message,
    NodeBeacon,
    Record,
    Records,
    StoreHello,
    TowerBeacon,
    Welcome,
    build,
    record_prefix,
)
from protocol import subscription as prefix_of
from simulation.c_producer import CProducer
from simulation.links import (
    Audience,
    Connection,
    Frames,
    Item,
    join,
    records_of,
)
from simulation.process import Process

if TYPE_CHECKING:
    from simulation.towers import TowerNode
    from simulation.world import World

Key = tuple[str, str]
"""Topic and partition."""

LATEST_S = 3.0
"""When a partition began is known by how old its producer says it is, in a message that may have
been under way for twice the longest delay."""

DRAIN = 50
"""Most messages that a shell reads before it hands them to its machine."""


RUNS_BYTES = 100
"""Most bytes of one RECORDS or DIRECT-RECORDS: few, so that a run takes several messages."""

_prefix = lru_cache(20_000)(record_prefix)


@lru_cache(20_000)
def _build(message: Message) -> Frames:
    return build(message)


Entry = tuple[Item, int, Connection, int]
"""What has come, in how many messages, through which connection, in which of its lives."""


class _CBeacon(Beacon):
    """The discovery of a C node: silent peers go, whether or not a tower speaks."""

    def _towers_speak(self, now: float) -> bool:
        return True


class Node:
    """One machine with its sockets: what a shell in `dafka.io` is to it."""

    def __init__(
        self,
        world: World,
        machine: Any,
        direct: str | None = None,
        *,
        process: Process | None = None,
        role: str | None = None,
        port: int | None = None,
    ) -> None:
        """`direct`: the address under which it hears stores, through connections of their own.

        `role` is what its beacon says; None: it is a C node, whose beacon says nothing.
        """
        self.world, self.machine = world, machine
        self.process = process or world.process("node")
        self.process.nodes.append(self)
        self.address: str = machine.address
        self.role, self.port = role, port or world.port()
        self.endpoint = f"tcp://{self.process.host}:{self.port}"
        self.alive = True
        self.runs = role is not None and not world.is_old()
        """Whether it speaks and understands RECORDS and DIRECT-RECORDS; C nodes do not, nor do
        older versions of ours."""
        self.refused = 0
        """Malformed messages dropped."""
        self.sources: list[Connection] = []
        self.connected: set[tuple[str, Origin, bool]] = set()
        """What `sources` are connected to."""
        self.listeners: list[Connection] = []
        self.audience = Audience()
        self.prefixes: dict[tuple[Origin, bool], list[bytes]] = {
            (Origin.LIVE, False): [],
            (Origin.LIVE, True): [],
            (Origin.STORE, False): [],
        }
        """What it wants to hear, by socket: how far it believes what comes there, and whether
        speakers of RECORDS are there."""
        if direct is not None:
            kinds: tuple[type[Message], ...] = (DirectRecord, DirectRecords, DirectHead)
            if not self.runs:
                kinds = (DirectRecord, DirectHead)
            own = [prefix_of(kind, direct) for kind in kinds]
            self.prefixes[Origin.STORE, False] = [*own, prefix_of(StoreHello, self.address)]
        self.beacon: Beacon | None = None
        self._beacon_due: float | None = None
        self.towers: dict[TowerNode, int] = {}
        """The towers that hear it, and in which of their lives."""
        self.heard = 0
        """Messages that came, each record one."""
        self.largest = 0
        """The cost of the largest batch that was handed to the machine at once."""
        self._inbox: deque[Entry] = deque()
        self._armed: float | None = None
        self._executors: dict[type, Any] = {}
        world.nodes.append(self)
        world.bind(self)

    @property
    def now(self) -> float:
        """What the clock of its process says."""
        return self.world.now + self.process.ahead

    # Discovery

    def enter(self) -> None:
        """Look for the towers."""
        told = (self.role, "1.0") if self.role else (None, None)
        age = self.machine.age_ms if self.role else None
        speaks = self.runs and isinstance(self.machine, Producer)
        own = NodeBeacon(
            *(self.address, "", str(self.port), *told, age), self.port if speaks else None
        )
        kind = Beacon if self.role else _CBeacon
        self.beacon = kind(own, towers=["a tower"], interval=1.0, timeout=4.0, max_peers=10_000)
        self.perform(self.beacon.start(self.now))
        self._announce()
        self._reachtowers()

    def _announce(self) -> None:
        """The beacon has changed its mind about when it is due."""
        assert self.beacon is not None
        self._beacon_due = self.beacon.next_deadline()
        self.arm()

    def _reachtowers(self, action: act.ReachTowers | None = None) -> None:
        for tower in self.world.towers:
            self.towers.pop(tower, None)
            tower.meet_soon(self)

    def tower_listens(self) -> None:
        """A tower has begun to hear us."""
        if self.beacon is not None and self.alive:
            self.perform(self.beacon.tower_connected(self.now))
            self._announce()

    def on_tower(self, message: TowerBeacon | Welcome) -> None:
        """A tower says something."""
        beacon = self.beacon
        if beacon is None or not self.alive:
            return
        if isinstance(message, Welcome):
            self.perform(self.machine.welcomed(self.now))
        actions = beacon.receive(message, self.now)
        if actions:
            self.perform(actions)
            self._announce()

    def _sendbeacon(self, action: act.SendBeacon) -> None:
        message = action.message if self.role else replace(action.message, age_ms=None)
        frames = build(message)
        for tower, life in list(self.towers.items()):
            self.world.at(self.world.arrival(), partial(tower.hear, frames, self, life))

    def _connect(self, action: act.Connect) -> None:
        self.connect(action.endpoint, Origin.LIVE, runs=action.runs is not None)
        found = self.machine.peer_found(action.address, action.endpoint, self.now, action.born)
        self.perform(found)

    def _disconnect(self, action: act.Disconnect) -> None:
        lost = self.machine.peer_lost(action.address, action.endpoint, self.now)
        self.perform(lost)
        self.disconnect(action.endpoint, Origin.LIVE)

    def connect(self, endpoint: str, origin: Origin, *, runs: bool = False) -> None:
        """Connect a SUB socket to a publisher; once more is the same to ZeroMQ.

        `runs`: the publisher says that it publishes RECORDS.
        """
        place = (endpoint, origin, runs and self.runs)
        if place not in self.connected:
            self.connected.add(place)
            self.sources.append(Connection(self.world, self, *place))

    def disconnect(self, endpoint: str, origin: Origin) -> None:
        """Undo a `connect`."""
        for connection in [c for c in self.sources if c.endpoint == endpoint]:
            if connection.origin is origin:
                connection.close()

    # Time

    def next_deadline(self) -> float | None:
        """When something is due, by the node's own clock."""
        own, beacon = self.machine.next_deadline(), self._beacon_due
        if own is None or beacon is None:
            return beacon if own is None else own
        return min(own, beacon)

    def arm(self, *, anew: bool = False) -> None:
        """See to it that the machine is woken in time."""
        deadline = self.next_deadline()
        if deadline is None:
            return
        when = deadline - self.process.ahead
        if self._armed is None or when < self._armed or anew:
            self._armed = when
            heapq.heappush(
                self.world.events, (when, next(self.world.number), partial(self._due, when))
            )

    def _due(self, when: float) -> None:
        if self._armed == when and self.alive and not self.process.standing:
            self._armed = None
            self.tick()

    def tick(self) -> None:
        """Let the machines whose time has come do what is due."""
        now = self.now
        if self.beacon is not None:
            self.beacon.caught_up = not self._inbox
        for machine in (self.beacon, self.machine):
            deadline = machine.next_deadline() if machine is not None else None
            # The world's time and the node's differ by the rounding of a float.
            if deadline is not None and deadline <= now + 1e-6:
                self.perform(machine.tick(max(now, deadline)))
        if self.beacon is not None:
            self._announce()
        else:
            self.arm()

    # Receiving

    def hear(self, batch: list[Frames], connection: Connection) -> None:
        """Hand in what has come, unless the machine is full: then it waits in the socket."""
        items, refused = join(batch, connection.origin)
        self.heard += refused + sum(records_of(item) for item, _ in items)
        self.refused += refused
        connection.read(refused, connection.life)
        life = connection.life
        self._inbox.extend((item, number, connection, life) for item, number in items)
        self.read()

    def read(self) -> None:
        """Hand in what has waited."""
        while self._inbox and not self.machine.full:
            if not self.alive or self.process.standing:
                return
            now, cost = self.now, 0
            for item, number, connection, life in self._drain():
                if isinstance(item, Arrival):
                    cost += item.run.cost
                    if item.origin is Origin.LIVE and self.beacon is not None:
                        self.beacon.spoke([item.run.partition], now)
                connection.read(number, life)
                self.perform(self.machine.receive(item, now, connection.origin))
            self.largest = max(self.largest, cost)
            self.world.inspect(self)

    def _drain(self) -> list[Entry]:
        """As shells do: stores first, and a HEAD never before the records that came with it."""
        inbox = self._inbox
        if len(inbox) == 1:
            return [inbox.popleft()]
        origin = Origin.STORE
        if not any(connection.origin is origin for _, _, connection, _ in inbox):
            origin = Origin.LIVE
        mine = [entry for entry in inbox if entry[2].origin is origin][:DRAIN]
        taken = set(map(id, mine))
        self._inbox = deque(entry for entry in inbox if id(entry) not in taken)
        return sorted(mine, key=_rank)

    def on_subscription(self, prefix: bytes) -> None:
        """A listener's wish has come."""
        if self.alive:
            self.perform(self.machine.subscribed(prefix, self.now))

    def on_unsubscription(self, prefix: bytes) -> None:
        """A listener has gone; only the last to leave is noticed, as by XPUB."""
        if self.alive and not self.audience.wants(prefix):
            self.perform(self.machine.unsubscribed(prefix, self.now))

    # Acting

    def perform(self, actions: list[act.Action]) -> None:
        """Execute actions in order."""
        executors = self._executors
        for action in actions:
            kind = type(action)
            execute = executors.get(kind)
            if execute is None:
                execute = executors[kind] = getattr(self, f"_{kind.__name__.lower()}")
            execute(action)
        self.arm()

    def _publish(self, messages: list[Frames]) -> None:
        world = self.world
        world.messages += 1
        audience = self.audience.of(messages[0][0])
        if world.trace is not None:
            world.trace.said(self, audience, messages)
        if world.faults.noise:
            world.noise.remember(self, messages)
        for listener in audience:
            listener.carry(messages)

    def _send(self, action: act.Send) -> None:
        message = action.message
        if isinstance(message, Fetch) and not self.runs:
            message = replace(message, runs=None)
        self._publish([_build(message)])

    def _sendrun(self, action: act.SendRun) -> None:
        run = action.run
        name = (run.topic, run.partition, run.topic, 0)
        models = [Record(*name, b""), Records(*name, ())]
        for model in models if self.runs else models[:1]:
            if not self.runs or self.audience.of(_prefix(model)):
                self._publish([frames for frames, _ in _messages(model, run)])

    def _senddirect(self, action: act.SendDirect) -> None:
        run, world = action.run, self.world
        name = (action.requester, run.partition, run.topic, 0)
        runs = action.runs and self.runs
        model = DirectRecords(*name, ()) if runs else DirectRecord(*name, b"")
        messages = _messages(model, run)
        taken = len(messages)
        if world.blocking and world.random.random() < world.blocking:
            taken = world.random.randrange(taken)
        taken = min(taken, *[c.room for c in self.audience.of(_prefix(model))], taken)
        if taken:
            self._publish([frames for frames, _ in messages[:taken]])
        if taken < len(messages):
            sent = sum(number for _, number in messages[:taken])
            self.perform(self.machine.blocked(action, sent, self.now))

    def _subscribe(self, action: act.Subscribe) -> None:
        for runs in (False, True):
            if action.runs in (None, runs):
                self.prefixes[Origin.LIVE, runs].append(action.prefix)
        for connection in self.sources:
            if connection.origin is Origin.LIVE and action.runs in (None, connection.runs):
                connection.change(action.prefix, True)

    def _connectstore(self, action: act.ConnectStore) -> None:
        self.connect(action.endpoint, Origin.STORE)

    def _disconnectstore(self, action: act.DisconnectStore) -> None:
        self.disconnect(action.endpoint, Origin.STORE)

    def _warn(self, action: act.Warn) -> None:
        self.world.warnings.append(action)


def _messages(
    model: Record | DirectRecord | Records | DirectRecords, run: Run
) -> list[tuple[Frames, int]]:
    """The messages of this kind that carry a run, and how many records each has."""
    prefix, messages, at = _prefix(model), [], run.first
    if isinstance(model, Records | DirectRecords):
        for part in Packed.of(run.contents).parts(RUNS_BYTES):
            messages.append(([prefix + at.to_bytes(8, "big"), part.frame], len(part)))
            at += len(part)
        return messages
    numbered = enumerate(run.contents, run.first)
    return [([prefix + n.to_bytes(8, "big"), content], 1) for n, content in numbered]


def _rank(entry: Entry) -> int:
    item = entry[0]
    if isinstance(item, Arrival):
        return 0 if item.origin is Origin.LIVE else 1
    return 2


class ProducerNode(Node):
    """A producer and its user."""

    machine: Producer | CProducer

    @property
    def key(self) -> Key:
        """Its partition."""
        return self.machine.topic, self.address

    def content(self, offset: int) -> bytes:
        """What the record at an offset says."""
        return b"%s %d" % (self.address[-4:].encode(), offset)

    def publish(self, number: int) -> None:
        """Publish some records, as far as there is room."""
        truth = self.world.truth[self.key]
        contents = [self.content(len(truth) + i) for i in range(number)]
        if self.alive and self.machine.has_room(Run("", "", 0, contents).cost):
            truth += contents
            self.world.published[self.key].append((self.world.now, number))
            self.perform(self.machine.publish(contents, self.now))

    def perform(self, actions: list[act.Action]) -> None:
        """Execute actions, and look whether what is acknowledged is stored."""
        super().perform(actions)
        self.world.audit(self)


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
        process: Process | None = None,
    ) -> None:
        super().__init__(world, machine, direct, role="consumer", process=process)
        self.topics = topics
        self.before = {
            key: sum(number for at, number in published if at <= world.now - LATEST_S)
            for key, published in world.published.items()
        }
        """What had been published a while before this consumer began."""
        self.next: dict[Key, int] = {}
        """The offset that has to be delivered next."""
        self.expired: list[tuple[int, int]] = []
        """The ranges that the user was told to be kept nowhere any more."""
        self.delivered = 0
        self.begun: dict[Key, int] = {}
        """Where each partition began, as its user was told."""
        self.settled = False
        """Whether it said that it knows all partitions there were."""
        self._queue: deque[Run] = deque()
        self._patience = patience

    def position(self, key: Key) -> int:
        """What has to be delivered next; who begins behind what was dropped is told nothing."""
        if key in self.next or not self.world.dropped[key]:
            return self.next.get(key, 0)
        return self.machine.partitions().get(key, 0)

    def seek(self, key: Key, offset: int) -> None:
        """Continue a partition somewhere else."""
        gone = [run for run in self._queue if (run.topic, run.partition) == key]
        self._queue = deque(run for run in self._queue if (run.topic, run.partition) != key)
        self.next[key] = offset
        self.machine.forgotten(gone)
        self.perform(self.machine.seek(*key, offset, self.now))

    def _deliver(self, action: act.Deliver) -> None:
        run = action.run
        key = (run.topic, run.partition)
        world = self.world
        if key not in self.next:
            self._check_begin(key, run.first)
        world.check(run.first == self.next.setdefault(key, run.first), "in order, once", run)
        truth = world.truth[key]
        world.check(run.contents == truth[run.first : run.next], "right contents", run)
        self.next[key] = run.next
        self.delivered += len(run)
        world.on_delivery(run)
        if world.trace is not None:
            world.note(self, f"delivers {world.trace.span(run)}")
        self._queue.append(run)
        world.after(world.random.uniform(0, self._patience), self._take)

    def _begin(self, action: act.Begin) -> None:
        self.begun[action.topic, action.partition] = action.offset

    def _settled(self, action: act.Settled) -> None:
        self.settled = True

    @property
    def eager(self) -> bool:
        """Whether it begins with the earliest record there is."""
        return self.machine._start == "earliest"

    def _check_begin(self, key: Key, first: int) -> None:
        if self.eager:
            begun = first <= self.world.dropped[key]
            self.world.check(begun, "from the earliest record on", key, first)
        elif self.machine._start == "latest" and not self.world.blurred:
            begun = first >= self.before.get(key, 0)
            self.world.check(begun, "nothing from before the subscription", key, first)

    def _expire(self, action: act.Expire) -> None:
        key = (action.topic, action.partition)
        world = self.world
        expected = self.next.setdefault(key, action.first)
        world.check(action.first == expected, "expired where it stands", action)
        world.check(action.end <= world.dropped[key], "nothing but what was dropped", action)
        self.next[key] = action.end
        self.expired.append((action.first, action.end))
        world.note(self, f"expired {action.first}-{action.end - 1}")

    def _take(self) -> None:
        self.process.do(self._taken)

    def _taken(self) -> None:
        if self._queue and self.alive:
            self.perform(self.machine.taken(self._queue.popleft(), self.now))
            self.read()
