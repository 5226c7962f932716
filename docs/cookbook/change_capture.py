"""Captures every change of tables of an SQLite database, and keeps a replica of them elsewhere.

python change_capture.py capture shop.db customers orders
python change_capture.py replicate replica.db
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import gevent

import dafka

COLUMNS = 60
"""Most columns of a table, those of its primary key counted twice."""
BATCH = 1000
PAUSE_S = 0.1

# Changes are numbered without gaps in the order of commits: number 1 is the record at offset 0.
PLACES = f"""
CREATE TABLE IF NOT EXISTS _dafka (what PRIMARY KEY, told);
CREATE TABLE IF NOT EXISTS _dafka_changes
    (number INTEGER PRIMARY KEY AUTOINCREMENT, kind, name,
     {", ".join(f"c{n}" for n in range(COLUMNS))});
"""


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str], before: str = "") -> str:
    """Names, with commas."""
    return ", ".join(before + quoted(name) for name in names)


def install(db: sqlite3.Connection, tables: list[str]) -> tuple[str, dict[str, Any]]:
    """From this transaction on triggers note all changes. Returns the partition, and the tables."""
    for statement in PLACES.split(";"):
        db.execute(statement)
    db.execute("INSERT OR IGNORE INTO _dafka VALUES ('', ?)", (uuid4().hex.upper(),))
    known = dict(db.execute("SELECT what, told FROM _dafka"))
    partition = known.pop("")
    shapes = {table: json.loads(shape) for table, shape in known.items()}
    for table in dict.fromkeys([*shapes, *tables]):
        about = db.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
        columns = [row[1] for row in about]
        key = [row[1] for row in sorted(about, key=lambda row: row[5]) if row[5]]
        if not columns:
            sys.exit(f"{table}: there is no such table")
        if not key or len(columns) + len(key) > COLUMNS:
            sys.exit(f"{table}: needs a primary key, and at most {COLUMNS} columns with it")
        shape = {"columns": columns, "key": key}
        if shapes.setdefault(table, shape) != shape:
            sys.exit(f"{table}: its columns have changed since its capture began")
        if table not in known:
            db.execute("INSERT INTO _dafka VALUES (?, ?)", (table, json.dumps(shape)))
            capture_table(db, table, columns, key)
    return partition, shapes


def capture_table(db: sqlite3.Connection, table: str, columns: list[str], key: list[str]) -> None:
    """Note the table and its rows, and have triggers note what becomes of them."""
    row = ", ".join(f"c{n}" for n in range(len(columns)))
    old = ", ".join(f"c{n}" for n in range(len(columns), len(columns) + len(key)))
    name = "'" + table.replace("'", "''") + "'"
    into = "INSERT INTO _dafka_changes (kind, name"
    new, gone = listed(columns, "NEW."), listed(key, "OLD.")
    db.execute(f"{into}) VALUES ('table', {name})")
    db.execute(f"{into}, {row}) SELECT 'insert', {name}, {listed(columns)} FROM {quoted(table)}")
    for kind, noted in (
        ("insert", f"{into}, {row}) VALUES ('insert', {name}, {new})"),
        ("update", f"{into}, {row}, {old}) VALUES ('update', {name}, {new}, {gone})"),
        ("delete", f"{into}, {old}) VALUES ('delete', {name}, {gone})"),
    ):
        trigger = quoted(f"_dafka_{kind}_{table}")
        db.execute(f"CREATE TRIGGER {trigger} AFTER {kind} ON {quoted(table)} BEGIN {noted}; END")


def record(shapes: dict[str, Any], kind: str, table: str, *values: Any) -> bytes:
    """A change as JSON; the same one always gives the same bytes."""
    columns, key = shapes[table]["columns"], shapes[table]["key"]
    told: dict[str, Any] = {"kind": kind, "table": table}
    if kind == "table":
        told |= shapes[table]
    if kind in ("insert", "update"):
        told["row"] = dict(zip(columns, values, strict=False))
    if kind in ("update", "delete"):
        told["key"] = dict(zip(key, values[len(columns) :], strict=False))
    return json.dumps(told, default=lambda blob: {"hex": blob.hex()}).encode()


def capture(db: sqlite3.Connection, tables: list[str], topic: str, tower: str) -> None:
    """Publish changes until Ctrl-C. Those that no store has acknowledged stay in the database."""
    db.execute("BEGIN IMMEDIATE")
    partition, shapes = install(db, tables)
    (done,) = db.execute(
        "SELECT coalesce((SELECT min(number) - 1 FROM _dafka_changes), seq) "
        "FROM sqlite_sequence WHERE name = '_dafka_changes'"
    ).fetchone()
    db.execute("COMMIT")
    settings = {"partition": partition, "first": done, "tower": tower, "stop_timeout_s": 1}
    with dafka.Producer(topic, **settings) as producer:
        while True:
            rows = db.execute(
                "SELECT * FROM _dafka_changes WHERE number > ? ORDER BY number LIMIT ?",
                (producer.next_offset, BATCH),
            ).fetchall()
            producer.publish_many([record(shapes, *change) for _, *change in rows])
            if producer.acknowledged > done:
                done = producer.acknowledged
                db.execute("DELETE FROM _dafka_changes WHERE number <= ?", (done,))
            if not rows:
                producer.wait(PAUSE_S)


def replicate(db: sqlite3.Connection, topic: str, tower: str) -> None:
    """Apply changes until Ctrl-C, each together with how far that is: so each exactly once."""
    db.execute("CREATE TABLE IF NOT EXISTS _dafka_positions (partition PRIMARY KEY, next)")
    positions = dict(db.execute("SELECT partition, next FROM _dafka_positions"))
    with dafka.Consumer(topic, start=dict(positions), tower=tower) as consumer:
        for run in consumer.runs():
            if run.first != positions.get(run.partition, 0):
                sys.exit(f"changes up to {run.first} are kept no more: begin with a new replica")
            db.execute("BEGIN")
            for content in run.contents:
                apply(db, json.loads(content))
            place = (run.partition, run.next)
            db.execute("INSERT OR REPLACE INTO _dafka_positions VALUES (?, ?)", place)
            db.execute("COMMIT")
            positions[run.partition] = run.next


def apply(db: sqlite3.Connection, change: dict[str, Any]) -> None:
    """Do to the replica what was done to the database."""
    table = quoted(change["table"])
    if change["kind"] == "table":
        parts = f"{listed(change['columns'])}, PRIMARY KEY ({listed(change['key'])})"
        db.execute(f"CREATE TABLE IF NOT EXISTS {table} ({parts})")
        return
    if "key" in change:
        same = " AND ".join(f"{quoted(name)} IS ?" for name in change["key"])
        db.execute(f"DELETE FROM {table} WHERE {same}", values(change["key"]))
    if "row" in change:
        marks = ", ".join("?" * len(change["row"]))
        db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", values(change["row"]))


def values(told: dict[str, Any]) -> list[Any]:
    """Values as SQLite has them."""
    return [bytes.fromhex(one["hex"]) if isinstance(one, dict) else one for one in told.values()]


def main() -> None:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tower", default="localhost", help="default: %(default)s")
    parser.add_argument("--topic", default="changes", help="default: %(default)s")
    roles = parser.add_subparsers(dest="role", required=True)
    source = roles.add_parser("capture", help="publish the changes of tables")
    source.set_defaults(mode="rw")  # nobody captures a database that is not there
    source.add_argument("database", type=Path)
    source.add_argument("tables", nargs="+", metavar="TABLE")
    replica = roles.add_parser("replicate", help="apply them to another database")
    replica.set_defaults(mode="rwc")
    replica.add_argument("database", type=Path)
    given = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, sys.exit)  # leaves every `with` in order
    place = f"{given.database.absolute().as_uri()}?mode={given.mode}"
    try:
        with closing(sqlite3.connect(place, 2, isolation_level=None, uri=True)) as db:
            if given.role == "capture":
                capture(db, given.tables, given.topic, given.tower)
            else:
                replicate(db, given.topic, given.tower)
    except sqlite3.Error as error:
        sys.exit(f"{given.database}: {error}")


if __name__ == "__main__":
    try:
        main()
    except dafka.DafkaError as error:
        sys.exit(f"change_capture.py: {error}")
