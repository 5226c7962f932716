"""Decides when a store can be asked for its heads, and when it has said everything."""

from __future__ import annotations

from dataclasses import dataclass, field

from dafka.core.inventory import Key, StoreState
from protocol import DirectHead

PATIENCE_S = 1.0
"""How long a store may leave an answer out before it is taken to have nothing to say."""

QUIET_S = 0.25
"""A store that has answered and then is silent for so long has said everything."""


@dataclass(slots=True)
class AskedStore:
    """A store that is asked: `reply` is the address that it answers to, and no other does.

    `hears`: it listens to our questions. `proven`: its hello to `reply` came, so its answers will
    come as well, since SUB sends its subscriptions in order.
    """

    reply: str
    found: float
    hears: bool = False
    proven: bool = False
    asked: float | None = None
    answered: float | None = None
    heads: dict[Key, DirectHead] = field(default_factory=dict)

    def ready(self, now: float) -> bool:
        """A question reaches it, and the answer will reach us, as far as anybody can know."""
        return self.asked is None and self.hears and (self.proven or now >= self.ready_at)

    @property
    def ready_at(self) -> float:
        """When a store that hears us is asked without a proof."""
        return self.found + PATIENCE_S

    def said_at(self) -> float | None:
        """When it has said everything, if nothing more comes; None if it was not asked yet."""
        if self.answered is not None:
            return self.answered + QUIET_S
        return None if self.asked is None else self.asked + PATIENCE_S

    def state(self, reader: str, endpoint: str) -> StoreState:
        """What is known of it by now."""
        name = next((head.store for head in self.heads.values() if head.store), None)
        # An empty store has nothing to answer; then its hello has to do.
        answered = self.answered is not None or (self.asked is not None and self.proven)
        return StoreState(reader, endpoint, name, answered)
