"""What is appended stays: settings, failing commits, full disks, kill -9."""

from __future__ import annotations

import functools
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import diskcache
import pytest

from dafka.core.run import Run
from dafka.errors import Closed, StoreError
from dafka.io import log_connections
from dafka.io.log import Extent, Log

A, B = "A" * 32, "B" * 32


def in_thread(call: Any) -> Any:
    """What `call` returns in a thread of its own."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join()
    return results[0]


def pragma(log: Log, name: str) -> Any:
    with log._opened().lend() as cache:
        return cache._sql(f"PRAGMA {name}").fetchone()[0]


def values(log: Log) -> int:
    with log._opened().lend() as cache:
        return int(cache._sql("SELECT count(*) FROM Cache WHERE length(key) = 21").fetchone()[0])


@pytest.mark.parametrize(("durability", "synchronous"), [("fsync", 2), ("os", 1)])
def test_durability_holds_on_the_connection_of_every_thread(tmp_path, durability, synchronous):
    with Log(tmp_path, durability=durability) as log, log._opened().lend() as mine:
        assert mine._sql("PRAGMA synchronous").fetchone()[0] == synchronous
        for _ in range(2):
            assert in_thread(lambda: pragma(log, "synchronous")) == synchronous
            assert in_thread(lambda: pragma(log, "journal_mode")) == "wal"
            assert in_thread(lambda: pragma(log, "mmap_size")) == 0


def test_settings_are_enforced_at_every_opening(tmp_path):
    with Log(tmp_path, durability="os"):
        pass
    with closing(diskcache.Cache(tmp_path)) as cache:
        cache.reset("eviction_policy", "least-recently-used")
        cache.reset("cull_limit", 10)
        cache.reset("size_limit", 1000)
        cache.reset("statistics", 1)
        cache.reset("disk_min_file_size", 10)
        cache.reset("sqlite_synchronous", 0)
    with Log(tmp_path) as log:
        log.append([Run("t", A, i, [b"x" * 100_000]) for i in range(20)])
        assert values(log) == 2
        assert pragma(log, "synchronous") == 2
        cache = log._opened()
        assert cache.eviction_policy == "none"
        assert cache.cull_limit == 0
        assert cache.statistics == 0
    with closing(diskcache.Cache(tmp_path)) as cache:
        assert cache.eviction_policy == "none"
        assert cache.cull_limit == 0
        assert cache.size_limit > 10**15
        assert cache.sqlite_synchronous == 2


def test_there_are_never_side_files(tmp_path):
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, [b"x" * size for size in (1, 10**5, 10**6, 10**7)])])
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"cache.db", "cache.db-wal", "cache.db-shm", "dafka-log", "lock"}
    assert {path.name for path in tmp_path.iterdir()} == {"cache.db", "dafka-log", "lock"}


def test_only_bytes_can_be_stored(tmp_path):
    with Log(tmp_path) as log, log._opened().lend() as cache:
        for key, value in [(b"k", "text"), (b"k", 5), (b"k", None), (b"k", bytearray(b"x"))]:
            with pytest.raises(TypeError, match="a value of the log is bytes"):
                cache.set(key, value)
        for key in ("text", 5, None, (1, 2)):
            with pytest.raises(TypeError, match="a key of the log is bytes"):
                cache.get(key)
        with pytest.raises(NotImplementedError):
            next(cache.iterkeys())


def test_connections_are_used_again_and_all_closed(tmp_path, monkeypatch):
    opened: list[sqlite3.Connection] = []
    connect = log_connections.Connections._connect

    def remember(self: log_connections.Connections) -> sqlite3.Connection:
        opened.append(connect(self))
        return opened[-1]

    monkeypatch.setattr(log_connections.Connections, "_connect", remember)
    with Log(tmp_path) as log:
        for offset in range(20):
            in_thread(functools.partial(log.append, [Run("t", A, offset, [b"x"])]))
            in_thread(lambda: log.read("t", A, 0, max_records=1, max_bytes=1))
        assert len(opened) == 2, "one is lent, and one stays open besides"
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_closing_waits_for_what_is_under_way(tmp_path):
    log = Log(tmp_path)
    log.open()
    cache = log._opened()
    with cache.lend():
        closer = threading.Thread(target=log.close)
        closer.start()
        closer.join(0.05)
        assert closer.is_alive()
    closer.join()
    with pytest.raises(Closed, match="was closed"), cache.lend():
        pass


def test_two_appends_at_once_are_our_own_bug(tmp_path):
    with Log(tmp_path) as log:
        with log._writer._busy, pytest.raises(RuntimeError, match="only one change at a time"):
            log.append([Run("t", A, 0, [b"x"])])
        log.append([Run("t", A, 0, [b"x"])])


class Failing(sqlite3.Connection):
    """A connection whose statements fail on demand: those that begin with `statement`."""

    statement: str | None = None
    after = False
    """Let the statement pass first, as when SQLite has rolled back by itself."""

    def execute(self, statement: str, *args: Any) -> sqlite3.Cursor:
        if Failing.statement is None or not statement.startswith(Failing.statement):
            return super().execute(statement, *args)
        if Failing.after:
            super().execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")


@pytest.fixture
def failing(monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(
        log_connections.sqlite3, "connect", functools.partial(connect, factory=Failing)
    )
    monkeypatch.setattr(Failing, "statement", None)
    monkeypatch.setattr(Failing, "after", False)
    return lambda statement: monkeypatch.setattr(Failing, "statement", statement)


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT", "SELECT", "COMMIT"])
@pytest.mark.parametrize("rolled_back", [False, True])
def test_a_failed_append_leaves_nothing_behind(
    tmp_path, failing, monkeypatch, statement, rolled_back
):
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, [b"0"])])
        monkeypatch.setattr(Failing, "after", rolled_back and statement != "BEGIN")
        failing(statement)
        for _ in range(3):
            with pytest.raises(StoreError, match="database or disk is full") as error:
                log.append([Run("t", A, 1, [b"lost"]), Run("t", B, 0, [b"lost too"])])
            assert str(tmp_path) in str(error.value)
        failing(None)
        assert log.partitions() == [Extent("t", A, 0, 1)]
        assert log.read("t", A, 1, max_records=1, max_bytes=1) is None
        assert values(log) == 1
        log.append([Run("t", A, 1, [b"1"]), Run("t", B, 5, [b"5"])])
        assert list(log.check()) == []
    with Log(tmp_path) as log:
        assert log.partitions() == [Extent("t", A, 0, 2), Extent("t", B, 5, 6)]
        assert log.read("t", A, 0, max_records=9, max_bytes=99) == Run("t", A, 0, [b"0", b"1"])


def test_a_connection_that_cannot_be_set_up_is_not_used(tmp_path, failing):
    with Log(tmp_path) as log:
        log._opened().connections._idle.pop().close()
        failing("PRAGMA synchronous")
        with pytest.raises(StoreError, match="database or disk is full"):
            log.append([Run("t", A, 0, [b"lost"])])
        failing(None)
        log.append([Run("t", A, 0, [b"0"])])


def test_an_interrupted_opening_lets_go_of_the_directory(tmp_path, monkeypatch):
    log = Log(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("dafka.io.log.load", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            log.open()
    with log:
        log.append([Run("t", A, 0, [b"0"])])


def test_an_interrupted_append_leaves_nothing_behind(tmp_path, monkeypatch):
    with Log(tmp_path) as log:
        with monkeypatch.context() as patch:
            patch.setattr(
                "dafka.io.log_writing.add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
            )
            with pytest.raises(KeyboardInterrupt):
                log.append([Run("t", A, 0, [b"lost"])])
        assert log.partitions() == []
        log.append([Run("t", A, 0, [b"0"])])
        assert list(log.check()) == []


def test_a_full_database_refuses_and_recovers(tmp_path, monkeypatch):
    big = [os.urandom(1 << 20) for _ in range(4)]
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, [b"0"])])
    monkeypatch.setitem(log_connections.PRAGMAS, "max_page_count", 500)
    with Log(tmp_path) as log:
        for _ in range(2):
            with pytest.raises(StoreError, match="database or disk is full"):
                log.append([Run("t", A, 1, big)])
            assert log.extent("t", A) == Extent("t", A, 0, 1)
            assert log.read("t", A, 0, max_records=9, max_bytes=99) == Run("t", A, 0, [b"0"])
        log.append([Run("t", A, 1, [b"small"])])
        assert list(log.check()) == []
    monkeypatch.delitem(log_connections.PRAGMAS, "max_page_count")
    with Log(tmp_path) as log:
        log.append([Run("t", A, 2, big)])
        assert values(log) == 6
        assert list(log.check()) == []


LIMITED = """
import resource, signal, sys
from dafka.core.run import Run
from dafka.errors import StoreError
from dafka.io.log import Log

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = Log(sys.argv[1])
log.open()
log.append([Run("t", "A" * 32, 0, [b"0"])])
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
for _ in range(3):
    try:
        log.append([Run("t", "A" * 32, 1, [bytes(1000)] * 4000)])
    except StoreError as error:
        print(error)
    else:
        sys.exit("it fitted")
assert len(log.read("t", "A" * 32, 0, max_records=9, max_bytes=99)) == 1
log.append([Run("t", "A" * 32, 1, [b"1"])])
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.append([Run("t", "A" * 32, 2, [bytes(1000)] * 4000)])
assert not list(log.check())
log.close()
"""


@pytest.mark.process
def test_a_file_that_cannot_grow_refuses_and_recovers(tmp_path):
    """The system's own limit of a file's size, met in the middle of writing."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"records cannot be written to {tmp_path}: ") == 3
    with Log(tmp_path) as log:
        assert log.extent("t", A) == Extent("t", A, 0, 4002)
        assert list(log.check()) == []


def test_a_database_locked_by_a_foreign_program_refuses_and_recovers(tmp_path, monkeypatch):
    monkeypatch.setattr(log_connections, "BUSY_TIMEOUT_S", 0.01)
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, [b"0"])])
        with closing(sqlite3.connect(tmp_path / "cache.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            log._opened().connections._idle.pop().close()
            with pytest.raises(StoreError, match="database is locked"):
                log.append([Run("t", A, 1, [b"1"])])
            assert log.read("t", A, 0, max_records=1, max_bytes=1) == Run("t", A, 0, [b"0"])
        log.append([Run("t", A, 1, [b"1"])])


def test_a_key_that_is_there_already_is_not_overwritten(tmp_path):
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, [b"0"])])
        log._index._partitions[0].next = 0
        log._index._partitions[0].firsts.pop()
        with pytest.raises(StoreError, match="already an entry"):
            log.append([Run("t", A, 0, [b"1"])])
    with Log(tmp_path) as log:
        assert log.read("t", A, 0, max_records=1, max_bytes=1) == Run("t", A, 0, [b"0"])


COMMIT = """
import sys
from dafka.core.run import Run
from dafka.io.log import Log

log = Log(sys.argv[1], durability=sys.argv[2])
log.open()
extent = log.extent("t", "A" * 32)
offset = extent.next if extent else 0
while True:
    runs = [
        Run("t", partition * 32, offset + part, [b"%d" % (offset + part + i) for i in range(50)])
        for part in (0, 50)
        for partition in "AB"
    ]
    log.append(runs)
    offset += 100
    print(offset, flush=True)
"""


@pytest.mark.process
@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_what_was_appended_survives_kill_9(tmp_path, durability):
    promised = 0
    for delay in (0.0, 0.003, 0.02, 0.05, 0.1):
        with subprocess.Popen(
            [sys.executable, "-c", COMMIT, tmp_path, durability], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            promised = int([first, *process.stdout.readlines()][-1])
        with Log(tmp_path) as log:
            assert list(log.check()) == []
            a, b = (log.extent("t", partition) for partition in (A, B))
            assert a is not None
            assert b is not None
            assert a.next == b.next >= promised
            assert a.next % 100 == 0
            for partition in (A, B):
                run = log.read("t", partition, 0, max_records=10**9, max_bytes=10**9)
                assert run is not None
                assert run.contents == [b"%d" % i for i in range(a.next)]


@pytest.mark.process
def test_a_log_killed_while_it_is_created_can_be_opened(tmp_path):
    script = (
        "import sys; from dafka.io.log import Log; log = Log(sys.argv[1]);"
        "sys.stdin.readline(); log.open(); print(1)"
    )
    for step in range(8):
        directory = Path(tmp_path, str(step))
        with subprocess.Popen(
            [sys.executable, "-c", script, directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        ) as process:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
            deadline = time.monotonic() + 10
            while not directory.exists() and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(step * 0.002)
            process.kill()
        with Log(directory) as log:
            log.append([Run("t", A, 0, [b"x"])])
            assert list(log.check()) == []
