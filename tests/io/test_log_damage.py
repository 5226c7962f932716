"""What is damaged on disk is found, named, never unpickled, and never stops the rest."""

from __future__ import annotations

import pickle
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dafka.core.run import Run
from dafka.errors import StoreError
from dafka.io import log_connections
from dafka.io import log_format as fmt
from dafka.io.log import Damage, Damaged, Extent, Log

A, B = "A" * 32, "B" * 32
WHERE = " WHERE key = ?"
SECOND = fmt.record_key(0, 10, 10, 60)


def sql(directory: Path, statement: str, *values: object) -> None:
    """Change the database behind the log's back."""
    with closing(sqlite3.connect(directory / "cache.db")) as connection:
        assert connection.execute(statement, values).rowcount > 0
        connection.commit()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A log with three values of ten records each, and another partition."""
    with Log(tmp_path) as log:
        for first in (0, 10, 20):
            contents = [b"%d" % i for i in range(first, first + 10)]
            log.append([Run("t", A, first, contents)])
        log.append([Run("t", B, 0, [b"fine"])])
    return tmp_path


def expect_second_damaged(log: Log, reason: str) -> None:
    """The second value is damaged, and all others are readable."""
    assert list(log.check()) == [Damage("t", A, 10, 19, reason)]
    before = log.read("t", A, 5, max_records=100, max_bytes=1000)
    assert before is not None
    assert before.contents == [b"5", b"6", b"7", b"8", b"9"]
    with pytest.raises(Damaged) as error:
        log.read("t", A, 13, max_records=1, max_bytes=1000)
    damaged = error.value
    assert (damaged.topic, damaged.partition) == ("t", A)
    assert (damaged.first, damaged.last, damaged.reason) == (10, 19, reason)
    assert str(damaged) == (
        f"records of topic 't', partition {A}, offsets 10 to 19 are damaged: {reason}"
    )
    after = log.read("t", A, 20, max_records=100, max_bytes=1000)
    assert after is not None
    assert len(after) == 10
    assert log.extent("t", A) == Extent("t", A, 0, 30)
    assert log.read("t", B, 0, max_records=1, max_bytes=1) is not None


def test_a_flipped_byte_anywhere_in_a_value_is_found(data):
    with Log(data) as log:
        with log._opened().lend() as cache:
            original = cache.get(SECOND)
        for at in range(len(original)):
            flipped = original[:at] + bytes([original[at] ^ 0x40]) + original[at + 1 :]
            sql(data, "UPDATE Cache SET value = ?" + WHERE, flipped, SECOND)
            with pytest.raises(Damaged, match="offsets 10 to 19"):
                log.read("t", A, 15, max_records=1, max_bytes=1000)
            if at % 16 == 0:
                assert [d.first for d in log.check()] == [10]
        sql(data, "UPDATE Cache SET value = ?" + WHERE, original, SECOND)
        assert list(log.check()) == []


def test_bytes_that_rot_in_the_file_are_found(tmp_path):
    contents = [random.Random(i).randbytes(1000) for i in range(3000)]
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, contents)])
    database = tmp_path / "cache.db"
    pages = bytearray(database.read_bytes())
    pages[pages.index(contents[1500]) + 500] ^= 1
    database.write_bytes(pages)
    with Log(tmp_path) as log:
        (damage,) = log.check()
        assert damage.first <= 1500 <= damage.last
        assert damage.reason == "the checksum of a value is wrong"
        offset, lost = 0, []
        while offset < 3000:
            try:
                run = log.read("t", A, offset, max_records=100, max_bytes=10**6)
                assert run is not None
                assert run.contents == contents[offset : run.next]
                offset = run.next
            except Damaged as damaged:
                lost.append((damaged.first, damaged.last))
                offset = damaged.last + 1
        assert lost == [(damage.first, damage.last)]


def test_a_page_that_rots_is_found(tmp_path):
    """The pages of SQLite's own trees have no checksums: some damage shows, none is a crash."""
    with Log(tmp_path) as log:
        for first in range(0, 2000, 10):
            log.append([Run("t", A, first, [b"%d" % first * 20] * 10)])
    database = tmp_path / "cache.db"
    pages = database.read_bytes()
    rng, refusals = random.Random(1), []
    for _ in range(20):
        at = rng.randrange(1, len(pages) // 4096) * 4096
        database.write_bytes(pages[:at] + rng.randbytes(4096) + pages[at + 4096 :])
        try:
            with Log(tmp_path) as log:
                assert list(log.check())
                for first in range(0, 2000, 10):
                    try:
                        run = log.read("t", A, first, max_records=1, max_bytes=1)
                    except Damaged:
                        continue
                    assert run is None or run.contents == [b"%d" % first * 20]
        except StoreError as error:
            refusals.append(str(error))
        for name in ("cache.db-wal", "cache.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
    assert all(str(tmp_path) in refusal for refusal in refusals)


@pytest.mark.parametrize("while_open", [True, False])
def test_a_missing_value_is_a_gap(data, while_open):
    if while_open:
        with Log(data) as log:
            sql(data, "DELETE FROM Cache" + WHERE, SECOND)
            expect_second_damaged(log, "they are missing")
    else:
        sql(data, "DELETE FROM Cache" + WHERE, SECOND)
        with Log(data) as log:
            expect_second_damaged(log, "they are missing")
            log.append([Run("t", A, 30, [b"30"])])


def test_a_pickle_is_never_loaded(data, tmp_path):
    witness = tmp_path / "witness"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (witness,))

    payload = pickle.dumps(Payload())
    sql(data, "UPDATE Cache SET mode = 4, value = ?" + WHERE, payload, SECOND)
    foreign = "an entry is not one of the log's: it is left alone, unread"
    with Log(data) as log:
        expect_second_damaged(log, foreign)
    sql(data, "UPDATE Cache SET mode = 4, filename = 'pickled', value = NULL" + WHERE, SECOND)
    (data / "pickled").write_bytes(payload)
    with Log(data) as log:
        expect_second_damaged(log, foreign)
    assert (data / "pickled").exists()
    sql(data, "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 0, 4, ?)", payload, payload)
    sql(
        data, "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 1, 4, ?)", b"p\0\0\0\7", payload
    )
    with Log(data) as log:
        assert len(list(log.check())) == 3
    assert not witness.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("mode = 2, filename = '../../etc/passwd'", "an entry is not one of the log's"),
        ("mode = 7", "an entry is not one of the log's"),
        ("value = NULL", "an entry is not one of the log's"),
        ("value = 5", "an entry is not one of the log's"),
        ("value = 'text'", "an entry is not one of the log's"),
        ("value = x''", "they are missing"),
        ("value = x'00'", "a value has only 1 bytes"),
        ("expire_time = 1", "they are missing"),
    ],
)
def test_a_foreign_entry_is_damage(data, change, reason):
    sql(data, f"UPDATE Cache SET {change}" + WHERE, SECOND)
    with Log(data) as log:
        (damage,) = log.check()
        assert (damage.first, damage.last) == (10, 19)
        assert damage.reason.startswith(reason)


def test_text_that_is_none_is_damage(data):
    sql(data, "UPDATE Cache SET value = CAST(x'ff00fe' AS TEXT)" + WHERE, SECOND)
    with Log(data) as log:
        expect_second_damaged(log, "an entry is not one of the log's: it is left alone, unread")


def test_unknown_keys_are_found_and_do_no_harm(data):
    insert = "INSERT INTO Cache (key, raw, mode, value) VALUES (?, ?, 1, x'00')"
    keys: list[tuple[object, int]] = [
        ("text", 1),
        (5, 1),
        (b"r" * 17, 0),
        (b"other", 1),
        (b"", 1),
        (fmt.record_key(0, 30, 0, 0), 1),
        (fmt.record_key(0, 2**64 - 1, 2, 9), 1),
        (fmt.record_key(1, 2**64 - 1, 2**32 - 1, 9), 1),
    ]
    for key, raw in keys:
        sql(data, insert, key, raw)
    with Log(data) as log:
        damages = list(log.check())
        assert {(d.topic, d.partition, d.first, d.last) for d in damages} == {("", "", 0, -1)}
        assert len(damages) == len(keys)
        assert len(log.partitions()) == 2
        log.append([Run("t", A, 30, [b"30"]), Run("new", A, 0, [b"0"])])
        assert len(list(log.check())) == len(keys)


def test_values_that_overlap_are_found(data):
    key = fmt.record_key(0, 15, 5, 30)
    value = fmt.encode_value(key, [(0, 5)], [b"%d" % i for i in range(15, 20)])
    sql(data, "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 1, 1, ?)", key, value)
    with Log(data) as log:
        assert list(log.check()) == [Damage("t", A, 15, 19, "they are stored twice")]
        run = log.read("t", A, 0, max_records=100, max_bytes=1000)
        assert run is not None
        assert run.contents == [b"%d" % i for i in range(len(run))]


def test_a_partition_whose_entry_is_damaged_loses_its_name_but_not_its_number(data, caplog):
    entry = fmt.partition_key(1)
    sql(data, "UPDATE Cache SET value = x'0011223344556677'" + WHERE, entry)
    with Log(data) as log:
        assert log.partitions() == [Extent("t", A, 0, 30)]
        assert "damaged_partition" in caplog.text
        assert "nameless_partition number=1" in caplog.text
        assert [(d.topic, d.first, d.last) for d in log.check()] == [("", 0, -1), ("", 0, 0)]
        log.append([Run("t", B, 0, [b"again"])])
    with Log(data) as log:
        assert log.extent("t", B) == Extent("t", B, 0, 1)
        run = log.read("t", B, 0, max_records=9, max_bytes=9)
        assert run == Run("t", B, 0, [b"again"])
        assert len(list(log.check())) == 2


def test_a_second_entry_of_a_partition_is_found_and_not_believed(data):
    key = fmt.partition_key(9)
    entry = fmt.encode_partition(key, "t", A)
    sql(data, "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 1, 1, ?)", key, entry)
    with Log(data) as log:
        assert log.extent("t", A) == Extent("t", A, 0, 30)
        (damage,) = log.check()
        assert damage.reason == "the entry of partition number 9 is damaged, or is a second one"
        log.append([Run("new", A, 0, [b"0"])])
        assert len(log.partitions()) == 3
        assert list(log.check()) == [damage]


def test_trees_of_sqlite_that_disagree_are_found(data):
    database = data / "cache.db"
    pages = bytearray(database.read_bytes())
    assert pages.count(SECOND) == 2
    values_come_first = pages.index(b"DFKA", pages.index(SECOND)) - pages.index(SECOND) < 100
    at = pages.index(SECOND) if values_come_first else pages.rindex(SECOND)
    pages[at + 1] = 9
    database.write_bytes(pages)
    with Log(data) as log:
        reasons = [damage.reason for damage in log.check()]
        assert reasons
        assert all(reason.startswith("SQLite's structure is damaged: ") for reason in reasons)


def test_an_error_that_passes_is_no_damage(data, monkeypatch):
    with Log(data) as log:
        lend = log._opened().connections

        def connect() -> None:
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(lend, "_connect", connect)
            lend._idle.pop().close()
            with pytest.raises(StoreError, match="cannot be read: unable to open") as error:
                log.read("t", A, 0, max_records=1, max_bytes=1)
            assert not isinstance(error.value, Damaged)
            (first, *_) = log.check()
            assert first.reason == ("SQLite cannot read its database: unable to open database file")
        assert log.read("t", A, 0, max_records=1, max_bytes=1) is not None


def test_a_sector_that_cannot_be_read_is_damage(data, monkeypatch):
    class BadSector(sqlite3.Connection):
        def execute(self, statement, *args):
            if args and args[0] and args[0][0] == SECOND:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
                raise error
            return super().execute(statement, *args)

    connect = sqlite3.connect
    monkeypatch.setattr(
        log_connections.sqlite3,
        "connect",
        lambda *args, **kwargs: connect(*args, factory=BadSector, **kwargs),
    )
    with Log(data) as log:
        expect_second_damaged(log, "disk I/O error")
