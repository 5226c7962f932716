"""A producer with a durable outbox, which continues its partition after each crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dafka.config import ProducerConfig
from dafka.core.producer import Producer
from simulation.nodes import ProducerNode

if TYPE_CHECKING:
    from simulation.world import World


class OutboxProducer:
    """The outbox, and the producers that use it one after the other (dafka/io/outbox.py)."""

    def __init__(self, world: World, topic: str, config: ProducerConfig) -> None:
        self.world, self.topic, self.config = world, topic, config
        self.address = world.address()
        self.process = world.process("producer")
        self.first = 0
        """The records before this offset were acknowledged, and are no longer on disk."""
        self.node: OutboxNode | None = None

    @property
    def alive(self) -> bool:
        """Whether a producer uses it."""
        return self.node is not None and self.node.alive

    @property
    def saved(self) -> int:
        """Records that are in the outbox, or were: nothing leaves before."""
        return len(self.world.truth[self.topic, self.address])

    def start(self) -> OutboxNode:
        """Continue the partition."""
        world = self.world
        machine = Producer(self.topic, self.address, self.config, self.first, self.saved)
        node = self.node = OutboxNode(world, machine, self)
        world.note(node, f"continues at {self.first} of {self.saved}")
        node.perform(machine.start(node.now))
        world.introduce(node)
        node.send_saved()
        return node

    def crash(self) -> None:
        """End at once: what is not saved is lost, what is acknowledged may still be there."""
        assert self.node is not None
        acked = min(self.node.machine.acked, self.saved)
        self.first = self.world.random.randint(self.first, max(acked, self.first))
        self.world.crash(self.node)
        self.process.ended()


class OutboxNode(ProducerNode):
    """One life of such a producer."""

    def __init__(self, world: World, machine: Producer, outbox: OutboxProducer) -> None:
        super().__init__(world, machine, process=outbox.process, role="producer")
        self.outbox = outbox
        self._unsaved: list[bytes] = []
        self._saving = False

    def publish(self, number: int) -> None:
        """Put some records into the outbox; they leave once they are there."""
        first = self.outbox.saved + len(self._unsaved)
        contents = [self.content(first + i) for i in range(number)]
        cost = sum(map(len, contents)) + 64 * (number + len(self._unsaved))
        if self.alive and self.machine.has_room(cost):
            self._unsaved += contents
            self._save()

    def _save(self) -> None:
        if self._unsaved and not self._saving:
            self._saving = True
            batch, self._unsaved = self._unsaved, []
            pause = self.world.random.uniform(0.0005, 0.02)
            self.world.after(pause, lambda: self.process.do(lambda: self._saved(batch)))

    def _saved(self, batch: list[bytes]) -> None:
        if not self.alive:
            return
        self._saving = False
        self.world.truth[self.key].extend(batch)
        self.world.published[self.key].append((self.world.now, len(batch)))
        self.send_saved()
        self._save()

    def send_saved(self) -> None:
        """Send what is in the outbox and was not sent in this life, as far as there is room."""
        machine = self.machine
        while machine.next < self.outbox.saved and self.alive:
            contents = self.world.truth[self.key][machine.next : machine.next + 50]
            cost = sum(map(len, contents)) + 64 * len(contents)
            if machine.unacknowledged and not machine.has_room(cost):
                break
            self.perform(machine.publish(contents, self.now))

    def tick(self) -> None:
        """In every turn of the loop: what waits leaves."""
        self.send_saved()
        super().tick()
