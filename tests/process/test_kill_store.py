"""A store that is killed at any moment loses nothing it has acknowledged, and doubles nothing."""

from __future__ import annotations

import random
import time
from subprocess import PIPE

import pytest

from tests.support.counting import counted, counting, lines, told
from tests.support.processes import Process, Processes, dafka, eventually

pytestmark = pytest.mark.process

PAIR = ("typed", "counted")


def settled(teller: Process) -> int:
    """What was told to be acknowledged once nothing is under way any more from a dead store."""
    told_before = -1
    while (now := told(teller)) != told_before:
        told_before = now
        time.sleep(0.1)
    return now


def kill_again_and_again(processes: Processes, seed: int, kills: int, count: int) -> None:
    """Two producers publish `count` records each while their only store is killed `kills` times."""
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    seconds = 1.2 * kills
    _, cluster = processes.tower()
    witness = processes.consume(cluster, "numbers", "--count", str(2 * count))
    store = processes.store(cluster)
    typed = processes.start(dafka("produce", "numbers", "--json", *cluster.at), stdin=PIPE)
    portions = int(seconds * 100)
    processes.feed(typed, lines("typed", count, count // portions), seconds / portions)
    teller = counting(processes, cluster, "counted", count, int(count / seconds))
    eventually(lambda: told(teller), "a first acknowledgement")
    for _ in range(kills):
        time.sleep(chance.uniform(0.0, 0.6))
        store.kill()
        before = settled(teller)
        time.sleep(chance.uniform(0.0, 0.3))
        assert told(teller) == before, "acknowledged without a store"
        store = processes.store(cluster)
        eventually(lambda least=before: told(teller) > least or told(teller) == count, "progress")
    assert typed.wait() == 0, typed.complained()
    assert teller.wait() == 0, teller.complained()
    assert witness.wait() == 0, witness.complained()
    everything = dict.fromkeys(PAIR, count)
    assert counted(witness) == everything
    late = processes.consume(cluster, "numbers", "--count", str(2 * count))
    assert late.wait() == 0, late.complained()
    assert counted(late) == everything
    more = processes.consume(cluster, "numbers", "--timeout", "0.5")
    assert more.wait() == 0
    assert counted(more) == everything, "there is more than was published"


@pytest.mark.parametrize("seed", [1, 20])
def test_two_producers_and_a_consumer_live_through_the_deaths_of_their_store(restless, seed):
    kill_again_and_again(restless, seed, kills=3, count=36_000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300, 306))
def test_they_live_through_many_of_them(restless, seed):
    kill_again_and_again(restless, seed, kills=5, count=150_000)


@pytest.mark.parametrize("seed", [5, pytest.param(6, marks=pytest.mark.slow)])
def test_what_was_acknowledged_outlives_store_and_producer(restless, seed):
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    _, cluster = restless.tower()
    store = restless.store(cluster)
    producer = counting(restless, cluster, "counted", 1_000_000, 50_000)
    eventually(lambda: told(producer), "a first acknowledgement")
    time.sleep(chance.uniform(0.0, 0.7))
    victims = [store, producer]
    chance.shuffle(victims)
    for victim in victims:
        victim.popen.kill()
    for victim in victims:
        victim.kill()
    acknowledged = told(producer)
    restless.store(cluster)
    late = restless.consume(cluster, "numbers", "--count", str(acknowledged))
    assert late.wait() == 0, late.complained()
    assert counted(late) == {"counted": acknowledged}
