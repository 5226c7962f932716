"""A stream application that is killed again and again, and goes on each time.

As a program (`python -m tests.support.stream_lives TOWER STATE SEED LIVES [WORKER]`) it forks the
application, or one of its three workers, which kills itself (SIGKILL) at a moment that the seed
decides: before, within or after one of its commits, while it publishes, or after a while; and so
on; a last one lives until all is read. Forking saves the start of Python, so that a life can be
short. Every life prints the moment it was killed at, or "idle" if that did not come.

The application: the mean departure delay of each airport and hour, with the weather of that hour;
and everything in one topic, in the order in which it was read, which differs from life to life.
"""

from __future__ import annotations

import csv
import io
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any
from zipfile import ZipFile

import msgspec

from dafka import streams
from dafka.cli.demo_data import AIRPORTS, archive
from dafka.streams import publisher, runner, state
from tests.support.forking import forked

HOUR = 3600
WORKERS = ("a", "b", "c")
MOMENTS = ("before", "within", "after", "saved", "published", "acknowledged", "time")
_PATIENCE_S = 4.0
"""A life whose moment does not come ends all the same."""


class Flight(msgspec.Struct):
    """What the application needs to know of a flight."""

    origin: str
    time_hour: datetime
    dep_delay: int | None


def application(tower: str, directory: str, **settings: Any) -> streams.App:
    """The application; it reads "flights" and "weather", and writes "delays" and "copies"."""
    app = streams.App("delays", state=directory, tower=tower, bind="tcp://127.0.0.1:*", **settings)
    flights = app.source(
        "flights", streams.json(Flight), time=lambda f: f.time_hour, partitions=len(AIRPORTS)
    )
    weather = app.source(
        "weather",
        time=lambda w: datetime.fromisoformat(w["time_hour"]),
        partitions=len(AIRPORTS),
    )
    lines = flights.map(lambda f: ["flights", f.origin, f.time_hour, f.dep_delay])
    others = weather.map(lambda w: ["weather", w["origin"], w["time_hour"], w["wind_speed"]])
    lines.merge(others).to("copies", streams.JSON)
    departed = flights.filter(lambda f: f.dep_delay is not None)
    hours = (
        departed.key_by(lambda f: f.origin)
        .window(streams.tumbling(HOUR))
        .aggregate(lambda: [0, 0], lambda so_far, f: [so_far[0] + f.dep_delay, so_far[1] + 1])
    )
    means = hours.map(
        lambda r: {"origin": r.key, "time": r.start, "mean": r.value[0] / r.value[1]}
    ).key_by(lambda m: (m["origin"], m["time"]))
    hourly = weather.key_by(
        lambda w: (w["origin"], datetime.fromisoformat(w["time_hour"]).timestamp())
    )
    means.join(hourly, joined, within=HOUR, kind="left").to("delays", streams.JSON)
    return app


def joined(mean: dict[str, Any], weather: dict[str, Any] | None) -> dict[str, Any]:
    """A line of the result."""
    return {**mean, "wind_speed": weather and weather["wind_speed"]}


def records(days: int) -> Iterator[tuple[str, str, list[bytes]]]:
    """Topic, airport and contents of the first days of 2013, in the order of their hours."""
    end = f"2013-{1 + days // 31:02}-{1 + days % 31:02}"
    with ZipFile(archive()) as zipped, zipped.open("flights.csv") as file:
        flights = _by_airport(io.TextIOWrapper(file, "utf-8", newline=""), end, "dep_delay")
    with archive().with_name("weather.csv").open(encoding="utf-8", newline="") as text:
        weather = _by_airport(text, end, "wind_speed")
    for airport in AIRPORTS:
        yield "flights", airport, flights[airport]
        yield "weather", airport, weather[airport]


def _by_airport(file: Any, end: str, column: str) -> dict[str, list[bytes]]:
    """The rows before `end`, with one of their columns."""
    found: dict[str, list[tuple[str, bytes]]] = {airport: [] for airport in AIRPORTS}
    kind = int if column == "dep_delay" else float
    for row in csv.DictReader(file):
        if row["time_hour"] < end:
            value = None if row[column] in ("NA", "") else kind(row[column])
            told = {"origin": row["origin"], "time_hour": row["time_hour"], column: value}
            found[row["origin"]].append((row["time_hour"], msgspec.json.encode(told)))
    return {
        airport: [content for _, content in sorted(rows, key=lambda row: row[0])]
        for airport, rows in found.items()
    }


class Death:
    """Kills this process when it has come to a moment so many times.

    If `connected`, from then on when others are known to hear it: something was acknowledged.
    """

    def __init__(self, moment: str, count: int, *, connected: bool) -> None:
        self.moment = moment
        self.count = count
        self.waits = connected

    def at(self, moment: str) -> None:
        """This moment has come."""
        if moment == self.moment and not self.waits:
            self.count -= 1
            if self.count <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def lurk(self) -> None:
        """Be there at every moment from now on."""
        write, add = state.State._write, publisher.Publisher.add
        publish = publisher.dafka.Producer.publish_many

        def writing(self_: Any, put: Any, gone: list[Any]) -> None:
            self.waits = self.waits and not gone
            self.at("before")

            def within() -> Iterator[Any]:
                self.at("within")
                if gone:
                    self.at("acknowledged")
                yield from gone

            write(self_, put, within())  # type: ignore[arg-type]
            self.at("after")

        def adding(self_: Any, contents: list[bytes]) -> None:
            self.at("saved")
            add(self_, contents)

        state.State._write = writing  # type: ignore[method-assign]
        publisher.Publisher.add = adding  # type: ignore[method-assign]

        def publishing(*arguments: Any) -> int:
            self.at("published")
            return publish(*arguments)

        publisher.dafka.Producer.publish_many = publishing  # type: ignore[method-assign]


def _life(
    tower: str, directory: str, worker: str, chance: random.Random, moment: str, *, last: bool
) -> None:
    # Little at a time, so that there is always something left to be killed at.
    runner.PART_RECORDS = 5 if moment == "time" else chance.choice([5, 10, 20])
    settings = {
        "commit_interval": 0.0,
        "outbox_bytes": chance.choice([5_000, 1 << 20]),
        "durability": chance.choice(["fsync", "os"]),
        "beacon_interval_s": 0.1,
        "settle": 0.1,
    }
    if worker:
        # Three of them, each with a dozen nodes, share what one has elsewhere.
        runner.PART_RECORDS *= 20
        settings |= {"workers": WORKERS, "worker": worker, "beacon_interval_s": 0.3}
        settings |= {"commit_interval": 0.05}
    runner.Runner._next = lambda self: chance.choice(  # type: ignore[method-assign]
        [one for one in (self._relayed if self._finishing else self._feeds) if one.ready] or [None]
    )
    app = application(tower, directory, **settings)
    if not last:
        Death(moment, chance.choice([1, 2, 5, 20]), connected=chance.random() < 0.7).lurk()
    app.run(drain=2.0 if last else None)


def main(tower: str, directory: str, seed: str, count: str, worker: str = "") -> None:
    """Live and die."""
    chance = random.Random(f"{seed}{worker}" if worker else int(seed))
    for life in range(int(count) + 1):
        last = life == int(count)
        moment = "last" if last else chance.choice(MOMENTS)
        pause = chance.uniform(0.2, 1.0) if moment == "time" else _PATIENCE_S
        own = random.Random(chance.random())
        child = forked(partial(_life, tower, directory, worker, own, moment, last=last))
        status, waited = _end(child, None if last else pause)
        if status != (0 if last else signal.SIGKILL):
            sys.exit(f"life {life} ended with {status} at {moment}")
        print("idle" if waited and moment != "time" else moment, flush=True)  # noqa: T201


def _end(child: int, pause: float | None) -> tuple[int, bool]:
    """Wait for a process's end, and bring it about after a while; tells whether that was so."""
    waited = False
    until = None if pause is None else time.monotonic() + pause
    while True:
        ended, status = os.waitpid(child, os.WNOHANG if until is not None else 0)
        if ended:
            return status, waited
        if until is not None and time.monotonic() >= until:
            os.kill(child, signal.SIGKILL)
            until, waited = None, True
        time.sleep(0.005)


if __name__ == "__main__":
    main(*sys.argv[1:])
