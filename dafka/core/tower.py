"""Decides what a tower tells every node about a node that showed itself. Sees no records."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

from dafka.core.actions import Action, Forward, Warn
from dafka.names import is_host
from protocol import NodeBeacon, TowerBeacon

_MAX_ADDRESS = 255
_LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class TowerStats:
    """Counters since the start."""

    beacons: int = 0
    refused: int = 0
    nodes: int = 0


class Tower:
    """Forwards node beacons, with the host the beacon came from where the node named none."""

    def __init__(self, *, host: str, timeout: float, own_host: Callable[[], str]) -> None:
        """`own_host` finds this machine's address as other machines see it."""
        self._host = host
        self._timeout = timeout
        self._own_host = own_host
        self._nodes: dict[tuple[str, str], float] = {}
        self._remote_seen: float | None = None
        self._next_check: float | None = None
        self.stats = TowerStats()

    def receive(self, message: NodeBeacon, source: str, now: float) -> list[Action]:
        """Introduce the node that sent `message` from the network address `source`."""
        self.stats.beacons += 1
        if not _usable(message):
            self.stats.refused += 1
            return [Warn("beacon", f"refused a beacon from {source}: host or port is unusable")]
        host = message.host or self._host_of(source, now)
        self._nodes[(message.address, message.port)] = now
        self._next_check = self._next_check or now + self._timeout
        self.stats.nodes = len(self._nodes)
        endpoint = f"tcp://{host}:{message.port}"
        told = (message.role, message.version, message.age_ms, message.runs_port)
        return [Forward(TowerBeacon(message.address, endpoint, *told))]

    def tick(self, now: float) -> list[Action]:
        """Forget nodes that have fallen silent."""
        if self._next_check is not None and now >= self._next_check:
            self._nodes = {k: t for k, t in self._nodes.items() if now - t <= self._timeout}
            self._next_check = now + self._timeout if self._nodes else None
            self.stats.nodes = len(self._nodes)
        return []

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._next_check

    def _host_of(self, source: str, now: float) -> str:
        """What others should call the node at `source`.

        A node on this machine is 127.0.0.1 only while all nodes are on this machine.
        """
        if not _is_loopback(source):
            self._remote_seen = now
            return f"[{source}]" if ":" in source else source
        if self._host:
            return self._host
        remote = self._remote_seen is not None and now - self._remote_seen <= self._timeout
        return self._own_host() if remote else _LOOPBACK


def _is_loopback(source: str) -> bool:
    try:
        return ipaddress.ip_address(source).is_loopback
    except ValueError:
        return not source


def _usable(message: NodeBeacon) -> bool:
    if not 0 < len(message.address) <= _MAX_ADDRESS or not is_host(message.host):
        return False
    port = message.port
    return port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536
