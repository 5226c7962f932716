"""Runs jobs, and publishes what they say and how they end to whoever wants to know.

python jobs.py run nightly -- make report
python jobs.py dashboard
python jobs.py archive jobs.db
python jobs.py notify -- mail -s 'a job failed' me@example.org
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import gevent
from gevent import subprocess  # lets the node work while a command runs

import dafka


def run(name: str, command: list[str], outbox: Path, tower: str) -> int:
    """Run a command; publish a record when it begins, for each line it prints, and at its end."""
    job = uuid4().hex[:8]
    settings: dict[str, Any] = {"outbox": outbox / name, "tower": tower, "stop_timeout_s": 1}
    with dafka.Producer(f"jobs.{name}", **settings) as producer:

        def tell(**what: Any) -> None:
            told = {"job": job, "name": name, "time": round(time.time(), 3), **what}
            producer.publish(json.dumps(told).encode())

        tell(state="running", command=command)
        code: int | None = None
        try:
            pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            with subprocess.Popen(command, errors="replace", **pipes) as process:
                try:
                    for line in process.stdout:
                        tell(state="running", line=line.rstrip("\n"))
                except SystemExit:  # a signal
                    process.terminate()
                    raise
            code = process.returncode
        finally:
            tell(state="done" if code == 0 else "failed", code=code)
        return code or 0


def dashboard(tower: str) -> None:
    """Print what jobs say from now on."""
    with dafka.Consumer(pattern="jobs.*", start="latest", tower=tower) as consumer:
        for record in consumer:
            told = json.loads(record.content)
            what = told.get("line", told["state"])
            print(f"{told['name']} {told['job']}: {what}", flush=True)


def archive(path: Path, tower: str) -> None:
    """Keep everything in a database, together with how far that is: each record exactly once."""
    with closing(sqlite3.connect(path, timeout=2, isolation_level=None)) as db:
        db.execute("CREATE TABLE IF NOT EXISTS records (job, name, time, told)")
        db.execute("CREATE TABLE IF NOT EXISTS positions (partition PRIMARY KEY, next)")
        positions = dict(db.execute("SELECT partition, next FROM positions"))
        with dafka.Consumer(pattern="jobs.*", start=positions, tower=tower) as consumer:
            for run in consumer.runs():
                told = [json.loads(content) for content in run.contents]
                rows = [(t.pop("job"), t.pop("name"), t.pop("time"), json.dumps(t)) for t in told]
                db.execute("BEGIN")
                db.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
                place = (run.partition, run.next)
                db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", place)
                db.execute("COMMIT")


def notify(command: list[str], name: str, offsets: str, tower: str) -> None:
    """Run a command for each job that fails, with what is known of it as its input.

    Positions are kept under `name`. A failure counts as handled when the command has succeeded.
    """
    settings: dict[str, Any] = {
        "name": name,
        "offsets": offsets,
        "auto_commit": False,
        "tower": tower,
    }
    with dafka.Consumer(pattern="jobs.*", **settings) as consumer:
        for record in consumer:
            if json.loads(record.content)["state"] == "failed":
                subprocess.run(command, input=record.content, check=True)
                consumer.commit(record)
            else:
                consumer.commit(record, wait=False)


def main() -> int:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tower", default="localhost", help="default: %(default)s")
    roles = parser.add_subparsers(dest="role", required=True)
    runner = roles.add_parser("run", help="run a command as a job")
    runner.add_argument("--outbox", type=Path, default=Path("jobs.outbox"), help="a directory")
    runner.add_argument("name")
    runner.add_argument("command", nargs="+")
    roles.add_parser("dashboard", help="show what jobs say from now on")
    archiver = roles.add_parser("archive", help="keep all of it in an SQLite database")
    archiver.add_argument("database", type=Path)
    notifier = roles.add_parser("notify", help="run a command for each job that fails")
    notifier.add_argument("--name", default="notifier", help="keeps its positions")
    notifier.add_argument("--offsets", default="", help="where; default: the user's directory")
    notifier.add_argument("command", nargs="+")
    given = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, sys.exit)  # leaves every `with` in order
    if given.role == "run":
        return run(given.name, given.command, given.outbox, given.tower)
    if given.role == "dashboard":
        dashboard(given.tower)
    elif given.role == "archive":
        try:
            archive(given.database, given.tower)
        except sqlite3.Error as error:
            sys.exit(f"{given.database}: {error}")
    else:
        notify(given.command, given.name, given.offsets, given.tower)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (dafka.DafkaError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"jobs.py: {error}")
