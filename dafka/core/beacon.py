"""Decides when a node shows itself to the towers, and which peers it listens to.

Rules from shared/wire ("Discovery"): a beacon at once when a tower welcomes us, one per interval,
one more at once for each endpoint seen for the first time. Peers are known by endpoint; a node that
was restarted has a new address, but perhaps the endpoint it had before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from dafka.core.actions import Action, Connect, Disconnect, ReachTowers, SendBeacon, Warn
from dafka.core.role import milliseconds
from protocol import NodeBeacon, TowerBeacon, Welcome

_CHECKS_WITHOUT_ECHO = 2
"""Checks in a row, an interval apart, at which towers need not yet have repeated our beacon."""

TOWER_PATIENCE_S = 2.0
"""Time for a tower to answer before the operator is told that none does."""

_MAX_ENDPOINT = 300
_SCHEMES = ("tcp://", "ipc://", "inproc://")


@dataclass(slots=True)
class Peer:
    """A node that has been introduced; `seen` is when it was last heard of.

    `born` is when it started, if it said so.
    """

    address: str
    endpoint: str
    seen: float
    role: str | None = None
    version: str | None = None
    born: float | None = None


class Beacon:
    """The discovery side of every node but towers."""

    def __init__(
        self,
        own: NodeBeacon,
        *,
        towers: Sequence[str],
        interval: float,
        timeout: float,
        max_peers: int,
    ) -> None:
        """`own` tells how old the node was at its start.

        `towers`: how the operator is told where a tower was looked for; if empty, he is not.
        """
        self._own = own
        self._towers = towers
        self._interval = interval
        self._timeout = timeout
        self._max_peers = max_peers
        self._next_beacon: float | None = None
        self._next_check: float | None = None
        self._heard = 0.0
        self._unanswered = 0  # checks since a tower repeated our beacon
        self._started = 0.0
        self._next_complaint: float | None = None
        self.peers: dict[str, Peer] = {}
        self._by_address: dict[str, Peer] = {}
        """Of a node that is known at several endpoints, the one heard of last."""
        self.caught_up = True
        """Whether all that had come from peers has been read, as far as the shell knows."""

    def start(self, now: float) -> list[Action]:
        """Wait for a tower's welcome: whoever hears of us answers once, and we must hear that."""
        self._next_check = now + self._interval
        self._heard = self._started = now
        if self._towers:
            self._next_complaint = now + TOWER_PATIENCE_S
        return []

    @property
    def welcomed(self) -> bool:
        """Whether a tower has been there."""
        return self._next_beacon is not None

    @property
    def stores(self) -> int:
        """How many stores of ours have been introduced; a C tower drops who is one.

        A store is two nodes, its writer and its reader, of which one may have come alone.
        """
        return (sum(peer.role == "store" for peer in self.peers.values()) + 1) // 2

    def tower_connected(self, now: float) -> list[Action]:
        """A tower has just begun to listen to us: it has not heard us yet."""
        return [] if self._next_beacon is None else self._beacon(now)

    def receive(self, message: TowerBeacon | Welcome, now: float) -> list[Action]:
        """Learn of a peer, or that a tower is there."""
        if not self._towers_speak(now):
            # Nobody could be heard while the towers were silent: all get their time again.
            for peer in self.peers.values():
                peer.seen = now
        self._heard = now
        self._next_complaint = None
        match message:
            case Welcome():
                return self._beacon(now)
            case TowerBeacon():
                return self._on_tower_beacon(message, now)
            case _:
                assert_never(message)

    def _on_tower_beacon(self, message: TowerBeacon, now: float) -> list[Action]:
        if message.address == self._own.address:
            self._unanswered = 0
            return []
        peer = self.peers.get(message.endpoint)
        if peer is not None and peer.address == message.address:
            peer.seen = now
            self._by_address[peer.address] = peer
            return []
        born = None if message.age_ms is None else now - message.age_ms / 1000
        if peer is not None and (born is None or born <= _birth(peer)):
            return []  # known once whom we know there has been silent for long enough
        return self._refused(message, peer) or self._introduce(message, peer, born, now)

    def _refused(self, message: TowerBeacon, peer: Peer | None) -> list[Action]:
        if not _usable(message.endpoint):
            return [Warn("endpoint", f"ignored a peer's endpoint {message.endpoint[:60]!r}")]
        if peer is None and len(self.peers) >= self._max_peers:
            return [Warn("peers", f"ignored a peer beyond max_peers={self._max_peers}")]
        return []

    def _introduce(
        self, message: TowerBeacon, before: Peer | None, born: float | None, now: float
    ) -> list[Action]:
        """Connect to a newcomer; who was there `before`, older than it, has made room for it."""
        address, endpoint = message.address, message.endpoint
        told = (message.role, message.version, born)
        gone = [] if before is None else [self._let_go(before)]
        self.peers[endpoint] = self._by_address[address] = Peer(address, endpoint, now, *told)
        runs = _runs_endpoint(endpoint, message.runs_port)
        return [*gone, Connect(address, endpoint, born, runs), *self._beacon(now)]

    def _let_go(self, peer: Peer) -> Disconnect:
        del self.peers[peer.endpoint]
        if self._by_address.get(peer.address) is peer:
            del self._by_address[peer.address]
        return Disconnect(peer.address, peer.endpoint)

    def spoke(self, addresses: Iterable[str], now: float) -> None:
        """Records came from their producers themselves: those are there, beacons or not.

        To let one go would lose what is under way from it, and a C node cannot resend that.
        """
        for address in addresses:
            peer = self._by_address.get(address)
            if peer is not None:
                peer.seen = now

    def tick(self, now: float) -> list[Action]:
        """Send the regular beacon, and drop peers that have been silent for too long.

        While no tower speaks, not even to repeat our own beacon, silence says nothing of peers:
        losing the towers disturbs nobody who is already introduced.
        """
        actions: list[Action] = []
        if self._next_complaint is not None and now >= self._next_complaint:
            # Once, and not when towers go later: that disturbs nobody who is introduced.
            self._next_complaint = None
            actions.append(self._complaint())
        if self._next_beacon is not None and now >= self._next_beacon:
            actions += self._beacon(now)
        if self._next_check is not None and now >= self._next_check:
            actions += self._check(now)
        return actions

    def _check(self, now: float) -> list[Action]:
        """See who has been silent, now that one more interval is over."""
        self._next_check = now + self._interval
        actions: list[Action] = []
        self._unanswered += 1
        if self._unanswered > _CHECKS_WITHOUT_ECHO:
            # Towers repeat our beacons to us as well, so no tower hears us. libzmq never tries
            # again where something else once answered on that port. Checks count and not time:
            # where this node stood still, what towers said waits to be read, and reaching for
            # them anew would lose it.
            self._unanswered -= _CHECKS_WITHOUT_ECHO
            actions.append(ReachTowers())
        # What waits to be read would be lost with the connection.
        if self.caught_up and self._towers_speak(now):
            late = now - self._timeout
            silent = [peer for peer in self.peers.values() if peer.seen < late]
            actions += map(self._let_go, silent)
        return actions

    def _towers_speak(self, now: float) -> bool:
        return now - self._heard <= 2 * self._interval

    def next_deadline(self) -> float | None:
        """When `tick` has something to do, in the time of `now`."""
        times = (self._next_beacon, self._next_check, self._next_complaint)
        return min((time for time in times if time is not None), default=None)

    def _complaint(self) -> Warn:
        return Warn(
            "tower",
            f"no tower answers at {' or '.join(self._towers)}: waiting; start one with "
            "'dafka tower' or 'dafka server', or name another with --tower",
        )

    def _beacon(self, now: float) -> list[Action]:
        self._next_beacon = now + self._interval
        age_ms = (self._own.age_ms or 0) + milliseconds(now - self._started)
        return [SendBeacon(replace(self._own, age_ms=age_ms))]


def _birth(peer: Peer) -> float:
    return -math.inf if peer.born is None else peer.born


def _runs_endpoint(endpoint: str, port: int | None) -> str | None:
    """Where a node publishes RECORDS: another port of the same host."""
    if port is None or not endpoint.startswith("tcp://"):
        return None
    return f"{endpoint.rpartition(':')[0]}:{port}"


def _usable(endpoint: str) -> bool:
    """Whether ZeroMQ may be given it: what is not ASCII may not even be text (surrogateescape)."""
    if not endpoint.startswith(_SCHEMES) or len(endpoint) > _MAX_ENDPOINT:
        return False
    return endpoint.isascii() and endpoint.isprintable()
