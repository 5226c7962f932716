"""Power is lost at any moment: what an append had returned for is there, byte for byte.

A log is changed in every way there is while all that SQLite does to its files is recorded. Then the
directory is made again as a disk may keep it that lost power after any part of that: what was
synced, and of what came after the last sync of each file an arbitrary part of the sectors.
"""

from __future__ import annotations

import hashlib
import os
import random
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from dafka.core.run import Run
from dafka.errors import StoreError
from dafka.io import log_connections, log_writing
from dafka.io.log import Log
from dafka.io.log_directory import mark
from tests.support.disk import Disk, Done

PARTITIONS = ("A", "B", "C")

State = dict[str, tuple[int, int]]
"""The earliest and the next offset of each partition."""


def content(partition: str, offset: int, times: int) -> bytes:
    return hashlib.sha256(f"{partition} {offset}".encode()).digest() * (offset * 7 % 60 * times)


def run(partition: str, first: int, count: int, times: int) -> Run:
    offsets = range(first, first + count)
    return Run("t", partition, first, [content(partition, offset, times) for offset in offsets])


class Load:
    """Seeded changes of a log, each told before and after.

    `times` makes contents larger; `refused` is the share of syncs that fail.
    """

    def __init__(self, log: Log, disk: Disk, seed: int, times: int, refused: float) -> None:
        self.state: State = {}
        self._log = log
        self._disk = disk
        self._chance = random.Random(seed)
        self._times = times
        self._refused = refused

    def live(self, changes: int) -> None:
        """Open the log, change it, and close it."""
        with self._log as log:
            self._disk.tell(("identity", log.identity))
            self._disk.sync_fails = lambda: self._chance.random() < self._refused
            for _ in range(changes):
                self._change(log)
            self._disk.sync_fails = lambda: False

    def _change(self, log: Log) -> None:
        chance = self._chance
        partition = chance.choice(PARTITIONS)
        earliest, end = self.state.get(partition, (0, 0))
        match chance.randrange(10):
            case 0 | 1 | 2 | 3 | 4:
                runs, after = [], dict(self.state)
                for name in chance.sample(PARTITIONS, chance.randint(1, 3)):
                    start, first = self.state.get(name, (0, 0))
                    runs.append(run(name, first, chance.choice((1, 1, 1, 5, 40)), self._times))
                    after[name] = start, runs[-1].next
                self._tell(after, lambda: log.append(runs))
            case 5 | 6 if end:
                before = max(earliest, min(chance.randrange(earliest, end + 1), end - 100))
                most = chance.randrange(1, 9)
                self._tell(
                    {**self.state, partition: (before, end)},
                    lambda: log.drop("t", partition, before, exact=True, max_values=most),
                )
            case 7 if end > earliest:
                damaged = run(partition, chance.randrange(earliest, end), 1, self._times)
                log.quarantine("t", partition, damaged.first, damaged.first)
                with suppress(StoreError):
                    log.repair(damaged)
            case 8:
                with suppress(StoreError):
                    log.vacuum(max_pages=20)
            case _:
                with suppress(StoreError):
                    log.merge()

    def _tell(self, after: State, change: Any) -> None:
        self._disk.tell(("will", after))
        with suppress(StoreError):
            change()
            if after != self.state:
                # Otherwise nothing may have been written, and what failed before can still show.
                self._disk.tell(("is", after))
            self.state = after


class File:
    """What is surely on the disk of a file, and what was done to it since."""

    def __init__(self) -> None:
        self.synced = bytearray()
        self.pending: list[Done] = []

    def sync(self) -> None:
        """All of it is on the disk."""
        for done in self.pending:
            _apply(self.synced, done)
        self.pending.clear()

    def unsynced(self, chance: random.Random) -> None:
        """A sync has failed: as Linux does it, what is not on the disk now is never tried again."""
        self.synced = bytearray(self.left(chance))
        self.pending.clear()

    def left(self, chance: random.Random) -> bytes:
        """What a loss of power may leave."""
        sector, kept = chance.choice((512, 4096)), chance.choice((0.0, 0.5, 0.9, 0.99, 1.0))
        left, whole = bytearray(self.synced), bytearray(self.synced)
        for done in self.pending:
            _apply(whole, done)
            if done.what == "truncate":
                if chance.random() < kept:
                    _apply(left, done)
                continue
            start = done.offset - done.offset % sector
            for at in range(start, done.offset + len(done.data), sector):
                if chance.random() < kept:
                    _apply(left, Done("write", offset=at, data=bytes(whole[at : at + sector])))
        return bytes(left)


def _apply(content: bytearray, done: Done) -> None:
    if len(content) < done.offset:
        content.extend(bytes(done.offset - len(content)))
    if done.what == "truncate":
        del content[done.offset :]
    else:
        content[done.offset : done.offset + len(done.data)] = done.data


class Medium:
    """A disk to which all that was recorded is done again, until power is lost.

    If `lazy`, what was told to be done need not be there.
    """

    def __init__(self, *, lazy: bool = False) -> None:
        self.identity = ""
        self.due: list[State] = [{}]
        """What the log is to hold: what was told last, or the outcome of what was begun since."""
        self.allowed = self.due
        self._lazy = lazy
        self._chance = random.Random(0)
        self._mark_left = [False]
        self._files: dict[int, File] = {}
        self._names: dict[str, int] = {}
        self._renamed: list[Done] = []

    def do(self, done: Done) -> None:
        """The next thing that was done."""
        match done.what:
            case "told" if done.told == "marked":
                self._mark_left = [True]
            case "told" if done.told == "marking":
                self._mark_left = [False, True]
            case "told":
                self._told(*done.told)
            case "create" | "remove":
                self._renamed.append(done)
                self._files.setdefault(done.file, File())
            case "names":
                self._names = self._named(len(self._renamed))
                self._renamed.clear()
            case "sync":
                self._files[done.file].sync()
            case "unsynced":
                self._files[done.file].unsynced(self._chance)
            case _:
                self._files[done.file].pending.append(done)

    def _told(self, word: str, what: Any) -> None:
        if word == "identity":
            self.identity = "" if self._lazy else what
            return
        if word == "will":
            self.due.append(what)
        else:
            self.due = [what]
        self.allowed = [*self.allowed, what] if self._lazy else self.due

    def _named(self, changes: int) -> dict[str, int]:
        names = dict(self._names)
        for done in self._renamed[:changes]:
            if done.what == "create":
                names[done.path] = done.file
            else:
                names.pop(done.path, None)
        return names

    def lose_power(self, chance: random.Random, directory: Path) -> None:
        """Leave in a directory what the disk may hold. Names are lost in the order of changes."""
        directory.mkdir()
        # Made before all others.
        (directory / "lock").write_bytes(b"")
        if chance.choice(self._mark_left):
            mark(directory)
        for path, number in self._named(chance.randint(0, len(self._renamed))).items():
            (directory / os.path.basename(path)).write_bytes(self._files[number].left(chance))
        if (directory / "cache.db-wal").exists():
            # It is never synced, so anything may be in it; SQLite makes it anew after a start.
            (directory / "cache.db-shm").write_bytes(chance.randbytes(32768))


def verify(directory: Path, medium: Medium, times: int) -> State:
    """The log in a directory has what was promised, sound, and goes on; what it has."""
    with Log(directory) as log:
        assert medium.identity in ("", log.identity)
        assert list(log.check()) == []
        assert log.quarantined() == []
        held = {extent.partition: (extent.earliest, extent.next) for extent in log.partitions()}
        assert held in medium.allowed
        for partition, (at, end) in held.items():
            while at < end:
                found = log.read("t", partition, at, max_records=1000, max_bytes=10**7)
                assert found == run(partition, at, len(found or ()), times)
                at = found.next
        for partition in PARTITIONS:
            log.append([run(partition, held.get(partition, (0, 0))[1], 1, times)])
        assert list(log.check()) == []
    return held


def _marked(disk: Disk, directory: Path) -> None:
    disk.tell("marking")
    mark(directory)
    disk.tell("marked")


def lose_power_often(
    log: Log,
    medium: Medium,
    seed: int,
    *,
    points: int,
    lives: int,
    times: int = 1,
    refused: float = 0.0,
) -> int:
    """Record a load, and lose power at that many moments; after how many of them less was held."""
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    disk = Disk()
    with disk.watching(), patch("dafka.io.log.mark", partial(_marked, disk)):
        load = Load(log, disk, seed, times, refused)
        for _ in range(lives):
            load.live(changes=60)
    chance = random.Random(seed)
    moments = set(chance.sample(range(len(disk.done)), min(points, len(disk.done))))
    lost = 0
    for moment, done in enumerate(disk.done):
        medium.do(done)
        if moment in moments:
            left = log.directory.with_name(str(moment))
            medium.lose_power(random.Random(seed + moment), left)
            try:
                lost += verify(left, medium, times) not in medium.due
            except Exception as error:
                raise AssertionError(f"power lost at moment {moment} of seed {seed}") from error
    return lost


@pytest.fixture
def eager(monkeypatch):
    """The write-ahead log is moved into the database, and space given back, all the time."""
    monkeypatch.setitem(log_connections.PRAGMAS, "wal_autocheckpoint", 30)
    monkeypatch.setattr(log_writing, "_FREE_SLACK_BYTES", 0)


def test_all_that_was_promised_survives_a_loss_of_power(tmp_path, eager):
    log = Log(tmp_path / "log")
    assert lose_power_often(log, Medium(), seed=1, points=200, lives=4) == 0


def test_so_it_does_with_a_log_that_is_set_up_as_usual(tmp_path):
    log = Log(tmp_path / "log")
    assert lose_power_often(log, Medium(), seed=2, points=30, lives=2, times=20) == 0


def test_a_log_that_leaves_it_to_the_system_loses_its_end_and_tears_nothing(tmp_path, eager):
    """What `durability="os"` promises. It also shows that a missing sync would be noticed here."""
    log = Log(tmp_path / "log", durability="os")
    assert lose_power_often(log, Medium(lazy=True), seed=3, points=60, lives=2) > 5


def test_all_survives_a_loss_of_power_on_a_disk_that_often_refuses_to_sync(tmp_path, eager):
    log = Log(tmp_path / "log")
    assert lose_power_often(log, Medium(), seed=4, points=80, lives=3, refused=0.2) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30, 36))
def test_all_survives_at_thousands_of_moments_of_such_a_disk(tmp_path, eager, seed):
    log = Log(tmp_path / "log")
    assert lose_power_often(log, Medium(), seed, points=500, lives=6, refused=0.2) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_all_survives_at_thousands_of_moments(tmp_path, eager, seed):
    log = Log(tmp_path / "log")
    assert lose_power_often(log, Medium(), seed, points=500, lives=6) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 25))
def test_all_survives_at_hundreds_of_moments_as_usual(tmp_path, seed):
    log = Log(tmp_path / "log")
    assert lose_power_often(log, Medium(), seed, points=100, lives=3, times=20) == 0
