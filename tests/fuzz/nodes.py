"""Live nodes over real sockets: garbage from a peer and from a stranger to their towers.

The garbage comes from a node like any other: a tower introduces it, everybody connects to it, and
it connects to everybody. Beside it a producer and a consumer that behave go on: each of their
records has to be acknowledged and to arrive, once and in order, and to be there after kill -9.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import gevent
import zmq

import dafka
from dafka.config import TowerAddress, parse_tower
from protocol import NodeBeacon, RemoteProtocolError, TowerBeacon, build, parse
from protocol.fuzz import Fuzzer
from tests.fuzz.tally import Found, Tally
from tests.support import processes as real

MEETING_S = 2.5
"""Nodes show themselves every second: by then, everybody who is there has been introduced."""
BURST = 500
"""So many inputs between two records of the producer that behaves."""
PATIENCE_S = 20.0
"""What the nodes have to take in everything before it."""
GROWTH_BYTES = 200 << 20
"""So much more memory than before is a leak, or too much kept of strangers."""
PEER_INPUTS = 100_000
"""After so many the peer connects anew: ZeroMQ remembers what a peer has subscribed to while it is
connected, however much that is."""
MAX_PARTITIONS = 20_000
"""What the nodes may know, so that what grows beyond is a leak."""
LIVE_TOPIC = "canary"

_ADDRESS, _IN_RUNS = "F" * 32, "E" * 32
"""To others the peer is two nodes: one that publishes RECORD, and one that publishes RECORDS."""
_TOPICS = ("hello", "metrics", "metrics2")
_BEACON_EVERY_S = 0.5
_LOOPBACK = ("127.", "localhost", "[::1]")


class Peer:
    """A node of bad manners."""

    def __init__(self, tower: TowerAddress, seed: int) -> None:
        self._tower = tower
        self._context = zmq.Context()
        self._out = self._socket(zmq.XPUB)
        self._out.setsockopt(zmq.XPUB_VERBOSE, 1)
        port, runs_port = self._bind(), self._bind()
        self._in, self._in_until = self._socket(zmq.XSUB), PEER_INPUTS
        self._beacons = self._socket(zmq.PUB)
        self._beacons.connect(tower.sub)
        self._towers = self._socket(zmq.XSUB)
        self._towers.connect(tower.pub)
        self._towers.send(b"\1B")
        told = ("producer", "0", 0, int(runs_port))
        self._own = [
            build(NodeBeacon(_ADDRESS, "", port)),
            build(NodeBeacon(_IN_RUNS, "", runs_port, *told)),
        ]
        self._beacon_at = 0.0
        self._wishes: list[bytes] = [b"M", b"R", b"H"]
        self._known: set[str] = set()
        self.fuzzer = Fuzzer(seed, addresses=[_ADDRESS, _IN_RUNS], topics=_TOPICS)
        self._chance = Random(seed)  # what others ask for must not change the fuzzer's frames
        self._polite = True
        self.introduced = 0

    def _socket(self, kind: int) -> Any:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        return socket

    def meet(self) -> None:
        """Let the tower introduce everybody who is there, before towers are told garbage."""
        end = monotonic() + MEETING_S
        while monotonic() < end:
            self._listen()
            gevent.sleep(0.01)
        if not self.introduced:
            raise Found(f"no node was introduced by the tower at {self._tower}")

    def _bind(self) -> str:
        # Nobody else need reach it where the cluster is on this machine alone.
        self._out.bind("tcp://127.0.0.1:*" if _is_here(self._tower.sub) else "tcp://*:*")
        endpoint: bytes = self._out.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0")
        return endpoint.rpartition(b":")[2].decode()

    def turn(self, count: int) -> None:
        """Say `count` things, to all who hear us, and hear what the others say."""
        self._polite = False
        self._listen()
        for _ in range(count):
            self._say()
        self._in_until -= count
        if self._in_until <= 0:
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Go, and come as another one: what it has subscribed to need not be remembered."""
        self._in.close()
        self._in, self._in_until = self._socket(zmq.XSUB), PEER_INPUTS
        known, self._known = self._known, set()
        for endpoint in known:
            self._connect(endpoint)

    def _say(self) -> None:
        chance, frames = self._chance, self.fuzzer.frames()
        way = chance.random()
        if way < 0.7:
            # Who publishes filters by what was asked for: so begin as somebody asked.
            if chance.random() < 0.5:
                wish = chance.choice(self._wishes)
                frames[0] = wish + frames[0][len(wish) :]
            _send(self._out, frames)
        elif way < 0.8:
            _send(self._in, frames)  # to publishers, who only expect subscriptions
        elif way < 0.9:
            _send(self._in, [chance.choice((b"\1", b"\0")) + frames[0]])
        else:
            _send(self._beacons, [b"B", *frames] if chance.random() < 0.8 else frames)

    def _listen(self) -> None:
        if monotonic() >= self._beacon_at:
            self._beacon_at = monotonic() + _BEACON_EVERY_S
            for beacon in self._own:
                _send(self._beacons, beacon)
        for frame in _drain(self._out):
            if frame[0][:1] == b"\1" and len(self._wishes) < 1000:
                self._wishes.append(frame[0][1:])
        for frames in _drain(self._towers):
            self._meet(frames)
        for _ in _drain(self._in):
            pass

    def _meet(self, frames: list[bytes]) -> None:
        try:
            message = parse(frames)
        except RemoteProtocolError:
            return
        if not isinstance(message, TowerBeacon) or message.address in (_ADDRESS, _IN_RUNS):
            return
        # Once the tower has been told garbage, it introduces nodes that do not exist.
        ours = message.role is not None and message.endpoint.startswith("tcp://127.0.0.1:")
        if (self._polite or ours) and message.endpoint not in self._known:
            self.introduced += self._connect(message.endpoint)

    def _connect(self, endpoint: str) -> bool:
        """Subscribe to everything there; False if nobody can be there."""
        self._known.add(endpoint)
        try:
            self._in.connect(endpoint)
        except zmq.ZMQError:
            return False
        self._in.send(b"\1")
        return True

    def close(self) -> None:
        """Leave without a word."""
        self._context.destroy(0)


def _is_here(endpoint: str) -> bool:
    return not endpoint.startswith("tcp://") or endpoint[6:].startswith(_LOOPBACK)


def _send(socket: Any, frames: list[bytes]) -> None:
    with suppress(zmq.Again):
        socket.send_multipart(frames, zmq.NOBLOCK)


def _drain(socket: Any) -> Iterator[list[bytes]]:
    while True:
        try:
            yield socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return


class Cluster:
    """Nodes of ours in processes of their own."""

    def __init__(self, directory: Path) -> None:
        self._processes = real.Processes(directory)
        # Partitions that were made up may fill what nodes remember, but no more than that.
        self._processes.environment["DAFKA_MAX_PARTITIONS"] = str(MAX_PARTITIONS)
        self._server, self._at = self._processes.server()
        self.tower = self._at.tower
        listener = real.dafka("consume", *_TOPICS[:1], "--from", "earliest", *self._at.at)
        self._all = {"server": self._server, "consumer": self._processes.start(listener)}
        self._before: dict[str, int] = {}

    def look(self) -> None:
        """Everybody is there, says nothing of a bug, and has not grown out of bounds."""
        for name, process in self._all.items():
            self._look(name, process)

    def _look(self, name: str, process: real.Process) -> None:
        code, said = process.popen.poll(), process.complained()
        if code is not None or "Traceback" in said or "bug" in said:
            raise Found(f"the {name} ended with {code}; it said: {said[-3000:]}")
        size = process.resident_bytes()
        grown = size - self._before.setdefault(name, size)
        if grown > GROWTH_BYTES:
            raise Found(f"the {name} has grown by {grown >> 20} MiB")

    def restart(self) -> None:
        """Kill the server as kill -9 does, and start it again with the same records."""
        self._server.kill()
        self._server, self._at = self._processes.server()
        self.tower = self._at.tower

    def end(self) -> None:
        """Ask everybody to end, which they must do soon and well; check what is on disk."""
        for name, process in {**self._all, "server": self._server}.items():
            if process.popen.poll() is None and (code := process.end()):
                raise Found(f"the {name} ended with {code}: {process.complained()[-3000:]}")
        self._processes.run(real.dafka("check", "records"))

    def clear(self) -> None:
        """Leave nothing behind."""
        self._processes.clear()


@contextmanager
def _cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="dafka-fuzz-") as directory:
        cluster = Cluster(Path(directory))
        try:
            yield cluster
        finally:
            cluster.clear()


def fuzz_nodes(inputs: int, seed: int, tower: TowerAddress | None = None) -> Tally:
    """Send so many inputs to nodes of ours, or to those of somebody's `tower`; raises `Found`.

    Where `tower` leads, there must be a store; whether a node has ended is for its owner to see.
    """
    tally = Tally("nodes")
    try:
        if tower is not None:
            _disturb(tally, inputs, seed, tower, lambda: None)
            return tally
        with _cluster() as cluster:
            records = _disturb(tally, inputs, seed, parse_tower(cluster.tower), cluster.look)
            cluster.restart()
            _replay(cluster.tower, records)
            cluster.end()
    except (Found, AssertionError, dafka.DafkaError) as error:
        again = f"scripts/fuzz nodes --seed {seed} --inputs {inputs}"
        again += f" --tower {tower}" if tower else ""
        raise Found(f"{error}\n  after {tally.inputs:,} inputs; again: {again}") from error
    return tally


def _disturb(
    tally: Tally, inputs: int, seed: int, tower: TowerAddress, look: Any
) -> list[dafka.Record]:
    peer, records = Peer(tower, seed), []
    try:
        peer.meet()
        with (
            dafka.Producer(LIVE_TOPIC, tower=tower) as producer,
            dafka.Consumer(LIVE_TOPIC, tower=tower, start="earliest") as consumer,
        ):
            producer.publish(b"0")
            producer.flush(PATIENCE_S)
            records.append(_expect(consumer, 0))
            for number in tally.counted(inputs):
                if number % BURST:
                    continue
                peer.turn(min(BURST, inputs - number))
                offset = producer.publish(b"%d" % len(records))
                producer.flush(PATIENCE_S)
                records.append(_expect(consumer, offset))
                look()
            tally.outcomes["records amid them"] += len(records)
            tally.outcomes["nodes met"] += peer.introduced
    finally:
        peer.close()
    return records


def _expect(consumer: dafka.Consumer, offset: int) -> dafka.Record:
    record = consumer.poll(PATIENCE_S)
    if record is None or (record.offset, record.content) != (offset, b"%d" % offset):
        raise Found(f"offset {offset} should be delivered, not {record}")
    return record


def _replay(tower: str, records: list[dafka.Record]) -> None:
    with dafka.Consumer(LIVE_TOPIC, tower=tower, start="earliest") as consumer:
        found = [consumer.poll(PATIENCE_S) for _ in records]
        if found != records:
            raise Found("after kill -9 not all that was acknowledged is there")
        more = consumer.poll(0.2)
        if more is not None:
            raise Found(f"there is more than was published: {more}")
