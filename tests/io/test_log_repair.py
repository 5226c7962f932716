"""Damaged records are kept from readers, and replaced by those of another store."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dafka.core.packed import Packed
from dafka.core.run import Run
from dafka.errors import StoreError
from dafka.io import log_format as fmt
from dafka.io.log import Damage, Damaged, Extent, Log

A, B = "A" * 32, "B" * 32
CONTENTS = [b"%d" % i for i in range(40)]


def entry(log: Log, statement: str, first: int) -> None:
    """Change the value that begins at an offset behind the log's back."""
    with closing(sqlite3.connect(log.directory / "cache.db")) as connection:
        size = Packed.of(CONTENTS[first : first + 10]).weight
        key = fmt.record_key(0, first, 10, size)
        assert connection.execute(f"{statement} WHERE key = ?", (key,)).rowcount == 1
        connection.commit()


def damage(log: Log, first: int) -> None:
    entry(log, "UPDATE Cache SET value = zeroblob(100)", first)


def run(first: int, stop: int) -> Run:
    return Run("t", A, first, CONTENTS[first:stop])


def readable(log: Log) -> set[int]:
    """The offsets that can be read; what is read must be right."""
    offsets = set()
    for offset in range(40):
        try:
            found = log.read("t", A, offset, max_records=100, max_bytes=1000)
        except Damaged:
            continue
        if found is not None:
            assert found.contents == CONTENTS[offset : found.next]
            offsets |= set(range(offset, found.next))
    return offsets


def ranges(log: Log) -> list[tuple[int, int]]:
    return [(damage.first, damage.last) for damage in log.quarantined()]


@pytest.fixture
def log(tmp_path):
    with Log(tmp_path, durability="os", clock=lambda: 50.0) as log:
        for first in range(0, 40, 10):
            log.append([run(first, first + 10)])
        log.append([Run("t", B, 0, [b"fine"])])
        yield log


def reopen(log: Log) -> None:
    log.close()
    log.open()


def test_a_quarantined_range_is_not_read(log):
    log.quarantine("t", A, 13, 15)
    assert readable(log) == set(range(40)) - {13, 14, 15}
    before = log.read("t", A, 5, max_records=100, max_bytes=1000)
    assert before == run(5, 13)
    with pytest.raises(Damaged, match="offsets 13 to 15 are damaged: they were found to be wrong"):
        log.read("t", A, 14, max_records=1, max_bytes=1)
    assert log.read("t", B, 0, max_records=1, max_bytes=1) is not None
    assert log.read("t", A, 40, max_records=1, max_bytes=1) is None
    with pytest.raises(Damaged):
        log.digest("t", A)
    assert ranges(log) == [(13, 15)]
    reopen(log)
    assert log.quarantined() == []
    assert readable(log) == set(range(40))


def test_ranges_join_and_are_kept_apart(log):
    for first, last in ((5, 9), (20, 29), (7, 12), (22, 24), (0, 1)):
        log.quarantine("t", A, first, last)
    assert readable(log) == set(range(40)) - {0, 1} - set(range(5, 13)) - set(range(20, 30))
    covered = [offset for first, last in ranges(log) for offset in range(first, last + 1)]
    assert covered == [0, 1, *range(5, 13), *range(20, 30)]


def test_a_read_that_finds_damage_quarantines_it(log, monkeypatch):
    damage(log, 10)
    with pytest.raises(Damaged, match="offsets 10 to 19"):
        log.read("t", A, 13, max_records=1, max_bytes=1)
    (found,) = log.quarantined()
    assert (found.topic, found.partition, found.first, found.last) == ("t", A, 10, 19)
    monkeypatch.setattr(log._reader, "_load", None)
    with pytest.raises(Damaged, match="offsets 10 to 19"):
        log.read("t", A, 19, max_records=1, max_bytes=1)


def test_a_check_quarantines_what_it_finds(log):
    damage(log, 20)
    assert [(d.first, d.last) for d in log.check()] == [(20, 29)]
    assert ranges(log) == [(20, 29)]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("first", [0, 10, 30])
def test_a_whole_value_is_repaired(log, first, missing):
    digest = log.digest("t", A)
    if missing:
        entry(log, "DELETE FROM Cache", first)
    else:
        damage(log, first)
    assert len(list(log.check())) == 1
    assert readable(log) == set(range(40)) - set(range(first, first + 10))
    log.repair(run(0, 40))
    for _ in range(2):
        assert log.quarantined() == []
        assert list(log.check()) == []
        assert readable(log) == set(range(40))
        assert log.digest("t", A) == digest
        assert log.extent("t", A) == Extent("t", A, 0, 40)
        reopen(log)


@pytest.mark.parametrize("first", [0, 10, 30])
@pytest.mark.parametrize("parts", [[(0, 3), (3, 7), (7, 10)], [(5, 6), (8, 10), (0, 9)]])
def test_a_damaged_value_can_be_repaired_in_parts(log, first, parts):
    digest = log.digest("t", A)
    damage(log, first)
    assert len(list(log.check())) == 1
    missing = set(range(first, first + 10))
    for start, stop in parts:
        log.repair(run(first + start, first + stop))
        missing -= set(range(first + start, first + stop))
        assert readable(log) == set(range(40)) - missing
        assert {i for a, b in ranges(log) for i in range(a, b + 1)} == missing
        reopen(log)
        assert log.extent("t", A) == Extent("t", A, 0, 40)
        found = list(log.check())
        assert {i for d in found for i in range(d.first, d.last + 1)} == missing
        assert readable(log) == set(range(40)) - missing
    assert log.quarantined() == []
    assert log.digest("t", A) == digest
    while log.merge():
        pass
    assert log.digest("t", A) == digest


def test_sound_records_around_a_quarantined_range_are_kept(log):
    log.quarantine("t", A, 12, 14)
    log.repair(Run("t", A, 0, [b"wrong"] * 12 + [b"12", b"13", b"14"] + [b"wrong"] * 25))
    assert log.quarantined() == []
    assert readable(log) == set(range(40))
    reopen(log)
    assert readable(log) == set(range(40))
    assert list(log.check()) == []


def test_a_range_across_values_is_repaired(log):
    log.quarantine("t", A, 5, 33)
    damage(log, 20)
    log.repair(run(0, 40))
    assert log.quarantined() == []
    assert list(log.check()) == []
    assert readable(log) == set(range(40))


def test_what_is_not_quarantined_is_not_replaced(log):
    log.repair(Run("t", A, 0, [b"wrong"] * 40))
    log.repair(Run("t", "C", 0, [b"wrong"] * 40))
    log.repair(Run("t", A, 40, [b"beyond"]))
    assert readable(log) == set(range(40))
    assert log.extent("t", A) == Extent("t", A, 0, 40)


def test_a_value_that_begins_before_the_earliest_offset_is_repaired_from_there(log):
    log.drop("t", A, 15, exact=True)
    damage(log, 10)
    assert len(list(log.check())) == 1
    log.repair(run(15, 20))
    for _ in range(2):
        assert log.quarantined() == []
        assert list(log.check()) == []
        assert readable(log) == set(range(15, 40))
        reopen(log)


def test_dropped_records_are_no_longer_quarantined(log):
    log.quarantine("t", A, 5, 14)
    log.drop("t", A, 10)
    assert ranges(log) == [(10, 14)]
    log.drop("t", A, 40)
    assert log.quarantined() == []
    assert readable(log) == set()


def test_repaired_records_keep_their_time_of_arrival_where_a_neighbour_tells_it(log):
    log.close()
    with Log(log.directory, durability="os", clock=lambda: 9000.0) as later:
        damage(later, 0)
        assert len(list(later.check())) == 1
        later.repair(run(0, 10))
        assert later.oldest("t", A).arrival == 50.0
        assert later.oldest("t", A).last == 9
    log.open()


def test_a_repair_that_fails_changes_nothing(log, monkeypatch):
    damage(log, 10)
    assert len(list(log.check())) == 1

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("dafka.io.log_writing.add", refuse)
        with pytest.raises(StoreError, match="database or disk is full"):
            log.repair(run(10, 20))
    assert ranges(log) == [(10, 19)]
    assert log.extent("t", A) == Extent("t", A, 0, 40)
    log.repair(run(10, 20))
    assert list(log.check()) == []


def test_a_digest_does_not_depend_on_how_records_are_cut(tmp_path, log):
    with Log(tmp_path / "other", durability="os") as other:
        other.append([Run("t", B, 0, [b"fine"]), run(0, 1)])
        other.append([run(1, 37)])
        other.append([run(37, 40)])
        assert other.digest("t", A) == log.digest("t", A)
        assert other.digest("t", B) == log.digest("t", B) != log.digest("t", A)
        digests = {log.digest("t", A)}
        other.append([Run("t", A, 40, [b""])])
        digests.add(other.digest("t", A))
        other.drop("t", A, 3, exact=True)
        digests.add(other.digest("t", A))
        log.append([Run("t", A, 40, [b""])])
        log.drop("t", A, 3, exact=True)
        assert log.digest("t", A) in digests
        digests.add(log.digest("t", "unknown"))
        assert len(digests) == 4
    variants = [[b"ab", b"c"], [b"a", b"bc"], [b"abc", b""], [b"", b"abc"]]
    for partition, contents in zip("KLMN", variants, strict=True):
        log.append([Run("t", partition, 0, contents)])
    assert len({log.digest("t", partition) for partition in "KLMN"}) == 4


@settings(max_examples=40, deadline=None)
@given(
    bad=st.sets(st.sampled_from([0, 10, 20, 30])),
    by_hand=st.lists(st.tuples(st.integers(0, 39), st.integers(1, 15)), max_size=3),
    floor=st.integers(0, 20),
    parts=st.lists(st.tuples(st.integers(0, 39), st.integers(1, 15)), max_size=6),
)
def test_any_repairs_end_with_the_same_records(tmp_path_factory, bad, by_hand, floor, parts):
    with Log(tmp_path_factory.mktemp("log"), durability="os") as log:
        for first in range(0, 40, 10):
            log.append([run(first, first + 10)])
        log.drop("t", A, floor, exact=True)
        kept = set(range(floor, 40))
        digest = log.digest("t", A)
        for first in bad:
            if first + 10 > floor:
                damage(log, first)
        assert all(isinstance(found, Damage) for found in log.check())
        for first, count in by_hand:
            log.quarantine("t", A, first, min(39, first + count - 1))
        wrong = {i for a, b in ranges(log) for i in range(a, b + 1)} & kept
        for first, count in parts:
            log.repair(run(first, first + count))
            wrong -= set(range(first, first + count))
            assert readable(log) == kept - wrong
            assert {i for a, b in ranges(log) for i in range(a, b + 1)} & kept == wrong
            assert log.extent("t", A) == Extent("t", A, floor, 40)
        log.repair(run(0, 40))
        for _ in range(2):
            assert list(log.check()) == []
            assert log.digest("t", A) == digest
            reopen(log)
