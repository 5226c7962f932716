"""A producer with an outbox that is killed again and again, and continued each time.

As a program (`python -m tests.support.outbox_lives TOWER OUTBOX SEED LIVES`) it forks a producer,
kills it (SIGKILL) after a random while, which every other time begins when it has published, so
that a busy machine kills no fewer of those that have; and so on; a last one lives until all is
acknowledged. Forking saves the start of Python, so that a life can be short.

A record says in which life it was published, so an offset that is used twice shows. Every life
prints its number, the partition and the offset it begins with.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial

import gevent

import dafka
from tests.support.forking import check_end, forked

TOPIC = "numbers"
_SHORT_S, _LONG_S = 0.08, 0.5
_LAST_RECORDS = 500


def content(life: int, offset: int) -> bytes:
    """A record's content: whose it is, its offset, and a filling of up to 1,000 bytes."""
    return b"%d %d " % (life, offset) + b"x" * (offset * 7919 % 1000)


def parse(text: bytes) -> tuple[int, int]:
    """Life and offset of a content, which must be whole."""
    life, offset = map(int, text.split(b" ")[:2])
    assert text == content(life, offset)
    return life, offset


def lives(printed: bytes) -> Iterator[tuple[int, str, int]]:
    """What the program has printed: life, partition and first offset of each that got so far."""
    for line in printed.decode().splitlines():
        life, partition, first = line.split()
        yield int(life), partition, int(first)


def _live(
    life: int, tower: str, outbox: str, chance: random.Random, published: int, *, last: bool
) -> None:
    """Publish, and tell the descriptor `published` of the first burst."""
    settings = {
        "outbox": outbox,
        "outbox_durability": chance.choice(["fsync", "os"]),
        "buffer_bytes": chance.choice([20_000, 300_000, 64 << 20]),
        "beacon_interval_s": 0.1,
        "bind": "tcp://127.0.0.1:*",
    }
    burst = chance.choice([1, 20, 500])
    with dafka.Producer(TOPIC, tower=tower, **settings) as producer:
        first = producer.next_offset
        os.write(1, f"{life} {producer.partition} {first}\n".encode())
        while not last or producer.next_offset < first + _LAST_RECORDS:
            for _ in range(burst):
                producer.publish(content(life, producer.next_offset))
            if producer.next_offset == first + burst:
                os.write(published, b"!")
            gevent.sleep(0.001)
        producer.flush()


def main(tower: str, outbox: str, seed: str, count: str) -> None:
    """Live and die."""
    chance = random.Random(int(seed))
    for life in range(int(count) + 1):
        last = life == int(count)
        pause = chance.uniform(0.0, chance.choice([_SHORT_S, _SHORT_S, _LONG_S]))
        own = random.Random(chance.random())
        seen, published = os.pipe()
        child = forked(partial(_live, life, tower, outbox, own, published, last=last))
        os.close(published)
        if not last:
            if life % 2:
                os.read(seen, 1)
            time.sleep(pause)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(seen)
        check_end(status, life, killed=not last)


if __name__ == "__main__":
    main(*sys.argv[1:])
