"""The ceilings of the disk: commits of plain SQLite, and fdatasync below that."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from dafka.bench.work import Work
from dafka.bench.worker import Clock, ready

_VALUE_BYTES = 1 << 20
SYNCHRONOUS = {"fsync": "FULL", "os": "NORMAL"}


def database(path: str, durability: str) -> sqlite3.Connection:
    """A database for keys and values, that commits as a store of this durability does."""
    connection = sqlite3.connect(Path(path) / "raw.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = wal").fetchall()
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
    connection.execute("CREATE TABLE raw (key INTEGER PRIMARY KEY, value BLOB)")
    return connection


def commit(work: Work) -> None:
    """Commit `records` of `size` in transactions of `chunk` bytes, in values of a MiB at most."""
    left, chunk = work.records * work.size, max(1, work.chunk)
    content = os.urandom(chunk)
    with closing(database(work.data, work.durability)) as connection:
        ready()
        clock = Clock()
        commits = 0
        while left > 0:
            connection.execute("BEGIN IMMEDIATE")
            for at in range(0, min(left, chunk), _VALUE_BYTES):
                value = content[at : min(at + _VALUE_BYTES, left)]
                connection.execute("INSERT INTO raw (value) VALUES (?)", (value,))
            connection.execute("COMMIT")
            commits += 1
            left -= chunk
        clock.say(commits=commits)


def sync(work: Work) -> None:
    """Append the same bytes to a file, with fdatasync after every `chunk` of them."""
    left, chunk = work.records * work.size, max(1, work.chunk)
    content = os.urandom(chunk)
    descriptor = os.open(Path(work.data) / "raw", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        ready()
        clock = Clock()
        while left > 0:
            os.write(descriptor, content[:left])
            os.fdatasync(descriptor)
            left -= chunk
        clock.say()
    finally:
        os.close(descriptor)
