"""The ceiling of the wire: the same two frames with plain pyzmq, as anybody would write it."""

from __future__ import annotations

from struct import Struct

import zmq
from zmq.utils import z85

from dafka.bench.work import Work
from dafka.bench.worker import Clock, ready, released, say
from protocol import Record, record_prefix

_PREFIX = record_prefix(Record("bench", "0" * 32, "bench", 0, b""))
_SEQUENCE = Struct(">Q")
_QUEUE_BYTES = 256 * 1024 * 1024
"""What may wait for a receiver that is slower; then the sender waits."""


def raw_publish(work: Work) -> None:
    """Publish as fast as it goes, once as many as `work.consumers` have subscribed.

    The socket is XPUB, which is PUB that tells about subscriptions, and that can be told to wait
    for slow receivers rather than to drop.
    """
    context = zmq.Context()
    socket = context.socket(zmq.XPUB)
    _limit(socket, work)
    socket.setsockopt(zmq.XPUB_VERBOSE, 1)
    socket.setsockopt(zmq.XPUB_NODROP, 1)
    _secure(socket, work, server=True)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    say(ready={"endpoint": f"tcp://127.0.0.1:{port}"})
    for _ in range(work.consumers):
        socket.recv()
    ready()
    content, pack = bytes(work.size), _SEQUENCE.pack
    clock = Clock()
    for sequence in range(work.records):
        socket.send(_PREFIX + pack(sequence), zmq.SNDMORE)
        socket.send(content)
    clock.say()
    released()
    socket.close(0)
    context.term()


def raw_subscribe(work: Work) -> None:
    """Receive from all publishers."""
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    _limit(socket, work)
    _secure(socket, work, server=False)
    socket.subscribe(_PREFIX[:1])
    for endpoint in work.endpoints:
        socket.connect(endpoint)
    ready()
    clock = Clock()
    for _ in range(work.records):
        socket.recv()
        socket.recv()
    clock.say()
    socket.close(0)
    context.term()


def _limit(socket: zmq.Socket[bytes], work: Work) -> None:
    socket.set_hwm(max(1000, _QUEUE_BYTES // (work.size + len(_PREFIX) + 128)))


def _secure(socket: zmq.Socket[bytes], work: Work, *, server: bool) -> None:
    """CURVE with a key pair that everybody knows: the cost is that of any other."""
    if work.mode != "curve":
        return
    public, secret = zmq.curve_keypair() if not server else _server_keys()
    socket.curve_secretkey = secret
    socket.curve_publickey = public
    if server:
        socket.curve_server = True
    else:
        socket.curve_serverkey = _server_keys()[0]


def _server_keys() -> tuple[bytes, bytes]:
    secret = z85.encode(bytes(range(32)))
    return zmq.curve_public(secret), secret
