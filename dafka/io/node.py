"""What all nodes but towers have in common: their sockets, and discovery.

Decides nothing: it connects a role's machine with the driver's loop.
"""

from __future__ import annotations

from dafka.config import NodeConfig
from dafka.core import actions as act
from dafka.core.beacon import Beacon
from dafka.core.role import Role
from dafka.core.run import Origin, Run
from dafka.io.driver import Driver
from dafka.io.headers import Acks, direct_header, record_header, remember
from dafka.io.joiner import Drained
from dafka.io.sockets import BeaconPublisher, Context, Publisher, Subscriber
from dafka.version import __version__
from protocol import (
    Ack,
    DirectHead,
    DirectRecord,
    DirectRecords,
    LocalProtocolError,
    NodeBeacon,
    StoreHello,
    TowerBeacon,
    Welcome,
    subscription,
)


class Wiring:
    """The sockets of one role's machine, joined to one driver."""

    def __init__(
        self,
        role: str,
        address: str,
        config: NodeConfig,
        machine: Role,
        driver: Driver,
        *,
        direct: str | None = None,
    ) -> None:
        """`direct`: the address under which the role hears stores, on a socket of their own."""
        self.address = address
        self.refused = 0
        self.unusable = 0
        self.publisher: Publisher
        self._role = role
        self._config = config
        self._machine = machine
        self._driver = driver
        self._direct = direct
        # A store is two nodes: that no tower answers, its writer says for both.
        self._is_reader = role == "store" and direct is None
        self._acks = Acks()
        self._headers: dict[tuple[str | None, bool, str, str], bytes] = {}
        self._connected: dict[str, tuple[Subscriber, str]] = {}
        """Where each peer is listened to: by which socket, at which of its endpoints."""
        self._taken: set[str] = set()
        self._context: Context | None = None

    # Life

    async def open(self, now: float) -> None:
        """Bind, and reach out for the towers; `ConfigError` if an endpoint is unusable."""
        try:
            self._open_sockets()
        except BaseException:
            await self.close()
            raise
        self._driver.add_executors(
            {
                act.Send: self._send,
                act.SendRun: self._send_run,
                act.SendDirect: self._send_direct,
                act.Subscribe: self._subscribe,
                act.Connect: self._connect,
                act.Disconnect: self._disconnect,
                act.ConnectStore: self._connect_store,
                act.DisconnectStore: lambda a: self._stores.disconnect(a.endpoint),
                act.ReachTowers: self._reach_towers,
                act.SendBeacon: lambda a: self._beacons.send(a.message),
            }
        )
        for source in (self._from_towers, self._from_subscribers, self._from_peers):
            self._driver.add_source(source)
        self._driver.add_machine(self._beacon)
        self._driver.add_machine(self._machine)
        self._driver.perform(self._beacon.start(now))

    def _open_sockets(self) -> None:
        config, towers = self._config, self._config.towers
        context = self._context = Context(self._driver.shell, config.high_water_mark)
        self.publisher = Publisher(context, config.bind, runs=self._role == "producer")
        self._beacons = BeaconPublisher(context, [tower.sub for tower in towers])
        introductions = [subscription(kind) for kind in (TowerBeacon, Welcome)]
        addresses = [tower.pub for tower in towers]
        self._towers = Subscriber(context, Origin.LIVE, addresses, introductions)
        self._peers = Subscriber(context, Origin.LIVE)
        self._runs: Subscriber | None = None
        self._listeners = [self._peers]
        if self._direct is not None:
            self._runs = Subscriber(context, Origin.LIVE, runs=True)
            self._stores = Subscriber(context, Origin.STORE)
            self._listeners = [self._stores, self._runs, self._peers]
            for answer in (DirectRecord, DirectRecords, DirectHead):
                self._stores.subscribe(subscription(answer, self._direct))
            self._stores.subscribe(subscription(StoreHello, self.address))
        for socket in (self.publisher, self._beacons, self._towers, *self._listeners):
            socket.watch(self._driver.wake)
            self._driver.add_check(socket.suspect)
        port = self.publisher.endpoint.rpartition(":")[2]
        runs_port = self.publisher.runs_endpoint.rpartition(":")[2]
        self._beacon = Beacon(
            NodeBeacon(
                *(self.address, config.host, port, self._role, __version__),
                self._machine.age_ms,
                int(runs_port) if runs_port.isdecimal() else None,
            ),
            towers=[] if self._is_reader else [str(tower) for tower in towers],
            interval=config.beacon_interval_s,
            timeout=config.peer_timeout_s,
            max_peers=config.max_peers,
        )

    async def close(self) -> None:
        """Close all sockets and let what was accepted leave, for at most a second."""
        if self._context is not None:
            context, self._context = self._context, None
            await context.close()

    @property
    def discovery(self) -> Beacon:
        """Who has been introduced; known once the sockets are open."""
        return self._beacon

    # Sources of the loop

    def _from_towers(self, now: float) -> bool:
        if self._beacons.due and self._beacons.towers_joined():
            self._driver.perform(self._beacon.tower_connected(now))
        if not self._towers.due:
            return False
        drained = self._towers.drain()
        self._count_errors(drained, "tower")
        for message in drained.messages:
            if isinstance(message, Welcome):
                self._driver.perform(self._machine.welcomed(now))
            if isinstance(message, TowerBeacon | Welcome):
                self._driver.perform(self._beacon.receive(message, now))
        self._driver.introduced = self._beacon.welcomed
        return self._towers.due

    def _from_subscribers(self, now: float) -> bool:
        if not self.publisher.due:
            return False
        changes = self.publisher.subscriptions()
        for subscribed, prefix in changes:
            react = self._machine.subscribed if subscribed else self._machine.unsubscribed
            self._driver.perform(react(prefix, now))
        return bool(changes)

    def _from_peers(self, now: float) -> bool:
        """Stores' direct answers first: what they bring is missing here."""
        more = False
        for socket in self._listeners:
            if not socket.due:
                continue
            if self._machine.full:
                self._beacon.caught_up = False
                return False
            drained = socket.drain()
            more |= socket.due
            self._beacon.spoke((run.partition for run in drained.runs), now)
            for item in (*socket.arrivals(drained), *drained.messages):
                self._driver.perform(self._machine.receive(item, now, socket.origin))
            self._count_errors(drained, "peer")
        self._beacon.caught_up = not more
        return more

    def _count_errors(self, drained: Drained, kind: str) -> None:
        self.refused += len(drained.errors)
        for error in drained.errors[:1]:
            self._driver.limited.warn(
                f"frame {kind}", f"node={self._role} dropped a malformed frame of a {kind}: {error}"
            )

    # Executors of actions

    def _send(self, action: act.Send) -> None:
        message = action.message
        try:
            if isinstance(message, Ack):
                self.publisher.send_frames(self._acks.build(message))
            else:
                self.publisher.send(message)
        except LocalProtocolError as error:
            # Only what a peer said of itself can be unsayable: it gets no answer.
            self.refused += 1
            self._driver.limited.warn("answer", f"node={self._role} cannot answer a peer: {error}")

    def _send_run(self, action: act.SendRun) -> None:
        run = action.run
        plain, joined = self._header(None, run, False), self._header(None, run, True)
        self.publisher.send_run(plain, joined, run)

    def _send_direct(self, action: act.SendDirect) -> None:
        run, runs = action.run, action.runs
        header = self._header(action.requester, run, runs)
        sent = self.publisher.send_direct(header, run, runs=runs)
        if sent < len(run):
            self._driver.perform(self._machine.blocked(action, sent, self._driver.now()))

    def _header(self, requester: str | None, run: Run, runs: bool) -> bytes:
        key = (requester, runs, run.topic, run.partition)
        header = self._headers.get(key)
        if header is None:
            if requester is None:
                header = record_header(run, runs=runs)
            else:
                header = direct_header(requester, run, runs=runs)
            remember(self._headers, key, header)
        return header

    def _subscribe(self, action: act.Subscribe) -> None:
        if action.runs is not True:
            self._peers.subscribe(action.prefix)
        if action.runs is not False and self._runs is not None:
            self._runs.subscribe(action.prefix)

    def _connect(self, action: act.Connect) -> None:
        socket, at = self._peers, action.endpoint
        if self._runs is not None and action.runs and action.runs not in self._taken:
            socket, at = self._runs, action.runs
        if not socket.connect(at):
            self.unusable += 1
            self._driver.limited.warn(
                "endpoint", f"node={self._role} cannot use a peer's endpoint {action.endpoint!r}"
            )
            return
        self._connected[action.endpoint] = (socket, at)
        self._taken.add(at)
        now = self._driver.now()
        self._driver.perform(
            self._machine.peer_found(action.address, action.endpoint, now, action.born)
        )

    def _connect_store(self, action: act.ConnectStore) -> None:
        self._stores.connect(action.endpoint)

    def _reach_towers(self, _: act.ReachTowers) -> None:
        for tower in self._config.towers:
            self._beacons.reconnect(tower.sub)
            self._towers.reconnect(tower.pub)

    def _disconnect(self, action: act.Disconnect) -> None:
        if action.endpoint not in self._connected:
            return
        socket, at = self._connected.pop(action.endpoint)
        self._taken.discard(at)
        now = self._driver.now()
        self._driver.perform(self._machine.peer_lost(action.address, action.endpoint, now))
        socket.disconnect(at)
