"""Damage that nobody reads is found, in time, without much being read at once."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import dafka
from dafka.core.run import Run
from dafka.errors import ConfigError, StoreError
from dafka.io import scrub as scrubbing
from dafka.io.log import Log
from dafka.io.scrub import Scrub
from tests.support.live_nodes import fill
from tests.support.waiting import until

A, B = "A" * 32, "B" * 32


@pytest.fixture
def log(tmp_path):
    """Two partitions with 20 values of 5 records each, and one whose records are all dropped."""
    with Log(tmp_path / "log", durability="os") as log:
        for first in range(0, 100, 5):
            log.append([Run("t", name, first, [bytes(96)] * 5) for name in (A, B)])
        log.append([Run("t", "C" * 32, 0, [b"x"])])
        log.drop("t", "C" * 32, 1)
        yield log


@pytest.fixture
def verified(log, monkeypatch):
    """The first offsets of the values that have been verified."""
    seen: list[tuple[str, int]] = []
    verify = log.verify

    def remember(topic, partition, offset):
        found = verify(topic, partition, offset)
        if found:
            seen.append((partition, found[0] - 5))
        return found

    monkeypatch.setattr(log, "verify", remember)
    return seen


EVERYTHING = [(name, first) for name in (A, B) for first in range(0, 100, 5)]


def spoil(database: Path, *, above: int = 0, times: int = 1) -> None:
    """Change a byte of some values, as a bad disk does."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT rowid, value FROM Cache WHERE length(key) = 21 ORDER BY key LIMIT ? OFFSET ?",
            (times, above),
        ).fetchall()
        for row, value in rows:
            spoilt = value[:-1] + bytes([value[-1] ^ 1])
            connection.execute("UPDATE Cache SET value = ? WHERE rowid = ?", (spoilt, row))
        connection.commit()


@pytest.mark.parametrize("seed", range(5))
def test_a_pass_verifies_everything_once_evenly_spread(log, clock, verified, seed):
    scrub = Scrub(log, 100.0, clock, random.Random(seed))
    assert not scrub.step()
    assert verified == []
    for second in range(1, 101):
        clock.now = 1000.0 + second
        while scrub.step():
            pass
        # One value may be verified in two parts, since the pass begins anywhere.
        assert abs(len(verified) - 40 * second / 100) <= 2
    assert sorted(set(verified)) == EVERYTHING
    assert len(verified) <= 41
    count = len(verified)
    scrub.step()
    clock.now += 50.0
    while scrub.step():
        pass
    assert abs(len(verified) - count - 20) <= 2, "the next pass has begun"


def test_passes_begin_at_different_places(log, clock, verified):
    begins = set()
    for seed in range(10):
        scrub = Scrub(log, 100.0, clock, random.Random(seed))
        scrub.step()
        clock.now += 10.0
        scrub.step()
        begins.add(verified[0])
        verified.clear()
    assert len(begins) > 5


def test_a_step_is_bounded(log, clock, verified, monkeypatch):
    scrub = Scrub(log, 100.0, clock)
    scrub.step()
    clock.now += 1000.0
    monkeypatch.setattr(scrubbing, "_STEP_VALUES", 7)
    assert scrub.step()
    assert len(verified) == 7
    monkeypatch.setattr(scrubbing, "_STEP_BYTES", 1200)
    assert scrub.step()
    assert len(verified) == 10


def test_without_an_interval_nothing_is_verified(log, clock, verified):
    scrub = Scrub(log, 0.0, clock)
    for _ in range(3):
        clock.now += 10**9
        assert not scrub.step()
    assert verified == []


def test_an_empty_log_is_looked_at_again(tmp_path, clock):
    with Log(tmp_path) as log:
        scrub = Scrub(log, 100.0, clock)
        assert not scrub.step()
        log.append([Run("t", A, 0, [b"x"] * 10)])
        scrub.step()
        spoil(tmp_path / "cache.db")
        clock.now += 100.0
        while scrub.step():
            pass
        assert [(damage.first, damage.last) for damage in log.quarantined()] == [(0, 9)]


def test_damage_is_quarantined_and_told_and_the_pass_goes_on(log, clock, verified, caplog):
    scrub = Scrub(log, 100.0, clock, random.Random(1))
    scrub.step()
    spoil(log.directory / "cache.db", above=18, times=4)
    clock.now += 100.0
    while scrub.step():
        pass
    found = [(damage.partition, damage.first, damage.last) for damage in log.quarantined()]
    assert found == [(A, 90, 94), (A, 95, 99), (B, 0, 4), (B, 5, 9)]
    assert set(verified) == set(EVERYTHING) - {(name, first) for name, first, _ in found}
    assert caplog.text.count("store found damage, and will ask other stores") in (4, 5)
    assert f"topic 't', partition {A}, offsets 95 to 99" in caplog.text


def test_what_is_dropped_during_a_pass_is_passed_over(log, clock, verified):
    scrub = Scrub(log, 100.0, clock, random.Random(2))
    scrub.step()
    log.drop("t", A, 50)
    log.drop("t", B, 100)
    clock.now += 100.0
    while scrub.step():
        pass
    assert sorted(set(verified)) == [(A, first) for first in range(50, 100, 5)]


def test_what_cannot_be_read_now_is_tried_again(log, clock, verified, monkeypatch):
    scrub = Scrub(log, 100.0, clock)
    scrub.step()
    clock.now += 100.0
    with monkeypatch.context() as patch:

        def refuse(*_):
            raise StoreError("not now")

        patch.setattr(log, "verify", refuse)
        with pytest.raises(StoreError, match="not now"):
            scrub.step()
    while scrub.step():
        pass
    assert sorted(set(verified)) == EVERYTHING


def test_a_negative_interval_is_refused():
    with pytest.raises(ConfigError, match="scrub_interval_s is -1"):
        dafka.StoreConfig(scrub_interval_s=-1)


@pytest.mark.io
def test_a_running_store_repairs_what_nobody_reads(nodes, tmp_path, caplog):
    nodes.towered()
    settings = {"upkeep_interval_s": 0.02, "compare_interval_s": 0.2}
    bad = nodes.store(tmp_path / "bad", scrub_interval_s=0.2, **settings)
    good = nodes.store(tmp_path / "good", **settings)
    producer = nodes.producer(min_store_acks=2)
    fill(producer, 1000)
    producer.flush(20)
    digest = good._log.digest("t", producer.partition)
    producer.stop()
    spoil(tmp_path / "bad" / "cache.db")
    until(lambda: "store repaired" in caplog.text, what="a repair")
    until(lambda: not bad._log.quarantined())
    assert bad._log.digest("t", producer.partition) == digest
    bad.stop()
    with Log(tmp_path / "bad") as log:
        assert list(log.check()) == []
