"""How event time advances: partitions that are waited for, and those that are not."""

from __future__ import annotations

from math import inf

import pytest

from dafka import streams
from dafka.streams import JSON
from dafka.streams.testing import Driver
from dafka.streams.watermark import Watermark


def counting(**source):
    """A driver of an application that counts in windows of ten seconds."""
    app = streams.App("test", idle=10)
    events = app.source("in", time=lambda v: v[0], **source)
    events.key_by(lambda v: v[1]).window(streams.tumbling(10)).count(name="count").to("out", JSON)
    return Driver(app)


def closed(driver):
    """The windows that have been given out, and what they counted."""
    return [(r["start"], r["value"]) for r in driver.output("out")]


def test_the_partition_that_is_furthest_behind_counts():
    driver = counting()
    driver.know("in", "A", "B")
    driver.send("in", [[5, "k"], [35, "k"]], partition="A")
    assert closed(driver) == []
    driver.send("in", [[1, "k"], [25, "k"]], partition="B")
    assert closed(driver) == [(0, 2)]
    driver.send("in", [[30, "k"]], partition="B")
    assert closed(driver) == [(0, 2), (20, 1)]


def test_a_known_number_of_partitions_is_waited_for():
    driver = counting(partitions=2)
    driver.send("in", [[5, "k"], [35, "k"]], partition="A")
    driver.advance(9)
    assert closed(driver) == []
    driver.send("in", [[6, "k"], [15, "k"]], partition="B")
    assert closed(driver) == [(0, 2)]


def test_a_partition_that_says_nothing_is_not_waited_for_after_a_while():
    driver = counting()
    driver.know("in", "A", "B")
    driver.send("in", [[5, "k"], [35, "k"]], partition="A")
    driver.advance(9.9)
    driver.send("in", [[36, "k"]], partition="A")
    assert closed(driver) == []
    driver.advance(0.1)
    assert closed(driver) == [(0, 1)]


def test_if_nobody_says_anything_event_time_is_the_greatest_there_was():
    driver = counting()
    driver.know("in", "A", "B")
    driver.send("in", [[5, "k"]], partition="B")
    driver.send("in", [[6, "k"], [35, "k"]], partition="A")
    assert closed(driver) == []
    driver.advance(10)
    assert closed(driver) == [(0, 2)]


def test_a_partition_that_speaks_again_is_waited_for_but_what_was_closed_stays_closed():
    driver = counting()
    driver.know("in", "A", "B")
    driver.send("in", [[5, "k"], [35, "k"]], partition="A")
    driver.advance(9)
    driver.send("in", [[36, "k"]], partition="A")
    driver.advance(1)
    driver.send("in", [[6, "k"], [22, "k"], [31, "k"]], partition="B")
    assert driver.metrics()["count"]["late"] == 2
    driver.send("in", [[90, "k"]], partition="A")
    assert closed(driver) == [(0, 1)]
    driver.send("in", [[90, "k"]], partition="B")
    assert closed(driver) == [(0, 1), (30, 3)]


def test_what_was_closed_stays_closed_over_a_restart():
    driver = counting()
    driver.send("in", [[5, "k"], [35, "k"]])
    assert closed(driver) == [(0, 1)]
    driver.restart()
    driver.know("in", "B")
    driver.send("in", [[6, "k"]], partition="B")
    driver.finish()
    assert driver.metrics()["count"]["late"] == 1
    assert closed(driver) == [(0, 1), (30, 1)]


def test_who_was_idle_is_idle_after_a_restart():
    driver = counting()
    driver.know("in", "B")
    driver.send("in", [[5, "k"]])
    driver.advance(10)
    driver.restart()
    driver.send("in", [[35, "k"]])
    assert closed(driver) == [(0, 1)]


def test_a_source_that_is_idle_as_a_whole_does_not_keep_a_join_waiting():
    app = streams.App("test", idle=10)
    orders = app.source("orders", time=lambda v: v[0]).key_by(lambda v: v[1])
    prices = app.source("prices", time=lambda v: v[0]).key_by(lambda v: v[1]).table()
    orders.join(prices, lambda order, price: [order[0], price[0]]).to("out", JSON)
    driver = Driver(app)
    driver.send("prices", [[3, "k"]])
    driver.send("orders", [[5, "k"], [50, "k"]])
    assert driver.output("out") == []
    driver.advance(10)
    assert driver.output("out") == [[5, 3]]
    driver.send("orders", [[51, "k"]])
    assert driver.output("out") == [[5, 3], [50, 3]]
    driver.send("prices", [[20, "k"]])
    driver.send("orders", [[52, "k"]])
    driver.finish()
    assert driver.output("out")[2:] == [[51, 20], [52, 20]]


@pytest.mark.parametrize("order", ["AB", "BA"])
def test_changes_of_a_table_at_one_moment_have_an_order_of_their_own(order):
    app = streams.App("test")
    orders = app.source("orders", time=lambda v: v[0]).key_by(lambda v: v[1])
    prices = app.source("prices", time=lambda v: v[0]).key_by(lambda v: v[1]).table()
    orders.join(prices, lambda order, price: price[2]).to("out", JSON)
    driver = Driver(app)
    for partition in order:
        driver.send("prices", [[3, "k", partition]], partition=partition)
    driver.send("orders", [[3, "k"]])
    driver.finish()
    assert driver.output("out") == ["B"]
    assert driver.items(prices)["k"][2] == "B"


def test_nothing_closes_before_partitions_had_time_to_become_known():
    watermark = Watermark(idle_s=10, settle_s=2, partitions=0)
    assert watermark.advance(100.0) == -inf
    watermark.saw(watermark.mark(("t", "A")), 50.0)
    assert watermark.advance(101.0) == -inf
    watermark.know([("t", "B")])
    assert watermark.advance(103.5) == -inf
    watermark.saw(watermark.mark(("t", "B")), 40.0)
    assert watermark.advance(103.5) == 40.0


def test_silence_counts_only_while_there_is_nothing_to_read():
    watermark = Watermark(idle_s=10, settle_s=0, partitions=0)
    watermark.know([("t", "A"), ("t", "B")])
    watermark.saw(watermark.mark(("t", "A")), 50.0)
    assert watermark.advance(1_000_000.0) == -inf
    watermark.waited(9.0)
    assert not watermark.idle
    watermark.saw(watermark.mark(("t", "A")), 51.0)
    watermark.waited(1.0)
    assert watermark.advance(1_000_001.0) == 51.0
    watermark.waited(9.0)
    assert watermark.advance(1_000_002.0) == 51.0
    assert watermark.idle


def test_a_session_waits_for_what_may_still_join_it():
    app = streams.App("test")
    keyed = app.source("in", time=float).key_by(lambda _: "k")
    keyed.window(streams.session(4)).count().to("out", JSON)
    driver = Driver(app)
    driver.know("in", "A", "B")
    driver.send("in", [27, 34], partition="A")
    # It has ended at 31, and event time is 31; but 28 is in time, since its own window is open.
    driver.send("in", [31], partition="B")
    driver.send("in", [28], partition="B")
    driver.finish()
    assert [(r["start"], r["end"], r["value"]) for r in driver.output("out")] == [(27, 38, 4)]
