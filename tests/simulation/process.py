"""A virtual process: nodes that stand still, and crash, together, with a clock of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from simulation.links import HEARTBEAT_S

if TYPE_CHECKING:
    from simulation.world import World


class Process:
    """What has a network address, and one clock."""

    def __init__(self, world: World, name: str, number: int) -> None:
        self.world, self.name = world, name
        self.host = f"10.0.{number // 250}.{number % 250 + 1}"
        self.ahead = 0.0
        """How far its clock is ahead of the world's."""
        self.standing = False
        self.nodes: list[Any] = []
        self._missed: list[Callable[[], object]] = []
        self._since = 0.0

    @property
    def now(self) -> float:
        """What its clock says."""
        return self.world.now + self.ahead

    def do(self, what: Callable[[], object]) -> None:
        """Let it do something as soon as it can."""
        if self.standing:
            self._missed.append(what)
        else:
            what()

    def stand(self) -> None:
        """Neither read nor do anything from now on (SIGSTOP, or a computer asleep)."""
        if self.standing:
            return
        self.standing, self._since = True, self.world.now
        self.world.note(self, "stands still")
        self.world.blurred = True
        self.world.after(HEARTBEAT_S, partial(self._given_up, self._since))

    def _given_up(self, since: float) -> None:
        """Publishers close the connections to it."""
        if self.standing and since == self._since:
            for node in self.nodes:
                for connection in list(node.sources):
                    connection.lost()

    def go_on(self, *, slept: bool = False) -> None:
        """Go on; if it `slept`, its clock has stood still as well."""
        if not self.standing:
            return
        self.standing = False
        if slept:
            self.ahead -= self.world.now - self._since
        self.world.note(self, "goes on")
        missed, self._missed = self._missed, []
        for what in missed:
            what()
        for node in list(self.nodes):
            if node.alive:
                node.arm(anew=True)
                node.read()

    def leap(self, seconds: float) -> None:
        """Let its clock jump ahead."""
        self.ahead += seconds
        self.world.blurred = True
        self.world.note(self, f"clock leaps {seconds:.1f} s")
        for node in self.nodes:
            node.arm(anew=True)

    def ended(self) -> None:
        """It has crashed: what it missed, it misses for ever."""
        self.standing = False
        self._missed.clear()
        self.nodes = []
