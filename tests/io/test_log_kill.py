"""kill -9 between any two statements of any change: the log opens, and all that was promised holds.

A process appends, drops, merges, vacuums and repairs, and tells each change before and after it.
What is found after the kill is what it told last, with the one change under way done or not.
"""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dafka.io.log import Log

WORK = """
import hashlib, random, sys
from dafka.core.run import Run
from dafka.io import log_writing
from dafka.io.log import Log

directory, durability, seed = sys.argv[1:]
log_writing._FREE_SLACK_BYTES = 0
rng = random.Random(int(seed))

def content(offset):
    return hashlib.sha256(b"%d" % offset).digest() * (offset % 40)

def tell(word, earliest, end):
    print(word, earliest, end, flush=True)

log = Log(directory, durability=durability)
log.open()
extent = log.extent("t", "A")
earliest, end = (extent.earliest, extent.next) if extent else (0, 0)
log.drop("t", "A", earliest, exact=True)
tell("is", earliest, end)
while True:
    choice = rng.randrange(8)
    if choice < 4:
        count = rng.choice((1, 1, 1, 5, 100))
        tell("will", earliest, end + count)
        log.append([Run("t", "A", end, [content(i) for i in range(end, end + count)])])
        end += count
    elif choice == 4:
        earliest_next = rng.randrange(earliest, end + 1)
        earliest_next = max(earliest, min(earliest_next, end - 300))
        tell("will", earliest_next, end)
        log.drop("t", "A", earliest_next, exact=True, max_values=rng.randrange(1, 9))
        earliest = earliest_next
    elif choice == 5:
        log.merge()
    elif choice == 6:
        log.vacuum(max_pages=20)
    elif end > earliest:
        at = rng.randrange(earliest, end)
        log.quarantine("t", "A", at, at)
        log.repair(Run("t", "A", at, [content(at)]))
    tell("is", earliest, end)
"""


def content(offset: int) -> bytes:
    return hashlib.sha256(b"%d" % offset).digest() * (offset % 40)


def allowed(lines: list[str]) -> set[tuple[int, int]]:
    """Where the partition may begin and end, after what was told."""
    states = [(word, (int(earliest), int(end))) for word, earliest, end in map(str.split, lines)]
    done = [state for word, state in states if word == "is"]
    return {done[-1], states[-1][1]}


def kill_and_verify(directory: Path, durability: str, seed: int) -> int:
    """One life of the process, ended at a random moment; how much it did."""
    with subprocess.Popen(
        [sys.executable, "-c", WORK, directory, durability, str(seed)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        time.sleep(random.Random(seed).random() ** 2 * 0.4)
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    lines = [line for line in lines if line.endswith("\n")]
    with Log(directory) as log:
        assert list(log.check()) == []
        extent = log.extent("t", "A")
        assert extent is not None
        assert (extent.earliest, extent.next) in allowed(lines)
        at = extent.earliest
        while at < extent.next:
            run = log.read("t", "A", at, max_records=1000, max_bytes=10**6)
            assert run is not None
            assert run.contents == [content(i) for i in range(at, run.next)]
            at = run.next
        assert log.read("t", "A", extent.earliest - 1, max_records=1, max_bytes=1) is None
    return len(lines)


@pytest.mark.process
@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_all_that_was_promised_survives_kill_9(tmp_path, durability):
    done = [kill_and_verify(tmp_path, durability, seed) for seed in range(8)]
    assert sum(done) > 100


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.process
@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_all_that_was_promised_survives_hundreds_of_kills(tmp_path, durability):
    for seed in range(200):
        kill_and_verify(tmp_path, durability, 1000 + seed)
