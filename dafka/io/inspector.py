"""A tool that looks at a running cluster: a shell around `dafka.core.inspector`.

It stores nothing, and no other node counts on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gevent.event import Event

from dafka.config import NodeConfig
from dafka.core import inspector as core
from dafka.core.actions import Settled
from dafka.core.beacon import Peer
from dafka.core.inventory import Inventory, StoreState
from dafka.core.kinds import Kind
from dafka.io.driver import Driver
from dafka.io.green import GREEN, GreenLife
from dafka.io.life import configured, new_address, node_logger
from dafka.io.node import Wiring
from dafka.io.shell import at_once
from dafka.names import check_topic

ROLE = "tool"
"""What other tools see in its beacon."""

logger = node_logger("inspector")


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node of the cluster. `role` and `version` are None where they cannot be told."""

    role: str | None
    address: str
    endpoint: str
    version: str | None
    seen_s: float
    """How long ago it was last heard of."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a store did about a deletion: `records` is None if it did not confirm it.

    `able` is False for a store that does not know how to delete, such as those of C.
    """

    store: StoreState
    able: bool
    records: int | None


class Inspector(GreenLife):
    """Finds out what a cluster holds. Start it, `gather`, then ask; use one for one question."""

    def __init__(
        self, topic: str | None = "", *, config: NodeConfig | None = None, **settings: Any
    ) -> None:
        """Opens nothing. `topic`: "" for all, None for the nodes only."""
        self.topic = check_topic(topic) if topic else topic
        self.config = configured(NodeConfig, config, settings)
        self.address = new_address()
        self._machine = core.Inspector(self.address, self.topic, new_address)
        self._settled = Event()
        self._stopped = False

    def start(self) -> Inspector:
        """Open sockets and look for the towers; returns at once."""
        with self._starting("an inspector"):
            driver = Driver("inspector", logger, GREEN)
            self._wiring = Wiring(ROLE, self.address, self.config, self._machine, driver)
            driver.add_executors({Settled: lambda _: self._settled.set()})
            now = driver.now()
            at_once(self._wiring.open(now))
        driver.perform(self._machine.start(now))
        driver.start()
        driver.failed.link(self._settled.set)
        self.drivers = (driver,)
        return self

    def stop(self, timeout: float | None = None) -> None:
        """End the node; what was gathered can still be read."""
        if not self.started or self._stopped:
            return
        self._stopped = True
        at_once(self.driver.stop(timeout))
        at_once(self._wiring.close())
        self._settled.set()

    def gather(self, timeout: float) -> Inventory:
        """What the cluster holds, once everybody has answered, or after `timeout` seconds."""
        self._wait(timeout)
        return self._machine.inventory()

    def nodes(self) -> list[NodeState]:
        """The nodes that are there, without this one, ordered by role and endpoint."""
        now = self.driver.now()
        states = [self._node(peer, now) for peer in self._wiring.discovery.peers.values()]
        return sorted(states, key=lambda node: (node.role or "~", node.endpoint, node.address))

    def delete(self, timeout: float) -> list[Deletion]:
        """Have all stores delete the topic for good; what each known store did about it.

        Call `gather` before: who is known by then is waited for.
        """
        check_topic(self.topic or "")
        stores = self._machine.inventory().stores
        peers = self._wiring.discovery.peers.values()
        # A C tower drops the role of a beacon, so an answer that bears a name shows it as well.
        ours = {peer.address for peer in peers if peer.role is not None}
        able = [one.address for one in stores if one.name is not None or one.address in ours]
        if able:
            self._settled.clear()
            self.driver.perform(self._machine.delete(able, self.driver.now()))
            self.driver.wake()
            self._wait(timeout)
        done = self._machine.deletions
        return [
            Deletion(one, one.address in able or one.address in done, done.get(one.address))
            for one in stores
        ]

    # Inside

    def _wait(self, timeout: float) -> None:
        self.driver  # noqa: B018  `Closed` before the start
        self._settled.wait(timeout)
        self.check_alive()

    def _node(self, peer: Peer, now: float) -> NodeState:
        kind = self._machine.kinds.get(peer.address)
        role = peer.role or (kind.value if kind else None)
        if peer.role == "store":
            half = Kind.STORE_READER if kind is Kind.STORE_READER else Kind.STORE_WRITER
            role = half.value
        return NodeState(role, peer.address, peer.endpoint, peer.version, max(0.0, now - peer.seen))
