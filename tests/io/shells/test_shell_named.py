"""Named consumers, whatever the shell: what was handled is saved, the next life goes on there."""

from __future__ import annotations

import pytest

import dafka
from dafka.io.offsets import look
from tests.support.live_nodes import fill
from tests.support.waiting import during, take, until

pytestmark = pytest.mark.io


@pytest.fixture
def place(tmp_path):
    return tmp_path / "offsets"


@pytest.fixture
def named(nodes, place):
    """A consumer that is called billing, and saves quickly."""

    def make(*topics, **settings):
        defaults = {"name": "billing", "offsets": str(place), "commit_interval_s": 0.02}
        return nodes.consumer(*topics, **{**defaults, **settings})

    return make


def offsets(records) -> list[int]:
    return [record.offset for record in records]


def saved(place, name="billing") -> dict[str, int]:
    found = look(place, name).positions
    return {partition: at for (_, partition), at in found.items()}


@pytest.fixture
def stored(nodes):
    """A producer with 1,000 stored records."""
    producer = nodes.cluster().producer()
    fill(producer, 1000)
    producer.flush(20)
    return producer


def _divide(consumer):
    for record in consumer:
        record.content[0] // (7 - record.offset)


class TestAutomatic:
    def test_the_next_life_goes_on_where_the_last_one_was(self, named, stored):
        for first in (0, 99, 198):
            consumer = named()
            assert offsets(take(consumer, 100)) == list(range(first, first + 100))
            consumer.stop()

    def test_a_record_is_saved_after_the_user_came_back_for_the_next(self, named, stored, place):
        consumer = named()
        take(consumer, 10)
        until(lambda: saved(place) == {stored.partition: 9}, what="nine are saved")
        during(0.1, lambda: saved(place) == {stored.partition: 9})
        take(consumer, 1)
        until(lambda: saved(place) == {stored.partition: 10}, what="ten are saved")

    def test_a_user_who_waits_has_handled_everything(self, nodes, named, stored, place):
        consumer = named()

        def use():
            take(consumer, 1000)
            return consumer.poll()

        waiting = nodes.spawn(use)
        until(lambda: saved(place) == {stored.partition: 1000}, what="all are saved")
        consumer.stop()
        assert waiting.get() is None

    def test_a_run_is_saved_after_the_user_came_back_for_the_next(
        self, nodes, named, stored, place
    ):
        consumer = named()
        given, more = [], False

        def use():
            for run in consumer.runs():
                given.append(run)
                until(lambda: more)

        using = nodes.spawn(use)
        until(lambda: given)
        during(0.1, lambda: saved(place) == {stored.partition: 0})
        more = True
        until(lambda: saved(place).get(stored.partition, 0) >= given[0].next)
        consumer.stop()
        using.join()

    def test_a_run_that_was_begun_by_records_is_saved_as_a_whole_run(self, named, stored, place):
        consumer = named()
        take(consumer, 3)
        run = next(consumer.runs(20))
        assert run.first == 3
        consumer.stop()
        assert saved(place) == {stored.partition: 3}

    def test_stop_saves_without_waiting_for_its_time(self, named, stored, place):
        consumer = named(commit_interval_s=1000.0)
        take(consumer, 501)
        consumer.stop()
        assert saved(place) == {stored.partition: 500}

    def test_leaving_the_block_cleanly_means_that_all_was_handled(self, named, stored, place):
        consumer = named(commit_interval_s=1000.0)
        take(consumer, 500)
        consumer.__exit__(None, None, None)
        assert saved(place) == {stored.partition: 500}

    def test_leaving_it_by_an_error_leaves_the_record_in_hand_unhandled(self, nodes, stored, place):
        consumer = nodes.make_consumer(start="earliest", name="billing", offsets=str(place))
        with pytest.raises(ZeroDivisionError), consumer:
            _divide(consumer)
        assert saved(place) == {stored.partition: 7}

    def test_where_a_partition_begins_is_saved_before_its_first_record_is_given(
        self, named, nodes, stored, place
    ):
        """Else a crash would move it: the next life might begin at what is the latest then."""
        consumer = named(start="latest", commit_interval_s=1000.0)
        until(lambda: consumer.position(stored.partition) == 1000)
        stored.publish(b"news")
        take(consumer, 1)
        assert saved(place) == {stored.partition: 1000}
        other = nodes.producer()
        fill(other, 5)
        take(consumer, 1)
        assert saved(place)[other.partition] == 0

    def test_a_seek_is_saved_as_a_position(self, named, stored, place):
        consumer = named()
        take(consumer, 10)
        consumer.seek(stored.partition, 700)
        until(lambda: saved(place) == {stored.partition: 700})
        consumer.seek_to_earliest()
        until(lambda: saved(place) == {stored.partition: 0})
        take(consumer, 5)
        consumer.seek_to_latest()
        consumer.stop()
        assert saved(place) == {stored.partition: 1000}

    def test_a_seek_while_a_run_is_in_hand_is_not_undone_by_coming_back(
        self, nodes, named, stored, place
    ):
        consumer = named(commit_interval_s=1000.0)
        runs = consumer.runs(20)
        next(runs)
        consumer.seek(stored.partition, 3)
        nodes.sleep(0)
        consumer.stop()
        assert saved(place) == {stored.partition: 3}


class TestExplicit:
    def test_only_what_was_committed_is_saved(self, named, stored, place):
        consumer = named(auto_commit=False)
        take(consumer, 10)
        during(0.1, lambda: saved(place) == {stored.partition: 0})
        consumer.commit()
        assert saved(place) == {stored.partition: 10}
        take(consumer, 10)
        consumer.stop()
        assert saved(place) == {stored.partition: 10}
        consumer = named(auto_commit=False)
        assert offsets(take(consumer, 5)) == [10, 11, 12, 13, 14]

    def test_up_to_a_record_a_run_or_a_position(self, named, stored, place):
        consumer = named(auto_commit=False)
        records = take(consumer, 10)
        consumer.commit(records[3])
        assert saved(place) == {stored.partition: 4}
        run = next(consumer.runs(20))
        consumer.commit(run.until(run.first + 20))
        assert saved(place) == {stored.partition: 30}
        consumer.commit(dafka.Position("t", stored.partition, 17))
        assert saved(place) == {stored.partition: 17}

    def test_without_waiting_it_is_saved_soon(self, named, stored, place):
        consumer = named(auto_commit=False)
        records = take(consumer, 10)
        consumer.commit(records[-1], wait=False)
        until(lambda: saved(place) == {stored.partition: 10})
        take(consumer, 5)
        consumer.commit(wait=False)
        consumer.stop()
        assert saved(place) == {stored.partition: 15}

    def test_it_can_be_combined_with_automatic_commits(self, named, stored, place):
        consumer = named(commit_interval_s=1000.0)
        take(consumer, 10)
        consumer.commit()
        assert saved(place) == {stored.partition: 10}
        take(consumer, 11)
        consumer.stop()
        assert saved(place) == {stored.partition: 20}

    def test_without_a_name_there_is_nothing_to_commit(self, nodes, stored):
        consumer = nodes.consumer()
        with pytest.raises(dafka.ConfigError, match="has no name"):
            consumer.commit()

    def test_after_the_stop_it_is_refused(self, named, stored):
        consumer = named()
        consumer.stop()
        with pytest.raises(dafka.Closed):
            consumer.commit()


class TestResuming:
    def test_a_position_counts_more_than_the_start(self, named, stored):
        consumer = named()
        take(consumer, 11)
        consumer.stop()
        consumer = named(start="latest")
        assert take(consumer, 1)[0].offset == 10

    def test_latest_goes_on_with_what_was_published_meanwhile(self, named, stored, place):
        consumer = named(start="latest")
        until(lambda: saved(place) == {stored.partition: 1000})
        consumer.stop()
        fill(stored, 10, first=1000)
        stored.flush(20)
        consumer = named(start="latest")
        assert offsets(take(consumer, 10)) == list(range(1000, 1010))

    def test_partitions_are_told_where_they_begin_before_their_records(self, named, nodes, stored):
        told: list[dafka.Position] = []
        consumer = named()
        take(consumer, 11)
        consumer.stop()
        consumer = named(on_partition=told.append)
        assert told == []
        take(consumer, 1)
        assert told == [dafka.Position("t", stored.partition, 10)]
        other = nodes.producer()
        fill(other, 3)
        take(consumer, 992)
        assert told[1:] == [dafka.Position("t", other.partition, 0)]

    def test_a_name_is_used_by_one_consumer_at_a_time(self, named, stored):
        consumer = named()
        with pytest.raises(dafka.StoreError, match="consumer 'billing' is running in process"):
            named()
        consumer.stop()
        named()
