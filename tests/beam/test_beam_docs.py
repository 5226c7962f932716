"""The section of docs/streams.md about Apache Beam is true."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.beam.conftest import NEEDS_BEAM

pytest.importorskip("apache_beam", reason=NEEDS_BEAM, exc_type=ImportError)

from dafka.beam import ReadFromDafka, Record, WriteToDafka, write

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "streams.md").read_text().partition("## Beyond one machine")[2]
(PROGRAM,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.io
def test_the_program_prints_what_the_page_says(tmp_path):
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"It prints `{done.stdout.strip()}`." in TEXT


def test_defaults_that_the_page_tells_are_the_defaults():
    reads = inspect.signature(ReadFromDafka).parameters
    writes = inspect.signature(WriteToDafka).parameters
    assert (reads["start"].default, reads["discovery_s"].default) == ("earliest", 10)
    told = ("timeout", "batch_records", "batch_s")
    assert [writes[name].default for name in told] == [60, 1000, 1]
    assert write.SPOOL_BYTES == 64 << 20
    assert f"`Record({', '.join(Record._fields)})`" in TEXT.replace("\n", " ")


def test_every_setting_that_the_page_names_exists():
    known = {
        *inspect.signature(ReadFromDafka).parameters,
        *inspect.signature(WriteToDafka).parameters,
    }
    named = set(re.findall(r"`([a-z_]+)(?:=[^`]*)?`", TEXT.replace(PROGRAM, "")))
    others = {"records_expired", "allowed_lateness", "host", "bind", "tower"}
    assert named - others <= known
