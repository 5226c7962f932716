"""Forgetting records: what goes, what stays, where the partition continues."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dafka.core.run import Run
from dafka.errors import StoreError
from dafka.io import log_format as fmt
from dafka.io.log import Damage, Extent, Log

A, B = "A" * 32, "B" * 32


def entries(directory: Path, first: bytes) -> int:
    with closing(sqlite3.connect(directory / "cache.db")) as connection:
        ((number,),) = connection.execute(
            "SELECT count(*) FROM Cache WHERE substr(key, 1, 1) = ?", (first,)
        )
    return int(number)


def content(log: Log, offset: int, partition: str = A) -> bytes | None:
    run = log.read("t", partition, offset, max_records=1, max_bytes=1)
    return None if run is None else run.contents[0]


@pytest.fixture
def log(tmp_path):
    """Values of ten records: 0 to 9, 10 to 19, 20 to 29; and another partition."""
    with Log(tmp_path, durability="os") as log:
        for first in (0, 10, 20):
            contents = [b"%d" % i for i in range(first, first + 10)]
            log.append([Run("t", A, first, contents)])
        log.append([Run("t", B, 5, [b"other"])])
        yield log


def reopen(log: Log) -> None:
    log.close()
    log.open()


@pytest.mark.parametrize(
    ("before", "earliest"),
    [(0, 0), (9, 0), (10, 10), (11, 10), (19, 10), (20, 20), (29, 20), (30, 30), (99, 30)],
)
def test_whole_values_are_forgotten(log, before, earliest):
    kept = (30 - earliest) // 10
    for _ in range(2):
        assert log.drop("t", A, before) is False
        assert log.extent("t", A) == Extent("t", A, earliest, 30)
        for offset in range(31):
            expected = b"%d" % offset if earliest <= offset < 30 else None
            assert content(log, offset) == expected
        reopen(log)
        assert entries(log.directory, b"r") == kept + 1
        assert content(log, 5, B) == b"other"
        assert list(log.check()) == []


@pytest.mark.parametrize("before", [0, 1, 9, 10, 15, 29, 30, 31, 1000, 2**64 - 1, 2**64])
def test_an_exact_offset_is_where_the_partition_begins_or_continues(log, before):
    end = max(30, before)
    assert log.drop("t", A, before, exact=True) is False
    for _ in range(2):
        assert log.extent("t", A) == Extent("t", A, before, end)
        for offset in range(40):
            expected = b"%d" % offset if before <= offset < 30 else None
            assert content(log, offset) == expected
        assert list(log.check()) == []
        reopen(log)
    assert entries(log.directory, b"r") == max(0, (39 - before) // 10) + 1
    if end < 2**64:
        log.append([Run("t", A, end, [b"next"])])
        assert content(log, end) == b"next"
    with pytest.raises(ValueError, match=f"{min(end + 1, 2**64)} comes next"):
        log.append([Run("t", A, 5, [b"again"])])


def test_what_is_forgotten_does_not_come_back(log):
    log.drop("t", A, 20)
    log.drop("t", A, 5)
    log.drop("t", A, 5, exact=True)
    assert log.extent("t", A) == Extent("t", A, 20, 30)
    log.drop("t", A, 25, exact=True)
    log.drop("t", A, 27)
    assert log.extent("t", A) == Extent("t", A, 25, 30)
    reopen(log)
    assert log.extent("t", A) == Extent("t", A, 25, 30)


def test_an_unknown_partition_is_made_by_an_exact_drop_only(log):
    assert log.drop("t", "C", 7) is False
    assert log.extent("t", "C") is None
    assert log.drop("t", "C", 7, exact=True) is False
    for _ in range(2):
        assert log.extent("t", "C") == Extent("t", "C", 7, 7)
        assert log.read("t", "C", 7, max_records=1, max_bytes=1) is None
        assert log.oldest("t", "C") is None
        reopen(log)
    with pytest.raises(ValueError, match="7 comes next"):
        log.append([Run("t", "C", 0, [b"0"])])
    log.append([Run("t", "C", 7, [b"7"])])
    assert content(log, 7, "C") == b"7"


def test_a_partition_without_records_is_listed(log):
    log.drop("t", A, 30)
    for _ in range(2):
        assert Extent("t", A, 30, 30) in log.partitions()
        assert log.extent("t", A) == Extent("t", A, 30, 30)
        reopen(log)
    log.append([Run("t", A, 30, [b"30"])])
    assert log.extent("t", A) == Extent("t", A, 30, 31)


@pytest.mark.parametrize("exact", [False, True])
def test_values_are_removed_bit_by_bit_but_forgotten_at_once(tmp_path, exact):
    with Log(tmp_path, durability="os") as log:
        for offset in range(50):
            log.append([Run("t", A, offset, [b"x"])])
        assert log.drop("t", A, 45, exact=exact, max_values=10) is True
        assert log.extent("t", A) == Extent("t", A, 45, 50)
        assert log.extent("t", A).bytes == 25
        assert content(log, 44) is None
        assert entries(tmp_path, b"r") == 40
        reopen(log)
        assert log.extent("t", A) == Extent("t", A, 45, 50)
        assert log.extent("t", A).bytes == 25
        assert content(log, 40) is None
        assert content(log, 45) == b"x"
        assert list(log.check()) == []
        log.append([Run("t", A, 50, [b"x"])])
        assert [log.drop("t", A, 0, max_values=10) for _ in range(5)] == [True] * 3 + [False] * 2
        assert entries(tmp_path, b"r") == 6
        assert log.extent("t", A) == Extent("t", A, 45, 51)


def test_a_merge_removes_what_an_interrupted_drop_left(tmp_path):
    with Log(tmp_path, durability="os") as log:
        for offset in range(150):
            log.append([Run("t", A, offset, [b"x"])])
        assert log.drop("t", A, 145, exact=True, max_values=10) is True
        reopen(log)
        assert log.merge() is True
        assert entries(tmp_path, b"r") == 76
        while log.merge():
            pass
        assert entries(tmp_path, b"r") == 5
        assert log.extent("t", A) == Extent("t", A, 145, 150)
        assert list(log.check()) == []


def test_a_partition_continues_beyond_values_that_are_not_removed_yet(tmp_path):
    with Log(tmp_path, durability="os") as log:
        for offset in range(50):
            log.append([Run("t", A, offset, [b"x"])])
        assert log.drop("t", A, 1000, exact=True, max_values=10) is True
        log.append([Run("t", A, 1000, [b"y", b"z"])])
        for _ in range(2):
            assert log.extent("t", A) == Extent("t", A, 1000, 1002)
            assert [content(log, i) for i in (49, 50, 999, 1000, 1002)] == [None] * 3 + [b"y", None]
            assert list(log.check()) == []
            reopen(log)
        while log.drop("t", A, 0):
            pass
        assert entries(tmp_path, b"r") == 1
        assert content(log, 1001) == b"z"


@pytest.mark.parametrize("before", [-1, 2**64 + 1])
def test_an_impossible_offset_is_our_own_bug(log, before):
    with pytest.raises(ValueError, match="there is no offset"):
        log.drop("t", A, before)


def test_a_drop_beside_another_change_is_our_own_bug(log):
    with log._writer._busy, pytest.raises(RuntimeError, match="only one change at a time"):
        log.drop("t", A, 10)


def test_a_drop_that_fails_changes_nothing(log, monkeypatch):
    def refuse(*_: object) -> bytes:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(fmt, "encode_floor", refuse)
        with pytest.raises(StoreError, match="database or disk is full"):
            log.drop("t", A, 15, exact=True)
    assert log.extent("t", A) == Extent("t", A, 0, 30)
    assert content(log, 3) == b"3"
    assert log.drop("t", A, 15, exact=True) is False
    assert log.extent("t", A) == Extent("t", A, 15, 30)


def test_a_hole_is_not_forgotten_beyond_what_was_asked(log):
    with closing(sqlite3.connect(log.directory / "cache.db")) as connection:
        connection.execute("DELETE FROM Cache WHERE key = ?", (fmt.record_key(0, 10, 10, 60),))
        connection.commit()
    reopen(log)
    log.drop("t", A, 15)
    assert log.extent("t", A) == Extent("t", A, 15, 30)
    assert list(log.check()) == [Damage("t", A, 15, 19, "they are missing")]


def test_a_damaged_floor_harms_its_own_partition_only(log, caplog):
    log.drop("t", A, 30)
    log.drop("t", B, 5, exact=True)
    with closing(sqlite3.connect(log.directory / "cache.db")) as connection:
        for number in (0, 1):
            connection.execute(
                "UPDATE Cache SET value = x'00' WHERE key = ?", (fmt.floor_key(number),)
            )
        connection.commit()
    reopen(log)
    assert "damaged_floor" in caplog.text
    assert log.partitions() == [Extent("t", B, 5, 6)]
    assert content(log, 5, B) == b"other"
    reason = "the entry that tells a partition's earliest offset is damaged"
    assert list(log.check()) == [Damage("t", A, 0, -1, reason), Damage("t", B, 0, -1, reason)]
    ((lost),) = log.quarantined()
    assert (lost.topic, lost.partition, lost.first, lost.last) == ("t", A, 0, -1)
    log.append([Run("t", A, 30, [b"30"])])
    assert log.quarantined() == []
    log.drop("t", B, 6)
    reopen(log)
    assert log.extent("t", A) == Extent("t", A, 30, 31)
    assert log.extent("t", B) == Extent("t", B, 6, 6)
    assert list(log.check()) == []


@pytest.mark.usefixtures("hasty_threads")
def test_reads_beside_drops_see_records_or_nothing(tmp_path):
    wrong: list[object] = []
    done = threading.Event()
    with Log(tmp_path, durability="os") as log:
        log.append([Run("t", A, 0, [b"0"])])

        def reader() -> None:
            try:
                while not done.is_set():
                    extent = log.extent("t", A)
                    for offset in range(extent.earliest, extent.next):
                        run = log.read("t", A, offset, max_records=50, max_bytes=10**6)
                        if run is None:
                            assert log.extent("t", A).earliest > offset
                        else:
                            assert run.contents == [b"%d" % i for i in range(offset, run.next)]
            except BaseException as error:
                wrong.append(error)

        readers = [threading.Thread(target=reader) for _ in range(3)]
        for thread in readers:
            thread.start()
        for offset in range(1, 600):
            log.append([Run("t", A, offset, [b"%d" % offset])])
            if offset % 7 == 0:
                log.drop("t", A, offset - 3, max_values=5)
        done.set()
        for thread in readers:
            thread.join()
        assert wrong == []
        assert log.quarantined() == []
        assert list(log.check()) == []


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 6)),
        st.tuples(st.just("drop"), st.integers(0, 40), st.booleans(), st.integers(1, 3)),
        st.tuples(st.just("merge")),
        st.tuples(st.just("reopen")),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_any_changes_leave_what_a_model_says(steps):
    earliest, end, exact_floor = 0, 0, 0
    with (
        tempfile.TemporaryDirectory() as directory,
        pytest.MonkeyPatch.context() as patch,
        Log(directory, durability="os") as log,
    ):
        patch.setattr(fmt, "VALUE_BYTES", 30)
        log.drop("t", A, 0, exact=True)
        for step, *values in steps:
            if step == "append":
                (count,) = values
                log.append([Run("t", A, end, [b"%d" % i for i in range(end, end + count)])])
                end += count
            elif step == "drop":
                before, exact, most = values
                log.drop("t", A, before, exact=exact, max_values=most)
                extent = log.extent("t", A)
                assert extent is not None
                if exact:
                    earliest = exact_floor = max(earliest, before)
                    end = max(end, before)
                else:
                    assert earliest <= extent.earliest <= max(earliest, min(before, end))
                    earliest = extent.earliest
            elif step == "merge":
                while log.merge():
                    pass
            else:
                reopen(log)
            assert log.extent("t", A) == Extent("t", A, earliest, end)
            assert earliest >= exact_floor
        for offset in range(end + 2):
            assert (content(log, offset) is None) == (not earliest <= offset < end)
        at = earliest
        while at < end:
            run = log.read("t", A, at, max_records=7, max_bytes=100)
            assert run is not None
            missing_before = [b"%d" % i for i in itertools.islice(itertools.count(at), len(run))]
            assert run.contents == missing_before
            at = run.next
        assert list(log.check()) == []
