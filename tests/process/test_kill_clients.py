"""A producer or consumer that is killed harms nobody else, and loses only what it alone had."""

from __future__ import annotations

import json
import random
import time
from subprocess import PIPE

import pytest

from tests.support.counting import Counts, counted, counting, lines, told
from tests.support.processes import dafka, eventually

pytestmark = pytest.mark.process


@pytest.mark.parametrize("seed", [11, 13])
def test_of_a_producer_that_was_killed_everything_acknowledged_stays_and_nothing_has_gaps(
    restless, seed
):
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    _, cluster = restless.server()
    witness = Counts(restless.consume(cluster, "numbers"))
    victim = counting(restless, cluster, "victim", 10_000_000, chance.choice([20_000, 500_000]))
    eventually(lambda: told(victim), "a first acknowledgement")
    time.sleep(chance.uniform(0.0, 0.5))
    victim.kill()
    acknowledged = told(victim)
    other = counting(restless, cluster, "other", 1_000, 10_000)
    assert other.wait() == 0, other.complained()

    late = restless.consume(cluster, "numbers", "--timeout", "0.8")
    assert late.wait() == 0, late.complained()
    stored = counted(late)
    assert stored["victim"] >= acknowledged
    assert stored["other"] == 1_000
    # The witness may have seen more: what had left for it, but not yet for the store, when the
    # producer died.
    witness.when(lambda counts: all(counts.get(name, 0) >= stored[name] for name in stored))
    assert witness()["other"] == 1_000


def test_a_new_consumer_goes_on_where_a_killed_one_stopped(restless):
    count = 20_000
    _, cluster = restless.server()
    producer = restless.start(dafka("produce", "numbers", *cluster.at), stdin=PIPE)
    restless.feed(producer, lines("n", count, 200), 0.01)
    victim = restless.consume(cluster, "numbers", "--json")
    eventually(lambda: victim.printed().count(b"\n") > 5_000, "some records")
    victim.kill()
    seen = [json.loads(line) for line in victim.printed().split(b"\n")[:-1]]
    assert [(r["offset"], r["content"]) for r in seen] == [(n, f"n {n}") for n in range(len(seen))]

    rest = count - len(seen)
    where = ("--from", str(len(seen)), "--count", str(rest))
    successor = restless.start(dafka("consume", "numbers", *where, "--json", *cluster.at))
    assert producer.wait() == 0, producer.complained()
    assert successor.wait() == 0, successor.complained()
    offsets = [json.loads(line)["offset"] for line in successor.printed().splitlines()]
    assert offsets == list(range(len(seen), count))


def test_many_that_die_leave_a_cluster_that_works(restless):
    _, cluster = restless.server()
    for number in range(3):
        victims = [
            counting(restless, cluster, f"v{number}", 1_000_000, 20_000),
            restless.consume(cluster, "numbers"),
        ]
        eventually(lambda p=victims[0]: told(p), "a first acknowledgement")
        for victim in victims:
            victim.kill()
    after = counting(restless, cluster, "after", 5_000, 50_000)
    late = Counts(restless.consume(cluster, "numbers"))
    assert after.wait() == 0, after.complained()
    late.when(lambda counts: counts.get("after") == 5_000)
