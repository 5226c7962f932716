"""Sockets that cannot be what was asked for: no exception ends a loop, no wait has no end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import dafka
from dafka.core.run import Origin
from dafka.io.sockets import Context, Subscriber
from protocol import TowerBeacon
from tests.support.live_nodes import LOOPBACK
from tests.support.waiting import take, until

pytestmark = pytest.mark.io

NO_TEXT = "tcp://caf\udce9:1"
"""What a beacon with a byte that is not UTF-8 says."""


@pytest.fixture
def context() -> Iterator[Context]:
    made = Context(high_water_mark=100)
    yield made
    made.term()


@pytest.mark.parametrize("endpoint", [NO_TEXT, "tcp://h\0:1", "tcp://nonsense", "", "x://y"])
def test_an_endpoint_that_cannot_be_used_is_refused(context, endpoint):
    subscriber = Subscriber(context, Origin.LIVE)
    try:
        assert not subscriber.connect(endpoint)
    finally:
        subscriber.close()


def test_a_tower_whose_endpoint_is_no_text_is_named():
    tower = dafka.TowerAddress(NO_TEXT, "tcp://127.0.0.1:1")
    with pytest.raises(dafka.ConfigError, match=r"tower endpoint .* cannot be used"):
        dafka.Producer("t", tower=tower, bind=LOOPBACK).start()


def test_a_beacon_that_is_no_text_ends_no_node(nodes):
    tower = nodes.towered()
    consumer, store = nodes.consumer(), nodes.store()
    until(lambda: tower.stats().nodes == 3)
    tower._pub.send(TowerBeacon("A" * 32, NO_TEXT, "store", "1"))
    producer = nodes.producer()  # its introduction comes after that beacon
    producer.publish(b"x")
    producer.flush(20)
    assert [record.content for record in take(consumer, 1)] == [b"x"]
    assert not store.wait(0)
