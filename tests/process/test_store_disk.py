"""A disk that refuses, below a running store: nothing is acknowledged that is not on it.

Reads go on meanwhile, an operator is told once, and when the disk works again nothing is missing.
"""

from __future__ import annotations

import random
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import gevent
import pytest

import dafka
from dafka.io import committer
from dafka.io.log import Log
from tests.support.failing_disk import FailingDisk
from tests.support.live_nodes import Nodes
from tests.support.processes import Cluster
from tests.support.waiting import take, until

pytestmark = pytest.mark.process

REFUSALS: dict[str, Callable[[FailingDisk], None]] = {
    "full": FailingDisk.full,
    "full in the middle of a piece": lambda disk: disk.full(short=True),
    "broken": FailingDisk.broken,
    "unsynced": FailingDisk.unsynced,
    "read-only": FailingDisk.read_only,
}


def content(offset: int) -> bytes:
    return random.Random(offset).randbytes(offset * 997 % 30_000)


def publish(producer: dafka.Producer, count: int) -> None:
    for offset in range(producer.next_offset, producer.next_offset + count):
        producer.publish(content(offset))


def verify(data: Path, partition: str, count: int) -> None:
    """A log has these records, as they were published, and nothing is wrong with it."""
    with Log(data) as log:
        assert list(log.check()) == []
        extent = log.extent("t", partition)
        assert extent is not None
        assert (extent.earliest, extent.next) == (0, count)
        at = 0
        while at < count:
            run = log.read("t", partition, at, max_records=count, max_bytes=10**7)
            assert run is not None
            assert run.contents == [content(offset) for offset in range(at, run.next)]
            at = run.next


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Nodes on loopback that end with the test."""
    made = Nodes(tmp_path)
    try:
        made.towered()
        yield made
    finally:
        made.end()


@pytest.fixture
def disk() -> Iterator[FailingDisk]:
    """The disk below every log that is opened; it works again when nodes stop."""
    with FailingDisk().watching() as watched:
        yield watched


@pytest.mark.parametrize("refusal", REFUSALS)
def test_nothing_is_acknowledged_that_the_disk_refuses(disk, nodes, tmp_path, caplog, refusal):
    store = nodes.store(tmp_path / "data", beacon_interval_s=0.1, upkeep_interval_s=0.05)
    producer = nodes.producer(beacon_interval_s=0.1)
    publish(producer, 20)
    producer.flush(20)
    assert store.healthy

    REFUSALS[refusal](disk)
    publish(producer, 20)
    until(lambda: not store.healthy)
    refused = disk.refusals
    until(lambda: disk.refusals > refused, what="another attempt")
    with pytest.raises(dafka.PublishTimeout):
        producer.flush(0.1)
    assert producer.acknowledged == 20
    assert [extent.next for extent in store.partitions()] == [20]
    served = take(nodes.consumer(beacon_interval_s=0.1), 20)
    assert [record.content for record in served] == [content(offset) for offset in range(20)]
    assert not store.healthy
    assert not store.stats().healthy

    disk.heal()
    until(lambda: store.healthy)
    producer.flush(20)
    assert producer.acknowledged == 40
    publish(producer, 5)
    producer.flush(20)
    store.stop(5)
    verify(tmp_path / "data", producer.partition, 45)
    told = [record.getMessage() for record in caplog.records if record.name == "dafka.store"]
    complaints = [line for line in told if line.startswith("store cannot write, and will retry")]
    assert len(complaints) == 1
    assert f"records cannot be written to {tmp_path / 'data'}: " in complaints[0]
    assert len([line for line in told if line.startswith("store can write again")]) == 1


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_store_that_ends_while_the_disk_refuses_has_all_that_it_acknowledged(
    disk, nodes, tmp_path, refusal
):
    store = nodes.store(tmp_path / "data", beacon_interval_s=0.1)
    producer = nodes.producer(beacon_interval_s=0.1)
    publish(producer, 20)
    producer.flush(20)
    REFUSALS[refusal](disk)
    publish(producer, 20)
    until(lambda: not store.healthy)
    store.stop(5)
    assert producer.acknowledged == 20
    disk.heal()
    nodes.store(tmp_path / "data", beacon_interval_s=0.1)
    producer.flush(20)
    nodes.end()
    verify(tmp_path / "data", producer.partition, 40)


def test_a_store_that_ends_between_two_attempts_does_not_wait_for_the_next(
    disk, nodes, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(committer, "_RETRY_S", 60.0)
    store = nodes.store(tmp_path / "data", beacon_interval_s=0.1)
    producer = nodes.producer(beacon_interval_s=0.1)
    disk.full()
    publish(producer, 20)
    until(lambda: not store.healthy)
    store.stop(5)
    assert "store stopped with unwritten records, none of them acknowledged" in caplog.messages


def test_a_full_file_system(nodes, tmp_path):
    """A real one, so its other files are refused as well; mounting it takes an administrator."""
    data = tmp_path / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "dafka-test", str(data)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        store = nodes.store(data, beacon_interval_s=0.1)
        producer = nodes.producer(beacon_interval_s=0.1)
        publish(producer, 10)
        producer.flush(20)
        publish(producer, 140)
        until(lambda: not store.healthy)
        acknowledged = producer.acknowledged
        assert 10 <= acknowledged < 150
        assert [extent.next for extent in store.partitions()] == [acknowledged]
        assert len(take(nodes.consumer(beacon_interval_s=0.1), acknowledged)) == acknowledged
        subprocess.run(["mount", "-o", "remount,size=64m", str(data)], check=True)
        producer.flush(20)
        assert store.healthy
        nodes.end()
        verify(data, producer.partition, 150)
    finally:
        nodes.end()
        subprocess.run(["umount", str(data)], check=True)


def test_a_process_whose_files_may_not_grow(nodes, restless, tmp_path):
    """The kernel's own refusal in the middle of writing, and what the command tells of it."""
    store = restless.store(Cluster(nodes.tower.sub, nodes.tower.pub), "data")
    producer = nodes.producer(beacon_interval_s=0.1)
    publish(producer, 10)
    producer.flush(20)
    _, hard = resource.prlimit(store.popen.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(store.popen.pid, resource.RLIMIT_FSIZE, (1 << 20, hard))
    publish(producer, 140)
    until(lambda: "store cannot write, and will retry" in store.complained(), what="a warning")
    acknowledged = producer.acknowledged
    assert 10 <= acknowledged < 150
    assert len(take(nodes.consumer(beacon_interval_s=0.1), acknowledged)) == acknowledged
    resource.prlimit(store.popen.pid, resource.RLIMIT_FSIZE, (hard, hard))
    producer.flush(20)
    until(lambda: "store can write again" in store.complained(), what="the end of it")
    assert store.complained().count("store cannot write") == 1
    assert store.end() == 0
    verify(tmp_path / "data", producer.partition, 150)


def test_a_process_whose_directory_is_removed_says_so_and_fails(nodes, restless, tmp_path):
    store = restless.store(Cluster(nodes.tower.sub, nodes.tower.pub), "data")
    producer = nodes.producer(beacon_interval_s=0.1)
    publish(producer, 10)
    producer.flush(20)
    shutil.rmtree(tmp_path / "data")
    publish(producer, 10)
    until(lambda: store.popen.poll() is not None)
    assert store.wait() == 1
    assert producer.acknowledged == 10
    assert f"{tmp_path / 'data'} was removed, renamed or replaced" in store.complained()
    assert "Traceback" not in store.complained()


def test_a_process_whose_database_is_locked_ends_in_time(nodes, restless, tmp_path):
    store = restless.store(Cluster(nodes.tower.sub, nodes.tower.pub), "data")
    producer = nodes.producer(beacon_interval_s=0.1)
    publish(producer, 10)
    producer.flush(20)
    with closing(sqlite3.connect(tmp_path / "data" / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        publish(producer, 10)
        gevent.sleep(0.3)  # whether the commit has begun or not, the store is to end
        assert store.end() == 0
        assert producer.acknowledged == 10
    assert "store stopped before it could close" in store.complained()
    restless.store(Cluster(nodes.tower.sub, nodes.tower.pub), "data")
    producer.flush(20)
