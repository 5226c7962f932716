"""`dafka check`: what it finds, what it says, and that it changes nothing it should not."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import closing

import pytest

from dafka.cli.main import dafka, run
from dafka.core.run import Run
from dafka.errors import StoreError
from dafka.io import log_format as fmt
from dafka.io.log import Log

A, B = "A" * 32, "B" * 32


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(name, *runs):
    """A log with these runs."""
    with Log(name, durability="os") as log:
        for some in runs:
            log.append([some])


def contents(first, last):
    return [b"record %d" % n for n in range(first, last)]


def spoil(name, needle):
    """Flip a bit where a content is; tells how often it was found."""
    with closing(sqlite3.connect(f"{name}/cache.db")) as database:
        rows = database.execute("SELECT rowid, value FROM Cache").fetchall()
        found = [(row, value) for row, value in rows if type(value) is bytes and needle in value]
        for row, value in found:
            at = value.index(needle)
            spoilt = value[:at] + bytes([value[at] ^ 4]) + value[at + 1 :]
            database.execute("UPDATE Cache SET value = ? WHERE rowid = ?", (spoilt, row))
        database.commit()
    return len(found)


def check(capfd, *arguments):
    code = run(dafka, "dafka", ["check", *arguments])
    out, err = capfd.readouterr()
    return code, out, err


def test_a_sound_log(capfd):
    make("one", Run("t", A, 0, contents(0, 10)), Run("t", A, 10, [b""]), Run("grün", B, 0, [b"x"]))
    assert check(capfd, "one") == (0, "one: 2 partitions, 12 records: no damage\n", "")
    code, out, _ = check(capfd, "one", "--json")
    assert code == 0
    assert json.loads(out) == {
        "directories": [{"directory": "one", "partitions": 2, "records": 12, "damage": []}],
        "partitions": [],
    }


def overwrite(directory):
    with open(f"{directory}/cache.db", "r+b") as file:
        file.write(b"\0" * 4096)


def test_an_empty_log(capfd):
    make("one")
    assert check(capfd, "one") == (0, "one: 0 partitions, 0 records: no damage\n", "")


def test_damage_is_named(capfd):
    make("one", Run("t", A, 0, contents(0, 10)), Run("t", A, 10, contents(10, 20)))
    make("two", Run("t", A, 0, contents(0, 10)))
    assert spoil("one", b"record 15") == 1
    code, out, err = check(capfd, "one", "two")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        f"one: topic 't', partition {A}, offsets 10 to 19: the checksum of a value is wrong",
        "one: 1 partition, 20 records: 1 fault",
        "two: 1 partition, 10 records: no damage",
    ]
    code, out, _ = check(capfd, "one", "--json")
    damage = json.loads(out)["directories"][0]["damage"]
    assert code == 1
    assert [(d["topic"], d["partition"], d["first"], d["last"]) for d in damage] == [
        ("t", A, 10, 19)
    ]


def test_a_database_that_cannot_be_opened_is_damage_too(capfd):
    make("one", Run("t", A, 0, contents(0, 10)))
    make("two", Run("t", A, 0, contents(0, 10)))
    overwrite("one")
    code, out, _ = check(capfd, "one", "two")
    assert code == 1
    assert re.match(r"one: /.*/one/cache.db is not the database of a Dafka log, or it is dam", out)
    assert out.endswith("two: 1 partition, 10 records: no damage\n")


class TestCompare:
    def test_records_count_not_how_they_are_cut(self, capfd):
        make("one", Run("t", A, 0, contents(0, 20)), Run("u", B, 5, [b"x"]))
        make(
            "two", Run("u", B, 5, [b"x"]), *(Run("t", A, n, contents(n, n + 1)) for n in range(20))
        )
        make("three", Run("t", A, 0, contents(0, 7)), Run("t", A, 7, contents(7, 20)))
        code, out, _ = check(capfd, "--compare", "one", "two")
        assert code == 0
        assert re.fullmatch(
            rf"topic 't', partition {A}: identical, offsets 0 to 19, [0-9a-f]{{16}}\n"
            rf"topic 'u', partition {B}: identical, offsets 5 to 5, [0-9a-f]{{16}}\n",
            "".join(out.splitlines(keepends=True)[2:]),
        )
        code, out, _ = check(capfd, "--compare", "one", "two", "three", "--json")
        t, u = json.loads(out)["partitions"]
        assert code == 1
        assert (t["topic"], t["partition"], t["identical"]) == ("t", A, True)
        assert t["stored"][0] == t["stored"][2]
        assert (u["identical"], u["stored"][2]) == (False, None)

    @pytest.mark.parametrize(
        "other",
        [
            Run("t", A, 0, contents(0, 19)),
            Run("t", A, 1, contents(1, 20)),
            Run("t", A, 0, [*contents(0, 19), b"record 20"]),
            Run("t", A, 0, [*contents(0, 18), b"record 18r", b"ecord 19"]),
            Run("t", B, 0, contents(0, 20)),
        ],
        ids=["shorter", "expired", "other content", "other lengths", "other partition"],
    )
    def test_a_difference_is_told(self, capfd, other):
        make("one", Run("t", A, 0, contents(0, 20)))
        make("two", other)
        code, out, _ = check(capfd, "--compare", "one", "two")
        assert code == 1
        assert f"topic 't', partition {A}: different\n  one: offsets 0 to 19, " in out

    def test_damage_is_a_difference(self, capfd):
        make("one", Run("t", A, 0, contents(0, 20)))
        make("two", Run("t", A, 0, contents(0, 20)))
        assert spoil("two", b"record 3") == 1
        code, out, _ = check(capfd, "--compare", "one", "two")
        assert code == 1
        assert f"topic 't', partition {A}: different" in out
        reason = "the checksum of a value is wrong"
        assert re.search(rf"  two: offsets 0 to 19, cannot be read: .* damaged: {reason}\n", out)

    def test_the_same_damage_is_not_the_same_content(self, capfd):
        for directory in ("one", "two"):
            make(directory, Run("t", A, 0, contents(0, 20)))
            assert spoil(directory, b"record 3") == 1
        code, out, _ = check(capfd, "--compare", "one", "two")
        assert code == 1
        assert f"topic 't', partition {A}: different" in out

    def test_a_directory_that_cannot_be_opened_is_not_taken_for_an_empty_one(self, capfd):
        make("one", Run("t", A, 0, contents(0, 20)))
        make("two", Run("t", A, 0, contents(0, 20)))
        overwrite("two")
        code, out, _ = check(capfd, "--compare", "one", "two")
        assert code == 1
        assert re.search(r"  one: offsets 0 to 19, [0-9a-f]{16}\n  two: cannot be read\n", out)


class TestRepair:
    def test_damage_is_replaced_from_another_directory(self, capfd):
        runs = [Run("t", A, n, contents(n, n + 10)) for n in range(0, 40, 10)]
        make("one", *runs, Run("u", B, 0, [b"sound"]))
        make("two", Run("t", A, 0, contents(0, 40)))
        assert spoil("one", b"record 15") == spoil("one", b"record 31") == 1
        code, out, err = check(capfd, "one", "--repair", "--from", "two")
        assert (code, err) == (0, "")
        assert out.endswith(
            "one: 2 partitions, 41 records: 2 faults\n"
            "one: after the repair:\n"
            "one: 2 partitions, 41 records: no damage\n"
        )
        assert check(capfd, "one")[0] == 0
        with Log("one") as log, Log("two") as other:
            assert log.digest("t", A) == other.digest("t", A)

    def test_what_the_other_lacks_stays_damaged(self, capfd):
        make("one", *(Run("t", A, n, contents(n, n + 10)) for n in range(0, 40, 10)))
        make("two", *(Run("t", A, n, contents(n, n + 5)) for n in range(0, 30, 5)))
        assert spoil("one", b"record 15") == spoil("one", b"record 31") == 1
        assert spoil("two", b"record 12") == 1
        code, out, _ = check(capfd, "one", "--repair", "--from", "two")
        assert code == 1
        after = out.partition("after the repair:\n")[2]
        assert f"one: topic 't', partition {A}, offsets 30 to 39: " in after
        assert f"one: topic 't', partition {A}, offsets 10 to 14: " in after
        assert "2 faults" in after
        with Log("one") as log:
            assert log.read("t", A, 15, max_records=5, max_bytes=999).contents == contents(15, 20)

    @pytest.mark.parametrize("harm", ["overwrite", "truncate", "truncate a little"])
    @pytest.mark.parametrize("damaged", [True, False])
    def test_from_a_directory_that_cannot_be_read_nothing_is_done(self, capfd, harm, damaged):
        for directory in ("one", "two"):
            runs = [Run("t", A, n, [bytes([n]) * 9000]) for n in range(40)]
            make(directory, *runs)
        if damaged:
            assert spoil("one", bytes([15]) * 9000) == 1
        if harm == "overwrite":
            overwrite("two")
        else:
            os.truncate("two/cache.db", 9000 if harm == "truncate" else 20_000)
        code, out, err = check(capfd, "one", "--repair", "--from", "two")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("dafka check: two cannot be read to repair from: ")

    def test_so_it_is_if_that_turns_out_on_the_way(self, capfd, monkeypatch):
        make("one", Run("t", A, 0, contents(0, 10)))
        make("two", Run("t", A, 0, contents(0, 10)))
        assert spoil("one", b"record 5") == 1

        def failing(log, *_arguments, **_limits):
            raise StoreError(f"{log.directory}: disk I/O error")

        monkeypatch.setattr(Log, "read", failing)
        code, _, err = check(capfd, "one", "--repair", "--from", "two")
        assert (code, err.count("\n")) == (2, 1)
        assert re.match(r"dafka check: /\S+/two cannot be read to repair from: .* I/O error", err)

    def test_a_directory_that_cannot_be_opened_is_told_once(self, capfd):
        make("one", Run("t", A, 0, contents(0, 10)))
        make("two", Run("t", A, 0, contents(0, 10)))
        overwrite("one")
        code, out, _ = check(capfd, "one", "--repair", "--from", "two")
        assert code == 1
        assert out.count("is not the database of a Dafka log") == 1
        assert "after the repair" not in out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["one", "--repair"], "--repair and --from need each other."),
            (["one", "--from", "two"], "--repair and --from need each other."),
            (["one", "two", "--repair", "--from", "x"], "--repair takes one directory"),
            (["one", "--repair", "--from", "one"], "A directory is named twice."),
            (["one", "--repair", "--from", "nosuch"], "nosuch is not a directory"),
        ],
    )
    def test_usage(self, capfd, arguments, message):
        make("one")
        make("two")
        code, out, err = check(capfd, *arguments)
        assert (code, out) == (2, "")
        assert message in err


def listing(directory):
    return {
        str(path): (path.read_bytes() if path.is_file() else None, os.stat(path).st_mtime_ns)
        for path in [directory, *directory.rglob("*")]
    }


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["missing"], "dafka check: missing is not a directory: name the --data of a store"),
            (["file"], "dafka check: file is not a directory: name the --data of a store"),
            (["empty"], "dafka check: empty holds no Dafka log: name the --data of a store"),
            (["foreign"], "dafka check: foreign holds no Dafka log: name the --data of a store"),
            (["good", "empty"], "dafka check: empty holds no Dafka log"),
            (["good", "good/."], "dafka check: A directory is named twice."),
            (["good", "--compare"], "dafka check: --compare needs at least two directories."),
            ([], "dafka check: Missing argument 'DIR...'."),
        ],
    )
    def test_one_sentence_and_nothing_is_touched(self, capfd, tmp_path, arguments, message):
        make("good", Run("t", A, 0, contents(0, 3)))
        (tmp_path / "file").write_text("x")
        (tmp_path / "empty").mkdir()
        (tmp_path / "foreign").mkdir()
        (tmp_path / "foreign" / "photo.jpg").write_text("x")
        before = listing(tmp_path)
        code, out, err = check(capfd, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith(message)
        assert listing(tmp_path) == before

    def test_another_database_is_left_alone(self, capfd, tmp_path):
        (tmp_path / "other").mkdir()
        with closing(sqlite3.connect("other/cache.db")) as database:
            database.execute("CREATE TABLE other (name)")
        before = listing(tmp_path)
        code, out, _ = check(capfd, "other")
        assert code == 1
        assert "is not the database of a Dafka log" in out
        assert listing(tmp_path) == before

    def test_a_log_in_use(self, capfd):
        with Log("one") as log:
            log.append([Run("t", A, 0, [b"x"])])
            code, out, err = check(capfd, "one")
        assert (code, out) == (2, "")
        assert re.fullmatch(r"dafka check: /.*/one is in use by process \d+: stop that .*\n", err)

    def test_an_unknown_format(self, capfd):
        make("one")
        with closing(sqlite3.connect("one/cache.db")) as database:
            database.execute("UPDATE Cache SET value = x'39' WHERE key = ?", (fmt.VERSION_KEY,))
            database.commit()
        code, out, err = check(capfd, "one")
        assert (code, out) == (2, "")
        assert "holds a Dafka log of the unknown format b'9'" in err
