"""Memory stays within bounds while one consumer catches up and another one stands still."""

from __future__ import annotations

import pytest

from tests.support.counting import told
from tests.support.loading import Watch, loading
from tests.support.processes import eventually

pytestmark = [pytest.mark.process, pytest.mark.alone]

MOST_MIB = {"server": 350, "producer": 350, "live": 200, "late": 200}
"""What `buffer_bytes` allows each to hold (operations.md), its queues, and 40 MiB of Python."""
_NEAR = 1_000_000
"""Records that a consumer which keeps up may be behind: what is acknowledged in about a second."""


@pytest.mark.parametrize(
    ("history", "still_s"),
    [(300_000, 8.0), pytest.param(10_000_000, 60.0, marks=pytest.mark.slow)],
)
@pytest.mark.timeout(600)
def test_memory_is_bounded_under_full_load(processes, history, still_s):
    server, cluster = processes.server()
    producer = loading(processes, cluster, "publish")
    eventually(lambda: told(producer) >= history, "a history to catch up with", 300)
    live, still = (loading(processes, cluster, "read") for _ in range(2))
    watch = Watch(server=server, producer=producer, live=live)
    watch.until(
        lambda: min(told(live), told(still)) > told(producer) - _NEAR, "both have caught up", 300
    )
    going = watch.for_seconds(still_s / 2)

    still.suspend()
    late = loading(processes, cluster, "read")
    watch.processes["late"], watch.most_mib["late"] = late, 0.0
    catching_up = watch.until(lambda: told(late) >= history, "the late one has the history", 300)
    stopped = watch.for_seconds(still_s)
    still.resume()

    producer.stdin.close()
    assert producer.wait(within=120) == 0, producer.complained()
    published = told(producer)
    del watch.processes["producer"]
    nodes = {"live": live, "late": late, "still": still}
    watch.until(lambda: all(told(node) == published for node in nodes.values()), "all", 300)
    for name, rates in (("before", going), ("catching up", catching_up), ("stopped", stopped)):
        print(name, {node: f"{rate:,.0f}/s" for node, rate in rates.items()})  # noqa: T201
    print("most MiB", {node: round(mib) for node, mib in watch.most_mib.items()})  # noqa: T201
    for name, most in watch.most_mib.items():
        assert most < MOST_MIB[name], watch.most_mib
    for node in (*nodes.values(), server):
        node.popen.terminate()
        assert node.wait() == 0 or node is not server
