"""A log of 100 million records is opened quickly, and its index is small."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from dafka.io import log_format as fmt
from dafka.io.log import Log

RECORDS = 100_000_000

OPEN = """
import sys, time
from dafka.io.log import Log

log = Log(sys.argv[1])
began = time.perf_counter()
log.open()
print(time.perf_counter() - began)
(status,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(status.split()[1]) / 1024)
print(sum(extent.next - extent.earliest for extent in log.partitions()))
"""


def fill(directory: Path, partitions: int, count: int) -> int:
    """The keys of 100 million records, `count` a value; the values are empty."""
    with Log(directory, durability="os") as log:
        for number in range(partitions):
            log.drop("t", f"{number:032X}", 0, exact=True)
    each = RECORDS // partitions // count
    with closing(sqlite3.connect(directory / "cache.db")) as connection:
        keys = (
            (fmt.record_key(number, at * count, count, count * 104),)
            for number in range(partitions)
            for at in range(each)
        )
        connection.executemany(
            "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 1, 1, x'')", keys
        )
        connection.commit()
    return each * partitions


@pytest.mark.process
@pytest.mark.alone
@pytest.mark.parametrize(("partitions", "count"), [(100, 10_000), (10, 1000)])
def test_100_million_records_are_opened_in_2_seconds_and_150_mb(tmp_path, partitions, count):
    values = fill(tmp_path, partitions, count)
    done = subprocess.run(
        [sys.executable, "-c", OPEN, tmp_path], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    seconds, megabytes, records = map(float, done.stdout.split())
    print(f"{values} values: opened in {seconds:.2f} s with {megabytes:.0f} MB")  # noqa: T201
    assert records == RECORDS
    assert seconds < 2
    assert megabytes < 150


@pytest.mark.alone
@pytest.mark.slow
def test_a_million_values_are_opened_in_10_seconds(tmp_path):
    """What merging prevents: every value a hundred records."""
    fill(tmp_path, 10, 100)
    done = subprocess.run(
        [sys.executable, "-c", OPEN, tmp_path], capture_output=True, text=True, timeout=60
    )
    seconds, megabytes, records = map(float, done.stdout.split())
    print(f"a million values: opened in {seconds:.2f} s with {megabytes:.0f} MB")  # noqa: T201
    assert records == RECORDS
    assert seconds < 10
    assert megabytes < 300


@pytest.mark.parametrize("values", [1, 2, 1000])
def test_the_index_takes_16_bytes_a_value(tmp_path, values):
    with Log(tmp_path, durability="os") as log:
        log.drop("t", "A", 0, exact=True)
        found = log._index._partitions[0]
        for at in range(values):
            found.add(at * 10, 10, 100)
        columns = (found.firsts, found.counts, found.sizes)
        assert sum(column.itemsize * len(column) for column in columns) == 16 * values
