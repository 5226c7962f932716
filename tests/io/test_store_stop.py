"""A store ends in time whatever another program does with its files, and the others go on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from time import monotonic

import gevent
import pytest

import dafka
from dafka.errors import StoreError
from dafka.io.log import Log
from dafka.io.threads import Threads, within
from tests.support.live_nodes import fill
from tests.support.waiting import until

pytestmark = pytest.mark.io


class Pulse:
    """A greenlet that wants its turn all the time; `longest` is how long it has waited for one."""

    def __init__(self):
        self.longest = 0.0
        self._greenlet = gevent.spawn(self._beat)

    def _beat(self):
        last = monotonic()
        while True:
            gevent.sleep(0.01)
            self.longest = max(self.longest, monotonic() - last)
            last = monotonic()

    def end(self):
        self._greenlet.kill()


@pytest.fixture
def pulse():
    beating = Pulse()
    yield beating
    beating.end()


def opened(directory):
    """Whether the log in a directory can be opened, and nothing is wrong with it."""
    try:
        with Log(directory) as log:
            return list(log.check()) == []
    except StoreError:
        return False


def test_a_store_whose_database_is_locked_ends_in_time(nodes, tmp_path, pulse, caplog):
    nodes.towered()
    data = tmp_path / "data"
    store, producer = nodes.store(data), nodes.producer()
    fill(producer, 10)
    producer.flush(20)
    with closing(sqlite3.connect(data / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        fill(producer, 10, 10)
        until(lambda: store._log._writer._busy.locked(), what="a commit that waits for the lock")
        pulse.longest = 0.0
        began = monotonic()
        store.stop(0.3)
        assert monotonic() - began < 5.0, "SQLite waits ten seconds for a lock"
        assert pulse.longest < 3.0
        assert producer.acknowledged == 10
        assert not opened(data), "another store would write beside the one that ends"
        assert "store stopped before it could close" in caplog.text
    until(lambda: opened(data))
    nodes.store(data)
    producer.flush(20)
    assert producer.acknowledged == 20


def test_a_producer_whose_outbox_is_locked_ends_in_time(
    nodes, tmp_path, pulse, caplog, monkeypatch
):
    monkeypatch.setattr("dafka.io.publishing._SAVE_S", 0.2)
    nodes.towered()
    outbox = tmp_path / "outbox"
    producer = nodes.producer(outbox=str(outbox))
    fill(producer, 10)
    until(lambda: producer.saved == 10)
    with closing(sqlite3.connect(outbox / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        fill(producer, 10, 10)
        until(lambda: producer._outbox._log._writer._busy.locked(), what="a commit that waits")
        began = monotonic()
        producer.stop(0.2)
        assert monotonic() - began < 5.0, "SQLite waits ten seconds for a lock"
        assert pulse.longest < 3.0
        assert "outbox not closed yet" in caplog.text
    until(lambda: opened(outbox))


def test_what_ends_within_its_time_has_ended():
    done = []
    assert within(20, lambda: done.append(1))
    assert done == [1]


def test_what_fails_within_its_time_fails():
    with pytest.raises(dafka.StoreError, match="no"):
        within(20, lambda: (_ for _ in ()).throw(StoreError("no")))


def test_a_thread_hands_on_what_it_returns_and_raises():
    threads = Threads(1)
    assert threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.run(divmod, 7, 0)
    threads.close()
