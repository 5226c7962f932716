"""Programs of ordinary threads: interrupted, ended without a stop, and busy with something else."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import closing

import pytest

from dafka.core.receiver import Receiver
from tests.support.live_nodes import Nodes
from tests.support.processes import ENDS_WITHIN_S
from tests.support.waiting import take, until

pytestmark = pytest.mark.process


@pytest.fixture
def program(restless):
    """Starts one of the programs in `tests.support.thread_lives`."""

    def start(life: str, tower: object, *arguments: str):
        module = "tests.support.thread_lives"
        return restless.start([sys.executable, "-m", module, life, str(tower), *arguments])

    return start


@pytest.fixture
def nodes(tmp_path):
    with closing(Ended(tmp_path / "nodes")) as made:
        made.towered()
        yield made


class Ended(Nodes):
    """Nodes of this process that `close` ends."""

    def close(self) -> None:
        self.end()


@pytest.mark.alone
@pytest.mark.parametrize("call", ["flush", "publish", "poll", "iterate"])
def test_an_interrupt_ends_what_waits_and_the_program(program, nodes, call):
    process = program("wait", nodes.tower, call)
    until(lambda: b"waiting" in process.printed())
    time.sleep(0.2)
    began = time.monotonic()
    process.send(signal.SIGINT)
    until(lambda: process.popen.poll() is not None, ENDS_WITHIN_S)
    assert time.monotonic() - began < ENDS_WITHIN_S
    assert process.complained().rstrip().endswith("KeyboardInterrupt")
    assert process.complained().count("Traceback") == 1


def test_what_was_published_is_acknowledged_when_a_program_ends_without_a_stop(program, nodes):
    nodes.store()
    process = program("leave", nodes.tower)
    until(lambda: process.popen.poll() is not None)
    assert (process.popen.returncode, process.complained()) == (0, "")
    records = take(nodes.consumer(), 1000)
    assert [int(record.content) for record in records] == list(range(1000))


def test_without_a_store_such_a_program_ends_soon_and_says_what_is_lost(program, nodes):
    process = program("leave_in_vain", nodes.tower)
    until(lambda: b"published" in process.printed())
    began = time.monotonic()
    until(lambda: process.popen.poll() is not None)
    assert time.monotonic() - began < ENDS_WITHIN_S
    assert process.popen.returncode == 0
    assert "1000 records from offset 0 on, not acknowledged" in process.complained()
    assert "Traceback" not in process.complained()


def test_nodes_work_as_long_as_any_thread_of_the_program(program, nodes):
    nodes.store()
    process = program("outlive", nodes.tower)
    until(lambda: process.popen.poll() is not None)
    assert (process.popen.returncode, process.complained()) == (0, "")
    assert process.printed() == b"flushed\n"
    assert len(take(nodes.consumer(), 20)) == 20


def test_peers_do_not_miss_a_node_whose_program_computes(program, nodes, monkeypatch):
    """Its peers give it up after a second and a half of silence, in place of four."""
    lost = []
    peer_lost = Receiver.peer_lost

    def losing(machine, address, endpoint, now):
        lost.append(address)
        return peer_lost(machine, address, endpoint, now)

    hasty = {"peer_timeout_s": 1.5}
    nodes.store(**hasty)
    consumer = nodes.consumer(**hasty)
    monkeypatch.setattr(Receiver, "peer_lost", losing)
    process = program("compute", nodes.tower, "4")
    records = take(consumer, 2)
    assert [record.content for record in records] == [b"first", b"second"]
    partition = records[0].partition
    assert b"done" not in process.printed()
    until(lambda: b"done" in process.printed())
    assert partition not in lost
    until(lambda: process.popen.poll() is not None)
    assert (process.popen.returncode, process.complained()) == (0, "")
    until(lambda: partition in lost)  # in the end they do, so this test would see it
