"""A producer with an outbox can be killed at any moment: its partition has no gap and no double."""

from __future__ import annotations

import json
import random
import sys

import pytest

from tests.support import outbox_lives
from tests.support.processes import dafka, eventually

pytestmark = pytest.mark.process


def die_again_and_again(processes, seed: int, lives: int, within: float) -> None:
    """Kill a producer so often, and compare what was seen live with what is stored in the end."""
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    _, cluster = processes.server()
    witness = processes.consume(cluster, "numbers")
    program = [sys.executable, "-m", "tests.support.outbox_lives"]
    victim = processes.start([*program, cluster.tower, "outbox", str(seed), str(lives)])
    assert victim.wait(within) == 0, victim.complained()

    told = list(outbox_lives.lives(victim.printed()))
    (partition,) = {partition for _, partition, _ in told}
    firsts = [first for _, _, first in told]
    assert firsts == sorted(firsts)
    assert len(set(firsts)) > lives // 4, "hardly any life has published something"
    end = firsts[-1] + outbox_lives._LAST_RECORDS

    late = processes.consume(cluster, "numbers", "--count", str(end))
    assert late.wait(within) == 0, late.complained()
    stored = late.printed().splitlines()
    prefix = f"numbers {partition} ".encode()
    assert all(line.startswith(prefix) for line in stored)
    records = [outbox_lives.parse(line.removeprefix(prefix)) for line in stored]
    assert [offset for _, offset in records] == list(range(end))
    assert records == sorted(records), "a later life wrote before an earlier one"
    said = {life: first for life, _, first in told}
    for life, offset in dict(reversed(records)).items():
        assert offset == said[life], f"life {life} wrote from there on"

    more = processes.consume(cluster, "numbers", "--timeout", "0.5")
    assert more.wait(within) == 0
    assert more.printed().splitlines() == stored, "there is more than was published"
    # What was seen live, in all lives, is what is stored: no offset was used for two contents.
    eventually(lambda: witness.printed().count(b"\n") >= end, "the witness has everything")
    assert witness.printed().splitlines() == stored


@pytest.mark.parametrize("seed", [4])
def test_a_producer_that_is_killed_at_random_moments_continues_its_partition(restless, seed):
    die_again_and_again(restless, seed, lives=30, within=60)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(40, 44))
def test_it_does_so_however_often(restless, seed):
    die_again_and_again(restless, seed, lives=150, within=500)


def test_a_command_that_is_killed_goes_on_with_its_file_where_it_stopped(restless):
    chance = random.Random(7)
    _, cluster = restless.server()
    count = 20_000
    file = restless.directory / "lines"
    file.write_bytes(b"".join(b"%d\n" % number for number in range(count)))
    flags = ("--from", "earliest", "--format", "raw", *cluster.at)
    witness = restless.start(dafka("consume", "t", *flags))
    command = dafka("produce", "t", file, "--outbox", "box", "--resume", "--json", *cluster.at)
    # A small buffer makes it wait for the store again and again, so it is always caught at work.
    slowly = restless.environment | {"DAFKA_BUFFER_BYTES": "4000"}
    for least in sorted(chance.sample(range(1, count * 3 // 4), 4)):
        victim = restless.start(command, env=slowly)
        eventually(lambda n=least: witness.printed().count(b"\n") >= n, f"{least} records")
        victim.kill()
    report = json.loads(restless.run(command).printed())
    assert 0 < report["skipped"] < count
    assert report["skipped"] + report["records"] == count
    assert report["unacknowledged"] == 0
    late = restless.run(dafka("consume", "t", "--count", str(count), *flags))
    assert late.printed() == file.read_bytes()
    more = restless.run(dafka("consume", "t", "--timeout", "0.5", *flags))
    assert more.printed() == file.read_bytes()
    eventually(lambda: witness.printed() == file.read_bytes(), "the witness has the same")
