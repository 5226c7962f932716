"""A named consumer that is killed again and again, and goes on each time.

As a program (`python -m tests.support.consuming_lives TOWER OFFSETS SEED LIVES END`) it forks a
consumer, kills it (SIGKILL) after a random while, which mostly begins when it has handled
something; and so on; a last one lives until every partition has been handled up to `END`.

To handle a record is to print it: the life, its partition, its offset, by one write to the standard
output, which a kill cannot tear. What was saved is printed when a life begins.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import dafka
from tests.support.forking import check_end, forked

TOPIC = "numbers"
_PATIENCE_S = 5.0


class Handled(NamedTuple):
    """A record that was handled."""

    life: int
    partition: str
    offset: int


class Begun(NamedTuple):
    """Where a life began with a partition."""

    life: int
    partition: str
    offset: int


def told(printed: bytes) -> Iterator[Handled | Begun]:
    """What the program has printed, in order."""
    for line in printed.decode().splitlines():
        kind, life, partition, offset = line.split()
        yield (Begun if kind == "begun" else Handled)(int(life), partition, int(offset))


def _say(kind: str, life: int, partition: str, offset: int) -> None:
    os.write(1, f"{kind} {life} {partition} {offset}\n".encode())


def _live(
    life: int,
    tower: str,
    offsets: str,
    chance: random.Random,
    handled: int,
    start: str,
    end: int | None,
) -> None:
    """Handle records, and tell the descriptor `handled` of the first; until `end`, if given."""
    left = {f"{number:032X}" for number in (1, 2, 3)}

    def begin(at: dafka.Position) -> None:
        _say("begun", life, at.partition, at.offset)
        if at.offset == end:  # an earlier life has handled all of it
            left.discard(at.partition)

    automatic = chance.random() < 0.6
    settings = {
        "name": "victim",
        "offsets": offsets,
        "start": start,
        "auto_commit": automatic,
        "commit_interval_s": chance.choice([0.01, 0.05, 0.2]),
        "buffer_bytes": chance.choice([20_000, 16 << 20]),
        "beacon_interval_s": 0.1,
        "bind": "tcp://127.0.0.1:*",
        "on_partition": begin,
    }
    whole, every = chance.random() < 0.4, chance.choice([1, 7, 50])
    count = 0
    with dafka.Consumer(TOPIC, tower=tower, **settings) as consumer:
        while end is None or left:
            run = next(consumer.runs(0.2), None) if whole else _one(consumer)
            if run is None:
                continue
            for offset in range(run.first, run.next):
                _say("handled", life, run.partition, offset)
            if run.next == end:
                left.discard(run.partition)
            count += 1
            if count == 1:
                os.write(handled, b"!")
            if not automatic and not count % every:
                consumer.commit(run, wait=chance.random() < 0.5)
            if chance.random() < 0.01:
                consumer.pause(partition=run.partition)
                consumer.resume(partition=run.partition)


def _one(consumer: dafka.Consumer) -> dafka.Run | None:
    record = consumer.poll(0.2)
    if record is None:
        return None
    return dafka.Run(record.topic, record.partition, record.offset, [record.content])


def main(tower: str, offsets: str, seed: str, count: str, end: str) -> None:
    """Live and die."""
    chance = random.Random(int(seed))
    start = "earliest"
    for life in range(int(count) + 1):
        last = life == int(count)
        pause = chance.choice([0.0, chance.uniform(0.0, 0.02), chance.uniform(0.0, 0.3)])
        own = random.Random(chance.random())
        seen, handled = os.pipe()
        until = int(end) if last else None
        child = forked(partial(_live, life, tower, offsets, own, handled, start, until))
        os.close(handled)
        if not last:
            if life % 5:
                select.select([seen], [], [], _PATIENCE_S)
            time.sleep(pause)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.read(seen, 1):
            # What was handled must not come to nothing, wherever others would begin.
            start = "latest"
        os.close(seen)
        check_end(status, life, killed=not last)


if __name__ == "__main__":
    main(*sys.argv[1:])
