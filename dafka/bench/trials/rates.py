"""Records a second through our own nodes: published and acknowledged, delivered live, replayed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from dafka.bench.process import Process, Processes, Times, Unmeasured
from dafka.bench.scene import Outcome, Scene, rated
from dafka.bench.work import MANY, Work


@dataclass(frozen=True, slots=True)
class Nodes:
    """A running cluster, and the means to add to it."""

    processes: Processes
    work: Work
    """With the endpoint of its tower."""
    stores: list[Process]

    def start(self, role: str, work: Work) -> Process:
        """A further process that knows the tower."""
        return self.processes.start(role, work.but(endpoints=self.work.endpoints))

    def producers(self, work: Work) -> list[Process]:
        """As many as `work` has, each with its share of the records."""
        share = work.but(records=_share(work))
        return [self.start("produce", share) for _ in range(work.producers)]


@contextmanager
def cluster(scene: Scene, work: Work, data: str | None = None) -> Iterator[Nodes]:
    """A tower and `work.stores` stores; the first one's directory may be given."""
    with ExitStack() as stack, Processes() as processes:
        stores = []
        for number in range(work.stores):
            path = data if data and not number else stack.enter_context(scene.directory())
            role = "join" if number else "store"
            stores.append(processes.start(role, work.but(data=path)))
            details = stores[-1].ready()
            if not number:
                work = work.but(endpoints=(details["endpoint"],))
        yield Nodes(processes, work, stores)


def publish(scene: Scene, work: Work) -> Outcome:
    """From the first `publish` until every store has acknowledged the last record."""
    with cluster(scene, work) as nodes:
        producers = nodes.producers(work)
        times = run_all(producers)
        done = nodes.stores[0].ask()
    records = _share(work) * work.producers
    if done["records"] != records + work.producers:
        raise Unmeasured(f"{records} records were acknowledged, but {done['records']} are stored")
    learn_chunk(scene, work, records, done["commits"])
    loop = [_share(work) / (one.more["published"] - one.begin) for one in times]
    begin, end = span(times)
    scene.learned[rate_key(work)] = records / (end - begin)
    return rated(records, begin, end, commits=done["commits"], publish_loop=sum(loop))


def live(scene: Scene, work: Work) -> Outcome:
    """From the first `publish` until the slowest consumer has the last record."""
    with cluster(scene, work) as nodes:
        (producer,) = nodes.producers(work)
        producer.ready()
        consumers = [nodes.start("consume", work) for _ in range(work.consumers)]
        for consumer in consumers:
            consumer.ready()
        for process in (*consumers, producer):
            process.go()
        arrived = [consumer.result() for consumer in consumers]
        begin = producer.result().begin
    return rated(work.records, begin, max(one.end for one in arrived))


def replay(scene: Scene, work: Work) -> Outcome:
    """From the start of a consumer until it has everything from a store; no producer is left."""
    data, new = scene.kept(f"replay {work.records} of {work.size}")
    with cluster(scene, work, data) as nodes:
        if new:
            run_all(nodes.producers(work.but(records=work.records - 1, producers=1)))
    with cluster(scene, work, data) as nodes:
        (times,) = run_all([nodes.start("replay", work)])
    return rated(work.records, times.begin, times.end, first_record_s=times.more["first"])


def stream(scene: Scene, work: Work) -> Outcome:
    """Through an application, from the start of it until what it publishes is acknowledged."""
    data, new = scene.kept(f"stream {work.records} of {work.size} {work.mode}")
    with cluster(scene, work, data) as nodes, scene.directory() as state:
        if new:
            run_all(nodes.producers(work.but(records=work.records - 1, producers=1, mode=MANY)))
        (times,) = run_all([nodes.start("stream", work.but(data=state))])
    return rated(work.records, times.begin, times.end, commits=times.more["commits"])


_FEW = 1000
_HISTORY = 5


def joined(scene: Scene, work: Work) -> Outcome:
    """Publish while another store joins that lacks hardly anything: what two of them cost."""
    return _catch_up(scene, work, _FEW)


def catch_up(scene: Scene, work: Work) -> Outcome:
    """Publish while another store joins that lacks five times as many older records."""
    return _catch_up(scene, work, _HISTORY * work.records)


def _catch_up(scene: Scene, work: Work, history: int) -> Outcome:
    with cluster(scene, work) as nodes, scene.directory() as other:
        (before,) = nodes.producers(work.but(records=history))
        run_all([before])
        (producer,) = nodes.producers(work)
        producer.ready()
        nodes.start("join", work.but(data=other)).ready()
        producer.go()
        times = producer.result()
    return rated(work.records, times.begin, times.end)


def loop(scene: Scene, work: Work) -> Outcome:
    """`publish` alone, into nothing."""
    with Processes() as processes:
        tower = "tcp://127.0.0.1:1,tcp://127.0.0.1:2"  # nobody listens there
        (times,) = run_all([processes.start("shout", work.but(endpoints=(tower,)))])
    return rated(work.records, times.begin, times.end)


def run_all(processes: Sequence[Process]) -> list[Times]:
    """Let them begin once all are ready, and wait for all."""
    for process in processes:
        process.ready()
    for process in processes:
        process.go()
    return [process.result() for process in processes]


def span(times: Sequence[Times]) -> tuple[float, float]:
    """From the first beginning to the last end."""
    return min(one.begin for one in times), max(one.end for one in times)


def learn_chunk(scene: Scene, work: Work, records: int, commits: int) -> None:
    """Remember what a transaction held: the ceiling of the disk is measured with as much."""
    scene.learned[chunk_key(work)] = records * work.size / max(1, commits)


def chunk_key(work: Work) -> str:
    """Which transactions are alike."""
    return f"bytes of a transaction, {work.size} {work.durability}"


def rate_key(work: Work) -> str:
    """What was published and acknowledged last, records a second."""
    return f"rate of records of {work.size} {work.durability}"


def _share(work: Work) -> int:
    return max(1, work.records // work.producers)
