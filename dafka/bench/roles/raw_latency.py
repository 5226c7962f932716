"""The ceiling of latencies: zmq.green sockets, and for the ACK a plain SQLite commit.

With mode "plain" they are sockets of pyzmq that block: at a hundred thousand records a second
zmq.green is no ceiling, but a bottleneck.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from struct import Struct
from time import monotonic
from typing import Any

import gevent
import zmq
from zmq import green

from dafka.bench.roles.disk import database
from dafka.bench.roles.latency import send_paced, tell_arrivals, tell_waits
from dafka.bench.roles.pace import Pace, Timer
from dafka.bench.work import Work
from dafka.bench.worker import green_ready, heard, say, word

_COUNT = Struct(">Q")
_HEADER = b"M" + bytes(40)
_ACK = b"K"
PLAIN = "plain"

Send = Callable[[bytes], None]


def raw_paced(work: Work) -> None:
    """Publish what is due; given an endpoint, hear from there what is committed."""
    context = _context(work)
    socket, endpoint = _publisher(context)
    acks = _subscriber(context, _ACK, work.endpoints[0]) if work.endpoints else None
    say(ready={"endpoint": endpoint})
    socket.recv()  # the subscription
    green_ready()
    pace = Pace(work)

    def send(content: bytes) -> None:
        socket.send(_HEADER, zmq.SNDMORE)
        socket.send(content)

    times, late = (_plain if work.mode == PLAIN else _green)(pace, send, work.size, acks)
    waits = [at - pace.due(number) for number, at in enumerate(times)]
    tell_waits(waits[pace.lead :], late[pace.lead :])
    heard()
    context.destroy(0)


def _green(pace: Pace, send: Send, size: int, acks: Any) -> tuple[list[float], list[float]]:
    """When acknowledgements came, and how late records left."""
    times: list[float] = []

    def hear() -> None:
        while len(times) < pace.total:
            _note(acks.recv(), times)

    listener = None if acks is None else gevent.spawn(hear)
    late = send_paced(pace, send, size)
    if listener is not None:
        listener.join()
    return times, late


def _plain(pace: Pace, send: Send, size: int, acks: Any) -> tuple[list[float], list[float]]:
    """The same without greenlets."""
    times: list[float] = []
    poller = zmq.Poller()
    if acks is not None:
        poller.register(acks, zmq.POLLIN)

    def wait(timer: Timer, due: float) -> None:
        timer.set(due)
        poller.register(timer.descriptor, zmq.POLLIN)
        while monotonic() < due:
            if acks in dict(poller.poll()):
                _note(acks.recv(), times)

    late = send_paced(pace, send, size, wait=wait)
    while acks is not None and len(times) < pace.total:
        _note(acks.recv(), times)
    return times, late


def _note(ack: bytes, times: list[float]) -> None:
    (count,) = _COUNT.unpack_from(ack, len(_ACK))
    times += [monotonic()] * (count - len(times))


def raw_timed(work: Work) -> None:
    """Receive, and tell how long each record took."""
    say(ready={})
    context = _context(work)
    socket = _subscriber(context, _HEADER[:1], word())
    pace = Pace(work)
    arrivals: list[tuple[float, list[bytes]]] = []
    for _ in range(pace.total):
        content = socket.recv_multipart()[1]
        arrivals.append((monotonic(), [content]))
    tell_arrivals(arrivals, pace.lead)
    context.destroy(0)


def raw_committed(work: Work) -> None:
    """Receive, commit whatever has come together, and tell how many records that makes."""
    begin = monotonic()
    context = _context(work)
    acks, endpoint = _publisher(context)
    with closing(database(work.data, work.durability)) as connection:
        say(ready={"endpoint": endpoint, "begin": begin})
        acks.recv()  # the subscription
        socket = _subscriber(context, _HEADER[:1], word())
        done, total = 0, Pace(work).total if work.rate else work.records
        while done < total:
            contents = _drained(socket)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO raw (value) VALUES (?)", (b"".join(contents),))
            connection.execute("COMMIT")
            done += len(contents)
            acks.send(_ACK + _COUNT.pack(done))
    heard()
    context.destroy(0)


def raw_first(work: Work) -> None:
    """Publish one record as soon as somebody is there, and tell when it was committed."""
    say(ready={})
    context = _context(work)
    acks = _subscriber(context, _ACK, word())
    socket, endpoint = _publisher(context)
    say(ready={"endpoint": endpoint})
    socket.recv()  # the subscription
    socket.send(_HEADER, zmq.SNDMORE)
    socket.send(bytes(work.size))
    acks.recv()
    say(acked=monotonic())
    heard()
    context.destroy(0)


def _drained(socket: Any) -> list[bytes]:
    contents = [socket.recv_multipart()[1]]
    with suppress(zmq.Again):
        while True:
            contents.append(socket.recv_multipart(zmq.NOBLOCK)[1])
    return contents


def _context(work: Work) -> Any:
    return zmq.Context() if work.mode == PLAIN else green.Context()


def _publisher(context: Any) -> tuple[Any, str]:
    socket = context.socket(zmq.XPUB)
    socket.set_hwm(0)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    return socket, f"tcp://127.0.0.1:{port}"


def _subscriber(context: Any, prefix: bytes, endpoint: str) -> Any:
    socket = context.socket(zmq.SUB)
    socket.set_hwm(0)
    socket.subscribe(prefix)
    socket.connect(endpoint)
    return socket
