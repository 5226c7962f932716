"""Producers with a task of their own: the first record of a server's life, and many in parts."""

from __future__ import annotations

from time import monotonic

from dafka.bench.roles.nodes import ACKED_WITHIN_S, SILENCE_S, open_producer, peak_bytes
from dafka.bench.work import Work
from dafka.bench.worker import Clock, heard, say, word


def first_ack(work: Work) -> None:
    """Wait for a server's address, publish one record there, and tell when it was acknowledged."""
    open_producer(work.but(endpoints=("localhost",)))  # imports what it needs; opens nothing
    say(ready={})
    with open_producer(work.but(endpoints=(word(),))) as producer:
        producer.publish(bytes(work.size))
        producer.flush(timeout=SILENCE_S)
        say(acked=monotonic())
        heard()


def produce_in_parts(work: Work) -> None:
    """Publish as many as each word says, until there is none."""
    with open_producer(work) as producer:
        content = bytes(work.size)
        producer.publish(content)
        producer.flush(timeout=SILENCE_S)
        say(ready={})
        while True:
            records = int(word())
            clock = Clock()
            for _ in range(records):
                producer.publish(content)
            producer.flush(timeout=ACKED_WITHIN_S)
            clock.say(peak=peak_bytes())
