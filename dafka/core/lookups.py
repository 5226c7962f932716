"""Decides whom a consumer asks where a partition was at a time, and which answer counts.

Each store answers by the times at which it got the records itself, so the largest answer is the
best one, and none is too large (see `protocol.DirectOffset`). C stores do not answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from dafka.beginning import Instant
from dafka.core.actions import Action, Send
from dafka.core.partition import Key
from protocol import DirectOffset, GetOffset

PATIENCE_S = 1.0
"""How long other stores may take once one has answered."""

SILENCE_S = 5.0
"""Stores that have not answered after this are taken not to know how."""

_REPEAT_S = 1.0
_REPEAT_MAX_S = 8.0
_LOOK_S = 0.25
_MAX_ANSWERS = 1000


class Found(NamedTuple):
    """Where a partition was; `offset` is None if no store can tell. `fresh`: nobody knows of it."""

    key: Key
    offset: int | None
    fresh: bool


@dataclass(slots=True)
class _Lookup:
    time_ms: int
    fresh: bool
    ask_at: float
    pause: float = _REPEAT_S
    answers: dict[str, int] = field(default_factory=dict)
    answered: float | None = None
    unanswered: float | None = None
    """Since when there is a store that may answer."""

    def decided(self, stores: int, now: float) -> bool:
        """Whether what has been said will do; `stores` can answer, for all we know."""
        if self.answered is not None:
            return len(self.answers) >= stores or now >= self.answered + PATIENCE_S
        if not stores:
            self.unanswered = None
        elif self.unanswered is None:
            self.unanswered = now
        return self.unanswered is not None and now >= self.unanswered + SILENCE_S


class Lookups:
    """The questions of a consumer that have not been decided."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._open: dict[Key, _Lookup] = {}
        self._look_at = 0.0

    def __contains__(self, key: Key) -> bool:
        return key in self._open

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, key: Key, instant: Instant, now: float, *, fresh: bool) -> list[Action]:
        """Look for where a partition was; `fresh`: nobody has been told that it is there."""
        if not self._open:
            self._look_at = now + _LOOK_S
        self._open[key] = _Lookup(instant.ms, fresh, now + _REPEAT_S)
        return [self._question(key)]

    def cancel(self, key: Key) -> bool:
        """Look for it no more; True if nobody has been told of this partition."""
        lookup = self._open.pop(key, None)
        return lookup is not None and lookup.fresh

    def answered(self, message: DirectOffset, stores: int, now: float) -> Found | None:
        """Take a store's answer."""
        key = (message.subject, message.address)
        lookup = self._open.get(key)
        if lookup is None or lookup.time_ms != message.time_ms:
            return None
        name = message.store or ""
        if name in lookup.answers or len(lookup.answers) < _MAX_ANSWERS:
            lookup.answers[name] = message.sequence
        lookup.answered = now if lookup.answered is None else lookup.answered
        return self._decide(key, lookup) if lookup.decided(stores, now) else None

    def tick(self, stores: int, now: float) -> tuple[list[Found], list[Action]]:
        """What is decided by now, and what is to be asked again."""
        if not self._open or now < self._look_at:
            return [], []
        self._look_at = now + _LOOK_S
        found: list[Found] = []
        actions: list[Action] = []
        for key, lookup in list(self._open.items()):
            if lookup.decided(stores, now):
                found.append(self._decide(key, lookup))
            elif now >= lookup.ask_at:
                lookup.pause = min(2 * lookup.pause, _REPEAT_MAX_S)
                lookup.ask_at = now + lookup.pause
                actions.append(self._question(key))
        return found, actions

    def repeat(self) -> list[Action]:
        """Ask everything again: a store has turned up."""
        return [self._question(key) for key in self._open]

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._look_at if self._open else None

    def _question(self, key: Key) -> Action:
        topic, partition = key
        return Send(GetOffset(partition, self._address, topic, self._open[key].time_ms))

    def _decide(self, key: Key, lookup: _Lookup) -> Found:
        del self._open[key]
        return Found(key, max(lookup.answers.values(), default=None), lookup.fresh)
