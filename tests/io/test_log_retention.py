"""What retention needs to know: sizes, the oldest value, where to cut; and space given back."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from math import inf
from pathlib import Path

import pytest

from dafka.core.run import Run
from dafka.io import log_format as fmt
from dafka.io import log_writing
from dafka.io.log import Damaged, Log, Oldest

A, B = "A" * 32, "B" * 32


@pytest.fixture
def log(tmp_path, clock):
    """Five values of ten records of 6 bytes each (10 with their lengths), 100 seconds apart."""
    with Log(tmp_path, durability="os", clock=clock) as log:
        for first in range(0, 50, 10):
            log.append([Run("t", A, first, [b"%06d" % i for i in range(first, first + 10)])])
            clock.now += 100
        yield log


def damage(log: Log, first: int) -> None:
    with closing(sqlite3.connect(log.directory / "cache.db")) as connection:
        key = fmt.record_key(0, first, 10, 100)
        changed = connection.execute("UPDATE Cache SET value = x'00' WHERE key = ?", (key,))
        assert changed.rowcount == 1
        connection.commit()


def test_sizes_are_known_without_reading_values(log, monkeypatch):
    monkeypatch.setattr(fmt, "decode_value", None)
    for _ in range(2):
        assert log.extent("t", A).bytes == 500
        assert [extent.bytes for extent in log.partitions()] == [500]
        log.close()
        log.open()
    log.append([Run("t", A, 50, [b"", b"12"]), Run("t", B, 0, [b"x"])])
    assert [extent.bytes for extent in log.partitions()] == [510, 5]
    log.drop("t", A, 20)
    assert log.extent("t", A).bytes == 310
    log.drop("t", A, 25, exact=True)
    assert log.extent("t", A).bytes == 310
    log.drop("t", A, 52)
    assert log.extent("t", A).bytes == 0


def test_the_oldest_value_is_told_and_read_once(log, monkeypatch):
    reads = []
    load = log._reader._load
    monkeypatch.setattr(log._reader, "_load", lambda span: reads.append(span) or load(span))
    for first in range(0, 50, 10):
        for _ in range(3):
            assert log.oldest("t", A) == Oldest(first + 9, 100, 1000.0 + first * 10)
        log.drop("t", A, first + 10)
    assert len(reads) == 5
    assert log.oldest("t", A) is None
    assert log.oldest("t", B) is None
    log.append([Run("t", A, 50, [b"x"])])
    assert log.oldest("t", A) == Oldest(50, 5, 1500.0)


def test_the_arrival_of_a_damaged_oldest_value_is_the_next_that_is_told(log):
    damage(log, 0)
    damage(log, 10)
    assert log.oldest("t", A) == Oldest(9, 100, 1200.0)
    assert [(d.first, d.last) for d in log.quarantined()] == [(0, 9), (10, 19)]
    for first in (20, 30, 40):
        damage(log, first)
    log.drop("t", A, 10)
    log.close()
    log.open()
    assert log.oldest("t", A) == Oldest(19, 100, inf)


def test_a_hole_at_the_beginning_is_the_oldest(log):
    with closing(sqlite3.connect(log.directory / "cache.db")) as connection:
        connection.execute("DELETE FROM Cache WHERE key = ?", (fmt.record_key(0, 0, 10, 100),))
        connection.commit()
    log.close()
    log.open()
    assert log.extent("t", A).earliest == 0
    assert log.oldest("t", A) == Oldest(9, 0, 1100.0)
    assert log.cut("t", A, keep_records=40) == 10
    with pytest.raises(Damaged):
        log.read("t", A, 0, max_records=1, max_bytes=1)


@pytest.mark.parametrize(
    ("limits", "offset"),
    [
        ({}, 0),
        ({"keep_bytes": 500}, 0),
        ({"keep_bytes": 499}, 10),
        ({"keep_bytes": 400}, 10),
        ({"keep_bytes": 250}, 30),
        ({"keep_bytes": 100}, 40),
        ({"keep_bytes": 0}, 40),
        ({"keep_records": 50}, 0),
        ({"keep_records": 41}, 0),
        ({"keep_records": 40}, 10),
        ({"keep_records": 11}, 30),
        ({"keep_records": 0}, 40),
        ({"keep_records": 30, "keep_bytes": 400}, 20),
        ({"keep_records": 40, "keep_bytes": 300}, 20),
    ],
)
def test_where_to_cut(log, limits, offset):
    assert log.cut("t", A, **limits) == offset
    log.drop("t", A, log.cut("t", A, **limits))
    extent = log.extent("t", A)
    assert extent.earliest == offset
    assert log.cut("t", A, **limits) == offset
    assert extent.bytes <= max(limits.get("keep_bytes", 500), 100)
    log.drop("t", A, 45, exact=True)
    assert log.cut("t", A, **limits) == 45


def test_nothing_is_cut_of_what_is_unknown_or_empty(log):
    assert log.cut("t", B, keep_bytes=0, keep_records=0) == 0
    log.drop("t", A, 50)
    assert log.cut("t", A, keep_bytes=0, keep_records=0) == 50


def sizes(directory: Path) -> tuple[int, int]:
    return tuple(
        os.stat(directory / name).st_size if (directory / name).exists() else 0
        for name in ("cache.db", "cache.db-wal")
    )


def test_space_is_given_back_to_the_file_system(tmp_path, monkeypatch):
    monkeypatch.setattr(log_writing, "_FREE_SLACK_BYTES", 1 << 20)
    with Log(tmp_path, durability="os") as log:
        for offset in range(24):
            log.append([Run("t", A, offset, [os.urandom(1 << 20)])])
        kept = log.digest("t", A)
        assert log.vacuum() is False
        assert log.digest("t", A) == kept
        while log.drop("t", A, 20):
            pass
        kept = log.digest("t", A)
        before = sum(sizes(tmp_path))
        steps = 0
        while log.vacuum(max_pages=500):
            steps += 1
        assert 5 <= steps <= 12
        after = sizes(tmp_path)
        assert after[0] < 6.5 * (1 << 20)
        assert sum(after) < before - (12 << 20)
        assert log.digest("t", A) == kept
        assert list(log.check()) == []
        assert log.vacuum() is False
        log.append([Run("t", A, 24, [os.urandom(1 << 20)])])
        assert sizes(tmp_path)[0] <= after[0], "the slack is used again"
    assert sizes(tmp_path)[0] < 7 * (1 << 20)


def test_a_steady_state_gives_nothing_back(tmp_path):
    """What is dropped makes room for what comes, without moving pages about."""
    with Log(tmp_path, durability="os") as log:
        for offset in range(60):
            log.append([Run("t", A, offset, [bytes(100_000)])])
            log.drop("t", A, max(0, offset - 20))
            assert log.vacuum() is False
        assert sizes(tmp_path)[0] < 4_000_000


def test_diskcache_leaves_the_database_able_to_shrink(tmp_path):
    for _ in range(2):
        with Log(tmp_path) as log, log._opened().lend() as cache:
            assert cache._sql("PRAGMA auto_vacuum").fetchone() == (2,)
