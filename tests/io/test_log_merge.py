"""Small neighbouring values become few large ones, and nobody who reads notices."""

from __future__ import annotations

import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from dafka.core.run import Run
from dafka.errors import StoreError
from dafka.io import log_format as fmt
from dafka.io import log_values
from dafka.io.log import Extent, Log

A, B = "A" * 32, "B" * 32


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def values(log: Log, number: int = 0) -> list[int]:
    """Records per value of a partition."""
    return [span.last - span.first + 1 for span in log._index.spans(number)]


def merge_all(log: Log) -> None:
    while log.merge():
        pass


def everything(log: Log, partition: str = A) -> list[bytes]:
    extent = log.extent("t", partition)
    assert extent is not None
    contents: list[bytes] = []
    while extent.earliest + len(contents) < extent.next:
        at = extent.earliest + len(contents)
        run = log.read("t", partition, at, max_records=10**9, max_bytes=10**9)
        assert run is not None
        contents += run.contents
    return contents


def append_lone(log: Log, count: int, first: int = 0, partition: str = A) -> list[bytes]:
    contents = [b"%d" % i for i in range(first, first + count)]
    for offset, content in enumerate(contents, first):
        log.append([Run("t", partition, offset, [content])])
    return contents


def test_lone_records_become_one_value(tmp_path):
    with Log(tmp_path, durability="os") as log:
        contents = append_lone(log, 100)
        size, digest = log.extent("t", A).bytes, log.digest("t", A)
        merge_all(log)
        assert len(values(log)) < 8
        assert everything(log) == contents
        assert log.merge() is False
        log.close()
        log.open()
        assert len(values(log)) < 8
        assert log.extent("t", A) == Extent("t", A, 0, 100)
        assert log.extent("t", A).bytes == size
        assert log.digest("t", A) == digest
        assert everything(log) == contents
        assert list(log.check()) == []
        log.append([Run("t", A, 100, [b"next"])])


def test_few_values_stay_as_they_are(tmp_path):
    with Log(tmp_path, durability="os") as log:
        append_lone(log, log_values.MERGE_FACTOR - 1)
        assert log.merge() is False
        assert values(log) == [1] * (log_values.MERGE_FACTOR - 1)


def test_a_large_value_is_not_rewritten_for_small_ones_after_it(tmp_path):
    with Log(tmp_path, durability="os") as log:
        log.append([Run("t", A, 0, [bytes(100_000)])])
        for _ in range(5):
            append_lone(log, 20, log.extent("t", A).next)
            merge_all(log)
            assert values(log)[0] == 1
        assert len(values(log)) < 20


def test_partitions_are_merged_apart_and_only_neighbours(tmp_path):
    with Log(tmp_path, durability="os") as log:
        for offset in range(20):
            log.append([Run("t", A, offset, [b"a"]), Run("t", B, offset, [b"b"])])
        merge_all(log)
        for partition, content in ((A, b"a"), (B, b"b")):
            assert everything(log, partition) == [content] * 20
        assert len(values(log, 0)) < 8
        assert len(values(log, 1)) < 8


def test_merged_values_end_at_the_size_of_a_value(tmp_path, monkeypatch):
    monkeypatch.setattr(fmt, "VALUE_BYTES", 2000)
    with Log(tmp_path, durability="os") as log:
        contents = append_lone(log, 2000)
        merge_all(log)
        sizes = [fmt.key_size(span.key) for span in log._index.spans(0)]
        assert max(sizes) <= 2000
        assert len(sizes) < 8 * 2 + 8 * (sum(sizes) // 2000 + 1)
        assert everything(log) == contents


def test_empty_records_are_merged_too(tmp_path):
    with Log(tmp_path, durability="os") as log:
        for offset in range(300):
            log.append([Run("t", A, offset, [b""])])
        merge_all(log)
        assert len(values(log)) < 16
        assert everything(log) == [b""] * 300


def test_times_of_arrival_survive(tmp_path):
    clock = Clock()
    with Log(tmp_path, durability="os", clock=clock) as log:
        for offset in range(20):
            clock.now = 1000.0 + offset
            log.append([Run("t", A, offset, [b"x"])])
        clock.now = 5000.0
        merge_all(log)
        span = log._index.find("t", A, 0)
        value = log._reader.value("t", A, span)
        assert list(value.arrivals) == [((1000 + i) * 1000, 1) for i in range(len(value))]
        oldest = log.oldest("t", A)
        assert (oldest.last, oldest.arrival) == (span.last, 1000.0 + span.last)


def test_so_many_arrivals_are_kept_that_they_stay_small(monkeypatch):
    monkeypatch.setattr(fmt, "MAX_ARRIVALS", 4)
    assert fmt.join_arrivals([(1, 2), (3, 4)]) == [(1, 2), (3, 4)]
    assert fmt.join_arrivals([(i, 1) for i in range(5)]) == [(1, 2), (3, 2), (4, 1)]
    joined = fmt.join_arrivals([(i, 1) for i in range(1000)])
    assert len(joined) <= 4
    assert sum(count for _, count in joined) == 1000
    assert joined[-1][0] == 999


def test_a_damaged_value_is_left_where_it_is(tmp_path):
    with Log(tmp_path, durability="os") as log:
        append_lone(log, 60)
        key = fmt.record_key(0, 30, 1, 6)
        with closing(sqlite3.connect(tmp_path / "cache.db")) as connection:
            connection.execute("UPDATE Cache SET value = x'00' WHERE key = ?", (key,))
            connection.commit()
        merge_all(log)
        assert [(d.first, d.last) for d in log.quarantined()] == [(30, 30)]
        assert len(values(log)) < 20
        for offset in range(60):
            if offset != 30:
                run = log.read("t", A, offset, max_records=1, max_bytes=1)
                assert run.contents == [b"%d" % offset]
        assert [(d.first, d.last) for d in log.check()] == [(30, 30)]


def test_a_hole_is_not_closed(tmp_path):
    with Log(tmp_path, durability="os") as log:
        append_lone(log, 40)
        key = fmt.record_key(0, 20, 1, 6)
        with closing(sqlite3.connect(tmp_path / "cache.db")) as connection:
            connection.execute("DELETE FROM Cache WHERE key = ?", (key,))
            connection.commit()
        log.close()
        log.open()
        merge_all(log)
        assert [(d.first, d.last, d.reason) for d in log.check()] == [(20, 20, "they are missing")]


def test_forgotten_records_are_not_merged(tmp_path):
    with Log(tmp_path, durability="os") as log:
        append_lone(log, 40)
        log.drop("t", A, 20, max_values=1)
        merge_all(log)
        assert everything(log) == [b"%d" % i for i in range(20, 40)]
        while log.drop("t", A, 0):
            pass
        assert everything(log) == [b"%d" % i for i in range(20, 40)]
        log.drop("t", A, 40)
        assert log.extent("t", A) == Extent("t", A, 40, 40)
        assert list(log.check()) == []


def test_a_merge_that_fails_changes_nothing(tmp_path, monkeypatch):
    with Log(tmp_path, durability="os") as log:
        contents = append_lone(log, 20)
        before = values(log)

        def refuse(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr("dafka.io.log_writing.add", refuse)
            for _ in range(2):
                with pytest.raises(StoreError, match="database or disk is full"):
                    log.merge()
        assert values(log) == before
        assert everything(log) == contents
        merge_all(log)
        assert everything(log) == contents
        assert len(values(log)) < 8


def test_reads_beside_merges_see_every_record(tmp_path):
    wrong: list[object] = []
    done = threading.Event()
    with Log(tmp_path, durability="os") as log:
        contents = append_lone(log, 400)

        def reader(seed: int) -> None:
            rng = random.Random(seed)
            try:
                while not done.is_set():
                    offset = rng.randrange(400)
                    run = log.read("t", A, offset, max_records=rng.randrange(30), max_bytes=1000)
                    assert run is not None
                    assert run.contents == contents[offset : run.next]
                    assert log.oldest("t", A) is not None
            except BaseException as error:
                wrong.append(error)

        def checker() -> None:
            try:
                while not done.is_set():
                    assert list(log.check()) == []
                    assert log.digest("t", A) == digest
            except BaseException as error:
                wrong.append(error)

        digest = log.digest("t", A)
        threads = [threading.Thread(target=reader, args=(seed,)) for seed in range(3)]
        threads.append(threading.Thread(target=checker))
        for thread in threads:
            thread.start()
        while log.merge(max_bytes=300):
            pass
        done.set()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert log.quarantined() == []
        assert everything(log) == contents


@pytest.fixture
def written(monkeypatch):
    """How many bytes of values have been written."""
    total = [0]
    encode = fmt.encode_value

    def count(key: bytes, arrivals: fmt.Arrivals, contents: list[bytes]) -> bytes:
        data = encode(key, arrivals, contents)
        total[0] += len(data)
        return data

    monkeypatch.setattr(fmt, "encode_value", count)
    return total


def seconds_of_records(directory: Path, count: int, size: int, written: list[int]) -> None:
    """A record a second, and a merge step a minute while there is something to do."""
    clock = Clock()
    rng = random.Random(1)
    with Log(directory, durability="os", clock=clock) as log:
        lengths = [rng.randrange(2 * size) for _ in range(count)]
        most = 0
        for offset, length in enumerate(lengths):
            clock.now += 1
            log.append([Run("t", A, offset, [bytes(length)])])
            if offset % 60 == 59:
                merge_all(log)
                most = max(most, len(values(log)))
        appended = sum(lengths) + 41 * count
        stored = len(values(log))
        amplification = written[0] / appended
        print(  # noqa: T201
            f"{count} records of {size} bytes: {stored} values, {most} at most,"
            f" written {amplification:.2f} times"
        )
        # At most 7 apart of each size, of which there are 5 below that of a value; and full ones.
        full = 8 * (sum(lengths) + 4 * count) // fmt.VALUE_BYTES + 1
        assert most <= full + 8 * 7 + 60
        assert amplification < 6
        assert [len(content) for content in everything(log)] == lengths
        assert list(log.check()) == []
        times = [
            arrival
            for span in log._index.spans(0)
            for arrival in log._reader.value("t", A, span).arrivals
        ]
        assert times == sorted(times)
        assert sum(number for _, number in times) == count
    with Log(directory) as log:
        assert len(values(log)) == stored


def test_a_record_a_second_leaves_few_values(tmp_path, written):
    seconds_of_records(tmp_path, 3000, 100, written)


@pytest.mark.slow
def test_days_of_a_record_a_second_leave_few_values(tmp_path, written):
    seconds_of_records(tmp_path, 200_000, 100, written)
