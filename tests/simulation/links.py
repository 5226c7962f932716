"""Links between virtual nodes: prefixes go up, the frames that match them come down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from dafka.core.packed import Packed
from dafka.core.run import Arrival, Origin, Run
from protocol import (
    DirectRecord,
    DirectRecords,
    Message,
    ProtocolError,
    Record,
    Records,
    parse,
    record_prefix,
)

if TYPE_CHECKING:
    from simulation.nodes import Node
    from simulation.process import Process
    from simulation.world import World

Frames = list[bytes]

HEARTBEAT_S = 6.0
"""A publisher closes a connection whose other end does not answer for so long."""
ENOUGH = 1 << 60


@dataclass(frozen=True)
class Faults:
    """What happens to messages: probabilities, and the longest delay in seconds."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    delay: float = 0.01
    noise: float = 0.0
    """How often something comes along that nobody of the cluster has said (see `noise`)."""
    high_water_mark: int = ENOUGH
    """Messages that may be on their way, or unread, on one link; more are dropped in silence,
    and direct answers refused."""
    bandwidth: float = 0.0
    """Bytes a second on each link; 0: as many as there are."""

    def __str__(self) -> str:
        usual = vars(Faults())
        unusual = [f"{k} {v:g}" for k, v in vars(self).items() if v != usual[k]]
        return ", ".join(unusual).replace("_", " ") or "fair weather"


class Network:
    """Who cannot reach whom at the moment."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.cuts: dict[frozenset[Process], float] = {}
        """Pairs between which nothing travels, and since when."""
        self.deaf: dict[tuple[Process, Process], float] = {}
        """How much of what the first says the second loses."""

    def cut(self, one: Iterable[Process], other: Iterable[Process]) -> None:
        """Let nothing travel between two groups any more."""
        others = list(other)
        for a in one:
            for b in others:
                if a is not b:
                    self.cuts.setdefault(frozenset((a, b)), self._world.now)

    def is_cut(self, one: Process, other: Process) -> bool:
        """Whether nothing travels between two processes."""
        return bool(self.cuts) and frozenset((one, other)) in self.cuts

    def heal(self) -> None:
        """Let everything travel again. What was connected for long without a word is not."""
        cuts, self.cuts = self.cuts, {}
        self.deaf = {}
        for node in self._world.living():
            for connection in list(node.sources):
                speaker = connection.speaker
                pair = frozenset((node.process, speaker.process)) if speaker else None
                if pair is None:
                    connection.reach()
                elif pair in cuts:
                    connection.healed(self._world.now - cuts[pair])


class Audience:
    """Who listens to a publisher, by the prefixes of what they want to hear."""

    def __init__(self) -> None:
        self._by_prefix: dict[bytes, dict[Connection, int]] = {}
        self._lengths: list[int] = []

    def add(self, prefix: bytes, listener: Connection) -> None:
        """Somebody has subscribed."""
        found = self._by_prefix.setdefault(prefix, {})
        found[listener] = found.get(listener, 0) + 1
        if len(prefix) not in self._lengths:
            self._lengths.append(len(prefix))

    def remove(self, prefix: bytes, listener: Connection) -> None:
        """Somebody has unsubscribed."""
        found = self._by_prefix[prefix]
        found[listener] -= 1
        if not found[listener]:
            del found[listener]
        if not found:
            del self._by_prefix[prefix]

    def wants(self, prefix: bytes) -> bool:
        """Whether anybody has subscribed to this prefix."""
        return prefix in self._by_prefix

    def of(self, start: bytes) -> list[Connection]:
        """Who hears a message that begins like this, each once."""
        groups = [
            group
            for length in self._lengths
            if (group := self._by_prefix.get(start[:length])) is not None
        ]
        if len(groups) == 1:
            return list(groups[0])
        return list({listener: None for group in groups for listener in group})


class Connection:
    """A SUB socket's link to a publisher: prefixes go up it, messages that match come down."""

    def __init__(
        self, world: World, listener: Node, endpoint: str, origin: Origin, runs: bool = False
    ) -> None:
        """`runs`: the speaker is known to publish RECORDS."""
        self.listener, self.endpoint, self.origin = listener, endpoint, origin
        self.runs = runs
        self.speaker: Node | None = None
        self.prefixes: list[bytes] = []
        """What the speaker knows to be wanted."""
        self.open = True
        self.life = 0
        """How often it has been established: what was on its way ends with each."""
        self.waiting = 0
        """Messages on their way, or unread."""
        self._world = world
        self._up = self._down = 0.0
        self._held: list[Callable[[], None]] = []
        world.at(world.arrival(), self.reach)

    @property
    def wanted(self) -> list[bytes]:
        """What the listener wants to hear through this socket."""
        return self.listener.prefixes[self.origin, self.runs]

    # Life

    def reach(self) -> None:
        """Try to establish the link, as ZeroMQ does until it succeeds."""
        speaker = self._world.bound.get(self.endpoint)
        if not self.open or self.speaker is not None or speaker is None:
            return  # whoever binds this endpoint is reached then
        if self._world.network.is_cut(speaker.process, self.listener.process):
            return  # until the network has healed
        self.speaker = speaker
        speaker.listeners.append(self)
        # libzmq sends what is wanted in the order of its tree of prefixes.
        self._rise([(prefix, True) for prefix in sorted(self.wanted)])

    def lost(self) -> None:
        """The link ends by itself; it will be established again."""
        self._end()
        if self.open:
            self._world.after(self._world.random.uniform(0.05, 1.0), self.reach)

    def close(self) -> None:
        """End the link for good: the speaker sees every prefix go."""
        self.open = False
        self.listener.sources.remove(self)
        self.listener.connected.discard((self.endpoint, self.origin, self.runs))
        self._end()

    def _end(self) -> None:
        speaker, prefixes = self.speaker, self.prefixes
        self.speaker, self.prefixes, self.waiting = None, [], 0
        self.life += 1
        self._held.clear()
        if speaker is None:
            return
        speaker.listeners.remove(self)
        for prefix in prefixes:
            speaker.audience.remove(prefix, self)
        for prefix in dict.fromkeys(prefixes):
            speaker.process.do(partial(speaker.on_unsubscription, prefix))

    def healed(self, seconds: float) -> None:
        """The network is whole again after so many seconds without a word."""
        if seconds > HEARTBEAT_S:
            self.lost()
            return
        held, self._held = self._held, []
        for do in held:
            do()

    @property
    def _cut(self) -> bool:
        network, speaker = self._world.network, self.speaker
        return (
            bool(network.cuts)
            and speaker is not None
            and network.is_cut(speaker.process, self.listener.process)
        )

    # Upwards

    def change(self, prefix: bytes, subscribed: bool) -> None:
        """Tell the speaker, in order and without loss, what the listener wants to hear."""
        if self.speaker is not None:
            self._rise([(prefix, subscribed)])

    def _rise(self, changes: list[tuple[bytes, bool]]) -> None:
        if self._cut:
            self._held.append(partial(self._rise, changes))
            return
        self._up = max(self._up, self._world.arrival())
        self._world.at(self._up, partial(self._risen, changes, self.life))

    def _risen(self, changes: list[tuple[bytes, bool]], life: int) -> None:
        speaker = self.speaker
        if speaker is None or life != self.life:
            return
        for prefix, subscribed in changes:
            if not subscribed and prefix not in self.prefixes:
                continue
            (self.prefixes.append if subscribed else self.prefixes.remove)(prefix)
            (speaker.audience.add if subscribed else speaker.audience.remove)(prefix, self)
            notice = speaker.on_subscription if subscribed else speaker.on_unsubscription
            speaker.process.do(partial(notice, prefix))
            if life != self.life:
                return

    # Downwards

    @property
    def room(self) -> int:
        """How many messages can be on their way now, beyond those that are."""
        return max(0, self._world.faults.high_water_mark - self.waiting)

    def carry(self, messages: list[Frames]) -> None:
        """Bring messages to the listener, as well as the faults allow."""
        if len(messages) > self.room:
            messages = messages[: self.room]
        if messages:
            self.waiting += len(messages)
            self._fall(messages)

    def _fall(self, messages: list[Frames]) -> None:
        if self._cut:
            self._held.append(partial(self._fall, messages))
            return
        world = self._world
        faults, network = world.faults, world.network
        loss = faults.loss
        if network.deaf and self.speaker is not None:
            loss = max(loss, network.deaf.get((self.speaker.process, self.listener.process), 0))
        if loss or faults.duplication or faults.reordering:
            before = len(messages)
            messages = self._befall(messages, loss, faults)
            self.waiting += len(messages) - before
        self._down = max(self._down, world.arrival())
        if faults.bandwidth:
            self._down += (
                sum(len(frame) for frames in messages for frame in frames) / faults.bandwidth
            )
        world.at(self._down, partial(self._arrived, messages, self.life))

    def _befall(self, messages: list[Frames], loss: float, faults: Faults) -> list[Frames]:
        world, batch = self._world, []
        for frames in messages:
            fate = world.random.random()
            if fate < loss:
                continue
            batch.append(frames)
            if fate < loss + faults.duplication:
                batch.append(frames)
            elif fate < loss + faults.duplication + faults.reordering:
                late = [batch.pop()]
                self.waiting += 1
                when = world.arrival() + world.arrival() - world.now
                world.at(when, partial(self._arrived, late, self.life))
        return batch

    def _arrived(self, batch: list[Frames], life: int) -> None:
        if life != self.life or not self.open:
            return
        if self._world.faults.noise:
            self._world.noise.spoil(self, batch)
        if batch:
            self.listener.hear(batch, self)

    def read(self, messages: int, life: int) -> None:
        """The listener has read so many messages."""
        if life == self.life:
            self.waiting = max(0, self.waiting - messages)


@lru_cache(20_000)
def _message(frame: bytes) -> Message:
    return parse([frame])


@lru_cache(20_000)
def _record(prefix: bytes) -> Record | DirectRecord | None:
    """What headers that begin like this, and are 8 bytes longer, are; None: nothing plain."""
    try:
        message = parse([prefix + bytes(8), b""])
    except ProtocolError:
        return None
    if isinstance(message, Record | DirectRecord) and record_prefix(message) == prefix:
        return message
    return None


Item = Arrival | Message


def join(batch: Iterable[Frames], origin: Origin) -> tuple[list[tuple[Item, int]], int]:
    """Turn frames into what a shell hands to a machine, each with how many messages it came in.

    Consecutive records become runs. Also how many messages were malformed: they are counted and
    dropped.
    """
    items: list[tuple[Item, int]] = []
    last, refused = b"", 0
    for frames in batch:
        try:
            found, prefix = _item(frames, origin)
        except ProtocolError:
            refused, last = refused + 1, b""
            continue
        before, number = items[-1] if items and prefix and prefix == last else (None, 0)
        runs = isinstance(before, Arrival) and isinstance(found, Arrival)
        if runs and before.run.next == found.run.first:
            items[-1] = (_joined(before, found), number + 1)
            continue
        items.append((found, 1))
        last = prefix
    return items, refused


def _item(frames: Frames, origin: Origin) -> tuple[Item, bytes]:
    """What a message is, and the prefix by which the next one may continue it, or nothing."""
    if len(frames) < 2:
        return (_message(*frames) if frames else parse(frames)), b""
    prefix = frames[0][:-8]
    plain = _record(prefix) if len(frames) == 2 else None
    if plain is not None:
        message = replace(plain, sequence=int.from_bytes(frames[0][-8:], "big"))
        return _arrival(message, [frames[1]], origin), prefix
    message = parse(frames)
    if isinstance(message, Record | DirectRecord):
        return _arrival(message, [frames[1]], origin), b""
    if isinstance(message, Records | DirectRecords):
        mine = record_prefix(message) == prefix
        return _arrival(message, Packed(frames[1]), origin), prefix if mine else b""
    return message, b""


def _joined(one: Arrival, other: Arrival) -> Arrival:
    """Two runs as one; a list grows where it is."""
    have, more = one.run.contents, other.run.contents
    if isinstance(have, list):
        have.extend(more)
        return one
    run = replace(one.run, contents=Packed.join([Packed.of(have), Packed.of(more)]))
    return replace(one, run=run)


def records_of(item: Item) -> int:
    """How many records an item has; any other message counts as one."""
    return len(item.run) if isinstance(item, Arrival) else 1


def _arrival(message: Any, contents: Sequence[bytes], origin: Origin) -> Arrival:
    direct = Origin.STORE if origin is Origin.STORE else Origin.PEER
    source = direct if isinstance(message, DirectRecord | DirectRecords) else Origin.LIVE
    return Arrival(Run(message.subject, message.address, message.sequence, contents), source)
