"""Flights through Beam's windows: the same means as pandas has."""

from __future__ import annotations

import io
import json
from datetime import datetime
from zipfile import ZipFile

import pytest

from tests.beam.conftest import NEEDS_BEAM

beam = pytest.importorskip("apache_beam", reason=NEEDS_BEAM, exc_type=ImportError)
pandas = pytest.importorskip("pandas")

from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from dafka.beam import ReadFromDafka, WriteToDafka
from dafka.cli.demo_data import archive

pytestmark = pytest.mark.io


def timed(content):
    flight = json.loads(content)
    moment = datetime.fromisoformat(flight["time_hour"])
    return TimestampedValue((flight["origin"], flight["dep_delay"]), moment.timestamp())


def as_row(mean, window=beam.DoFn.WindowParam):
    airport, delay = mean
    return json.dumps([airport, int(window.start), round(delay, 6)]).encode()


def means(pipeline, source):
    """Mean departure delay by airport and hour, as JSON."""
    return (
        pipeline
        | source
        | "Time" >> beam.Map(timed)
        | beam.Filter(lambda pair: pair[1] is not None)
        | beam.WindowInto(FixedWindows(3600))
        | beam.combiners.Mean.PerKey()
        | beam.Map(as_row).with_output_types(bytes)
    )


def table_of(limit):
    """The first flights of each airport."""
    with ZipFile(archive()) as zipped:
        table = pandas.read_csv(io.BytesIO(zipped.read("flights.csv")))
    table = table.sort_values(["time_hour", "sched_dep_time"], kind="stable")
    return table if limit is None else table.groupby("origin").head(limit)


def expected(table):
    """The means by pandas."""
    hours = pandas.to_datetime(table["time_hour"], utc=True)
    table = table.assign(hour=(hours - pandas.Timestamp(0, tz="UTC")).dt.total_seconds())
    found = table.dropna(subset=["dep_delay"]).groupby(["origin", "hour"])["dep_delay"].mean()
    return {(airport, int(hour)): round(mean, 6) for (airport, hour), mean in found.items()}


def check(cluster, limit, **given):
    table = table_of(limit)
    for _, part in table.groupby("origin"):
        cluster.publish("flights", part.to_json(orient="records", lines=True).encode().splitlines())
    wanted = expected(table)
    source = ReadFromDafka("flights", **given, **cluster.settings)
    sink = WriteToDafka("means", exactly_once=2, **cluster.settings)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = means(pipeline, source) | sink
    rows = [json.loads(record.content) for record in cluster.records("means", len(wanted))]
    assert {(airport, hour): mean for airport, hour, mean in rows} == pytest.approx(wanted)


def test_means_of_some_flights_are_those_of_pandas(cluster):
    check(cluster, 1_500, bounded=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("given", [{"bounded": True}, {"max_records": 150_000, "max_read_s": 5}])
def test_means_of_all_flights_are_those_of_pandas(cluster, given):
    """All 336,776 of them; unbounded, in bundles of 100,000."""
    check(cluster, None, **given)
