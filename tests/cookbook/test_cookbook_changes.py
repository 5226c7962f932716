"""Change capture: a replica becomes equal to the database, whoever is killed and whenever."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing

import pytest

from tests.support.processes import dafka, eventually

pytestmark = pytest.mark.process

TABLES = ("customers", "orders")


@pytest.fixture
def shop(tmp_path):
    with closing(sqlite3.connect(tmp_path / "shop.db", timeout=10)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, picture BLOB)")
        db.execute(
            "CREATE TABLE orders (customer, number, total REAL, PRIMARY KEY (customer, number))"
        )
        with db:
            db.execute("INSERT INTO customers VALUES (1, 'Zoë ''quoted''', x'00ff')")
            for number, value in enumerate([0.1 + 0.2, -9e999, 2**63 - 1, 1e22, 5e-324]):
                db.execute("INSERT INTO orders VALUES (?, ?, ?)", ("a\0b", number, value))
        yield db


def rows(db):
    """All rows of the tables; empty where a table is not there yet."""
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {
        table: sorted(db.execute(f"SELECT * FROM {table}"), key=repr)
        for table in TABLES
        if table in there
    }


def replicated(programs, shop):
    """The replica becomes equal to the shop."""
    with closing(sqlite3.connect(programs.directory / "replica.db", timeout=10)) as replica:
        eventually(lambda: rows(replica) == rows(shop), "the replica is equal")


def change(db, chance):
    """One transaction of several changes, which is sometimes rolled back."""
    for _ in range(chance.randrange(1, 20)):
        key = chance.randrange(50)
        number = chance.randrange(5)
        what = chance.randrange(6)
        if what < 2:
            values = (key, chance.choice(["Ann", None, "x" * 99]), chance.randbytes(3))
            db.execute("INSERT OR REPLACE INTO customers VALUES (?, ?, ?)", values)
        elif what == 2:
            db.execute(
                "INSERT OR IGNORE INTO orders VALUES (?, ?, ?)", (key, number, chance.random())
            )
        elif what == 3:
            db.execute(
                "UPDATE OR REPLACE orders SET number = number + 1 WHERE customer = ?", (key,)
            )
        elif what == 4:
            db.execute(
                "UPDATE customers SET name = ? WHERE id < ?", (str(chance.random()), key // 9)
            )
        else:
            db.execute("DELETE FROM orders WHERE customer = ?", (key,))
    if chance.random() < 0.2:
        db.rollback()
    else:
        db.commit()


def capture(programs):
    return programs.begin("change_capture", "capture", "shop.db", *TABLES)


def replicate(programs):
    return programs.begin("change_capture", "replicate", "replica.db")


def test_a_replica_has_what_was_there_and_what_is_changed(programs, shop):
    source, replica = capture(programs), replicate(programs)
    replicated(programs, shop)
    chance = random.Random(1)
    for _ in range(30):
        change(shop, chance)
    replicated(programs, shop)
    (noted,) = shop.execute(
        "SELECT seq FROM sqlite_sequence WHERE name='_dafka_changes'"
    ).fetchone()
    left = "SELECT count(*) FROM _dafka_changes"
    eventually(lambda: shop.execute(left).fetchone() == (0,), "what is acknowledged is forgotten")
    assert (source.end(), replica.end()) == (0, 0)
    assert (source.complained(), replica.complained()) == ("", "")
    count = programs.run(
        dafka(
            "consume",
            "changes",
            "--from",
            "earliest",
            "--count",
            str(noted),
            "--format",
            "raw",
            *programs.cluster.at,
        )
    ).printed()
    assert count.count(b"\n") == noted
    assert count.startswith(b'{"kind": "table", "table": "customers"')


def kill_at_random(programs, shop, seed, kills):
    chance = random.Random(seed)
    source, replica = capture(programs), replicate(programs)
    eventually(
        lambda: shop.execute("SELECT 1 FROM sqlite_master WHERE name = '_dafka'").fetchone(),
        "the capture has begun",
    )
    for _ in range(kills):
        for _ in range(chance.choice([1, 50])):
            change(shop, chance)
        time.sleep(chance.uniform(0, 1.0))  # any moment will do
        if chance.random() < 0.5:
            source.kill()
            change(shop, chance)
            source = capture(programs)
        else:
            replica.kill()
            replica = replicate(programs)
    replicated(programs, shop)
    (noted,) = shop.execute(
        "SELECT seq FROM sqlite_sequence WHERE name='_dafka_changes'"
    ).fetchone()
    replica.kill()
    with closing(sqlite3.connect(programs.directory / "replica.db")) as db:
        assert [at for (at,) in db.execute("SELECT next FROM _dafka_positions")] == [noted]


@pytest.mark.parametrize("seed", [1])
def test_captures_and_replicas_that_are_killed_lose_and_double_nothing(programs, shop, seed):
    kill_at_random(programs, shop, seed, kills=3)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10, 13))
def test_they_do_so_however_often(programs, shop, seed):
    kill_at_random(programs, shop, seed, kills=40)


@pytest.mark.parametrize(
    ("create", "said"),
    [
        pytest.param("CREATE TABLE t (a)", "t: needs a primary key", id="no key"),
        pytest.param("CREATE TABLE u (a)", "t: there is no such table", id="no table"),
    ],
)
def test_tables_that_cannot_be_captured_are_named(programs, shop, create, said):
    shop.execute(create)
    program = programs.begin("change_capture", "capture", "shop.db", "t")
    assert program.wait() == 1
    assert said in program.complained()
    assert program.complained().count("\n") == 1
    assert "_dafka" not in str(shop.execute("SELECT name FROM sqlite_master").fetchall())


def test_columns_that_have_changed_are_refused(programs, shop):
    source = capture(programs)
    replicate(programs)
    replicated(programs, shop)
    source.kill()
    shop.execute("ALTER TABLE customers ADD COLUMN street")
    again = capture(programs)
    assert again.wait() == 1
    assert again.complained() == "customers: its columns have changed since its capture began\n"


def test_a_database_that_is_not_there_is_not_made(programs):
    done = programs.run(programs.command("change_capture", "capture", "none.db", "t"), code=1)
    assert done.complained() == "none.db: unable to open database file\n"
    assert not (programs.directory / "none.db").exists()
