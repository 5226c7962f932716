"""Three stores end with the same records, whichever of them were killed or lost their directory."""

from __future__ import annotations

import json
import random
import shutil

import pytest

from tests.support.counting import counted, counting, told
from tests.support.processes import Cluster, Process, Processes, dafka, eventually

pytestmark = pytest.mark.process

NAMES = ("a", "b", "c")


def caught_up(processes: Processes, cluster: Cluster, count: int) -> bool:
    """Whether every store says that it has all records."""
    describe = processes.start(dafka("describe", "numbers", "--json", *cluster.at))
    if describe.wait() != 0:
        return False
    (partition,) = json.loads(describe.printed())["partitions"]
    copies = partition["stores"]
    return partition["next"] == count and [one["lag"] for one in copies] == [0] * len(NAMES)


@pytest.mark.parametrize(
    ("seed", "count", "rate"),
    [
        (1, 60_000, 20_000),
        *(pytest.param(seed, 1_000_000, 60_000, marks=pytest.mark.slow) for seed in range(2, 6)),
    ],
)
@pytest.mark.timeout(300)
def test_two_of_them_are_killed_in_turn_and_one_loses_its_directory(restless, seed, count, rate):
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    _, cluster = restless.tower()
    stores: dict[str, Process] = {name: restless.store(cluster, name) for name in NAMES}
    producer = counting(restless, cluster, "n", count, rate)
    victims = chance.sample(NAMES, 2)
    wiped = chance.choice(victims)
    for part, name in enumerate(victims, 1):
        at = count * part / 4 * chance.uniform(0.9, 1.1)
        eventually(lambda at=at: told(producer) >= at, f"{at} records", within=60)
        stores[name].kill()
        if name == wiped:
            shutil.rmtree(restless.directory / name)
        eventually(lambda at=at: told(producer) >= at + count / 10, "records without it", within=60)
        stores[name] = restless.store(cluster, name)
    assert producer.wait(within=60) == 0, producer.complained()

    eventually(lambda: caught_up(restless, cluster, count), "all have everything", within=120)
    late = restless.consume(cluster, "numbers", "--count", str(count))
    assert late.wait(within=60) == 0
    assert counted(late) == {"n": count}
    for store in stores.values():
        assert store.end() == 0
    check = restless.run(dafka("check", "--compare", "--json", *NAMES), within=60)
    told_of = json.loads(check.printed())
    assert [one["records"] for one in told_of["directories"]] == [count] * len(NAMES)
    (compared,) = told_of["partitions"]
    assert compared["identical"]
    assert compared["stored"] == [compared["stored"][0]] * len(NAMES)
