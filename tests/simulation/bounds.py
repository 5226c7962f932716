"""The bounds of what machines remember, looked at from outside."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dafka.core.answerer import Answerer
from dafka.core.answers import MAX_RANGES
from dafka.core.producer import Producer
from dafka.core.receiver import Receiver

if TYPE_CHECKING:
    from simulation.world import World

MOST_REMEMBERED = 1_000
"""Stores shown, nodes departed, stores that acknowledged, floors told: each at most so many."""


def check_bounds(world: World) -> None:
    """Fail if a machine remembers more than it may, or counts wrongly what it holds."""
    for node in world.living():
        machine = node.machine
        if node.beacon is not None and node.role is not None:
            known = {peer.address for peer in node.beacon.peers.values()}
            _check_peers(world, machine, known)
        if isinstance(machine, Receiver):
            _check_receiver(world, machine)
        if isinstance(machine, Answerer):
            _check_answerer(world, machine)
        if isinstance(machine, Producer):
            _check_producer(world, machine)


def _check_peers(world: World, machine: Any, known: set[str]) -> None:
    """Who has gone is forgotten, but for the few of whom it matters when they were there."""
    if isinstance(machine, Receiver):
        world.check(set(machine._sources._endpoints) == known, "peers are those introduced")
        world.check(set(machine._sources.ready) <= known, "stores to ask are there")
    if isinstance(machine, Answerer):
        world.check(set(machine._peers) == known, "peers are those introduced")


def _check_receiver(world: World, machine: Receiver) -> None:
    backlog, sources = machine._backlog, machine._sources
    waiting = sum(partition.intake.waiting_bytes for _, partition in backlog.items())
    world.check(waiting == backlog._held, "what is held back is counted", waiting, backlog._held)
    for partition in dict(backlog.items()).values():
        held = partition.intake._waiting
        cost = sum(run.cost for run in held)
        world.check(cost == partition.intake.waiting_bytes, "held runs are counted", cost)
        _bounded(world, partition.floors)
        ordered = all(a.next <= b.first for a, b in pairwise(held))
        world.check(ordered, "held runs are in order", held)
    for memory in (sources._shown, sources._departed, sources._patience, sources.ready):
        _bounded(world, memory)
    turns = backlog._turns
    world.check(len(turns._due) <= len(backlog.behind), "only who lacks something waits")
    world.check(len(turns._silent) <= 100 * (1 + len(backlog.behind)), "old turns are forgotten")


def _check_answerer(world: World, machine: Answerer) -> None:
    answers = machine._answers
    world.check(len(answers) <= answers._limit, "answers are bounded", len(answers))
    for answer in answers._answers.values():
        world.check(len(answer.ranges) <= MAX_RANGES, "ranges are bounded", answer)


def _check_producer(world: World, machine: Producer) -> None:
    held = sum(run.cost for run in machine._unacked)
    world.check(held == machine.unacked_bytes, "what is kept is counted", held)
    world.check(held <= machine.config.buffer_bytes, "what is kept fits the buffer", held)
    records = sum(map(len, machine._unacked))
    world.check(records == machine.next - machine.acked, "nothing else is kept", records)
    _bounded(world, machine._acks)


def _bounded(world: World, memory: Any) -> None:
    world.check(len(memory) <= MOST_REMEMBERED, "what is remembered is bounded", len(memory))
