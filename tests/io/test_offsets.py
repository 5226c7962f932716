"""Positions on disk: durable, one process for each name, and recognised for what they are."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dafka.errors import StoreError
from dafka.io import offsets_format as fmt
from dafka.io.log import Log
from dafka.io.offsets import FILE, Lost, Offsets, default_directory, look, names
from dafka.io.offsets_format import Saved, Subscription
from tests.support.failing_disk import FailingDisk

A, B = "A" * 32, "B" * 32
MAX_OFFSET = (1 << 64) - 1


@pytest.fixture
def offsets(tmp_path, clock):
    one = Offsets(tmp_path, "billing", clock=clock)
    one.open()
    yield one
    one.close()


def reopened(offsets: Offsets) -> Saved:
    offsets.close()
    return offsets.open()


def test_what_was_saved_is_there_after_reopening(offsets, clock):
    clock.now = 5000.25
    offsets.save({("t", A): 7, ("t", B): 0}, [Subscription("t", False, 100.5)])
    clock.now = 6000.0
    offsets.save({("t", A): 9, ("u", A): MAX_OFFSET + 1}, [Subscription("t.*", True, 200.0, True)])
    saved = reopened(offsets)
    assert saved.positions == {("t", A): 9, ("t", B): 0, ("u", A): MAX_OFFSET + 1}
    assert saved.times == {("t", A): 6000.0, ("t", B): 5000.25, ("u", A): 6000.0}
    assert saved.subscriptions == {
        ("t", False): Subscription("t", False, 100.5),
        ("t.*", True): Subscription("t.*", True, 200.0, True),
    }
    assert saved.damaged == []


def test_a_subscription_is_saved_anew_when_it_is_settled(offsets):
    offsets.save({}, [Subscription("t", False, 100.0)])
    offsets.save({}, [Subscription("t", False, 100.0, True)])
    assert reopened(offsets).subscriptions["t", False].settled


@given(st.text(max_size=80), st.text(max_size=40), st.integers(0, MAX_OFFSET + 1))
def test_every_name_and_offset_survives(topic: str, partition: str, offset: int) -> None:
    topic = topic.encode("utf-8", "replace").decode()
    partition = partition.encode("utf-8", "replace").decode()
    key = fmt.position_key((topic, partition))
    saved = Saved()
    saved.enter(key, fmt.position(key, offset, 1.5))
    assert saved.positions == {(topic, partition): offset}


def test_names_that_are_no_text_survive():
    name = ("t\udcff", "p\udc80")
    key = fmt.position_key(name)
    saved = Saved()
    saved.enter(key, fmt.position(key, 3, 0))
    assert saved.positions == {name: 3}


@pytest.mark.parametrize("at", range(0, 21, 4))
def test_a_damaged_position_is_named_and_not_believed(at):
    key = fmt.position_key(("t", A))
    entry = bytearray(fmt.position(key, 300, 5.0))
    entry[at] ^= 4
    other = fmt.position_key(("t", B))
    for name, value in ((key, bytes(entry)), (other, fmt.position(key, 300, 5.0)), (key, b"")):
        saved = Saved()
        saved.enter(name, value)
        assert saved.positions == {}
        assert saved.damaged == [("t", B if name == other else A)]


def test_a_damaged_subscription_is_named():
    one = Subscription("t", False, 5.0)
    key = fmt.subscription_key(one)
    saved = Saved()
    saved.enter(key, fmt.subscription(key, one)[:-1] + b"\1")
    assert (saved.subscriptions, saved.unreadable) == ({}, ["t"])


# Whose they are


def test_names_have_directories_of_their_own(tmp_path):
    strange = ["billing", "a/b", ".", "..", ".hidden", "größe", "A b%2F"]
    for number, name in enumerate(strange):
        one = Offsets(tmp_path, name)
        assert not one.exists
        one.open()
        one.save({("t", A): number})
        one.close()
        assert one.exists
    assert names(tmp_path) == sorted(strange)
    assert [look(tmp_path, name).positions["t", A] for name in strange] == list(range(7))
    assert {path.parent for path in tmp_path.rglob(FILE)} == set(tmp_path.iterdir())


def test_nothing_is_there_where_nothing_was_kept(tmp_path):
    assert names(tmp_path) == names(tmp_path / "missing") == []


def test_a_second_process_is_told_who_has_the_name(offsets, tmp_path):
    program = (
        "import sys; from dafka.io.offsets import Offsets\n"
        "from dafka.errors import StoreError\n"
        "try: Offsets(*sys.argv[1:]).open()\n"
        "except StoreError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path), "billing"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == (
        f"consumer 'billing' is running in process {os.getpid()}, and holds its positions in "
        f"{tmp_path / 'billing'}: stop it first, or use another name\n"
    )
    command[-1] = "shipping"
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_others_can_look_while_it_runs(offsets, tmp_path):
    offsets.save({("t", A): 7})
    assert look(tmp_path, "billing").positions == {("t", A): 7}
    offsets.save({("t", A): 8})
    assert look(tmp_path, "billing").positions == {("t", A): 8}
    offsets.close()
    assert look(tmp_path, "billing").positions == {("t", A): 8}


# What is no directory of positions


@pytest.mark.parametrize("foreign", ["notes.txt", "dafka-log", "outbox.json"])
def test_a_directory_with_other_files_is_refused_and_left_alone(tmp_path, foreign):
    (tmp_path / "billing").mkdir()
    (tmp_path / "billing" / foreign).write_text("mine")
    with pytest.raises(StoreError, match=f"holds something else .* '{foreign}'"):
        Offsets(tmp_path, "billing").open()
    assert (tmp_path / "billing" / foreign).read_text() == "mine"


def test_a_record_log_is_refused_by_positions_and_positions_by_a_record_log(tmp_path):
    with Log(tmp_path / "billing"):
        pass
    with pytest.raises(StoreError, match="holds something else"):
        Offsets(tmp_path, "billing").open()
    one = Offsets(tmp_path, "shipping")
    one.open()
    one.close()
    with pytest.raises(StoreError, match=r"format b'offsets 1'"):
        Log(tmp_path / "shipping").open()
    assert one.open().positions == {}
    one.close()


def test_positions_that_were_lost_are_not_begun_anew_in_silence(offsets):
    offsets.save({("t", A): 7})
    offsets.close()
    (offsets.directory / "cache.db").unlink()
    with pytest.raises(StoreError, match=r"has held the positions .* cache.db is missing"):
        offsets.open()


def test_another_consumers_directory_is_refused(offsets, tmp_path):
    offsets.close()
    shutil.copytree(tmp_path / "billing", tmp_path / "shipping")
    with pytest.raises(StoreError, match="not that of consumer 'shipping'"):
        Offsets(tmp_path, "shipping").open()
    (tmp_path / "billing" / FILE).write_text("{")
    with pytest.raises(StoreError, match=r"offsets.json is damaged"):
        offsets.open()


def test_a_file_in_the_way_is_one_sentence(tmp_path):
    (tmp_path / "billing").write_text("")
    with pytest.raises(StoreError, match=r"positions of consumer 'billing' in .* cannot be read"):
        Offsets(tmp_path, "billing").open()


def test_what_is_no_database_is_one_sentence(tmp_path):
    (tmp_path / "billing").mkdir()
    (tmp_path / "billing" / "cache.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="cannot be read or written: file is not a database"):
        Offsets(tmp_path, "billing").open()


def test_a_beginning_that_was_killed_is_finished_by_the_next(offsets, tmp_path):
    offsets.save({("t", A): 7})
    offsets.close()
    (offsets.directory / FILE).rename(offsets.directory / f"{FILE}.new")
    assert offsets.open().positions == {("t", A): 7}
    assert json.loads((offsets.directory / FILE).read_text()) == {"name": "billing"}


# Trouble


def test_a_directory_that_was_removed_is_noticed(offsets):
    offsets.save({("t", A): 7})
    shutil.rmtree(offsets.directory)
    with pytest.raises(Lost, match="was removed, renamed or replaced while consumer 'billing'"):
        offsets.save({("t", A): 8})


@pytest.mark.parametrize("trouble", ["full", "broken", "unsynced", "read_only"])
def test_a_disk_that_refuses_is_told_and_used_again_when_it_has_recovered(tmp_path, trouble):
    with FailingDisk().watching() as disk:
        offsets = Offsets(tmp_path, "billing")
        offsets.open()
        offsets.save({("t", A): 7})
        getattr(disk, trouble)()
        for _ in range(3):
            with pytest.raises(StoreError, match="cannot be read or written"):
                offsets.save({("t", A): 8, ("t", B): 1})
        assert disk.refusals
        disk.heal()
        offsets.save({("t", A): 9})
        saved = reopened(offsets)
        offsets.close()
    assert saved.positions == {("t", A): 9}


def test_saving_syncs_what_it_has_written(tmp_path):
    """The same connections as those of a record log: fsynced at each commit."""
    offsets = Offsets(tmp_path, "billing")
    offsets.open()
    with offsets._database.lend() as cache:
        assert cache._sql("PRAGMA synchronous").fetchone() == (2,)
    offsets.close()


def test_saving_before_opening_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="are not open"):
        Offsets(tmp_path, "billing").save({})


def test_entries_of_another_kind_are_left_alone(offsets):
    offsets.save({("t", A): 7})
    offsets.close()
    with closing(sqlite3.connect(offsets.directory / "cache.db")) as connection:
        columns = (
            "key, raw, store_time, access_time, access_count, tag, size, mode, filename, value"
        )
        connection.execute(
            f"INSERT INTO Cache ({columns}) VALUES (x'7a', 1, 0, 0, 0, NULL, 1, 1, NULL, x'00')"
        )
        connection.commit()
    assert offsets.open().positions == {("t", A): 7}


# Where


def test_the_default_directory_is_the_users_state_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "dafka" / "offsets"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for unusable in ("", "relative/path"):
        monkeypatch.setenv("XDG_STATE_HOME", unusable)
        assert default_directory() == tmp_path / "home" / ".local" / "state" / "dafka" / "offsets"


def test_a_user_without_a_home_has_to_name_a_directory(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "")

    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(StoreError, match="has no home directory"):
        default_directory()
