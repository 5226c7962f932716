"""A named consumer can be killed at any moment: nothing is left out, and little comes again."""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from subprocess import PIPE

import pytest

from dafka.io.offsets import look
from tests.support import consuming_lives
from tests.support.consuming_lives import Begun, Handled
from tests.support.processes import dafka, eventually

pytestmark = pytest.mark.process

PARTITIONS = [f"{number:032X}" for number in (1, 2, 3)]
PUBLISHER = """
import sys, gevent, dafka
tower, count = sys.argv[1], int(sys.argv[2])
made = [dafka.Producer("numbers", tower=tower, partition="%032X" % number, bind="tcp://127.0.0.1:*")
        for number in (1, 2, 3)]
for producer in made:
    producer.start()
for number in range(count):
    for producer in made:
        producer.publish(b"%d" % number)
    gevent.sleep(0.001)
for producer in made:
    producer.flush(20)
    producer.stop()
"""


def die_again_and_again(processes, seed: int, lives: int, count: int, within: float) -> None:
    """Kill a consumer so often while records come, and see what it has handled in all lives."""
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    _, cluster = processes.server()
    publisher = processes.start([sys.executable, "-c", PUBLISHER, cluster.tower, str(count)])
    program = [sys.executable, "-m", "tests.support.consuming_lives"]
    victim = processes.start(
        [*program, cluster.tower, "offsets", str(seed), str(lives), str(count)]
    )
    assert victim.wait(within) == 0, victim.complained()
    assert publisher.wait() == 0, publisher.complained()

    told = list(consuming_lives.told(victim.printed()))
    lived = {one.life for one in told if isinstance(one, Handled)}
    assert len(lived) > lives // 2, "hardly any life has handled something"
    for partition in PARTITIONS:
        mine = [one for one in told if one.partition == partition]
        check_lives(mine, count)
    assert look(processes.directory / "offsets", "victim").positions == {
        ("numbers", partition): count for partition in PARTITIONS
    }


def check_lives(told: list[Begun | Handled], count: int) -> None:
    """What all lives have handled of one partition has no gap, each life goes on in order."""
    end = 0
    expected: dict[int, int] = {}
    for one in told:
        if isinstance(one, Begun):
            assert one.offset <= end, f"{one} leaves out what comes after {end}"
            expected[one.life] = one.offset
            continue
        assert one.offset == expected[one.life], f"{one} is out of order"
        expected[one.life] += 1
        end = max(end, one.offset + 1)
    assert end == count


@pytest.mark.parametrize("seed", [3])
def test_a_consumer_that_is_killed_at_random_moments_leaves_nothing_out(restless, seed):
    die_again_and_again(restless, seed, lives=25, count=5_000, within=90)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(30, 34))
def test_it_does_so_however_often(restless, seed):
    die_again_and_again(restless, seed, lives=120, count=50_000, within=800)


def test_what_was_saved_does_not_come_again(restless):
    """A command that commits what it has printed: at most what it printed since comes twice."""
    chance = random.Random(5)
    _, cluster = restless.server()
    count = 20_000
    producer = restless.start(dafka("produce", "t", *cluster.at), stdin=PIPE)
    lines = [b"%d\n" % number for number in range(count)]
    portions = [b"".join(lines[at : at + 200]) for at in range(0, count, 200)]
    restless.feed(producer, portions, 0.02)
    flags = ("--name", "victim", "--offsets", "offsets", "--from", "earliest", "--format", "raw")
    environment = restless.environment | {"DAFKA_COMMIT_INTERVAL_S": "0.05"}
    numbers: dict[int, list[int]] = defaultdict(list)
    end = saved = 0
    for life in range(4):
        least = chance.randrange(100, 2_000)
        victim = restless.start(dafka("consume", "t", *flags, *cluster.at), env=environment)
        eventually(lambda n=least, v=victim: v.printed().count(b"\n") >= n, f"{least} records")
        before = _position(restless)
        assert before <= end + victim.printed().count(b"\n"), "more is saved than was printed"
        victim.kill()
        printed = victim.printed()
        numbers[life] = [int(line) for line in printed[: printed.rfind(b"\n")].split(b"\n")]
        first = numbers[life][0]
        assert numbers[life] == list(range(first, first + len(numbers[life])))
        assert first == saved, "it did not go on exactly where it was saved"
        end = max(end, numbers[life][-1] + 1)
        saved = _position(restless)
        assert saved <= end + 1, "more is saved than was printed"
    command = dafka("consume", "t", *flags, *cluster.at, "--count", str(count - saved))
    last = restless.run(command, within=60)
    assert last.printed() == b"".join(lines[saved:])
    assert _position(restless) == count
    assert producer.wait() == 0


def _position(processes) -> int:
    (position,) = look(processes.directory / "offsets", "victim").positions.values()
    return position


def test_ctrl_c_saves_what_was_printed_so_nothing_comes_again(restless):
    _, cluster = restless.server()
    count = 5_000
    restless.run(dafka("produce", "t", *cluster.at), given=b"x\n" * count)
    flags = ("--name", "n", "--offsets", "offsets", "--from", "earliest", "--format", "raw")
    first = restless.start(dafka("consume", "t", *flags, *cluster.at))
    eventually(lambda: first.printed().count(b"\n") == count, "all records")
    assert first.end() == 0
    restless.run(dafka("produce", "t", *cluster.at), given=b"y\n" * 3)
    second = restless.run(dafka("consume", "t", *flags, *cluster.at, "--count", "3"))
    assert second.printed() == b"y\n" * 3
