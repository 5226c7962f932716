"""`dafka produce --outbox`: what it tells, and how it goes on."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

import dafka
from dafka.cli import publishing
from dafka.cli.main import dafka as command_line
from dafka.cli.main import run
from dafka.cli.options import Fault
from dafka.io.log import Log

pytestmark = pytest.mark.io


@pytest.fixture(autouse=True)
def _workplace(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DAFKA_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def lonely(monkeypatch):
    """A tower without a store."""
    with dafka.Tower(sub="tcp://127.0.0.1:*", pub="tcp://127.0.0.1:*") as tower:
        monkeypatch.setenv("DAFKA_TOWER", str(tower.address))
        yield tower


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    with dafka.Cluster(tmp_path / "records") as cluster:
        monkeypatch.setenv("DAFKA_TOWER", str(cluster.tower))
        yield cluster


@pytest.fixture
def call(capfd):
    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(command_line, "dafka", arguments)
        return code, *capfd.readouterr()

    return call


def lines(count: int, name: str = "lines") -> str:
    Path(name).write_bytes(b"".join(b"%d\n" % number for number in range(count)))
    return name


def consumed(call, count: int) -> list[str]:
    code, out, err = call(
        "consume", "t", "--from", "earliest", "--count", str(count), "--format", "raw"
    )
    assert (code, err) == (0, "")
    return out.splitlines()


PRODUCE = ("produce", "t", "lines", "--outbox", "box")


def test_what_no_store_took_is_sent_by_the_next_command_with_the_outbox(call, lonely, tmp_path):
    lines(3)
    code, out, err = call(*PRODUCE, "--timeout", "0", "--json")
    assert code == 1
    report = json.loads(out)
    told = {name: report[name] for name in ("records", "acknowledged", "first", "unacknowledged")}
    assert told == {"records": 3, "acknowledged": 0, "first": 0, "unacknowledged": 3}
    assert err == (
        "dafka produce: topic 't': 3 records not acknowledged by a store; what the outbox box has "
        "is sent when it is used again\n"
    )
    lines(0)
    store = dafka.Store(data=str(tmp_path / "records"), tower=lonely.address)
    with store:
        code, out, err = call(*PRODUCE, "--json")
        again = json.loads(out)
        assert (code, err) == (0, "")
        assert (again["partition"], again["first"]) == (report["partition"], 3)
        assert (again["records"], again["unacknowledged"]) == (0, 0)
        assert consumed(call, 3) == ["0", "1", "2"]


def test_without_resume_lines_are_published_again_and_with_it_they_are_not(call, cluster):
    lines(3)
    for flags, first, records, skipped in (([], 0, 3, 0), ([], 3, 3, 0), (["--resume"], 6, 2, 6)):
        if flags:
            lines(8)
        code, out, err = call(*PRODUCE, *flags, "--json")
        report = json.loads(out)
        assert (code, err) == (0, "")
        assert (report["first"], report["records"], report["skipped"]) == (first, records, skipped)
        assert report["acknowledged"] == records
    assert consumed(call, 8) == ["0", "1", "2", "0", "1", "2", "6", "7"]
    code, _, err = call(*PRODUCE, "--resume")
    assert code == 0
    assert re.match(r"0 records acknowledged in .* after 8 that were published before\n", err)


def test_resuming_with_a_shorter_input_is_refused(call, cluster):
    lines(5)
    assert call(*PRODUCE)[0] == 0
    lines(4)
    code, out, err = call(*PRODUCE, "--resume")
    assert (code, out) == (1, "")
    assert err == (
        "dafka produce: the input has only 4 lines, but 5 records of it were published before: "
        "it is not the input that this outbox was made from\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["t", "--resume"], "--resume goes on where an outbox tells: give --outbox DIR as well"),
        (["t", "--outbox", ""], "--outbox is empty: give the directory's name"),
    ],
)
def test_wrong_usage_is_one_sentence(call, arguments, message):
    assert call("produce", *arguments) == (2, "", f"dafka produce: {message}\n")


def test_outbox_that_cannot_be_used_is_one_sentence(call, lonely):
    lines(1)
    with dafka.Producer("other", outbox="box", tower=lonely.address):
        code, out, err = call(*PRODUCE)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert re.match(r"dafka produce: /.*/box is in use by process \d+: stop that process", err)
    code, out, err = call(*PRODUCE)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "box belongs to topic 'other', not 't'" in err
    code, out, err = call("produce", "t", "lines", "--outbox", ".")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "holds other files" in err
    assert "or one that Dafka has kept records in" in err


def test_outbox_can_be_set_by_the_environment(call, cluster, monkeypatch):
    monkeypatch.setenv("DAFKA_OUTBOX", "box")
    lines(2)
    assert call("produce", "t", "lines")[0] == 0
    code, _, err = call("produce", "t", "lines", "--resume")
    assert (code, Path("box").is_dir()) == (0, True)
    assert "after 2 that were published before" in err


def test_a_failing_disk_is_what_the_command_says_it_waits_for(call, cluster, monkeypatch):
    monkeypatch.setattr(publishing, "NOTICE_AFTER_S", 0.2)
    append = Log.append

    def appending(log: Log, runs) -> None:
        if log.directory.name == "box":
            raise dafka.StoreError(f"records cannot be written to {log.directory}: it is full")
        append(log, runs)

    monkeypatch.setattr(Log, "append", appending)
    lines(2)
    code, _, err = call(*PRODUCE, "--timeout", "0.6")
    assert code == 1
    assert re.search(r"dafka produce: waiting for a disk: outbox /.*/box: .*it is full", err)
    assert "2 records not acknowledged by a store, 2 records could not be written: outbox" in err


def test_too_few_stores_are_told_in_numbers(call, cluster, monkeypatch):
    monkeypatch.setattr(publishing, "NOTICE_AFTER_S", 0.2)
    lines(2)
    code, _, err = call("produce", "t", "lines", "--acks", "2", "--timeout", "0.5")
    first, last = err.splitlines()
    assert code == 1
    assert "waiting for 2 stores to acknowledge 2 records of topic 't': 1 of 2 distinct" in first
    assert last == "dafka produce: topic 't': 2 of 2 records not acknowledged by 2 stores"


@pytest.mark.parametrize("count", range(7))
def test_lines_are_skipped_across_portions(count):
    portions = [[b"0"], [], [b"1", b"2", b"3"], [b"4", b"5"]]
    left = [line for some in publishing.skip(iter(portions), count) for line in some]
    assert left == [b"%d" % number for number in range(count, 6)]


def test_more_lines_than_there_are_cannot_be_skipped():
    with pytest.raises(Fault, match="only 2 lines, but 3 records"):
        list(publishing.skip(iter([[b"0", b"1"]]), 3))
