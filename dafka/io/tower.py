"""A tower as the user meets it: a shell around `dafka.core.tower`."""

from __future__ import annotations

import socket
from typing import Any

from dafka.config import TowerAddress, TowerConfig
from dafka.core import tower as core
from dafka.core.actions import Forward
from dafka.io.driver import Driver
from dafka.io.green import GREEN, GreenLife
from dafka.io.life import configured, node_logger
from dafka.io.shell import at_once
from dafka.io.sockets import Context, TowerPub, TowerSub
from protocol import NodeBeacon, ProtocolError, parse

logger = node_logger("tower")


class Tower(GreenLife):
    """Introduces nodes to each other. Records never pass it."""

    def __init__(self, config: TowerConfig | None = None, **settings: Any) -> None:
        """Opens nothing. `settings` are fields of `TowerConfig`; `ConfigError` if unusable."""
        self.config = configured(TowerConfig, config, settings)
        self.malformed = 0
        self._stopped = False
        self._machine = core.Tower(
            host=self.config.host, timeout=self.config.peer_timeout_s, own_host=own_host
        )

    @property
    def address(self) -> TowerAddress:
        """What nodes take as `tower=`: the real endpoints, `*` read as this machine."""
        self.driver  # noqa: B018  `Closed` before the start
        return TowerAddress(
            self._sub.endpoint.replace("0.0.0.0", "127.0.0.1"),
            self._pub.endpoint.replace("0.0.0.0", "127.0.0.1"),
        )

    @property
    def endpoint(self) -> str:
        """Both endpoints, as they can be given to `--tower`."""
        return str(self.address)

    def start(self) -> Tower:
        """Bind both endpoints; `ConfigError` if one is in use."""
        with self._starting("a tower"):
            driver = Driver("tower", logger, GREEN)
            self._context = Context(GREEN, high_water_mark=10_000)
            try:
                self._sub = TowerSub(self._context, self.config.sub)
                self._pub = TowerPub(self._context, self.config.pub)
            except BaseException:
                at_once(self._context.close())
                raise
        driver.add_executors({Forward: lambda action: self._pub.send(action.message)})
        driver.add_source(self._from_nodes)
        driver.add_machine(self._machine)
        for opened in (self._sub, self._pub):
            opened.watch(driver.wake)
        driver.start()
        self.drivers = (driver,)
        logger.info("tower started sub=%s pub=%s", self._sub.endpoint, self._pub.endpoint)
        return self

    def stop(self, timeout: float | None = None) -> None:
        """End the tower; nodes that know each other are not disturbed. Safe to call twice."""
        if not self.started or self._stopped:
            return
        self._stopped = True
        at_once(self.driver.stop(timeout))
        at_once(self._context.close())
        logger.info("tower stopped")

    def stats(self) -> core.TowerStats:
        """Counters since the start."""
        return self._machine.stats

    def _from_nodes(self, now: float) -> bool:
        self._pub.discard_subscriptions()
        beacons = self._sub.drain()
        for source, frames in beacons:
            try:
                message = parse(frames)
            except ProtocolError as error:
                self._refuse(f"dropped a malformed beacon from {source}: {error}")
                continue
            if isinstance(message, NodeBeacon):
                self.driver.perform(self._machine.receive(message, source, now))
            else:
                self._refuse(f"dropped a {type(message).__name__} from {source}")
        return bool(beacons)

    def _refuse(self, text: str) -> None:
        self.malformed += 1
        self.driver.limited.warn("beacon", f"tower {text}")


def own_host() -> str:
    """This machine's address as other machines see it (no packet is sent to find out)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        host: str = probe.getsockname()[0]
        return host
