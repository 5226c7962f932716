"""Plays a recorded trace against one of our nodes: every other participant is a bare socket.

What the node says is collected step by step and written down as the trace has it, a line for
each message; a step is whatever makes the node talk. Time is compressed: a step lasts until what
the reference said has been said, and a moment more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import zmq

import dafka
from tests.support import reference_wire as wire

TRACES = {
    trace["name"]: trace
    for trace in json.loads((Path(__file__).parents[1] / "vectors" / "sessions.json").read_text())[
        "sessions"
    ]
}
MAGIC = b"\xda\xfc\xa0\x01"
"""Begins the block that our nodes add behind the fields of a message."""
KINDS = {
    "M": "RECORD",
    "D": "DIRECT-RECORD",
    "F": "FETCH",
    "K": "ACK",
    "H": "HEAD",
    "E": "DIRECT-HEAD",
    "G": "GET-HEADS",
    "W": "CONSUMER-HELLO",
    "L": "STORE-HELLO",
}
_ANY = "tcp://127.0.0.1:*"
_SETTLE_S = 0.04
_PATIENCE_S = 3.0


class Raw:
    """Sockets without behaviour, in the test's own thread."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.sockets: list[zmq.Socket] = []

    def socket(self, kind: int, bind: bool = False) -> zmq.Socket:
        """A socket that forgets what it cannot send."""
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        self.sockets.append(socket)
        if kind == zmq.XPUB:
            socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        if bind:
            socket.bind(_ANY)
        return socket

    def close(self) -> None:
        for socket in self.sockets:
            socket.close(0)
        self.context.term()


def bound(socket: zmq.Socket) -> str:
    """Where a socket listens."""
    return socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()


def received(socket: zmq.Socket) -> Iterator[list[bytes]]:
    """What has come, without waiting."""
    while True:
        try:
            yield socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return


class RawTower:
    """Welcomes, forwards beacons, and announces whom it is told to."""

    def __init__(self, raw: Raw, welcomes: bool = True) -> None:
        self.inbox = raw.socket(zmq.XSUB, bind=True)
        self.inbox.send(b"\1B")
        self.outbox = raw.socket(zmq.XPUB)
        if welcomes:
            self.outbox.setsockopt(zmq.XPUB_WELCOME_MSG, b"W")
        self.outbox.bind(_ANY)
        self.beacons: list[list[bytes]] = []
        self.subscriptions: list[bytes] = []
        self.announced: dict[str, str] = {}
        """Endpoint and address of nodes whose beacons are made up here."""
        self._next = 0.0

    @property
    def address(self) -> str:
        """Both endpoints, as nodes are told them."""
        return f"{bound(self.inbox)},{bound(self.outbox)}"

    def announce(self, address: str, endpoint: str) -> None:
        """Introduce a node now, and every second from now on."""
        self.announced[endpoint] = address
        self.outbox.send_multipart(wire.tower_beacon(address, endpoint))

    def turn(self) -> None:
        """Do what a tower does."""
        for frames in received(self.inbox):
            self.beacons.append(frames)
            endpoint = b"tcp://%s:%s" % (frames[2] or b"127.0.0.1", frames[3])
            self.outbox.send_multipart([b"B", frames[1], endpoint])
        self.subscriptions += [frames[0] for frames in received(self.outbox)]
        if monotonic() >= self._next:
            self._next = monotonic() + 1.0
            for endpoint, address in self.announced.items():
                self.outbox.send_multipart(wire.tower_beacon(address, endpoint))


class RawPeer:
    """One participant that the test plays."""

    def __init__(self, raw: Raw, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.publisher = raw.socket(zmq.XPUB, bind=True)
        self.subscriptions: list[bytes] = []
        """What nodes have subscribed to, in order, with the byte that says how."""
        self.heard: list[tuple[str, list[bytes]]] = []
        """Everything a node has said to this peer, with the node's name."""
        self._raw = raw
        self._listens: dict[str, zmq.Socket] = {}

    @property
    def endpoint(self) -> str:
        """Where this peer can be reached."""
        return bound(self.publisher)

    def listen(self, name: str, endpoint: str, *prefixes: bytes) -> None:
        """Connect to a node (once), and subscribe there."""
        if name not in self._listens:
            self._listens[name] = self._raw.socket(zmq.SUB)
            self._listens[name].connect(endpoint)
        for prefix in prefixes:
            self._listens[name].setsockopt(zmq.SUBSCRIBE, prefix)

    def unlisten(self, name: str, prefix: bytes) -> None:
        """Take a subscription back."""
        self._listens[name].setsockopt(zmq.UNSUBSCRIBE, prefix)

    def say(self, frames: list[bytes]) -> None:
        """Send a message to whoever has subscribed to it."""
        self.publisher.send_multipart(frames)

    def turn(self) -> None:
        """Take what has come."""
        self.subscriptions += [frames[0] for frames in received(self.publisher)]
        for name, socket in self._listens.items():
            self.heard += [(name, frames) for frames in received(socket)]


class Replay:
    """A trace and the node of ours that takes the place of one participant (a store: of two)."""

    def __init__(self, trace: str, role: str, data: Path, end: float = 1e9) -> None:
        """`end`: the trace's time (ms) from which on it is not played."""
        self.trace = TRACES[trace]
        self.role = role
        self.end = end
        self.said: dict[str, list[str]] = {}
        """What our node said, by step."""
        self.reference: dict[str, list[str]] = {}
        """What the reference said, by step."""
        self.raw = Raw()
        self.tower = RawTower(self.raw)
        self.peers: dict[str, RawPeer] = {}
        self.node: Any = None
        self._data = data
        self._names = {p["address"]: p["name"] for p in self.trace["participants"]}
        if trace == "probe-trailing-bytes":
            # The trace calls its consumer's address "peer".
            self._names = {a: n.replace("peer", "consumer") for a, n in self._names.items()}
        self._swap: dict[bytes, bytes] = {}
        self._endpoints: dict[str, str] = {}
        self._step = ""

    # Our node

    def start(self, options: dict[str, Any]) -> None:
        """Start our node in the place of the participant."""
        settings = {"tower": self.tower.address, "bind": _ANY, **options}
        if self.role == "store":
            self.node = dafka.Store(data=str(self._data), **settings).start()
            wirings = {
                "store.writer": self.node._writer_wiring,
                "store.reader": self.node._reader_wiring,
            }
        else:
            kind = dafka.Producer if self.role == "producer" else dafka.Consumer
            self.node = kind("metrics", **settings).start()
            wirings = {self.role: self.node._wiring}
        addresses = {name: address for address, name in self._names.items()}
        for name, wiring in wirings.items():
            self._swap[addresses[name].encode()] = wiring.address.encode()
            self._endpoints[name] = wiring.publisher.endpoint

    def ours(self, name: str) -> bool:
        """Whether our node takes a participant's place."""
        return name.partition(".")[0] == self.role

    def close(self) -> None:
        """End everything."""
        if self.node is not None:
            self.node.stop(0) if self.role == "producer" else self.node.stop()
        self.raw.close()

    # Playing

    def play(self, **options: Any) -> None:
        """Play the whole trace; `options` are settings of our node."""
        self.start(options)
        for address, name in self._names.items():
            if not self.ours(name):
                self._add(name, address)
        if "peer" not in self.peers and "probe" in self.trace["name"]:
            self._add("peer", "E9C608748F17247AA99CBAEAB4CE26E7")
        self._begin("start")
        self._settle(0.2)
        for event in self.trace["events"]:
            if event["t"] >= self.end:
                break
            self._on_event(event)
        self._finish_step()

    def _add(self, name: str, address: str) -> None:
        peer = self.peers[name] = RawPeer(self.raw, name, address)
        self.tower.announce(address, peer.endpoint)

    def _on_event(self, event: dict[str, Any]) -> None:
        if "note" in event:
            self._on_note(event["note"])
            return
        sender, receivers = event["from"], event["to"]
        receivers = receivers if isinstance(receivers, list) else [receivers]
        if "tower" in (sender, *receivers):
            return
        if self.ours(sender):
            self._on_own(event, sender, receivers)
        elif any(map(self.ours, receivers)):
            self._on_foreign(event, sender, [r for r in receivers if self.ours(r)])

    def _on_note(self, note: str) -> None:
        if note.startswith("probe: "):
            self._begin(note.removeprefix("probe: "))
        elif self.role == "producer" and note.startswith("publish"):
            self._begin(note)
            number = int(note.split()[1 if note.startswith("published") else 2])
            for i in range(number) if note.startswith("published") else [number]:
                self.node.publish(b"value %d" % i)

    def _on_own(self, event: dict[str, Any], sender: str, receivers: list[str]) -> None:
        if "frames" not in event:
            return
        frames = [bytes.fromhex(frame) for frame in event["frames"]]
        if self.role == "producer" and frames[0][:1] == b"M" and "probe" in self.trace["name"]:
            # Probes do not note what the operator typed.
            if wire.read(frames).sequence in (0, 10, 11):
                self._begin(f"publish {wire.read(frames).sequence}")
            self.node.publish(frames[1])
        for receiver in receivers:
            if not self.ours(receiver):
                line = self._line(sender, receiver, frames)
                self.reference[self._step].append(line)

    def _on_foreign(self, event: dict[str, Any], sender: str, receivers: list[str]) -> None:
        peer = self.peers[sender]
        if "frames" in event:
            if "probe" not in self.trace["name"]:
                self._begin(f"{sender} {event['message']['type']}")
            peer.say([self._swapped(bytes.fromhex(frame)) for frame in event["frames"]])
            return
        for receiver in receivers:
            self._on_connection(event, peer, receiver)

    def _on_connection(self, event: dict[str, Any], peer: RawPeer, receiver: str) -> None:
        endpoint = self._endpoints[receiver]
        prefix = self._swapped(bytes.fromhex(event.get("prefix_hex", "")))
        if event["event"] == "connect":
            peer.listen(receiver, endpoint)
        elif event["event"] == "subscribe":
            if "probe" in self.trace["name"] and event["t"] > 3000:
                self._begin(f"subscribe {self._named(prefix.decode())}")
            peer.listen(receiver, endpoint, prefix)
        elif event["event"] == "unsubscribe":
            peer.unlisten(receiver, prefix)

    # Steps

    def _begin(self, label: str) -> None:
        self._finish_step()
        number, step = 2, label
        while step in self.reference:
            step, number = f"{label} ({number})", number + 1
        self._step = step
        self.reference[step], self.said[step] = [], []

    def _finish_step(self) -> None:
        if not self._step:
            return
        wanted = len([line for line in self.reference[self._step] if " HEAD " not in line])
        until = monotonic() + (_PATIENCE_S if wanted else 0.0)
        while monotonic() < until and self._heard() < wanted:
            self._settle(0.01)
        self._settle(_SETTLE_S)
        for name, peer in self.peers.items():
            self.said[self._step] += [self._line(s, name, frames) for s, frames in peer.heard]
            peer.heard.clear()

    def _heard(self) -> int:
        return sum(f[0][:1] != b"H" for peer in self.peers.values() for _, f in peer.heard)

    def _settle(self, seconds: float) -> None:
        until = monotonic() + seconds
        while True:
            self.turn()
            if monotonic() >= until:
                return
            gevent.sleep(0.002)

    def turn(self) -> None:
        """Let tower and peers take what has come."""
        self.tower.turn()
        for peer in self.peers.values():
            peer.turn()

    # Writing down

    def _swapped(self, data: bytes) -> bytes:
        for theirs, ours in self._swap.items():
            data = data.replace(theirs, ours)
        return data

    def _named(self, text: str) -> str:
        for theirs, ours in self._swap.items():
            name = self._names[theirs.decode()]
            text = text.replace(theirs.decode(), name).replace(ours.decode(), name)
        for name, peer in self.peers.items():
            text = text.replace(peer.address, name)
        for digit in "12345678abc":
            text = text.replace(digit * 32, "p" + digit)
        return text

    def _line(self, sender: str, receiver: str, frames: list[bytes]) -> str:
        seen = wire.read(frames)
        assert not seen.trailing or seen.trailing.startswith(MAGIC), frames
        parts = [sender, ">", receiver, KINDS[seen.kind], f"[{seen.topic}]"]
        if seen.kind != "K":
            parts.append(seen.address)
        if seen.kind in "MDFKHE":
            parts += [seen.subject, str(seen.sequence)]
        if seen.kind == "F":
            parts.append(f"+{seen.count}")
        if seen.kind == "W":
            parts += seen.subjects
        if seen.kind in "MD":
            parts.append(repr(seen.content)[2:-1])
        return self._named(" ".join(parts))
