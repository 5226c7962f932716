"""What a record costs does not grow with the cluster, but for what is known to."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from simulation.scale import Cost, Curve, beacons, catch_up, curves, live, slope

pytestmark = pytest.mark.no_cover

DOCS = Path(__file__).parents[2] / "docs" / "testing.md"


def _exponent(costs: list[tuple[int, Cost]], name: str) -> float:
    return slope([replace(cost, size=size) for size, cost in costs], name)


def test_a_delivered_record_costs_as_many_messages_however_many_consumers_there_are() -> None:
    for work in (live, catch_up):
        costs = [(size, work(size, 50)) for size in (10, 30, 100)]
        assert _exponent(costs, "messages") < 0.1
        assert costs[-1][1].figures()["messages"] < 2


def test_each_further_store_costs_one_more_copy_and_no_more() -> None:
    one, five = (live(10, 50, stores=stores).figures()["bytes"] for stores in (1, 5))
    # One in ten deliveries is a store's, and its acknowledgements are few.
    assert 0.1 < (five - one) / 4 / one < 0.2


def test_beacons_grow_with_the_square_of_the_nodes_and_no_faster() -> None:
    assert 1.8 < _exponent([(n, beacons(n, 3.0)) for n in (5, 10, 20)], "messages") < 2.1


def test_every_way_to_grow_is_a_table_in_the_documentation() -> None:
    shown = DOCS.read_text("utf-8")
    for curve in curves(10):
        assert f"| {curve.title} |" in shown


def test_a_table_tells_how_each_figure_grows() -> None:
    costs = tuple(Cost(n, 1, 5 * n, 7, {"store": 1e-6 * n * n}) for n in (1, 10, 100))
    *_, last = Curve("nodes", "second", costs).rows()
    assert re.findall(r"[+-]\d\.\d\d", last) == ["+1.00", "+0.00", "+2.00"]


def test_time_that_nobody_took_is_not_shown() -> None:
    assert "tower us" not in live(2, 10).figures()


@pytest.mark.parametrize("producers", [1, 5])
def test_everything_published_is_counted(producers: int) -> None:
    assert live(3, 10, producers=producers).delivered == 3 * 10 * producers
