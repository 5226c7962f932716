"""How much is said when many consumers catch up at once: no storm, however many they are."""

from __future__ import annotations

import pytest

from simulation.fan_out import catch_up

pytestmark = pytest.mark.no_cover

RECORDS = 200
FEW_RECORDS = 50
"""For a thousand consumers, since it is their number that matters."""

HEARD_PER_RECORD = 1.2
"""Messages that a consumer hears for each record. Until it knows that a producer answers exactly,
and which store to ask, it asks everybody, and so hears the first window from each of them."""
HEARD_BESIDES = 45
"""Heads and hellos, for each consumer."""
REQUESTS = 3
"""For each consumer: one is enough for all the records; others are for windows that others fill."""


@pytest.mark.parametrize("consumers", [1, 10, 100, 1000])
@pytest.mark.parametrize("alive", [True, False], ids=["alive", "dead"])
def test_catching_up_costs_each_consumer_a_few_messages(consumers: int, alive: bool) -> None:
    records = RECORDS if consumers < 1000 else FEW_RECORDS
    cost = catch_up(consumers, records, producer_alive=alive)
    assert cost.delivered == consumers * records
    assert cost.heard <= HEARD_PER_RECORD * cost.delivered + HEARD_BESIDES * consumers
    assert cost.requests <= REQUESTS * consumers


def test_stores_that_are_slow_are_not_asked_over_and_over() -> None:
    """Each answer takes longer than a request's first patience; others would be as slow."""
    settings = {"read_s": 0.02, "fetch_records": 50}
    cost = catch_up(200, 2 * RECORDS, producer_alive=False, **settings)
    assert cost.heard <= 1.2 * cost.delivered + HEARD_BESIDES * 200
