"""Jobs: what they say reaches a dashboard, an archive and a notifier, each in its own way."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing

import pytest

from tests.support.processes import ROOT, eventually

pytestmark = pytest.mark.process

TALK = "for number in range({}): print('step', number, flush=True)"


def job(programs, name, text, code=0):
    """Run a job to its end."""
    command = programs.command("jobs", "run", name, "--", sys.executable, "-c", text)
    return programs.run(command, code=code)


def archived(programs):
    """Name, and what was told, of all records in the archive."""
    with closing(sqlite3.connect(programs.directory / "jobs.db", timeout=10)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'records'").fetchone():
            return []
        return [
            (name, json.loads(told))
            for name, told in db.execute("SELECT name, told FROM records ORDER BY time, rowid")
        ]


def lines(programs, name):
    return [told["line"] for one, told in archived(programs) if one == name and "line" in told]


def notifier(programs):
    save = "import sys; open('mails', 'ab').write(sys.stdin.buffer.read() + b'\\n')"
    flags = ("notify", "--offsets", "offsets", "--", sys.executable, "-c", save)
    return programs.begin("jobs", *flags)


def mails(programs):
    path = programs.directory / "mails"
    text = path.read_text() if path.exists() else ""
    # A command whose notifier is killed at that moment has no input.
    return [json.loads(line) for line in text.splitlines() if line]


def test_each_reader_gets_what_it_wants(programs):
    job(programs, "early", TALK.format(3))
    dashboard = programs.begin("jobs", "dashboard")
    archive = programs.begin("jobs", "archive", "jobs.db")
    writer = notifier(programs)
    eventually(lambda: len(archived(programs)) == 5, "the archive has what was before")
    # Until it has been introduced, a dashboard of the latest records hears nothing.
    for number in range(1, 100):
        job(programs, "wake", f"print('awake {number}')")
        if dashboard.printed():
            break
    job(programs, "nightly", TALK.format(5) + "\nraise SystemExit(3)", code=3)
    eventually(lambda: b"failed" in dashboard.printed(), "the dashboard shows the end")
    shown = dashboard.printed().decode().splitlines()
    assert [one.partition(": ")[2] for one in shown if one.startswith("nightly ")] == [
        "running",
        *(f"step {number}" for number in range(5)),
        "failed",
    ]
    assert not any(one.startswith("early ") for one in shown)
    eventually(lambda: mails(programs), "the failure is notified")
    assert [(one["name"], one["code"]) for one in mails(programs)] == [("nightly", 3)]
    eventually(lambda: len(lines(programs, "nightly")) == 5, "the archive has all of it")
    for program in (dashboard, archive, writer):
        assert program.end() == 0
        assert program.complained() == ""


def kill_often(programs, jobs):
    archive, writer = programs.begin("jobs", "archive", "jobs.db"), notifier(programs)
    positions = programs.directory / "offsets/notifier/offsets.json"
    eventually(positions.exists, "the notifier has begun: it wants all failures from now on")
    for number in range(jobs):
        job(programs, "load", TALK.format(2000) + "\nraise SystemExit(1)", code=1)
        eventually(lambda n=number: len(lines(programs, "load")) > n * 2000, "some of it is there")
        archive.kill()
        writer.kill()
        archive, writer = programs.begin("jobs", "archive", "jobs.db"), notifier(programs)
    eventually(lambda: len(lines(programs, "load")) >= jobs * 2000, "the archive has everything")
    assert lines(programs, "load") == [f"step {number}" for number in range(2000)] * jobs
    eventually(lambda: len({one["job"] for one in mails(programs)}) == jobs, "all are notified")


def test_archives_and_notifiers_that_are_killed_miss_nothing(programs):
    kill_often(programs, jobs=2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_they_do_so_however_often(programs):
    kill_often(programs, jobs=30)


def test_a_job_that_nobody_stores_yet_is_told_later(programs, tmp_path):
    program = [sys.executable, str(ROOT / "docs/cookbook/jobs.py"), "--tower", "127.0.0.1:1"]
    done = programs.run([*program, "run", "lonely", "--", sys.executable, "-c", "print('hello')"])
    assert "unacknowledged" in done.complained()
    programs.begin("jobs", "archive", "jobs.db")
    job(programs, "lonely", "print('again')")
    eventually(lambda: len(lines(programs, "lonely")) == 2, "both are archived")
    assert lines(programs, "lonely") == ["hello", "again"]


def test_a_job_that_cannot_be_started_has_failed(programs):
    done = programs.run(programs.command("jobs", "run", "odd", "--", "./no-such-program"), code=1)
    assert done.complained().startswith("jobs.py: ")
    assert done.complained().count("\n") == 1
    programs.begin("jobs", "archive", "jobs.db")
    eventually(lambda: len(archived(programs)) == 2, "its beginning and end are archived")
    assert [told["state"] for _, told in archived(programs)] == ["running", "failed"]


def test_a_runner_that_is_told_to_end_ends_its_job_and_says_so(programs):
    runner = programs.begin("jobs", "run", "long", "--", "sleep", "60")
    programs.begin("jobs", "archive", "jobs.db")
    eventually(lambda: archived(programs), "the job has begun")
    assert runner.end() == 0
    eventually(lambda: len(archived(programs)) == 2, "its end is archived")
    assert archived(programs)[1] == ("long", {"state": "failed", "code": None})


def test_an_archive_that_cannot_be_opened_is_named(programs):
    done = programs.run(programs.command("jobs", "archive", "none/jobs.db"), code=1)
    assert done.complained() == "none/jobs.db: unable to open database file\n"
