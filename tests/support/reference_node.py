"""What all emulated reference nodes have in common: a thread, sockets, beacons, peers.

Plain zmq with a context of its own per node, no gevent: to the nodes under test, an emulator
is another process. What the reference would trip over, or what must never be sent to it, is
noted in `faults`; what would make it abort ends the emulator.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from uuid import uuid4

import zmq

from tests.support import reference_wire as wire

HIGH_WATER_MARK = 1_000_000
BEACON_S = 1.0
PEER_TIMEOUT_S = 4.0
_MOST_WAIT_MS = 50
_ANY_PORT = "tcp://127.0.0.1:*"


class Abort(Exception):
    """The reference process would end here, by abort()."""


class ReferenceThread(threading.Thread):
    """A loop over sockets in a thread of its own."""

    def __init__(self, name: str) -> None:
        super().__init__(name=f"reference {name}", daemon=True)
        self.context = zmq.Context()
        self.faults: list[str] = []
        self.aborted: str | None = None
        self.running = False
        self._handlers: dict[zmq.Socket, Callable[[list[list[bytes]]], None]] = {}
        self._poller = zmq.Poller()
        self._commands: deque[Callable[[], None]] = deque()
        self._ended = False

    def socket(
        self, kind: int, handler: Callable[[list[list[bytes]]], None] | None = None
    ) -> zmq.Socket:
        """A new socket; everything it receives at once goes to `handler`, in order."""
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        socket.setsockopt(zmq.LINGER, 0)
        if handler is not None:
            self._handlers[socket] = handler
            self._poller.register(socket, zmq.POLLIN)
        return socket

    def bound(self, socket: zmq.Socket) -> str:
        socket.bind(_ANY_PORT)
        return socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()

    def call(self, command: Callable[[], None]) -> None:
        """Run `command` in the node's thread, soon."""
        self._commands.append(command)
        self._wake_up()

    def start(self) -> None:
        endpoint = f"inproc://wake-{id(self)}"
        self._wake, woken = self.context.socket(zmq.PAIR), self.socket(zmq.PAIR, lambda _: None)
        self._wake.bind(endpoint)
        woken.connect(endpoint)
        self.open()
        self.running = True
        super().start()

    def stop(self) -> None:
        """End it without a word, as a killed process ends."""
        if self.context.closed:
            return
        self._ended = True
        self._wake_up()
        self.join(5)
        self._wake.close(0)
        self.context.term()

    def _wake_up(self) -> None:
        with suppress(zmq.Again):  # it has ended
            self._wake.send(b"", zmq.NOBLOCK)

    def run(self) -> None:
        try:
            while not self._ended:
                self._turn()
        except Abort as error:
            self.aborted = str(error)
            self.faults.append(f"aborted: {error}")
        finally:
            self.running = False
            for socket in self._handlers:
                socket.close(0)
            self.close()

    def _turn(self) -> None:
        due = self.due()
        wait = _MOST_WAIT_MS
        if due is not None:
            wait = max(0, min(wait, int((due - monotonic()) * 1000) + 1))
        ready = self._poller.poll(wait)
        while self._commands:
            self._commands.popleft()()
        for socket, _ in ready:
            self._handlers[socket](_drain(socket))
        self.tick(monotonic())

    # What a node adds

    def open(self) -> None:
        """Open sockets."""

    def close(self) -> None:
        """Close the sockets that have no handler."""

    def due(self) -> float | None:
        """When `tick` has something to do."""

    def tick(self, now: float) -> None:
        """Do what is due."""


def _drain(socket: zmq.Socket, most: int = 20_000) -> list[list[bytes]]:
    messages = []
    for _ in range(most):
        try:
            messages.append(socket.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            break
    return messages


class ReferenceNode(ReferenceThread):
    """A node that lets itself be introduced by a tower.

    Its own socket is always XPUB, where the reference may have PUB: the same on the wire, and
    the test can see who has subscribed.
    """

    role = "node"

    def __init__(self, tower: object) -> None:
        super().__init__(self.role)
        self.address = uuid4().hex.upper()
        self.endpoint = ""
        self.welcomed = False
        self.subscriptions: list[bytes] = []
        """Every prefix that a peer has subscribed to."""
        self.peers: dict[str, float] = {}
        """Endpoint of every connected peer, and when it was last announced."""
        self._tower_sub, self._tower_pub = str(tower).split(",")
        self._subscribers: list[zmq.Socket] = []
        self._next_beacon: float | None = None
        self._next_check = 0.0

    def open(self) -> None:
        self.publisher = self.socket(zmq.XPUB, self._on_subscriptions)
        self.publisher.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.endpoint = self.bound(self.publisher)
        self._beacons = self.socket(zmq.PUB)
        self._beacons.connect(self._tower_sub)
        self._introductions = self.socket(zmq.SUB, self._on_tower)
        for prefix in (b"B", b"W"):
            self._introductions.setsockopt(zmq.SUBSCRIBE, prefix)
        self._introductions.connect(self._tower_pub)

    def close(self) -> None:
        self.publisher.close(0)
        self._beacons.close(0)

    def listen(self, *prefixes: str) -> zmq.Socket:
        """A SUB connected to every peer: one connection of this node to each."""
        socket = self.socket(zmq.SUB, self._on_data)
        for prefix in prefixes:
            socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())
        self._subscribers.append(socket)
        return socket

    # Discovery

    def fall_silent(self) -> None:
        """Say no more to the towers, as if it had gone."""
        self._next_beacon = None

    def due(self) -> float | None:
        return self._next_beacon

    def tick(self, now: float) -> None:
        if self._next_beacon is None:
            return
        if now >= self._next_beacon:
            self._next_beacon += BEACON_S
            self._beacon()
        if now >= self._next_check:
            self._next_check = now + BEACON_S
            for endpoint in [e for e, seen in self.peers.items() if now - seen > PEER_TIMEOUT_S]:
                del self.peers[endpoint]
                for socket in self._subscribers:
                    socket.disconnect(endpoint)

    def _beacon(self) -> None:
        port = int(self.endpoint.rpartition(":")[2])
        self._beacons.send_multipart(wire.node_beacon(self.address, port))

    def _on_tower(self, messages: list[list[bytes]]) -> None:
        for frames in messages:
            if frames[0].startswith(b"W"):
                if not self.welcomed:
                    self.welcomed = True
                    self._next_beacon = monotonic() + BEACON_S
                    self._beacon()
            elif len(frames) < 3 or frames[0] != b"B":
                raise Abort(f"a tower beacon without endpoint: {frames!r}")
            else:
                self._on_introduction(frames[1].decode(), frames[2].decode())

    def _on_introduction(self, address: str, endpoint: str) -> None:
        if address == self.address or not endpoint:
            return
        known = endpoint in self.peers
        if not known:
            for socket in self._subscribers:
                try:
                    socket.connect(endpoint)
                except zmq.ZMQError:
                    return
            self._beacon()
        self.peers[endpoint] = monotonic()

    # Data

    def _on_data(self, messages: list[list[bytes]]) -> None:
        for frames in messages:
            try:
                seen = wire.read(frames)
            except (wire.Malformed, UnicodeDecodeError) as error:
                self.on_malformed(frames, str(error))
                continue
            self.on_message(seen)
        self.on_batch_end()

    def on_malformed(self, frames: list[bytes], why: str) -> None:
        """The reference may log this, or obey it as something else: we must never send it."""
        self.faults.append(f"{self.role} received a malformed message: {why}")

    def on_message(self, seen: wire.Seen) -> None:
        """Take one message."""

    def on_batch_end(self) -> None:
        """Everything that had come at once has been taken."""

    def _on_subscriptions(self, messages: list[list[bytes]]) -> None:
        for (frame,) in messages:
            if frame[:1] == b"\1":
                self.subscriptions.append(frame[1:])
                self.on_subscription(frame[1:])

    def on_subscription(self, prefix: bytes) -> None:
        """A peer has subscribed to a prefix."""

    def say(self, frames: list[bytes]) -> None:
        """Send a data message to whoever subscribed to it."""
        self.publisher.send_multipart(frames)


class FetchFilter:
    """At most one FETCH per (topic, producer, block) and slot of one second."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, str, int], int] = {}

    def frames(self, subject: str, producer: str, requester: str, first: int) -> list[bytes] | None:
        """The FETCH for what begins at `first`, or None if it was asked a moment ago."""
        key, slot = (subject, producer, first // wire.BLOCK), int(monotonic())
        if self._slots.get(key) == slot:
            return None
        self._slots[key] = slot
        count = wire.BLOCK - first % wire.BLOCK
        return wire.fetch(producer, requester, subject, first, count)
