"""Named consumers: what was handled is saved, and the next life goes on there."""

from __future__ import annotations

import shutil

import pytest

import dafka
from dafka.core import unproven
from dafka.io.offsets import look
from tests.support.live_nodes import fill
from tests.support.waiting import during, take, until

pytestmark = pytest.mark.io

PARTITION = "0123456789ABCDEF" * 2


@pytest.fixture
def place(tmp_path):
    return tmp_path / "offsets"


@pytest.fixture
def named(nodes, place):
    """A consumer that is called billing, and saves quickly."""

    def make(*topics, **settings) -> dafka.Consumer:
        defaults = {"name": "billing", "offsets": str(place), "commit_interval_s": 0.02}
        return nodes.consumer(*topics, **{**defaults, **settings})

    return make


@pytest.fixture
def stored(nodes):
    """A producer with 1,000 stored records."""
    producer = nodes.cluster().producer()
    fill(producer, 1000)
    producer.flush(20)
    return producer


def offsets(records) -> list[int]:
    return [record.offset for record in records]


def saved(place, name="billing") -> dict[str, int]:
    found = look(place, name).positions
    return {partition: at for (_, partition), at in found.items()}


class TestAutomatic:
    def test_saving_is_rare_however_many_records_are_handled(self, named, stored, monkeypatch):
        consumer = named(commit_interval_s=1000.0)
        commits = []
        save = consumer._commits._offsets.save
        monkeypatch.setattr(
            consumer._commits._offsets, "save", lambda *a: commits.append(a) or save(*a)
        )
        take(consumer, 1000)
        consumer.stop()
        assert len(commits) <= 3  # where the partition begins, that it is known, and the end

    def test_records_that_expired_are_left_behind(self, named, nodes, place):
        nodes.towered()
        nodes.producer(partition=PARTITION, first=100, earliest=100)
        producer = nodes.producer()
        fill(producer, 3)
        told = []
        consumer = named(on_expired=told.append, start=0)
        take(consumer, 3)
        consumer.poll(0)
        consumer.stop()
        assert saved(place)[producer.partition] == 3


class TestResuming:
    def test_a_producer_that_came_and_went_meanwhile_comes_from_its_first_record(
        self, named, nodes, stored, place
    ):
        consumer = named(start="latest")
        until(lambda: saved(place) == {stored.partition: 1000})
        until(lambda: look(place, "billing").subscriptions["t", False].settled)
        consumer.stop()
        other = nodes.producer()
        fill(other, 20)
        assert other.stop(20) == 0
        consumer = named(start="latest")
        records = take(consumer, 20)
        assert {record.partition for record in records} == {other.partition}
        assert offsets(records) == list(range(20))
        during(0.1, lambda: consumer.poll(0) is None)

    def test_a_partition_that_was_begun_anew_comes_from_its_first_record(
        self, named, nodes, caplog, place, monkeypatch
    ):
        monkeypatch.setattr(unproven, "CERTAIN_S", 0.5)
        nodes.towered()
        nodes.store()
        producer = nodes.producer(partition=PARTITION)
        fill(producer, 100)
        producer.flush(20)
        consumer = named()
        take(consumer, 100)
        consumer.commit()
        consumer.stop()
        nodes.end()  # the store's directory is lost, and so is the outbox
        nodes.towered()
        nodes.store()
        producer = nodes.producer(partition=PARTITION)
        fill(producer, 20)
        consumer = named(start="latest")
        assert offsets(take(consumer, 20)) == list(range(20))
        assert "the position 100 lies beyond its end, 20" in caplog.text
        consumer.commit()
        assert saved(place) == {PARTITION: 20}

    def test_names_have_positions_of_their_own(self, named, stored):
        one, other = named(name="one"), named(name="other")
        take(one, 100)
        take(other, 7)
        for consumer in (one, other):
            consumer.commit()
            consumer.stop()
        assert take(named(name="one"), 1)[0].offset == 100
        assert take(named(name="other"), 1)[0].offset == 7


class TestTrouble:
    def test_a_directory_that_vanishes_ends_the_consumer(self, named, stored, place):
        consumer = named()
        take(consumer, 10)
        shutil.rmtree(place)

        def go_on():
            while True:
                consumer.poll(0.1)

        with pytest.raises(dafka.StoreError, match="was removed, renamed or replaced"):
            go_on()

    def test_a_directory_that_vanishes_is_told_once(self, named, stored, place, caplog):
        consumer = named()
        take(consumer, 10)
        shutil.rmtree(place)
        until(lambda: consumer.poll(0) and not consumer.driver.running)
        saving = consumer._commits._threads.run
        tries = []
        consumer._commits._threads.run = lambda *job: tries.append(job) or saving(*job)
        until(lambda: consumer.poll(0) and len(tries) >= 2)
        consumer.stop(2)
        assert caplog.text.count("node=consumer ended") == 1

    def test_a_disk_that_refuses_stops_no_delivery_and_is_tried_again(
        self, named, stored, place, monkeypatch, caplog
    ):
        consumer = named()
        take(consumer, 1)
        save = consumer._commits._offsets.save
        refused = []

        def refuse(*arguments):
            refused.append(arguments)
            raise dafka.StoreError("the disk is full")

        monkeypatch.setattr(consumer._commits._offsets, "save", refuse)
        take(consumer, 500)
        until(lambda: refused)
        with pytest.raises(dafka.StoreError, match="the disk is full"):
            consumer.commit()
        assert "the disk is full; it is tried again" in caplog.text
        monkeypatch.setattr(consumer._commits._offsets, "save", save)
        until(lambda: saved(place) == {stored.partition: 501})

    def test_what_could_not_be_saved_at_the_end_is_told(
        self, named, stored, place, monkeypatch, caplog
    ):
        consumer = named(commit_interval_s=1000.0)
        take(consumer, 100)

        def refuse(*arguments):
            raise dafka.StoreError("the disk is full")

        monkeypatch.setattr(consumer._commits._offsets, "save", refuse)
        consumer.stop(1)
        assert "stopped before its last positions were saved" in caplog.text

    @pytest.mark.parametrize("name", ["", "x" * 300, "a\nb", "\ud800"])
    def test_what_is_no_name_is_refused(self, name):
        if name:
            with pytest.raises(dafka.ConfigError, match="is not the name of a consumer"):
                dafka.Consumer("t", name=name)
        else:
            with pytest.raises(dafka.ConfigError, match="no name"):
                dafka.Consumer("t", name=name, offsets="x")

    def test_a_file_where_the_positions_should_be_is_told(self, nodes, named, place):
        nodes.cluster()
        place.write_bytes(b"mine")
        with pytest.raises(dafka.StoreError, match=r"positions .* there is a file in its place"):
            named()
        assert place.read_bytes() == b"mine"

    def test_a_position_of_what_is_not_read_is_not_saved(self, nodes, named, place):
        nodes.cluster()
        partition = "A" * 32
        consumer = named(only=lambda topic, one: one != partition)
        for topic, said in (("t", "one of those that `only`"), ("u", "one of this consumer's")):
            with pytest.raises(dafka.ConfigError, match=said):
                consumer.commit(dafka.Position(topic, partition, 5))
        consumer.commit(dafka.Position("t", "B" * 32, 5))
        consumer.stop()
        assert saved(place) == {"B" * 32: 5}

    def test_nothing_is_opened_before_the_start(self, place):
        dafka.Consumer("t", name="billing", offsets=str(place))
        assert not place.exists()

    def test_a_start_that_fails_lets_go_of_the_positions(self, nodes, named, place):
        nodes.cluster()
        taken = nodes.consumer().endpoint
        with pytest.raises(dafka.ConfigError):
            named(bind=taken)
        named()
