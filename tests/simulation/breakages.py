"""Machines broken on purpose: the simulation has to notice each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from dafka.core.actions import Action, Send
from dafka.core.intake import Intake
from dafka.core.producer import Producer
from dafka.core.run import Run
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


BREAKAGES: dict[str, Breakage] = {
    "ack-before-commit": (StoreWriter, "_hand_on", _ack_before_commit),
    "deliver-behind-a-gap": (Intake, "offer", _deliver_behind_a_gap),
    "forget-after-one-ack": (Producer, "_on_ack", _forget_after_one_ack),
    "producer-answers-nothing": (Producer, "_on_fetch", _answer_nothing),
}


@contextmanager
def broken(name: str | None) -> Iterator[None]:
    """Break a machine for a while; None: none."""
    if name is None:
        yield
        return
    with patch.object(*BREAKAGES[name]):
        yield
