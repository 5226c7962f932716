"""Latencies through our own nodes: from when a record was due to its delivery, or to its ACK."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

import gevent
from gevent.event import Event

import dafka
from dafka.bench import latency
from dafka.bench.roles.nodes import ACKED_WITHIN_S, SILENCE_S, open_consumer, open_producer
from dafka.bench.roles.pace import Pace, Timer, green_wait
from dafka.bench.work import Work
from dafka.bench.worker import green_ready, say


def paced(work: Work) -> None:
    """Publish what is due; with mode "ack", tell how long each acknowledgement took."""
    with open_producer(work) as producer:
        producer.publish(latency.content(0.0, 0.0, b""))
        producer.flush(timeout=SILENCE_S)
        green_ready()
        acks = Acks(producer)
        watcher = gevent.spawn(acks.watch) if work.mode == "ack" else None
        pace = Pace(work)
        late = send_paced(pace, producer.publish, work.size, acks.published)
        producer.flush(timeout=ACKED_WITHIN_S)
        acks.look()
        if watcher is not None:
            watcher.kill()
    waits = [at - pace.due(number) for number, at in enumerate(acks.times[1:])]
    tell_waits(waits[pace.lead :] if watcher is not None else [], late[pace.lead :])


def send_paced(
    pace: Pace,
    send: Callable[[bytes], object],
    size: int,
    sent: Callable[[], None] = lambda: None,
    wait: Callable[[Timer, float], None] = green_wait,
) -> list[float]:
    """Send every record when it is due, or as soon after as goes; returns how late each left."""
    timer, padding, late = Timer(), latency.padding(size), []
    for due in pace:
        if monotonic() < due:
            wait(timer, due)
        now = monotonic()
        late.append(now - due)
        send(latency.content(due, now, padding))
        sent()
    return late


class Acks:
    """When each record was acknowledged, as soon as a program can know."""

    def __init__(self, producer: dafka.Producer) -> None:
        self.times = [0.0] * producer.acknowledged
        self._producer = producer
        self._published = Event()

    def published(self) -> None:
        """Another record has left: look, and have the watcher do so."""
        self.look()
        self._published.set()

    def look(self) -> None:
        """Note what has been acknowledged since the last look."""
        new = self._producer.acknowledged - len(self.times)
        if new > 0:
            self.times += [monotonic()] * new

    def watch(self) -> None:
        """Wait for each acknowledgement, for as long as records are published."""
        while True:
            self._published.wait()
            self._published.clear()
            self._producer.flush(timeout=ACKED_WITHIN_S)
            self.look()


def timed(work: Work) -> None:
    """Receive runs, and tell how long each record took."""
    arrivals: list[tuple[float, Sequence[bytes]]] = []
    with open_consumer(work) as consumer:
        consumer.poll(timeout=SILENCE_S)
        green_ready()
        seen, total = 0, Pace(work).total
        for run in consumer.runs(timeout=SILENCE_S):
            arrivals.append((monotonic(), run.contents))
            seen += len(run)
            if seen >= total:
                break
    tell_arrivals(arrivals, Pace(work).lead)


def tell_arrivals(arrivals: Sequence[tuple[float, Sequence[bytes]]], lead: int) -> None:
    """Say what came of them, but for the first `lead`."""
    came = [(at, *latency.times(one)) for at, contents in arrivals for one in contents][lead:]
    tell_waits([at - due for at, due, _ in came], [sent - due for _, due, sent in came])


def tell_waits(waits: list[float], late: list[float]) -> None:
    """Say how long records took, and how late they left."""
    say(
        histogram=latency.encoded(waits),
        late=latency.encoded(late),
        records=len(waits),
    )
