"""Links between virtual nodes: prefixes go up, the frames that match them come down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from dafka.core.run import Arrival, Origin, Run
from protocol import DirectRecord, Message, Record, parse

if TYPE_CHECKING:
    from simulation.nodes import Node
    from simulation.world import World

Frames = list[bytes]


@dataclass(frozen=True)
class Faults:
    """What happens to messages: probabilities, and the longest delay in seconds."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    delay: float = 0.01


class Connection:
    """A SUB socket's link to a publisher: prefixes go up it, messages that match come down."""

    def __init__(self, world: World, speaker: Node, listener: Node, origin: Origin) -> None:
        self.speaker, self.listener, self.origin = speaker, listener, origin
        self.prefixes: list[bytes] = []
        self.open = True
        self._world = world
        self._up = self._down = 0.0

    def change(self, prefix: bytes, subscribed: bool) -> None:
        """Tell the speaker, in order and without loss, what the listener wants to hear."""
        self._up = max(self._up, self._world.arrival())
        self._world.at(self._up, lambda: self._changed(prefix, subscribed))

    def _changed(self, prefix: bytes, subscribed: bool) -> None:
        if not self.open or (not subscribed and prefix not in self.prefixes):
            return
        (self.prefixes.append if subscribed else self.prefixes.remove)(prefix)
        self.speaker.on_subscription(prefix, subscribed)

    def carry(self, messages: list[Frames]) -> None:
        """Bring messages to the listener, as well as the faults allow."""
        faults, random = self._world.faults, self._world.random
        batch: list[Frames] = []
        if not (faults.loss or faults.duplication or faults.reordering):
            batch = messages
        else:
            for frames in messages:
                fate = random.random()
                if fate < faults.loss:
                    continue
                batch.append(frames)
                if fate < faults.loss + faults.duplication:
                    batch.append(frames)
                elif fate < faults.loss + faults.duplication + faults.reordering:
                    late = [batch.pop()]
                    when = self._world.arrival() + self._world.arrival() - self._world.now
                    self._world.at(when, partial(self._arrived, late))
        self._down = max(self._down, self._world.arrival())
        self._world.at(self._down, lambda: self._arrived(batch))

    def _arrived(self, batch: list[Frames]) -> None:
        if self.open and batch:
            self.listener.hear(batch, self.origin)

    def close(self) -> None:
        """End the link: the speaker sees every prefix go."""
        self.open = False
        self.speaker.listeners.remove(self)
        self.listener.sources.remove(self)
        for prefix in self.prefixes if self.speaker.alive else ():
            self.speaker.on_subscription(prefix, False)


@lru_cache(10_000)
def _message(frame: bytes) -> Message:
    return parse([frame])


@lru_cache(10_000)
def _record(prefix: bytes) -> Record | DirectRecord:
    message = parse([prefix + bytes(8), b""])
    assert isinstance(message, Record | DirectRecord)
    return message


def join(batch: Iterable[Frames], origin: Origin) -> list[Arrival | Message]:
    """Turn frames into what a shell hands to a machine: consecutive records become runs."""
    items: list[Arrival | Message] = []
    last = b""
    for frames in batch:
        if len(frames) == 1:
            items.append(_message(frames[0]))
            last = b""
            continue
        prefix, offset = frames[0][:-8], int.from_bytes(frames[0][-8:], "big")
        before = items[-1] if prefix == last else None
        if isinstance(before, Arrival) and before.run.next == offset:
            before.run.contents.append(frames[1])
            continue
        record = _record(prefix)
        direct = Origin.STORE if origin is Origin.STORE else Origin.PEER
        source = direct if isinstance(record, DirectRecord) else Origin.LIVE
        items.append(Arrival(Run(record.subject, record.address, offset, [frames[1]]), source))
        last = prefix
    return items
