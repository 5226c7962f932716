"""Sockets that cannot be what was asked for: no exception ends a loop, no wait has no end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import gevent
import pytest

import dafka
from dafka.core.run import Origin
from dafka.io.green import GREEN
from dafka.io.shell import at_once
from dafka.io.sockets import BeaconPublisher, Context, Publisher, Subscriber, TowerPub, TowerSub
from protocol import Ack, TowerBeacon
from tests.support.live_nodes import LOOPBACK
from tests.support.waiting import take, until

pytestmark = pytest.mark.io

NO_TEXT = "tcp://caf\udce9:1"
"""What a beacon with a byte that is not UTF-8 says."""


@pytest.fixture
def context() -> Iterator[Context]:
    made = Context(GREEN, high_water_mark=100)
    yield made
    at_once(made.close())


@pytest.mark.parametrize("endpoint", [NO_TEXT, "tcp://h\0:1", "tcp://nonsense", "", "x://y"])
def test_an_endpoint_that_cannot_be_used_is_refused(context, endpoint):
    assert not Subscriber(context, Origin.LIVE).connect(endpoint)


@pytest.mark.parametrize(
    "make",
    [
        lambda context: Publisher(context, LOOPBACK),
        lambda context: BeaconPublisher(context, []),
        lambda context: Subscriber(context, Origin.LIVE),
        lambda context: TowerSub(context, LOOPBACK),
        lambda context: TowerPub(context, LOOPBACK),
    ],
    ids=["publisher", "beacons", "subscriber", "tower sub", "tower pub"],
)
def test_a_socket_that_fails_while_it_is_set_up_does_not_keep_its_context(make):
    context = Context(GREEN, high_water_mark=2**31)  # not a C int
    with pytest.raises(OverflowError):
        make(context)
    gevent.spawn(lambda: at_once(context.close())).get(timeout=10)


def test_a_node_whose_sockets_cannot_be_set_up_says_so_at_once(monkeypatch):
    def fail(*_):
        raise RuntimeError("no more of these")

    node = dafka.Consumer("t", tower="127.0.0.1:1", bind=LOOPBACK)
    monkeypatch.setattr(Subscriber, "subscribe", fail)
    with pytest.raises(RuntimeError, match="no more of these"):
        gevent.spawn(node.start).get(timeout=10)


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


LEAVES_AMID_A_MESSAGE = """
import sys, zmq
from dafka.core.run import Origin
from dafka.io.green import GREEN
from dafka.io.shell import at_once
from dafka.io.sockets import Context, Subscriber
from protocol import Ack, Record, build

way = sys.argv[1]
publisher = zmq.Context().socket(zmq.XPUB)
endpoint = f"tcp://127.0.0.1:{publisher.bind_to_random_port('tcp://127.0.0.1')}"
context = Context(GREEN, 1000)
subscriber = Subscriber(context, Origin.LIVE, [endpoint])
subscriber.subscribe(b"")
assert publisher.recv() == b"\\1"
messages = [Record("t", "P" * 32, "t", 0, b"first"), Ack("P", "t", 4)]
for message in messages if way == "record first" else messages[::-1]:
    publisher.send_multipart(build(message))
while not zmq.Socket.getsockopt(subscriber.socket, zmq.EVENTS) & zmq.POLLIN:
    pass
(subscriber.disconnect if way != "reconnect" else subscriber.reconnect)(endpoint)
drained = subscriber.drain()
print([run.contents for run in drained.runs], drained.messages)
subscriber.close()
at_once(context.close())
publisher.context.destroy(0)
"""


@pytest.mark.parametrize("way", ["record first", "ack first", "reconnect"])
def test_a_peer_that_is_let_go_while_its_message_is_read_ends_no_process(way):
    """libzmq takes the first frame to tell that there is something to read."""
    command = [sys.executable, "-c", LEAVES_AMID_A_MESSAGE, way]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    first = "[] [Ack(" if way != "record first" else "[[b'first']] ["
    assert done.stdout.startswith(first)


def test_what_libzmq_takes_in_during_a_send_is_found(context):
    publisher, peer = Publisher(context, LOOPBACK), Subscriber(context, Origin.LIVE)
    woken = []
    publisher.watch(lambda: woken.append(1))
    assert publisher.subscriptions() == []
    assert not publisher.due
    peer.connect(publisher.endpoint)
    peer.subscribe(b"K")
    until(lambda: woken)  # the edge has come, and is all that will ever come
    publisher.due, woken[:] = False, []
    publisher.send(Ack("A" * 32, "t", 1))
    assert publisher.due
    assert woken
    assert publisher.subscriptions() == [(True, b"K")]
    assert not publisher.due


def test_nothing_is_looked_for_until_a_socket_says_so(context):
    publisher, peer = Publisher(context, LOOPBACK), Subscriber(context, Origin.LIVE)
    woken = []
    peer.watch(lambda: woken.append(1))
    peer.subscribe(b"K")
    peer.connect(publisher.endpoint)
    until(publisher.subscriptions)
    peer.drain()
    assert not peer.due
    woken.clear()
    publisher.send(Ack("A" * 32, "t", 1))
    until(lambda: woken)
    assert peer.due
    assert len(peer.drain().messages) == 1
    assert not peer.due
    peer.suspect()
    assert peer.due
