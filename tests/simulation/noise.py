"""What comes along a link though nobody of the cluster has said it now.

Malformed messages, mutations, old messages once more, and strangers' lies. Lies that no node can
tell from the truth (an ACK for what its sender does not have, a record with another content) are
left out: whoever can send them has to be kept out by CURVE.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING

from protocol import (
    Ack,
    DeleteTopic,
    DirectHead,
    DirectRecord,
    DirectRecords,
    Head,
    Message,
    ProtocolError,
    Record,
    Records,
    build,
    parse,
)
from simulation.links import Connection, Frames

if TYPE_CHECKING:
    from simulation.nodes import Node
    from simulation.world import World

_LARGE = (1 << 64) - 1


class Noise:
    """Makes noise by chance, and remembers what was said."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._said: dict[Node, deque[Frames]] = {}
        self.made = 0

    def remember(self, speaker: Node, messages: list[Frames]) -> None:
        """A node said something that it may say again later."""
        self._said.setdefault(speaker, deque(maxlen=32)).append(messages[0])

    def spoil(self, connection: Connection, batch: list[Frames]) -> None:
        """Perhaps add something to what arrives on a link."""
        random = self._world.random
        if random.random() >= self._world.faults.noise:
            return
        kind = random.randrange(4)
        said = self._said.get(connection.speaker, ()) if connection.speaker else ()
        prefixes = connection.wanted
        if kind == 0:
            frames = [random.randbytes(random.randrange(30)) for _ in range(random.randint(1, 3))]
            frames[0] = random.choice(prefixes) + random.choice((b"", b"\0", b"\0\1")) + frames[0]
        elif kind == 1 and said:
            frames = self._mutated(random.choice(said))
        elif kind == 2 and self._world.truth:
            frames = self._lie()
        elif said:
            frames = random.choice(said)
        else:
            return
        # A SUB socket hands on nothing but what its node has subscribed to.
        heard = frames and any(frames[0].startswith(prefix) for prefix in prefixes)
        if heard and self._is_harmless(frames, said):
            self.made += 1
            batch.insert(random.randint(0, len(batch)), frames)
            connection.waiting += 1

    def beacon(self, frames: Frames) -> Frames:
        """What becomes of a beacon on its way to a tower."""
        if self._world.random.random() >= self._world.faults.noise:
            return frames
        mutated = self._mutated(frames)
        try:
            parse(mutated)
        except ProtocolError:
            self.made += 1
            return mutated
        return frames

    def _mutated(self, frames: Frames) -> Frames:
        random = self._world.random
        changed = list(frames)
        at = random.randrange(len(changed))
        frame = changed[at]
        match random.randrange(5):
            case 0:
                changed[at] = frame[: random.randrange(len(frame) + 1)]
            case 1:
                changed[at] = frame + random.randbytes(random.randint(1, 32))
            case 2:
                changed.insert(at, frame)
            case 3 if len(changed) > 1:
                del changed[at]
            case _ if frame:
                place = random.randrange(len(frame))
                changed[at] = frame[:place] + random.randbytes(1) + frame[place + 1 :]
        return changed

    def _lie(self) -> Frames:
        """Something well-formed that must change nothing."""
        random = self._world.random
        topic, partition = random.choice(list(self._world.truth))
        stranger = f"{random.getrandbits(128):032X}"
        lies: tuple[Message, ...] = (
            Ack(partition, topic, _LARGE),
            Ack(partition, topic, 1 << 40, stranger),
            Ack(partition, "another topic", 0, stranger),
            Head("another topic", stranger, "another topic", 5),
        )
        return build(random.choice(lies))

    def _is_harmless(self, frames: Frames, said: Collection[Frames]) -> bool:
        """Whether a cluster has to bear it: it is malformed, or true, or about nothing it has."""
        try:
            message = parse(frames)
        except ProtocolError:
            return True
        if frames in said:
            return not isinstance(message, DeleteTopic)
        match message:
            case Record() | DirectRecord() | Records() | DirectRecords() | DeleteTopic():
                return False
            case Head() | DirectHead():
                return (message.subject, message.address) not in self._world.truth
            case Ack():
                held = self._world.truth.get((message.subject, message.topic), ())
                return message.sequence >= len(held)
            case _:
                return True
