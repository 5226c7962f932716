"""RECORDS between our own nodes: who gets which form, on which endpoint, and how much may wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from dafka.core.packed import Packed
from dafka.core.run import Origin, Run
from dafka.io import sockets
from dafka.io.green import GREEN
from dafka.io.headers import direct_header, record_header
from dafka.io.shell import at_once
from dafka.io.sockets import Context, Publisher, Subscriber
from protocol import DirectRecords, Head, Record, Records, TowerBeacon, parse, subscription
from tests.support.live_nodes import LOOPBACK, fill, free_ports
from tests.support.waiting import take, until

pytestmark = pytest.mark.io

A, B = "A" * 32, "B" * 32
RUN = Run("t", A, 7, Packed.of([b"%d" % n * n for n in range(50)]))


@pytest.fixture
def context() -> Iterator[Context]:
    made = Context(GREEN, high_water_mark=2000)
    yield made
    at_once(made.close())


@pytest.fixture
def publisher(context: Context) -> Publisher:
    return Publisher(context, LOOPBACK, runs=True)


@pytest.fixture
def listen() -> Iterator[Callable[..., zmq.Socket]]:
    """Makes plain sockets that have subscribed."""
    plain: Any = zmq.Context()
    made = []

    def make(endpoint: str, *prefixes: bytes, **options: int) -> zmq.Socket:
        socket = plain.socket(zmq.SUB)
        made.append(socket)
        for name, value in options.items():
            socket.setsockopt(getattr(zmq, name), value)
        for prefix in prefixes:
            socket.setsockopt(zmq.SUBSCRIBE, prefix)
        socket.connect(endpoint)
        return socket

    yield make
    for socket in made:
        socket.close(0)
    plain.term()


def hear(publisher: Publisher, *prefixes: bytes, subscribed: bool = True) -> None:
    """Wait until the publisher has heard what somebody wants."""
    lacking = set(prefixes)

    def all_heard() -> bool:
        lacking.difference_update(p for s, p in publisher.subscriptions() if s is subscribed)
        return not lacking

    until(all_heard)


def publish(publisher: Publisher, run: Run) -> None:
    publisher.send_run(record_header(run), record_header(run, runs=True), run)


def everything(socket: zmq.Socket) -> list[Any]:
    """The messages that come, until none does for a while."""
    found = []
    while socket.poll(300):
        found.append(parse(socket.recv_multipart()))
    return found


def contents(messages: list[Any]) -> list[tuple[int, bytes]]:
    """The records in messages of either form, with their offsets."""
    return [
        (offset, content)
        for message in messages
        for offset, content in enumerate(
            getattr(message, "contents", None) or [message.content], message.sequence
        )
    ]


EXPECTED = [*enumerate(RUN.contents, 7)]


def test_everybody_gets_the_form_that_they_asked_for(publisher, listen):
    old = listen(publisher.endpoint, b"Mt\0")
    new = listen(publisher.runs_endpoint, b"Rt\0")
    other = listen(publisher.endpoint, b"Mother\0", b"Rother\0")
    all_ = listen(publisher.endpoint, b"")
    hear(publisher, b"Mt\0", b"Rt\0", b"", b"Mother\0")
    publish(publisher, RUN)
    singly, together = everything(old), everything(new)
    assert {*map(type, singly)} == {Record}
    assert {*map(type, together)} == {Records}
    assert len(together) == 1
    assert contents(singly) == contents(together) == EXPECTED
    assert contents(everything(all_)) == EXPECTED * 2
    assert everything(other) == []


def sent_frames(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The frames that leave from now on."""
    frames: list[bytes] = []
    monkeypatch.setattr(sockets, "_send", lambda socket, frame, flags: frames.append(frame))
    return frames


def test_a_form_that_nobody_asked_for_is_not_made(publisher, listen, monkeypatch):
    frames = sent_frames(publisher, monkeypatch)
    publish(publisher, RUN)
    assert frames == []
    new = listen(publisher.runs_endpoint, b"Rt\0")
    hear(publisher, b"Rt\0")
    publish(publisher, RUN)
    assert [frame[:1] for frame in frames[::2]] == [b"R"]
    old = listen(publisher.endpoint, b"M")
    hear(publisher, b"M")
    new.close()
    hear(publisher, b"Rt\0", subscribed=False)
    del frames[:]
    publish(publisher, RUN)
    assert {frame[:1] for frame in frames[::2]} == {b"M"}
    old.close()


def test_messages_are_bounded_and_a_large_record_travels_alone(publisher, listen):
    sizes = [10_000] * 20 + [300_000] + [0] * 3
    run = Run("t", A, 0, [bytes(size) for size in sizes])
    new = listen(publisher.runs_endpoint, b"R")
    hear(publisher, b"R")
    publish(publisher, run)
    messages = everything(new)
    assert contents(messages) == [*enumerate(run.contents)]
    for message in messages:
        size = sum(len(content) + 4 for content in message.contents)
        assert size <= sockets.RUNS_BYTES or len(message.contents) == 1


def test_a_slow_peer_costs_less_messages_where_they_are_large(context, listen, monkeypatch):
    monkeypatch.setattr(sockets, "RUNS_QUEUE", 10)
    publisher = Publisher(context, LOOPBACK, runs=True)
    small = {"RCVHWM": 1, "RCVBUF": 4096}
    slow = listen(publisher.runs_endpoint, b"R", **small)
    usual = listen(publisher.endpoint, b"Rt", **small)
    hear(publisher, b"R", b"Rt")
    for _ in range(400):
        publish(publisher, Run("t", A, 0, [bytes(60_000)]))
    few, many = len(everything(slow)), len(everything(usual))
    assert many == 400
    assert few < 200


def test_a_port_that_was_named_is_the_only_one_and_its_messages_are_small(context):
    (port,) = free_ports(1)
    publisher = Publisher(context, f"tcp://127.0.0.1:{port}", runs=True)
    assert publisher.runs_endpoint == publisher.endpoint == f"tcp://127.0.0.1:{port}"
    assert publisher._runs_bytes == sockets.RUNS_BYTES * sockets.RUNS_QUEUE // 2000
    assert Publisher(context, LOOPBACK).runs_endpoint == ""
    assert Publisher(context, "inproc://here", runs=True).runs_endpoint == "inproc://here"


def test_direct_answers_lose_nothing_and_tell_how_far_they_came(listen):
    context = Context(GREEN, high_water_mark=5)
    publisher = Publisher(context, LOOPBACK)
    prefix = subscription(DirectRecords, B)
    slow = listen(publisher.endpoint, prefix, RCVHWM=1, RCVBUF=4096)
    hear(publisher, prefix)
    run = Run("t", A, 5, Packed.of([b"%06d" % n * 10_000 for n in range(700)]))
    header = direct_header(B, run, runs=True)
    taken, heard, pauses = 0, [], 0
    while taken < len(run):
        rest = run.since(run.first + taken)
        sent = publisher.send_direct(header, rest, runs=True)
        if sent < len(rest):
            pauses += 1
            heard.append(parse(slow.recv_multipart()))
        taken += sent
    heard += everything(slow)
    at_once(context.close())
    assert pauses
    assert {*map(type, heard)} == {DirectRecords}
    assert contents(heard) == [*enumerate(run.contents, 5)]


def test_a_subscriber_gives_runs_as_they_came(context, publisher):
    subscriber = Subscriber(context, Origin.LIVE, [publisher.runs_endpoint], runs=True)
    subscriber.subscribe(b"R")
    hear(publisher, b"R")
    publish(publisher, RUN)
    drained: list[Run] = []
    until(lambda: drained.extend(subscriber.drain().runs) or drained)
    assert drained == [RUN]
    assert isinstance(drained[0].contents, Packed)


# Whole nodes


def heard_by(node: Any) -> list[str]:
    """The forms of records that a node's sockets have heard."""
    forms: list[str] = []
    for socket in node._wiring._listeners if hasattr(node, "_wiring") else node._listeners:
        joiner = socket._joiner
        parse_ = joiner._parse

        def spy(header: bytes, content: bytes, parse_: Any = parse_) -> Any:
            forms.append(header[:1].decode())
            return parse_(header, content)

        joiner._parse = spy
    return forms


def test_our_own_nodes_speak_in_runs_only(nodes):
    nodes.towered()
    store = nodes.store()
    producer = nodes.producer()
    producer.publish(b"0")
    producer.flush(20)
    consumer = nodes.consumer()
    forms = [heard_by(consumer), heard_by(SimpleNamespace(_wiring=store._writer_wiring))]
    assert take(consumer, 1)[0].content == b"0"
    expected = [b"0", *fill(producer, 3000, 1)]
    producer.flush(20)
    assert [record.content for record in take(consumer, 3000)] == expected[1:]
    assert set(forms[0]) <= {"R", "J"}
    assert set(forms[1]) <= {"R", "J"}
    assert not producer._wiring.publisher._is_wanted(b"Mt\0")


def older(patch: pytest.MonkeyPatch) -> None:
    """Producers started from now on do not tell of RECORDS."""
    init = Publisher.__init__
    patch.setattr(Publisher, "__init__", lambda self, *args, runs=False: init(self, *args))


@pytest.mark.parametrize("old", ["producer", "consumer", "store"])
def test_an_older_node_and_newer_ones_understand_each_other(nodes, monkeypatch, old):
    nodes.towered()
    made = {}
    for name in ("store", "producer", "consumer"):
        if name == old:
            older(made_old := pytest.MonkeyPatch())
        made[name] = getattr(nodes, name)()
        if name == old:
            made_old.undo()
    older_one = made[old]
    if old != "producer":
        for wiring in (older_one._wiring if old == "consumer" else older_one._writer_wiring,):
            wiring._runs = None
    expected = fill(made["producer"], 2000)
    made["producer"].flush(20)
    assert [record.content for record in take(made["consumer"], 2000)] == expected
    wanted = made["producer"]._wiring.publisher._is_wanted
    assert wanted(b"Mt\0")
    assert wanted(b"Rt\0") is (old != "producer")


def test_a_tower_that_drops_what_it_does_not_know_leaves_the_old_form(nodes, monkeypatch):
    tower = nodes.towered()
    send = tower._pub.send

    def reference_like(message: TowerBeacon) -> None:
        send(TowerBeacon(message.address, message.endpoint))

    monkeypatch.setattr(tower._pub, "send", reference_like)
    nodes.store()
    producer, consumer = nodes.producer(), nodes.consumer()
    expected = fill(producer, 2000)
    producer.flush(20)
    assert [record.content for record in take(consumer, 2000)] == expected
    wanted = producer._wiring.publisher._is_wanted
    assert wanted(b"Mt\0")
    assert not wanted(b"Rt\0")


# Publishing many at once


@pytest.mark.parametrize("wanted", [b"M", b"R"])
def test_an_interrupt_between_two_frames_leaves_no_half_message(
    publisher, listen, monkeypatch, wanted
):
    socket = listen(publisher.endpoint, wanted, b"H")
    hear(publisher, wanted, b"H")
    send = sockets._send

    def interrupted(socket: Any, frame: bytes, flags: int) -> None:
        """As pyzmq does it: the signal is met when the frame has been taken."""
        send(socket, frame, flags)
        if flags == sockets._SNDMORE:
            raise KeyboardInterrupt

    monkeypatch.setattr(sockets, "_send", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(publisher, RUN)
    monkeypatch.undo()
    publisher.send(Head("t", A, "t", 56))
    *records, head = everything(socket)
    assert contents(records) == EXPECTED[: len(contents(records))] != []
    assert isinstance(head, Head)
