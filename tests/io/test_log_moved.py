"""A directory that vanishes below a log: nothing is acknowledged that nobody could ever read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import dafka
from dafka.core.run import Run
from dafka.io.log import Log, Moved
from tests.support.live_nodes import fill
from tests.support.waiting import until

A = "A" * 32


def _rename(data: Path) -> None:
    data.rename(data.with_name("elsewhere"))


def _replace_by_an_empty_directory(data: Path) -> None:
    _rename(data)
    data.mkdir()


def _replace_by_another_log(data: Path) -> None:
    _rename(data)
    with Log(data) as log:
        log.append([Run("other", A, 0, [b"0"])])


def _replace_by_a_copy(data: Path) -> None:
    shutil.copytree(data, data.with_name("copy"))
    _rename(data)
    data.with_name("copy").rename(data)


def _replace_the_parent(data: Path) -> None:
    data.parent.rename(data.parent.with_name("renamed"))
    data.mkdir(parents=True)


VANISHING: dict[str, Callable[[Path], object]] = {
    "removed": shutil.rmtree,
    "renamed": _rename,
    "emptied": _replace_by_an_empty_directory,
    "another log": _replace_by_another_log,
    "a copy": _replace_by_a_copy,
    "the parent": _replace_the_parent,
    "the database": lambda data: (data / "cache.db").unlink(),
    "what was written last": lambda data: (data / "cache.db-wal").unlink(),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Where a log will be."""
    return tmp_path / "parent" / "data"


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("vanish", VANISHING)
def test_an_append_to_a_directory_that_has_vanished_is_refused(data, vanish, connected):
    log = Log(data)
    log.open()
    log.append([Run("t", A, 0, [b"0"])])
    VANISHING[vanish](data)
    if not connected:
        log._opened().connections._idle.pop().close()
    for _ in range(2):
        with pytest.raises(Moved, match="removed, renamed or replaced") as error:
            log.append([Run("t", A, 1, [b"1"])])
        assert str(data) in str(error.value)
    with pytest.raises(Moved):
        log.check_place()
    log.close()
    if vanish == "another log":
        with Log(data) as other:
            assert [(extent.topic, extent.next) for extent in other.partitions()] == [("other", 1)]
            assert list(other.check()) == []


def test_a_log_that_is_appended_to_for_long_stays_where_it_is(data):
    with Log(data) as log:
        for offset in range(100):
            log.append([Run("t", A, offset, [bytes(200_000)])])
            log.vacuum()
        log.drop("t", A, 90, max_values=1000)
        while log.vacuum():
            pass
        log.check_place()


@pytest.mark.io
@pytest.mark.parametrize("vanish", ["removed", "a copy"])
@pytest.mark.parametrize("idle", [True, False])
def test_a_store_whose_directory_vanishes_ends_and_acknowledges_nothing(
    nodes, data, caplog, vanish, idle
):
    nodes.towered()
    store = nodes.store(data, upkeep_interval_s=0.05 if idle else 60.0)
    producer = nodes.producer()
    fill(producer, 10)
    producer.flush(20)
    VANISHING[vanish](data)
    if not idle:
        fill(producer, 10)
    with pytest.raises(dafka.StoreError, match="removed, renamed or replaced"):
        store.wait(20)
    assert not store.healthy
    assert producer.acknowledged == 10
    store.stop(1)
    assert producer.acknowledged == 10
    told = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert len(told) == 1
    assert "ended: " in told[0].getMessage()
    assert told[0].exc_info is None


@pytest.mark.io
def test_a_producer_whose_outbox_vanishes_ends_and_says_why(nodes, data, caplog):
    nodes.towered()
    producer = nodes.producer(outbox=str(data))
    fill(producer, 10)
    until(lambda: producer.saved == 10)
    shutil.rmtree(data)
    with pytest.raises(dafka.StoreError, match="removed, renamed or replaced"):
        until(lambda: producer.publish(b"more") is None)
    with pytest.raises(dafka.StoreError, match="removed, renamed or replaced"):
        producer.stop(0)
    (told,) = [text for text in caplog.messages if text.startswith("outbox lost ")]
    lost = producer.next_offset - 10
    noun = "record" if lost == 1 else "records"
    reason = "the outbox had failed before, as told above"
    assert told == f"outbox lost {lost} {noun} of topic t from offset 10 on: {reason}"
