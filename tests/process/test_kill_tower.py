"""A tower that dies disturbs nobody who is introduced, and one in its place introduces the rest."""

from __future__ import annotations

import time

import pytest
import zmq

from tests.support.counting import Counts, counted, counting, told
from tests.support.processes import Processes, dafka, eventually

pytestmark = [pytest.mark.process, pytest.mark.alone]

COUNT = 10_000


def kill_the_tower(processes: Processes, silence: float) -> None:
    """Kill the only tower for `silence` seconds while records flow, then start it again."""
    tower, cluster = processes.tower()
    processes.store(cluster)
    witness = Counts(processes.consume(cluster, "numbers"))
    producer = counting(processes, cluster, "before", 1_000_000, 5_000)
    witness.when(lambda counts: counts)
    eventually(lambda: told(producer), "a first acknowledgement")

    tower.kill()
    late = processes.consume(cluster, "numbers", "--count", str(COUNT))
    until = time.monotonic() + silence
    while time.monotonic() < until:
        acknowledged, delivered = told(producer), witness()["before"]
        witness.when(lambda counts: counts["before"] > delivered, within=3.0)  # noqa: B023
        eventually(lambda: told(producer) > acknowledged, "an acknowledgement", within=3.0)  # noqa: B023
    assert not late.printed(), "it found somebody without a tower"

    processes.tower(cluster)
    assert late.wait() == 0, late.complained()
    assert counted(late) == {"before": COUNT}
    newcomer = counting(processes, cluster, "after", 1_000, 5_000)
    assert newcomer.wait() == 0, newcomer.complained()
    witness.when(lambda counts: counts.get("after") == 1_000)


def test_records_flow_on_while_the_only_tower_is_dead_and_newcomers_wait_for_the_next(restless):
    restless.environment["DAFKA_PEER_TIMEOUT_S"] = "0.8"  # far less than the tower will be dead
    kill_the_tower(restless, silence=2.5)


@pytest.mark.slow
def test_the_same_with_the_settings_that_everybody_has(processes):
    kill_the_tower(processes, silence=12.0)


def test_a_port_that_something_else_held_meanwhile_does_not_hide_the_tower_for_ever(processes):
    # Slow beacons: the tower is there long before a node can find it silent.
    processes.environment["DAFKA_BEACON_INTERVAL_S"] = "1.5"
    (processes.directory / "line").write_bytes(b"x\n")
    producers = []
    for side in ("sub", "pub"):
        tower, cluster = processes.tower()
        tower.kill()
        with zmq.Context() as context, context.socket(zmq.REP) as stranger:
            stranger.bind(getattr(cluster, side))
            with (
                stranger.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor,
                (processes.directory / "line").open("rb") as line,
            ):
                command = dafka("produce", "t", "--timeout", "10", *cluster.at)
                producers.append(processes.start(command, stdin=line))
                assert monitor.poll(5_000), "it met the stranger"
                stranger.disable_monitor()
        processes.start(dafka("server", "--data", side, *cluster.c_flags)).line()
    assert [producer.wait() for producer in producers] == [0, 0]
