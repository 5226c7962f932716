"""Stores: how many acknowledge, restarts in the middle of everything, disks that refuse."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict

import gevent
import pytest

import dafka
from dafka.io.log import Log
from tests.support.live_nodes import fill
from tests.support.waiting import during, take, until

pytestmark = pytest.mark.io


def offsets(records) -> list[int]:
    return [record.offset for record in records]


class TestHowManyAcknowledge:
    def test_two_are_wanted_and_one_does_not_do(self, nodes):
        producer = nodes.cluster().producer(min_store_acks=2, stop_timeout_s=0.1)
        fill(producer, 100)
        with pytest.raises(dafka.PublishTimeout) as caught:
            producer.flush(0.5)
        assert caught.value.unacknowledged == 100
        second = nodes.store()
        producer.flush(20)
        assert [extent.next for extent in second.partitions()] == [100]

    def test_two_are_wanted_and_two_are_there(self, nodes):
        nodes.towered()
        stores = [nodes.store(), nodes.store()]
        producer = nodes.producer(min_store_acks=2)
        fill(producer, 1000)
        producer.flush(20)
        assert [[e.next for e in store.partitions()] for store in stores] == [[1000], [1000]]

    def test_three_are_wanted_of_three_and_one_leaves(self, nodes):
        nodes.towered()
        stores = [nodes.store() for _ in range(3)]
        producer = nodes.producer(min_store_acks=3, stop_timeout_s=0.1)
        fill(producer, 10)
        producer.flush(20)
        stores[0].stop()
        fill(producer, 10, first=10)
        with pytest.raises(dafka.PublishTimeout) as caught:
            producer.flush(0.3)
        assert caught.value.unacknowledged == 10

    def test_one_store_that_was_restarted_is_still_one(self, nodes, tmp_path):
        nodes.towered()
        store = nodes.store(tmp_path / "data")
        producer = nodes.producer(min_store_acks=2, stop_timeout_s=0.1, head_interval_s=0.1)
        fill(producer, 10)
        until(lambda: [extent.next for extent in store.partitions()] == [10])
        store.stop()
        acks = producer.stats().acks
        nodes.store(tmp_path / "data")
        until(lambda: producer.stats().acks >= acks + 2, what="what the store says anew")
        with pytest.raises(dafka.PublishTimeout):
            producer.flush(0.2)

    def test_every_consumer_gets_a_record_once_however_many_stores_there_are(self, nodes):
        nodes.towered()
        for _ in range(3):
            nodes.store()
        producer, live = nodes.producer(min_store_acks=3), nodes.consumer()
        fill(producer, 2000)
        producer.flush(20)
        late = nodes.consumer()
        for consumer in (live, late):
            assert offsets(take(consumer, 2000)) == list(range(2000))
            during(0.1, lambda consumer=consumer: consumer.poll(0) is None)


class TestRestarts:
    def test_while_one_publishes_and_one_reads_nothing_is_lost_or_doubled(self, nodes, tmp_path):
        nodes.towered()
        data = tmp_path / "data"
        store = nodes.store(data)
        producer, consumer = nodes.producer(), nodes.consumer()
        total = 20_000

        def publish():
            for at in range(total):
                producer.publish(b"%d" % at, timeout=30)
                if not at % 20:
                    gevent.sleep(0.001)
            producer.flush(30)

        seen: list[int] = []

        def read():
            for record in take(consumer, total, 60):
                assert record.content == b"%d" % record.offset
                seen.append(record.offset)

        working = [gevent.spawn(publish), gevent.spawn(read)]
        for part in (1, 2, 3):
            until(lambda part=part: producer.next_offset >= total * part // 4, 60)
            store.stop()
            gevent.sleep(0)
            store = nodes.store(data)
        gevent.joinall(working, raise_error=True)
        assert seen == list(range(total))
        late = nodes.consumer()
        assert [record.content for record in take(late, total)] == [b"%d" % n for n in seen]
        for one in (consumer, late):
            during(0.1, lambda one=one: one.poll(0) is None)
        assert [extent.next for extent in store.partitions()] == [total]

    def test_a_consumer_in_the_middle_of_a_catch_up_goes_on_with_the_new_store(
        self, nodes, tmp_path
    ):
        nodes.towered()
        data = tmp_path / "data"
        store = nodes.store(data)
        producer = nodes.producer()
        for _ in range(20_000):
            producer.publish(bytes(100))
        producer.stop(20)
        consumer = nodes.consumer(buffer_bytes=50_000)
        seen = offsets(take(consumer, 5000))
        store.stop()
        nodes.store(data)
        seen += offsets(take(consumer, 15_000, 40))
        assert seen == list(range(20_000))

    def test_records_published_while_it_was_away_are_stored_when_it_is_back(self, nodes, tmp_path):
        nodes.towered()
        store = nodes.store(tmp_path / "data")
        producer = nodes.producer(stop_timeout_s=0.1)
        fill(producer, 100)
        producer.flush(20)
        store.stop()
        fill(producer, 900, first=100)
        assert producer.unacknowledged == 900
        nodes.store(tmp_path / "data")
        producer.flush(20)
        assert offsets(take(nodes.consumer(), 1000)) == list(range(1000))

    def test_what_was_stored_is_there_at_once_after_a_restart(self, nodes, tmp_path):
        nodes.towered()
        store = nodes.store(tmp_path / "data")
        producers = [nodes.producer(topic) for topic in ("red", "green")]
        for producer in producers:
            fill(producer, 50)
            producer.stop(20)
        before = store.partitions()
        store.stop()
        again = nodes.store(tmp_path / "data")
        assert sorted(map(str, again.partitions())) == sorted(map(str, before))
        assert len(take(nodes.consumer("red", "green"), 100)) == 100

    def test_what_was_received_before_stop_is_written_and_acknowledged(self, nodes):
        nodes.towered()
        store, producer = nodes.store(), nodes.producer(stop_timeout_s=0.1)
        fill(producer, 10)
        producer.flush(20)
        for turn in range(5):
            fill(producer, 2000, first=10 + 2000 * turn)
            gevent.sleep(0.002)
        store.stop()
        stored = store.partitions()[0].next
        until(lambda: producer.acknowledged == stored, 10, "an acknowledgement of what is stored")


class TestRefusingDisks:
    @pytest.fixture
    def disk(self, monkeypatch):
        """Whether appends work: `disk.full = True` makes them raise."""

        class Disk:
            full = False
            refusals = 0

        def append(log, runs):
            if Disk.full:
                Disk.refusals += 1
                raise dafka.StoreError("database or disk is full")
            return real(log, runs)

        real = Log.append
        monkeypatch.setattr(Log, "append", append)
        return Disk

    def test_nothing_is_acknowledged_reads_go_on_and_it_recovers(self, nodes, disk, caplog):
        nodes.towered()
        store = nodes.store()
        producer = nodes.producer(stop_timeout_s=0.1)
        fill(producer, 100)
        producer.flush(20)
        assert store.healthy
        assert store.stats().healthy
        disk.full = True
        fill(producer, 50, first=100)
        until(lambda: disk.refusals >= 2, what="a second attempt")
        assert not store.healthy
        assert not store.stats().healthy
        assert "store cannot write, and will retry: database or disk is full" in caplog.text
        with pytest.raises(
            dafka.PublishTimeout, match="a store is there, but does not ack"
        ) as late:
            producer.flush(0.3)
        assert "50 records from offset 100 on, not acknowledged within 0.3 s; " in str(late.value)
        assert producer.acknowledged == 100
        assert store.partitions()[0].next == 100
        assert offsets(take(nodes.consumer(), 100)) == list(range(100))
        disk.full = False
        producer.flush(20)
        until(lambda: store.healthy)
        assert "store can write again" in caplog.text
        assert offsets(take(nodes.consumer(), 150)) == list(range(150))

    def test_another_store_acknowledges_meanwhile(self, nodes, monkeypatch):
        nodes.towered()
        broken, working = nodes.store(), nodes.store()

        def refuse(runs):
            raise dafka.StoreError("no")

        monkeypatch.setattr(broken._log, "append", refuse)
        producer = nodes.producer()
        fill(producer, 100)
        producer.flush(20)
        assert [extent.next for extent in working.partitions()] == [100]
        assert broken.partitions() == []
        until(lambda: not broken.healthy)

    def test_a_store_whose_disk_refuses_can_be_stopped(self, nodes, disk):
        nodes.towered()
        store, producer = nodes.store(), nodes.producer(stop_timeout_s=0.1)
        disk.full = True
        fill(producer, 10)
        until(lambda: disk.refusals)
        stopping = gevent.spawn(store.stop)
        stopping.get(timeout=5)
        assert producer.acknowledged == 0

    def test_a_store_that_is_stopped_while_its_disk_refuses_leaves_no_hole(
        self, nodes, monkeypatch
    ):
        """Later records may fit where earlier ones did not: they must not be acknowledged alone."""
        nodes.towered()
        store, producer = nodes.store(), nodes.producer(stop_timeout_s=0.1)
        real, refusals = Log.append, []

        def append(log, runs):
            if runs[0].first == 0:
                refusals.append(runs)
                raise dafka.StoreError("database or disk is full")
            return real(log, runs)

        monkeypatch.setattr("dafka.io.committer._COMMIT_BYTES", 1)
        monkeypatch.setattr(Log, "append", append)
        producer.publish(b"does not fit")
        until(lambda: refusals)
        producer.publish(b"would fit")
        until(lambda: store._committer._changes, what="a record that waits")
        store.stop()
        assert producer.acknowledged == 0
        monkeypatch.setattr(Log, "append", real)
        again = nodes.store(store._log.directory)
        producer.flush(20)
        assert [(extent.earliest, extent.next) for extent in again.partitions()] == [(0, 2)]

    def test_a_disk_that_cannot_be_read_delays_a_consumer_and_no_more(self, nodes, monkeypatch):
        nodes.towered()
        store, producer = nodes.store(), nodes.producer()
        fill(producer, 100)
        producer.stop(20)
        real, refusals = store._log.read, []

        def read(*args, **settings):
            if len(refusals) < 3:
                refusals.append(args)
                raise dafka.StoreError("input/output error")
            return real(*args, **settings)

        monkeypatch.setattr(store._log, "read", read)
        assert offsets(take(nodes.consumer(fetch_timeout_s=0.1), 100)) == list(range(100))
        assert len(refusals) == 3


class TestDirectories:
    def test_two_stores_cannot_share_one(self, nodes, tmp_path):
        nodes.towered()
        first = nodes.store(tmp_path / "data")
        second = dafka.Store(data=str(tmp_path / "data"), tower=nodes.tower)
        with pytest.raises(dafka.StoreError, match=r"is in use by process \d+: stop that"):
            second.start()
        assert not second.started
        second.stop()
        producer = nodes.producer()
        fill(producer, 10)
        producer.flush(20)
        assert first.healthy

    def test_a_store_that_was_refused_can_be_started_when_the_directory_is_free(
        self, nodes, tmp_path
    ):
        nodes.towered()
        first = nodes.store(tmp_path / "data")
        second = dafka.Store(
            data=str(tmp_path / "data"), tower=nodes.tower, bind="tcp://127.0.0.1:*"
        )
        with pytest.raises(dafka.StoreError):
            second.start()
        first.stop()
        nodes.add(second)
        producer = nodes.producer()
        fill(producer, 10)
        producer.flush(20)

    def test_a_store_of_another_process_is_named(self, nodes, tmp_path):
        hold = "import sys; from dafka.io.log import Log; log = Log(sys.argv[1]); log.open(); "
        hold += "print('open', flush=True); sys.stdin.read()"
        other = subprocess.Popen(
            [sys.executable, "-c", hold, str(tmp_path / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert other.stdout.readline() == b"open\n"
            nodes.towered()
            with pytest.raises(dafka.StoreError, match=f"in use by process {other.pid}"):
                nodes.store(tmp_path / "data")
        finally:
            other.communicate(timeout=20)

    def test_foreign_files_are_left_alone(self, nodes, tmp_path):
        nodes.towered()
        (tmp_path / "letters").mkdir()
        (tmp_path / "letters" / "love.txt").write_text("dear")
        with pytest.raises(dafka.StoreError, match=r"other files, such as 'love.txt'"):
            nodes.store(tmp_path / "letters")
        assert [path.name for path in (tmp_path / "letters").iterdir()] == ["love.txt"]

    def test_a_foreign_database_is_left_alone(self, nodes, tmp_path):
        nodes.towered()
        (tmp_path / "cache.db").write_bytes(b"not SQLite at all")
        with pytest.raises(dafka.StoreError, match="not the database of a Dafka log"):
            nodes.store(tmp_path)
        assert (tmp_path / "cache.db").read_bytes() == b"not SQLite at all"

    def test_a_file_is_no_directory(self, nodes, tmp_path):
        nodes.towered()
        (tmp_path / "file").touch()
        with pytest.raises(dafka.StoreError, match="cannot be used as data directory"):
            nodes.store(tmp_path / "file")
        with pytest.raises(dafka.StoreError, match="cannot be used as data directory"):
            nodes.store(tmp_path / "file" / "below")

    def test_a_directory_nobody_may_write_to_is_refused(self, nodes):
        nodes.towered()
        with pytest.raises(dafka.StoreError, match=r"/proc/.* cannot be used as data directory"):
            nodes.store("/proc/dafka")

    def test_a_cluster_whose_store_cannot_start_leaves_no_tower_behind(self, tmp_path):
        (tmp_path / "foreign").touch()
        cluster = dafka.Cluster(tmp_path)
        with pytest.raises(dafka.StoreError):
            cluster.start()
        tower = cluster._tower
        assert tower.driver.failed.ready()


class TestSeveralTopics:
    def test_every_topic_and_partition_is_stored_apart(self, nodes):
        nodes.towered()
        store = nodes.store()
        producers = [nodes.producer(topic) for topic in ("red", "red", "green", "red2")]
        for count, producer in enumerate(producers, 10):
            fill(producer, count)
            producer.flush(20)
        found = defaultdict(dict)
        for extent in store.partitions():
            found[extent.topic][extent.partition] = extent.next
        red, more_red, green, red2 = (producer.partition for producer in producers)
        assert found == {"red": {red: 10, more_red: 11}, "green": {green: 12}, "red2": {red2: 13}}
