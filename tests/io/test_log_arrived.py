"""Where a partition was at a time: what the log finds is never too late, and mostly exact."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest

from dafka.core.run import Run
from dafka.io import log_format as fmt
from dafka.io.log import Log

A = "A" * 32


def fill(log: Log, clock, times: list[int], each: int = 10) -> list[int]:
    """Append `each` records at each of these times (s); return when each record arrived (ms)."""
    arrivals: list[int] = []
    for now in times:
        clock.now = float(now)
        log.append([Run("t", A, len(arrivals), [b"x" * 6] * each)])
        arrivals += [now * 1000] * each
    return arrivals


def wanted(arrivals: list[int], moment_ms: int, earliest: int = 0) -> int:
    late = [at for at, ms in enumerate(arrivals) if ms >= moment_ms and at >= earliest]
    return late[0] if late else len(arrivals)


@pytest.fixture
def log(tmp_path, clock):
    with Log(tmp_path / "data", durability="os", clock=clock) as log:
        yield log


def test_every_moment_is_found_exactly(log, clock):
    arrivals = fill(log, clock, [100, 200, 200, 300, 900])
    for moment in range(0, 1000_000, 12_500):
        assert log.arrived("t", A, moment) == wanted(arrivals, moment)
    for moment in (99_999, 100_000, 100_001, 900_000, 900_001):
        assert log.arrived("t", A, moment) == wanted(arrivals, moment)


def test_of_an_unknown_partition_nothing_is_found(log):
    assert log.arrived("t", A, 0) is None


def test_of_many_values_few_are_read(log, clock, monkeypatch):
    fill(log, clock, list(range(1000, 1500)), each=1)
    reads: list[object] = []
    load = log._reader._load
    monkeypatch.setattr(log._reader, "_load", lambda span: reads.append(span) or load(span))
    assert log.arrived("t", A, 1_333_000) == 333
    assert len(reads) < 12


def test_it_is_as_exact_in_values_that_were_merged(log, clock):
    arrivals = fill(log, clock, list(range(1000, 1100)), each=3)
    while log.merge():
        pass
    assert len(list(log._index.spans(0))) < 20
    for moment in range(999_000, 1_101_000, 500):
        assert log.arrived("t", A, moment) == wanted(arrivals, moment)


def test_where_times_were_joined_it_is_earlier_but_never_later(log, clock, monkeypatch):
    monkeypatch.setattr(fmt, "MAX_ARRIVALS", 4)
    arrivals = fill(log, clock, list(range(1000, 1100)), each=3)
    while log.merge():
        pass
    found = [log.arrived("t", A, moment) for moment in range(999_000, 1_101_000, 500)]
    exact = [wanted(arrivals, moment) for moment in range(999_000, 1_101_000, 500)]
    assert found != exact
    assert all(one <= other for one, other in zip(found, exact, strict=True))
    assert found == sorted(found)


@pytest.mark.parametrize("seed", range(5))
def test_what_was_dropped_is_not_found(log, clock, seed):
    chance = random.Random(seed)
    times = sorted(chance.randrange(1000) for _ in range(30))
    arrivals = fill(log, clock, times)
    earliest = chance.randrange(300)
    log.drop("t", A, earliest, exact=True)
    for moment in range(0, 1_010_000, 7_000):
        assert log.arrived("t", A, moment) == wanted(arrivals, moment, earliest)


def test_a_damaged_value_counts_as_late(log, clock):
    arrivals = fill(log, clock, [100, 200, 300, 400, 500])
    with closing(sqlite3.connect(log.directory / "cache.db")) as connection:
        key = fmt.record_key(0, 20, 10, 100)
        changed = connection.execute("UPDATE Cache SET value = x'00' WHERE key = ?", (key,))
        assert changed.rowcount == 1
        connection.commit()
    assert log.arrived("t", A, 100_000) == 0
    assert log.arrived("t", A, 250_000) == 20
    # The damaged records may have come at any time after 200 s.
    assert 20 <= log.arrived("t", A, 450_000) <= wanted(arrivals, 450_000)
