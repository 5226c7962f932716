"""`dafka bench` in small: that it measures what it says, not how fast this machine is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.process, pytest.mark.alone]


def bench(*arguments: str) -> str:
    command = [sys.executable, "-m", "dafka.cli", "bench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stderr == ""
    return done.stdout


def test_every_row_stands_beside_the_ceiling_of_the_same_run():
    result = json.loads(bench("--records", "3000", "--rounds", "2", "--json"))
    assert set(result) == {"ceiling", "acked publish", "live delivery", "replay"}
    ceiling = result.pop("ceiling")["records_per_s"]
    assert len(ceiling) == 2
    for row in result.values():
        assert len(row["records_per_s"]) == 2
        assert min(row["records_per_s"]) > 0
        lowest, highest = min(row["records_per_s"]) / max(ceiling), max(row["records_per_s"])
        assert lowest <= row["of_ceiling"] <= highest / min(ceiling)


def test_a_person_gets_a_table():
    small = ("--records", "1000", "--rounds", "1", "--durability", "os")
    lines = bench(*small, "--catch-up").splitlines()
    assert lines[0] == "1,000 records of 100 bytes, 1 rounds, durability=os"
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "raw PUB to SUB",
        "acked publish",
        "replay",
        "live delivery",
        "2 stores",
        "one catching up",
    ]
