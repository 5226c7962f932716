"""A node that stands still (SIGSTOP) disturbs nobody, and catches up when it goes on."""

from __future__ import annotations

import time

import pytest

from tests.support.counting import Counts, counted, counting, told
from tests.support.processes import dafka, eventually

pytestmark = [pytest.mark.process, pytest.mark.alone]

RATE = 10_000
COUNT = 4 * RATE
STILL_S = 3.0


@pytest.mark.parametrize("role", ["consumer", "store"])
def test_a_node_that_stood_still_for_three_seconds(processes, role):
    _, cluster = processes.tower()
    store = processes.store(cluster)
    other, witness = [
        Counts(processes.consume(cluster, "numbers", "--count", str(COUNT))) for _ in range(2)
    ]
    producer = counting(processes, cluster, "n", COUNT, RATE)
    for consumer in (other, witness):
        consumer.when(lambda counts: counts.get("n", 0) > RATE // 2)  # they do not ask the store
    eventually(lambda: told(producer), "a first acknowledgement")

    sleeper = other.process if role == "consumer" else store
    sleeper.suspend()
    until = time.monotonic() + STILL_S
    acknowledged = told(producer)
    while time.monotonic() < until and (before := witness().get("n", 0)) < COUNT:
        witness.when(lambda counts: counts["n"] > before, within=3.0)
    assert witness()["n"] > 3 * RATE
    if role == "consumer":
        eventually(lambda: told(producer) > acknowledged + RATE, "it was acknowledged meanwhile")
    time.sleep(max(0.0, until - time.monotonic()))
    sleeper.resume()

    assert producer.wait() == 0, producer.complained()
    for consumer in (other, witness):
        assert consumer.process.wait() == 0, consumer.process.complained()
        assert consumer() == {"n": COUNT}
    late = processes.consume(cluster, "numbers", "--count", str(COUNT))
    assert late.wait() == 0
    assert counted(late) == {"n": COUNT}


def test_the_latest_records_of_a_producer_that_came_and_went_while_the_consumer_stood_still(
    restless,
):
    restless.environment["DAFKA_PEER_TIMEOUT_S"] = "1"
    _, cluster = restless.server()
    produce = dafka("produce", "news", *cluster.at)
    restless.run(produce, given=b"old\n")
    consumer = restless.start(
        dafka("consume", "news", "--from", "latest", "--count", "2", *cluster.at)
    )
    nodes = dafka("nodes", "--json", *cluster.at)
    eventually(lambda: b"consumer" in restless.run(nodes).printed(), "the consumer is there")

    consumer.suspend()
    restless.run(produce, given=b"new\nnewer\n")
    consumer.resume()

    assert consumer.wait() == 0, consumer.complained()
    assert [line.split()[-1] for line in consumer.printed().splitlines()] == [b"new", b"newer"]
