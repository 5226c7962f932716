"""SIGKILL of a store at many moments under load: all it has acknowledged is there, byte for byte.

After each kill the directory is read as it was left, and compared with what producers know to be
acknowledged. Retention and merging run as well, so that every kind of change is interrupted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

import dafka
from dafka.io.log import Log
from tests.support.live_nodes import Nodes
from tests.support.store_nursery import BRISK, KEPT, Nursery
from tests.support.waiting import take, until

pytestmark = pytest.mark.process


def content(topic: str, offset: int) -> bytes:
    chance = random.Random(f"{topic} {offset}")
    return chance.randbytes(chance.choice((0, 3, 100, 100, 1000, 20_000)))


def publish(producer: dafka.Producer, topic: str, chance: random.Random) -> None:
    """Publish for ever, by fits and starts."""
    while True:
        for _ in range(chance.choice((1, 1, 5, 30))):
            producer.publish(content(topic, producer.next_offset))
        gevent.sleep(chance.uniform(0, 0.02))


class Killing:
    """A store that is killed again and again, and two producers that never rest."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.data = directory / "data"
        self.nodes = Nodes(directory)
        self.nodes.towered()
        self.nursery = Nursery(self.data, self.nodes.tower)
        self.producers = {name: self.nodes.producer(name, **BRISK) for name in ("one", "two")}
        self.fruitful = 0
        """So many lives have acknowledged something."""
        self._publishing = [
            gevent.spawn(publish, producer, name, random.Random(f"{seed} {name}"))
            for name, producer in self.producers.items()
        ]

    def acknowledged(self) -> dict[str, int]:
        """How many records of each topic."""
        return {name: producer.acknowledged for name, producer in self.producers.items()}

    def live(self) -> None:
        """One life, ended at a random moment, and what it has left."""
        before = self.acknowledged()
        self.nursery.start()
        if self.chance.random() < 0.7:
            until(lambda: self.acknowledged() != before, what="an acknowledgement")
        gevent.sleep(self.chance.uniform(0, 0.1))
        self.nursery.kill()
        told = self.acknowledged()
        self.fruitful += told != before
        self.verify(told)

    def verify(self, least: dict[str, int]) -> None:
        """The directory holds at least so many records of each topic, and nothing else."""
        with Log(self.data) as log:
            assert list(log.check()) == []
            held = {extent.topic: extent for extent in log.partitions()}
            for topic, producer in self.producers.items():
                if topic not in held:
                    assert least[topic] == 0
                    continue
                extent = held.pop(topic)
                assert extent.partition == producer.partition
                assert least[topic] <= extent.next <= producer.next_offset
                assert extent.earliest <= max(0, extent.next - KEPT)
                at = extent.earliest
                while at < extent.next:
                    run = log.read(topic, extent.partition, at, max_records=999, max_bytes=10**7)
                    assert run is not None
                    assert run.contents == [content(topic, o) for o in range(at, run.next)]
                    at = run.next
            assert not held

    def finish(self) -> None:
        """A last life, in which everything arrives."""
        gevent.killall(self._publishing)
        self.nursery.start()
        for topic, producer in self.producers.items():
            producer.flush(20)
            count = producer.next_offset
            consumer = self.nodes.consumer(topic, **BRISK)
            last = max(0, count - KEPT)
            (first,) = take(consumer, 1)
            assert first.offset <= last
            others = take(consumer, count - first.offset - 1)
            assert [first.content, *(record.content for record in others)] == [
                content(topic, offset) for offset in range(first.offset, count)
            ]
        self.nursery.kill()
        self.verify({topic: producer.next_offset for topic, producer in self.producers.items()})

    def end(self) -> None:
        """Leave nothing behind."""
        gevent.killall(self._publishing)
        self.nodes.end()
        self.nursery.close()


@pytest.fixture
def killing(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Killing]:
    """Nodes and a store to kill, with the seed of the test."""
    print(f"seed {request.param}")  # noqa: T201 - shown when the test fails
    made = Killing(tmp_path, request.param)
    yield made
    made.end()


def kill_often(killing: Killing, kills: int) -> None:
    """Kill the store so often, and see that most of its lives were of some use."""
    for _ in range(kills):
        killing.live()
    assert killing.fruitful >= kills / 2
    killing.finish()


@pytest.mark.parametrize("killing", [1], indirect=True)
def test_what_was_acknowledged_survives_dozens_of_kills(killing):
    kill_often(killing, 36)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("killing", [10], indirect=True)
def test_what_was_acknowledged_survives_hundreds_of_kills(killing):
    kill_often(killing, 300)
