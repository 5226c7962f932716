"""A small cluster that Hypothesis plays with: it shrinks numbers and times as well as events.

The random lives find more; this finds the shortest form (docs/testing.md).
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from simulation.bounds import check_bounds
from simulation.breakages import broken
from simulation.world import Faults, World

pytestmark = pytest.mark.no_cover

STORES = 2
pauses = st.sampled_from((0.0, 0.02, 0.3, 1.5, 7.0))
which = st.integers(0, STORES - 1)
chances = st.sampled_from((0.0, 0.3, 1.0))


class SmallCluster(RuleBasedStateMachine):
    """Two stores, a producer that waits for both, and a consumer."""

    @initialize(seed=st.integers(0, 3))
    def begin(self, seed: int) -> None:
        self.world = World(seed, towers=1)
        self.stores = [self.world.store(same_ports=True) for _ in range(STORES)]
        self.producer = self.world.producer("metrics", min_store_acks=STORES)
        self.consumer = self.world.consumer("metrics", start="earliest")
        self.key = self.producer.key

    @rule(number=st.integers(1, 40))
    def publish(self, number: int) -> None:
        self.producer.publish(number)

    @rule(seconds=pauses)
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(number=which)
    def crash_or_restart(self, number: int) -> None:
        store = self.stores[number]
        (store.crash if store.alive else store.start)()

    @rule(loss=chances, delay=st.sampled_from((0.001, 0.7)))
    def weather(self, loss: float, delay: float) -> None:
        self.world.faults = Faults(loss=loss, delay=delay)

    @rule(number=which)
    def cut_off(self, number: int) -> None:
        others = [self.producer.process, self.consumer.process, self.stores[1 - number].process]
        self.world.network.cut([self.stores[number].process], others)

    @rule()
    def heal(self) -> None:
        self.world.network.heal()

    @rule()
    def stand_or_go_on(self) -> None:
        process = self.consumer.process
        (process.go_on if process.standing else process.stand)()

    @rule(chance=st.integers(0, 4))
    def seek(self, chance: int) -> None:
        if self.key in self.consumer.next and not self.consumer.process.standing:
            self.consumer.seek(self.key, chance * len(self.world.truth[self.key]) // 4)

    @invariant()
    def memory_is_bounded(self) -> None:
        if hasattr(self, "world"):
            check_bounds(self.world)

    def teardown(self) -> None:
        """The faults end, and all must be well."""
        if not hasattr(self, "world"):
            return
        world, published = self.world, len(self.world.truth[self.key])
        world.faults = Faults()
        self.consumer.process.go_on()
        world.network.heal()
        for store in self.stores:
            if not store.alive:
                store.start()
        world.until(lambda: not self.producer.machine.unacknowledged, 60.0)
        world.until(lambda: self.consumer.next.get(self.key, 0) == published, 90.0)


def play(**options: Any) -> None:
    run_state_machine_as_test(
        SmallCluster, settings=settings(max_examples=60, stateful_step_count=20, **options)
    )


def test_whatever_happens_to_a_small_cluster_all_ends_well() -> None:
    play()


@pytest.mark.parametrize("name", ["ack-before-commit", "deliver-behind-a-gap"])
def test_machine_broken_on_purpose_is_found_out(name: str) -> None:
    with broken(name), pytest.raises(AssertionError):
        # Shrinking would take a minute.
        play(phases=[Phase.generate], report_multiple_bugs=False)
