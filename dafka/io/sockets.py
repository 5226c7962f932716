"""The ZeroMQ sockets of a node, and nothing but them. The only importer of zmq.

A producer's own socket is bound twice: peers that take RECORDS connect to a port of its own, where
fewer messages wait for each peer, since they are larger.

Traps handled here: zmq.green's edges can be missed, so a socket is drained until it says EAGAIN
and its events are re-read; a send on PUB or XPUB never yields; what exceeds a high-water mark is
dropped in silence, except where NODROP is asked for.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import zmq
import zmq.backend

from dafka.core.packed import Packed
from dafka.core.run import Arrival, Origin, Run
from dafka.errors import ConfigError
from dafka.io.headers import SEQUENCE
from dafka.io.joiner import Drained, Joiner, OpenRun
from dafka.io.shell import Shell
from protocol import (
    Message,
    ProtocolError,
    Record,
    Records,
    build,
    parse_subscription,
    subscription,
)

DRAIN_MESSAGES = 4096
"""Most messages read from a socket before others get their turn."""
DRAIN_BYTES = 8 * 1024 * 1024
"""Most bytes read from a socket before others get their turn."""
MAX_FRAME_BYTES = 512 * 1024 * 1024
"""A peer that sends a larger frame is disconnected."""
LINGER_MS = 1000
"""How long a closed socket goes on sending what was accepted."""
HEARTBEAT_MS = 2000
"""How often a connection is tested."""
HEARTBEAT_TIMEOUT_MS = 6000
"""How long a peer may leave that unanswered before its connection is closed."""
RUNS_BYTES = 64 * 1024
"""Most bytes of one RECORDS, unless one record alone is larger."""
RUNS_QUEUE = 1250
"""Most RECORDS that wait for one peer, and as many more at the peer: 80 MiB each, so that all the
unacknowledged records of a producer may leave at once."""
DIRECT_BYTES = 1024 * 1024
"""The same of one DIRECT-RECORDS, of which nobody is sent more than it has asked for."""
_LEAST_RUNS_BYTES = 4096
_LIVE = (subscription(Record), subscription(Records))
"""What subscriptions to live records begin with; others need not be remembered here."""

_MAX_FRAMES = 8
_NO_DEVICE = "this machine has no such interface or address"
_U64 = (1 << 64) - 1
_NOBLOCK = int(zmq.NOBLOCK)
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)
_SNDMORE = int(zmq.SNDMORE | zmq.NOBLOCK)

# The base classes: zmq.green's own methods re-arm their events after every single frame, and
# those of zmq.Socket are one more call in Python.
_recv: Any = zmq.Socket.recv
_send: Any = zmq.backend.Socket.send
_get: Any = zmq.Socket.getsockopt


class Context:
    """The ZeroMQ context of one node: its sockets end with it, after lingering."""

    def __init__(self, shell: Shell, high_water_mark: int) -> None:
        self._context = _green_context() if shell.green else zmq.Context()
        self.shell = shell
        self.high_water_mark = high_water_mark
        self._owners: list[Watched] = []

    def socket(self, owner: Watched, kind: int) -> Any:
        """A socket with the bounds that all sockets of the node have; `close` closes its owner."""
        # Known before anything can fail: a socket that stays open lets `close` wait for ever.
        owner.socket = socket = self._context.socket(kind)
        self._owners.append(owner)
        for option, value in (
            # Set once and never again: changed under way, libzmq (4.3.5) can wait for ever for
            # a peer to report progress that it has already made.
            (zmq.SNDHWM, self.high_water_mark),
            (zmq.RCVHWM, self.high_water_mark),
            (zmq.MAXMSGSIZE, MAX_FRAME_BYTES),
            (zmq.LINGER, LINGER_MS),
            (zmq.RECONNECT_IVL_MAX, 1000),
            (zmq.TCP_KEEPALIVE, 1),
        ):
            socket.setsockopt(option, value)
        return socket

    async def close(self) -> None:
        """Close all sockets, and wait until what was accepted has left: at most a second."""
        for owner in self._owners:
            owner.close()
        self._owners.clear()
        # In a thread so that others go on.
        await self.shell.in_thread(self._context.term)


class Watched:
    """A socket that wakes its driver when something has come."""

    socket: Any

    def __init__(self, context: Context, kind: int) -> None:
        self.due = True
        """Whether there may be something to read: looking costs more than knowing that not."""
        self._shell = context.shell
        self._unwatch: Callable[[], object] | None = None
        self._wake: Callable[[], object] = lambda: None
        context.socket(self, kind)

    def watch(self, wake: Callable[[], object]) -> None:
        """Call `wake` whenever there is something to read."""

        def readable() -> None:
            if not self.socket.closed:
                self._look()

        self._wake = wake
        if self._shell.green:
            # It watches the descriptor for its own send and recv, which are not used here.
            self.socket._state_event.stop()
        self._unwatch = self._shell.watch(_get(self.socket, zmq.FD), readable)

    def suspect(self) -> None:
        """Look again, whatever was said."""
        self.due = True

    def _look(self) -> None:
        """Notice what has come: when the descriptor says that something has changed, and after
        whatever else libzmq was asked to do, since it then takes in what it tells nobody about.
        """
        if _get(self.socket, _EVENTS) & _POLLIN:
            self.due = True
            self._wake()

    def reconnect(self, endpoint: str) -> None:
        """Connect anew, whatever became of the connection."""
        _disconnect(self.socket, endpoint)
        self.socket.connect(endpoint)
        self._look()

    def close(self) -> None:
        """Close the socket; what was accepted still leaves while the context lingers."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        self.socket.close()


def _green_context() -> Any:
    import zmq.green  # gevent is for those who use it

    return zmq.green.Context()


def _bind(socket: Any, setting: str, endpoint: str) -> str:
    """Bind, and return the real endpoint; `ConfigError` if that is impossible."""
    try:
        socket.bind(endpoint)
    except (zmq.ZMQError, ValueError) as error:
        if isinstance(error, zmq.ZMQError) and error.errno == zmq.EADDRINUSE:
            raise ConfigError(
                f"{endpoint} is in use by another program: stop it, or choose another port"
            ) from error
        reason = str(error)
        if isinstance(error, zmq.ZMQError) and error.errno is not None:
            reason = _NO_DEVICE if error.errno == errno.ENODEV else zmq.strerror(error.errno)
        raise ConfigError(f"cannot listen on {endpoint} ({setting}): {reason}") from error
    real: bytes = _get(socket, zmq.LAST_ENDPOINT)
    return real.rstrip(b"\0").decode()


def _connect_all(socket: Any, endpoints: Sequence[str]) -> None:
    for endpoint in endpoints:
        try:
            socket.connect(endpoint)
        except (zmq.ZMQError, ValueError) as error:
            raise ConfigError(f"tower endpoint {endpoint} cannot be used: {error}") from error


def _disconnect(socket: Any, endpoint: str) -> None:
    try:
        socket.disconnect(endpoint)
    except zmq.ZMQError as error:
        # The name resolves to something else by now, or libzmq has given the connection up.
        if error.errno != errno.ENOENT:
            raise


def _send_all(socket: Any, frames: list[bytes]) -> None:
    for frame in frames[:-1]:
        _send(socket, frame, _SNDMORE)
    _send(socket, frames[-1], _NOBLOCK)


def _send_both(socket: Any, header: bytes, content: bytes) -> None:
    """Send a message of two frames, or nothing of it.

    Ctrl-C is met when a frame has been taken. Were the second one left out, the next message would
    become the content of this one.
    """
    try:
        _send(socket, header, _SNDMORE)
    except zmq.Again:
        raise
    except BaseException:
        _send(socket, content, _NOBLOCK)
        raise
    _send(socket, content, _NOBLOCK)


def _subscriptions(socket: Any) -> tuple[list[tuple[bool, bytes]], bool]:
    """What peers have subscribed to (True) or unsubscribed from, and whether there is more."""
    changes: list[tuple[bool, bytes]] = []
    for _ in range(DRAIN_MESSAGES):
        try:
            frame = _recv(socket, _NOBLOCK)
        except zmq.Again:
            return changes, False
        try:
            changes.append(parse_subscription(frame))
        except ProtocolError:
            continue  # XPUB passes on whatever a peer sends upstream
    return changes, True


class Publisher(Watched):
    """The node's own bound socket: everything it says leaves here."""

    def __init__(self, context: Context, endpoint: str, *, runs: bool = False) -> None:
        """With `runs`, peers that take RECORDS are offered an endpoint of their own."""
        super().__init__(context, zmq.XPUB)
        # Verbose: a peer that subscribes again, after a restart, shall be noticed again.
        self.socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        # A peer that is stopped answers no heartbeat; then what waits for it is let go.
        self.socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        self.runs_endpoint = ""
        self._runs_bytes = RUNS_BYTES
        if runs and endpoint.startswith("tcp://") and endpoint.endswith((":*", ":0")):
            # A connection's bounds are those that held when its endpoint was bound.
            self.socket.setsockopt(zmq.SNDHWM, min(RUNS_QUEUE, context.high_water_mark))
            self.runs_endpoint = _bind(self.socket, "bind", endpoint)
            self.socket.setsockopt(zmq.SNDHWM, context.high_water_mark)
        self.endpoint = _bind(self.socket, "bind", endpoint)
        if runs and not self.runs_endpoint:
            # One port is all that was allowed. More messages wait there, so they are smaller.
            self.runs_endpoint = self.endpoint
            fair = RUNS_BYTES * RUNS_QUEUE // context.high_water_mark
            self._runs_bytes = min(max(fair, _LEAST_RUNS_BYTES), RUNS_BYTES)
        self._subscribed: set[bytes] = set()
        self._wanted: dict[bytes, bool] = {}

    def send(self, message: Message) -> None:
        """Send one message to whoever subscribed to it."""
        self.send_frames(build(message))

    def send_frames(self, frames: list[bytes]) -> None:
        """Send a message that has been built."""
        _send_all(self.socket, frames)
        self._look()

    def send_run(self, plain: bytes, joined: bytes, run: Run) -> None:
        """Send a run to all subscribers; one that is too slow loses records in silence.

        As RECORDs, whose headers begin with `plain`, and as RECORDS, whose headers begin with
        `joined`: each only if somebody has asked for it.
        """
        if self._is_wanted(joined):
            for header, frame, _ in _messages(joined, run, self._runs_bytes):
                _send_both(self.socket, header, frame)
        if self._is_wanted(plain):
            socket, pack, sequence = self.socket, SEQUENCE.pack, run.first
            for content in run.contents:
                header = plain + pack(sequence)
                try:
                    _send(socket, header, _SNDMORE)
                finally:  # see `_send_both`, whose call would cost more than this
                    _send(socket, content, _NOBLOCK)
                sequence += 1
        self._look()

    def _is_wanted(self, prefix: bytes) -> bool:
        """Whether somebody is known to listen to messages that begin like this."""
        wanted = self._wanted.get(prefix)
        if wanted is None:
            wanted = self._wanted[prefix] = any(
                prefix.startswith(asked) or asked.startswith(prefix) for asked in self._subscribed
            )
        return wanted

    def send_direct(self, prefix: bytes, run: Run, *, runs: bool) -> int:
        """Send a run to its one requester; return how many records it took, without losing any.

        As DIRECT-RECORDs or as DIRECT-RECORDS (`runs`), whose headers begin with `prefix`.
        XPUB_NODROP holds for the peers that a message matches, here exactly one.
        """
        socket, sent = self.socket, 0
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        try:
            for header, frame, records in (
                _messages(prefix, run, DIRECT_BYTES) if runs else _singly(prefix, run)
            ):
                _send_both(socket, header, frame)
                sent += records
        except zmq.Again:
            pass
        finally:
            socket.setsockopt(zmq.XPUB_NODROP, 0)
        self._look()
        return sent

    def subscriptions(self) -> list[tuple[bool, bytes]]:
        """What peers have subscribed to (True) or unsubscribed from since the last call."""
        changes, self.due = _subscriptions(self.socket)
        for subscribed, prefix in changes:
            if prefix.startswith(_LIVE) or not prefix:
                # The last to unsubscribe is told, not each.
                (self._subscribed.add if subscribed else self._subscribed.discard)(prefix)
                self._wanted.clear()
        return changes


def _messages(prefix: bytes, run: Run, most_bytes: int) -> Iterator[tuple[bytes, bytes, int]]:
    """The frames of the messages that carry a run, and how many records each has."""
    first = run.first
    for part in Packed.of(run.contents).parts(most_bytes):
        yield prefix + SEQUENCE.pack(first), part.frame, len(part)
        first += len(part)


def _singly(prefix: bytes, run: Run) -> Iterator[tuple[bytes, bytes, int]]:
    """The same with a message for each record."""
    for sequence, content in enumerate(run.contents, run.first):
        yield prefix + SEQUENCE.pack(sequence), content, 1


class BeaconPublisher(Watched):
    """What a node says to the towers."""

    def __init__(self, context: Context, endpoints: Sequence[str]) -> None:
        # XPUB, which unlike PUB tells when a tower begins to listen.
        super().__init__(context, zmq.XPUB)
        self.socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.socket.setsockopt(zmq.LINGER, 0)
        _connect_all(self.socket, endpoints)

    def send(self, message: Message) -> None:
        """Send one beacon to all towers that listen."""
        _send_all(self.socket, build(message))
        self._look()

    def towers_joined(self) -> bool:
        """Whether a tower has begun to listen since the last call."""
        changes, self.due = _subscriptions(self.socket)
        return any(subscribed for subscribed, _ in changes)


class TowerSub(Watched):
    """Where a tower hears the nodes' beacons."""

    def __init__(self, context: Context, endpoint: str) -> None:
        super().__init__(context, zmq.SUB)
        self.socket.setsockopt(zmq.SUBSCRIBE, b"B")
        self.endpoint = _bind(self.socket, "sub", endpoint)

    def drain(self) -> list[tuple[str, list[bytes]]]:
        """The beacons that have come: the network address of the sender, and the frames."""
        beacons: list[tuple[str, list[bytes]]] = []
        for _ in range(DRAIN_MESSAGES):
            try:
                frame = _recv(self.socket, _NOBLOCK, False)
            except zmq.Again:
                break
            try:
                source = frame.get("Peer-Address")
            except zmq.ZMQError:
                source = ""  # inproc and ipc peers have none
            frames = [frame.bytes]
            while frame.more:
                frame = _recv(self.socket, _NOBLOCK, False)
                if len(frames) < _MAX_FRAMES:
                    frames.append(frame.bytes)
            beacons.append((source, frames))
        return beacons


class TowerPub(Watched):
    """Where a tower introduces nodes to each other, and welcomes each newcomer."""

    def __init__(self, context: Context, endpoint: str) -> None:
        super().__init__(context, zmq.XPUB)
        self.socket.setsockopt(zmq.XPUB_WELCOME_MSG, b"W")
        self.endpoint = _bind(self.socket, "pub", endpoint)

    def send(self, message: Message) -> None:
        """Send one beacon to every node."""
        _send_all(self.socket, build(message))

    def discard_subscriptions(self) -> None:
        """Read what nodes subscribe to, which changes nothing for a tower."""
        _subscriptions(self.socket)


class Subscriber(Watched):
    """A socket that listens to peers, and joins their RECORDs into runs."""

    def __init__(
        self,
        context: Context,
        origin: Origin,
        endpoints: Sequence[str] = (),
        prefixes: Sequence[bytes] = (),
        *,
        runs: bool = False,
    ) -> None:
        """Connect to `endpoints`, of which messages with `prefixes` are let in.

        `runs`: it listens to publishers of RECORDS, whose messages are large.
        """
        super().__init__(context, zmq.SUB)
        if runs:
            self.socket.setsockopt(zmq.RCVHWM, min(RUNS_QUEUE, context.high_water_mark))
        # Subscriptions for a peer that has gone need not leave any more.
        self.socket.setsockopt(zmq.LINGER, 0)
        self.origin = origin
        self._joiner = Joiner()
        # Before it connects: a tower's welcome is there at once, and whoever looks loses it if
        # that is not wanted yet.
        for prefix in prefixes:
            self.socket.setsockopt(zmq.SUBSCRIBE, prefix)
        _connect_all(self.socket, endpoints)

    def subscribe(self, prefix: bytes) -> None:
        """Let messages with this prefix in."""
        self.socket.setsockopt(zmq.SUBSCRIBE, prefix)
        self._look()

    def connect(self, endpoint: str) -> bool:
        """Listen to a peer; False if the endpoint is unusable."""
        try:
            self.socket.connect(endpoint)
        except (zmq.ZMQError, ValueError):  # ValueError: it is no text, or holds a NUL
            return False
        self._look()
        return True

    def disconnect(self, endpoint: str) -> None:
        """Stop listening to a peer that `connect` accepted."""
        self._end_begun()
        _disconnect(self.socket, endpoint)
        self._look()

    def reconnect(self, endpoint: str) -> None:
        """Connect anew, whatever became of the connection."""
        self._end_begun()
        super().reconnect(endpoint)

    def _end_begun(self) -> None:
        """Read the message of which libzmq has taken the first frame, so that it is whole.

        It does so to answer whether there is something to read, and then aborts the process if
        the peer is disconnected before the other frames were read (libzmq's issue 2163). What is
        read here, the next drain hands out.
        """
        try:
            frame = _recv(self.socket, _NOBLOCK, False)
        except zmq.Again:
            return
        self.due = True
        self._wake()
        frames = [frame.bytes, *(self._rest() if frame.more else ())]
        if len(frames) == 2:
            self._joiner.record(*frames)
        else:
            self._joiner.message(frames)

    def drain(self) -> Drained:
        """Read what is there, up to `DRAIN_MESSAGES` and `DRAIN_BYTES`, without waiting."""
        self.due = True
        socket, joiner, pack = self.socket, self._joiner, SEQUENCE.pack
        prefix, expected, contents = b"", b"", [b""]
        opened: OpenRun | None = None
        count = size = 0
        while count < DRAIN_MESSAGES and size < DRAIN_BYTES:
            try:
                frame = _recv(socket, _NOBLOCK, False)
            except zmq.Again:
                self.due = False
                break
            count += 1
            header = frame.bytes
            if not frame.more:
                joiner.message([header])
                continue
            body = _recv(socket, _NOBLOCK, False)
            content = body.bytes
            size += len(content)
            if body.more:
                joiner.message([header, content, *self._rest()])
            elif header == expected and opened is not None:
                contents.append(content)
                opened.expected += 1
                if opened.expected <= _U64:
                    expected = prefix + pack(opened.expected)
                else:  # nothing follows the last sequence there is
                    opened = None
            else:
                opened = joiner.record(header, content)
                if opened is not None:
                    prefix, contents = header[:-8], opened.contents
                    expected = prefix + pack(opened.expected)
        drained = joiner.finish()
        drained.count = count
        return drained

    def arrivals(self, drained: Drained) -> list[Arrival]:
        """The runs of a drain, with where they came from."""
        direct = Origin.STORE if self.origin is Origin.STORE else Origin.PEER
        return [Arrival(run, Origin.LIVE) for run in drained.runs] + [
            Arrival(run, direct) for run in drained.direct
        ]

    def _rest(self) -> list[bytes]:
        """The other frames of a message, as many as a beacon could have."""
        frames: list[bytes] = []
        more = True
        while more:
            frame = _recv(self.socket, _NOBLOCK, False)
            more = bool(frame.more)
            if len(frames) < _MAX_FRAMES:
                frames.append(frame.bytes)
        return frames
