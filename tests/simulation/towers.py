"""Virtual towers, and how nodes reach them."""

from __future__ import annotations

import heapq
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dafka.core import actions as act
from dafka.core.tower import Tower
from protocol import Message, NodeBeacon, ProtocolError, TowerBeacon, Welcome, build, parse

if TYPE_CHECKING:
    from simulation.nodes import Node
    from simulation.world import World


class TowerNode:
    """A tower, at the same endpoints in each of its lives."""

    machine: Any

    def __init__(self, world: World) -> None:
        self.world = world
        self.process = world.process("tower")
        self.process.nodes.append(self)
        self.alive = False
        self.life = 0
        self.sources: list[Any] = []
        self.malformed = 0
        self.older = world.is_old()
        """It drops what beacons tell of RECORDS."""
        self._heard_by: dict[Node, None] = {}
        self._armed: float | None = None

    def start(self) -> None:
        """Begin, and be found by every node, sooner or later."""
        self.alive, self.life = True, self.life + 1
        self.machine = Tower(host="", timeout=4.0, own_host=lambda: self.process.host)
        self._heard_by = {}
        self._armed = None
        self.world.note(self, "starts")
        for node in self.world.living():
            if node.beacon is not None:
                self.meet_soon(node)

    def crash(self) -> None:
        """End at once."""
        self.alive = False
        self.world.note(self, "crashes")
        self.process.ended()
        self.process.nodes = [self]

    # Links

    def meet_soon(self, node: Node) -> None:
        """Let both of a node's sockets reach this tower; which is first, chance decides."""
        self._heard_by.pop(node, None)
        for reach in (self._listen, self._welcome):
            pause = self.world.random.uniform(0.001, 0.3)
            self.world.after(pause, partial(reach, node, self.life))

    def _reachable(self, node: Node, life: int, again: Any) -> bool:
        if not self.alive or life != self.life or not node.alive:
            return False
        if not self.world.network.is_cut(self.process, node.process):
            return True
        self.world.after(1.0, partial(again, node, life))
        return False

    def _listen(self, node: Node, life: int) -> None:
        if self._reachable(node, life, self._listen) and self not in node.towers:
            node.towers[self] = life
            node.process.do(node.tower_listens)

    def _welcome(self, node: Node, life: int) -> None:
        if self._reachable(node, life, self._welcome) and node not in self._heard_by:
            self._heard_by[node] = None
            node.process.do(partial(node.on_tower, Welcome()))

    # Beacons

    def hear(self, frames: list[bytes], node: Node, life: int) -> None:
        """A beacon has come, unless it was lost."""
        world = self.world
        lost = world.network.is_cut(self.process, node.process) or (
            world.faults.loss and world.random.random() < world.faults.loss
        )
        if not self.alive or life != self.life:
            node.towers.pop(self, None)
        elif not lost:
            spoilt = world.noise.beacon(frames) if world.faults.noise else frames
            self.process.do(partial(self._receive, spoilt, node.process.host))

    def _receive(self, frames: list[bytes], source: str) -> None:
        try:
            message: Message = parse(frames)
        except ProtocolError:
            self.malformed += 1
            return
        if isinstance(message, NodeBeacon):
            self._perform(self.machine.receive(message, source, self.process.now))
        else:
            self.malformed += 1

    def _perform(self, actions: list[act.Action]) -> None:
        for action in actions:
            if isinstance(action, act.Forward):
                message = action.message
                told = parse(build(replace(message, runs_port=None) if self.older else message))
                assert isinstance(told, TowerBeacon)
                self.world.at(self.world.arrival(), partial(self._tell, told, self.life))
            else:
                assert isinstance(action, act.Warn)
                self.world.warnings.append(action)
        self.arm()

    def _tell(self, message: TowerBeacon, life: int) -> None:
        world = self.world
        if not self.alive or life != self.life:
            return
        for node in list(self._heard_by):
            if not node.alive:
                del self._heard_by[node]
            elif world.network.cuts and world.network.is_cut(self.process, node.process):
                continue
            elif not world.faults.loss or world.random.random() >= world.faults.loss:
                node.process.do(partial(node.on_tower, message))

    # Time

    def arm(self, *, anew: bool = False) -> None:
        """See to it that the machine is woken in time."""
        deadline = self.machine.next_deadline()
        if deadline is None or (self._armed is not None and not anew):
            return
        self._armed = when = deadline - self.process.ahead
        heapq.heappush(self.world.events, (when, next(self.world.number), partial(self._due, when)))

    def _due(self, when: float) -> None:
        if self._armed == when and self.alive and not self.process.standing:
            self._armed = None
            # The world's time and the tower's differ by the rounding of a float.
            self._perform(self.machine.tick(self.process.now + 1e-6))

    def read(self) -> None:
        """What has waited was handed in by the process."""
