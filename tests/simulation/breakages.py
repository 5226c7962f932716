"""Machines broken on purpose: the simulation has to notice each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from dafka.core.actions import Action, Send
from dafka.core.answerer import Answerer
from dafka.core.answers import Answers
from dafka.core.extent import Extent
from dafka.core.fetcher import Fetcher
from dafka.core.intake import Intake
from dafka.core.partition import Partition
from dafka.core.producer import Producer
from dafka.core.run import Run
from dafka.core.store_reader import StoreReader
from dafka.core.store_writer import StoreWriter
from protocol import Ack, Message

Breakage = tuple[type, str, Callable[..., Any]]
"""A class, the name of a method, and what replaces it."""


def _ack_before_commit(self: StoreWriter, run: Run) -> Action:
    """A store acknowledges what it has received, not what is on its disk."""
    key = (run.topic, run.partition)
    self._durable[key] = max(run.next, self._durable.get(key, 0))
    return Send(Ack(run.partition, run.topic, run.next - 1, self._store))


def _deliver_behind_a_gap(self: Intake, run: Run, room: int) -> list[Run]:
    """What is missing is taken for delivered."""
    if run.next <= self.next:
        return []
    run = run.since(self.next)
    self.next = self.end = run.next
    return [run]


def _forget_after_one_ack(self: Producer, sequence: int, store: str, now: float) -> list[Action]:
    """One store is enough, however many were asked for."""
    if sequence < self.next and sequence + 1 > self.acked:
        self.acked = sequence + 1
        self._forget()
    return []


def _answer_nothing(self: Producer, fetch: Message, now: float) -> list[Action]:
    """A producer never sends again what was lost."""
    return []


def _hold_everything(self: Intake, run: Run, room: int) -> None:
    """What waits behind a gap has no bound."""
    _HOLD(self, run, 1 << 60)


def _never_repeat(self: Fetcher, intake: Intake, now: float) -> tuple[int, int] | None:
    """A request that was lost is not made again."""
    overdue = self._deadline is not None and now >= self._deadline
    if overdue and intake.next < self._to:
        self._deadline = now + 1000.0
        return None
    return _REQUEST(self, intake, now)


def _compare_nothing(self: StoreWriter, now: float) -> list[Action]:
    """Stores do not ask each other what they have."""
    return []


def _deletions_untold(self: StoreReader, requester: str, extent: Extent, now: float) -> Send:
    """A store that was away does not hear that a topic was deleted."""
    return _HEAD(self, requester, replace(extent, deleted=0), now)


def _nothing_is_gone(self: Partition, stores: int) -> int | None:
    """What every store has dropped is waited for, for ever."""
    return None


def _nobody_goes(self: Answerer, address: str, endpoint: str, now: float) -> list[Action]:
    """Peers that have gone are remembered."""
    return []


def _runs_for_everybody(self: Answers, *key: Any, runs: bool = False) -> bool:
    """Who does not understand DIRECT-RECORDS is answered with them all the same."""
    return _ADD(self, *key, runs=True)


_ADD = Answers.add
_HOLD, _REQUEST, _HEAD = Intake._hold, Fetcher.request, StoreReader._head

BREAKAGES: dict[str, Breakage] = {
    "ack-before-commit": (StoreWriter, "_hand_on", _ack_before_commit),
    "deliver-behind-a-gap": (Intake, "offer", _deliver_behind_a_gap),
    "forget-after-one-ack": (Producer, "_on_ack", _forget_after_one_ack),
    "producer-answers-nothing": (Producer, "_on_fetch", _answer_nothing),
    "hold-everything": (Intake, "_hold", _hold_everything),
    "never-repeat": (Fetcher, "request", _never_repeat),
    "compare-nothing": (StoreWriter, "_compare", _compare_nothing),
    "deletions-untold": (StoreReader, "_head", _deletions_untold),
    "nothing-is-gone": (Partition, "floor", _nothing_is_gone),
    "nobody-goes": (Answerer, "peer_lost", _nobody_goes),
    "runs-for-everybody": (Answers, "add", _runs_for_everybody),
}


@contextmanager
def broken(name: str | None) -> Iterator[None]:
    """Break a machine for a while; None: none."""
    if name is None:
        yield
        return
    with patch.object(*BREAKAGES[name]):
        yield
