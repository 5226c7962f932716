"""The same measurements with other servers and their clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dafka.bench.process import Process, Processes, Times, Unmeasured
from dafka.bench.scene import Outcome, Scene, rated
from dafka.bench.servers import Server
from dafka.bench.trials.latencies import timed
from dafka.bench.trials.rates import run_all
from dafka.bench.work import Work


@dataclass(frozen=True, slots=True)
class Cast:
    """A running server, and what starts its clients."""

    peer: str
    processes: Processes
    work: Work

    def start(self, role: str, work: Work) -> Process:
        """A client of it."""
        return self.processes.start(f"{self.peer}_{role}", work.but(endpoints=self.work.endpoints))


@dataclass(frozen=True, slots=True)
class Peer:
    """The measurements of one server."""

    server: Server

    @contextmanager
    def running(self, scene: Scene, work: Work, data: str | None = None) -> Iterator[Cast]:
        """The server, with a directory of its own or one that is given."""
        with scene.directory() as own, Processes() as processes:
            endpoint = self.server.start(processes, data or own, work.durability)
            yield Cast(self.server.name, processes, work.but(endpoints=(endpoint,)))
            processes.terminate_first()

    def publish(self, scene: Scene, work: Work) -> Outcome:
        """From the first record until the last is acknowledged."""
        with self.running(scene, work) as cast:
            (times,) = run_all([cast.start("publish", work)])
        return _stored(times, work)

    def live(self, scene: Scene, work: Work) -> Outcome:
        """From the first record published until the consumer has the last."""
        with self.running(scene, work) as cast:
            producer = cast.start("publish", work)
            producer.ready()
            consumer = cast.start("consume", work.but(mode="live"))
            consumer.ready()
            consumer.go()
            producer.go()
            end = consumer.result().end
            published = producer.result()
        _stored(published, work)
        return rated(work.records, published.begin, end)

    def replay(self, scene: Scene, work: Work) -> Outcome:
        """Everything from a server that was started anew, while nobody publishes."""
        data, new = scene.kept(f"{self.server.name} {work.records} of {work.size}")
        if new:
            with self.running(scene, work, data) as cast:
                _stored(run_all([cast.start("publish", work)])[0], work)
        with self.running(scene, work, data) as cast:
            (times,) = run_all([cast.start("consume", work.but(mode="replay"))])
        return rated(work.records, times.begin, times.end)

    def deliver(self, scene: Scene, work: Work) -> Outcome:
        """Latency from when a record was due to its delivery."""
        with self.running(scene, work) as cast:
            producer = cast.start("paced", work)
            producer.ready()
            consumer = cast.start("timed", work)
            consumer.ready()
            consumer.go()
            producer.go()
            outcome = timed(consumer.hear(), work)
            producer.hear()
        return outcome

    def acknowledge(self, scene: Scene, work: Work) -> Outcome:
        """Latency from when a record was due to its acknowledgement."""
        with self.running(scene, work) as cast:
            producer = cast.start("paced", work)
            producer.ready()
            producer.go()
            return timed(producer.hear(), work)


def _stored(times: Times, work: Work) -> Outcome:
    if times.more["records"] != work.records:
        raise Unmeasured(f"{times.more['records']} of {work.records} records are stored")
    return rated(work.records, times.begin, times.end)
