"""The programs in docs/streams.md are run, and what it names exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import gevent
import pytest

from dafka import streams
from tests.support.live_nodes import Nodes, fill
from tests.support.waiting import take

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "streams.md").read_text()
TEXT, _, _BEAM = TEXT.partition("## Beyond one machine: Apache Beam")
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def command(program, directory, *arguments):
    """The command that runs a program of the page, and its environment."""
    file = directory / "program.py"
    file.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(directory)}
    return [sys.executable, str(file), *arguments], environment


@pytest.mark.io
@pytest.mark.parametrize("number", range(3))
def test_programs_that_are_complete_do_what_they_say(number, tmp_path):
    arguments, environment = command(PROGRAMS[number], tmp_path)
    done = subprocess.run(
        arguments, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    if not number:
        assert f"It prints `{done.stdout.strip()}`." in TEXT
    if number == 1:
        assert "join-1: left, within 3600 s, keeps state -> to-1" in done.stdout


@pytest.mark.io
def test_the_program_that_runs_for_ever_works_and_ends_by_a_signal(tmp_path):
    nodes = Nodes(tmp_path)
    try:
        nodes.cluster()
        tower = f"{nodes.tower.sub},{nodes.tower.pub}"
        arguments, environment = command(PROGRAMS[3], tmp_path, tower, str(tmp_path / "state"))
        producer = nodes.producer("readings")
        fill(producer, 1)  # no object: a dead letter
        producer.publish(b'{"value":7}')
        producer.publish(b'{"value":700}')
        program = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)
        try:
            assert take(nodes.consumer("large"), 1)[0].content == b'{"value":700}'
            assert b"TypeError" in take(nodes.consumer("broken"), 1)[0].content
            program.terminate()
            while program.poll() is None:
                gevent.sleep(0.01)
            assert program.stderr.read().count(b"\n") <= 2  # the skipped record, if anything
            assert program.returncode == 0
        finally:
            program.kill()
            program.communicate()
    finally:
        nodes.end()


def test_every_program_was_found():
    assert len(PROGRAMS) == 5


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`(?:app\.)?([a-z_]+)\(", TEXT)) - {"f", "run"})
)
def test_every_call_that_is_named_exists(name):
    owners = (streams, streams.App, streams.Table, streams.keyed.WindowedStream)
    assert any(hasattr(owner, name) for owner in owners)


def test_defaults_that_the_page_tells_are_the_defaults():
    app = streams.App("x")
    assert (app.settings.idle_s, app.settings.settle_s) == (10, 2)
    assert app.outbox_bytes == 64 << 20
    assert (app.settings.on_error, app.durability) == ("stop", "fsync")
