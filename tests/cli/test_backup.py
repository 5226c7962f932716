"""`dafka export` and `dafka import`, between clusters of this process."""

from __future__ import annotations

import json
import random
import re
from contextlib import contextmanager

import fastavro
import gevent
import pytest

import dafka
from dafka.cli import export, import_, snapshot
from dafka.cli.main import dafka as command_line
from dafka.cli.main import run
from dafka.cli.options import Fault
from dafka.cli.snapshot import Held
from dafka.core import inspector
from dafka.core.run import Run
from dafka.io import archive
from dafka.io.archive import ArchiveReader, ArchiveWriter, Part
from dafka.io.log import Log
from tests.support.waiting import until

A, B = "A" * 32, "B" * 32
UNICODE = "grün/雪"
PORTS = {"sub": "tcp://127.0.0.1:*", "pub": "tcp://127.0.0.1:*"}

pytestmark = pytest.mark.io


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Nodes show themselves sooner, so tools need not wait for them as long."""
    monkeypatch.setenv("DAFKA_BEACON_INTERVAL_S", "0.05")
    monkeypatch.setattr(inspector, "DISCOVERY_S", 0.4)
    monkeypatch.setattr(inspector, "HEAD_S", 0.4)


def contents(seed: int, count: int) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(rng.choice([0, 1, 80, 80, 3000])) for _ in range(count)]


RUNS = [
    Run("t", A, 0, contents(1, 700)),
    Run("t", B, 0, contents(2, 3)),
    Run(UNICODE, "C" * 32, 0, contents(3, 50)),
    Run("t2", "D" * 32, 0, [b"", b"\0\xff\n"]),
    # The same partition name in another topic.
    Run("t2", A, 0, contents(4, 5)),
]


@contextmanager
def cluster(path, *runs):
    """A cluster whose store begins with these runs; its nodes find each other quickly."""
    with Log(path, durability="os") as log:
        log.append(runs)
    store = dafka.StoreConfig(bind="tcp://127.0.0.1:*", durability="os", beacon_interval_s=0.05)
    with dafka.Cluster(path, store=store) as started:
        yield started


def stored(path):
    """All that a log holds, by topic and partition."""
    found = {}
    with Log(path) as log:
        assert list(log.check()) == []
        for extent in log.partitions():
            held, offset = [], extent.earliest
            while offset < extent.next:
                part = log.read(
                    extent.topic, extent.partition, offset, max_records=10**6, max_bytes=10**9
                )
                held += part.contents
                offset = part.next
            found[extent.topic, extent.partition] = (extent.earliest, held)
    return found


def expected(*runs):
    return {(run.topic, run.partition): (run.first, run.contents) for run in runs}


def call(capfd, where, *arguments):
    code = run(command_line, "dafka", [*map(str, arguments), "--tower", str(where.tower)])
    out, err = capfd.readouterr()
    return code, out, err


@pytest.fixture
def file(tmp_path):
    return tmp_path / "backup.avro"


@pytest.fixture
def small(monkeypatch):
    """Archives of many small blocks."""
    monkeypatch.setattr(archive, "_BLOCK_BYTES", 2000)


def test_a_cluster_is_brought_into_another_one(tmp_path, capfd, file):
    with cluster(tmp_path / "one", *RUNS) as one:
        code, out, err = call(capfd, one, "export", file)
        assert (code, out) == (0, "")
        assert re.match(r"exported 760 records of 5 partitions in 3 topics into \S+ \([\d,]+", err)
    with file.open("rb") as opened:
        rows = list(fastavro.reader(opened))
    assert len(rows) == 760
    for each in RUNS:
        mine = [r for r in rows if (r["topic"], r["partition"]) == (each.topic, each.partition)]
        assert [r["offset"] for r in mine] == list(range(each.first, each.next))
        assert [r["content"] for r in mine] == each.contents
    with cluster(tmp_path / "two") as two:
        code, out, err = call(capfd, two, "import", file)
        assert (code, out) == (0, "")
        assert err.startswith(f"imported 760 records of {file} (")
        code, out, _ = call(capfd, two, "import", file, "--json")
        assert code == 0
        numbers = json.loads(out)
        assert (numbers["records"], numbers["present"]) == (760, 760)
    assert stored(tmp_path / "two") == expected(*RUNS)


def test_only_what_is_asked_for(tmp_path, capfd, file):
    with cluster(tmp_path / "one", *RUNS) as one:
        code, out, _ = call(capfd, one, "export", file, "--topic", "t2", "--json")
        assert code == 0
        numbers = json.loads(out)
        assert (numbers["topics"], numbers["partitions"], numbers["records"]) == (1, 2, 7)
    with ArchiveReader(file) as reader:
        assert {r.topic for r in reader.runs()} == {"t2"}


def test_what_is_published_meanwhile_is_left_for_the_next_one(tmp_path, file):
    """The file holds a prefix of each partition, whatever happens beside it."""
    with (
        cluster(tmp_path / "one", Run("t", A, 0, contents(1, 2000))) as one,
        dafka.Producer("t", tower=one.tower, beacon_interval_s=0.05) as producer,
    ):
        published = []

        def publish():
            while True:
                published.append(b"%d" % len(published))
                producer.publish(published[-1])
                gevent.sleep(0.001)

        busy = gevent.spawn(publish)
        until(lambda: producer.acknowledged > 10)
        config = dafka.ConsumerConfig(tower=one.tower, beacon_interval_s=0.05)
        writer, left_out = export.export_records(str(file), config, (), resume=False, timeout=20)
        busy.kill()
        assert left_out == []
        parts = writer.contents.parts
        assert parts["t", A] == Part("t", A, 0, 2000)
        live = parts["t", producer.partition]
        assert 10 < live.next <= len(published)
    with ArchiveReader(file) as reader:
        found = {}
        for each in reader.runs():
            found.setdefault(each.partition, []).extend(each.contents)
    assert found == {A: contents(1, 2000), producer.partition: published[: live.next]}


@pytest.mark.parametrize("kept", [0, 300])
def test_an_interrupted_export_is_continued(tmp_path, capfd, file, small, kept):
    """As a kill leaves it: some whole blocks, and half of one."""
    parts = [Part(r.topic, r.partition, r.first, r.next) for r in RUNS]
    with ArchiveWriter.create(file, parts) as writer:
        if kept:
            writer.add(RUNS[0].until(kept))
    with file.open("ab") as opened:
        opened.write(b"\x02\x80\x10half")
    later = Run("t", A, 700, [b"published after the export began"])
    with cluster(tmp_path / "one", *RUNS, later) as one:
        code, _, err = call(capfd, one, "export", file, "--resume")
        assert (code, err[:29]) == (0, "exported 760 records of 5 par")
        again = file.read_bytes()
        assert call(capfd, one, "export", file, "--resume")[0] == 0
        assert file.read_bytes() == again
    with cluster(tmp_path / "two") as two:
        code, _, err = call(capfd, two, "import", file)
        assert code == 0, err
    assert stored(tmp_path / "two") == expected(*RUNS)


def test_an_interrupted_import_is_continued(tmp_path, capfd, file):
    with cluster(tmp_path / "one", *RUNS) as one:
        assert call(capfd, one, "export", file)[0] == 0
    begun = [RUNS[0].until(123), RUNS[1], RUNS[2].until(1)]
    with cluster(tmp_path / "two", *begun) as two:
        code, out, _ = call(capfd, two, "import", file, "--json")
        assert code == 0
        assert json.loads(out)["present"] == 123 + 3 + 1
    assert stored(tmp_path / "two") == expected(*RUNS)


def test_many_partitions_and_few_open_at_once(tmp_path, capfd, file, small, monkeypatch):
    monkeypatch.setattr(import_, "MAX_OPEN", 3)
    names = [f"{n:032X}" for n in range(12)]
    runs = [Run("t", name, 0, contents(n, 9)) for n, name in enumerate(names)]
    with ArchiveWriter.create(file, [Part("t", name, 0, 9) for name in names]) as writer:
        for first in (0, 4):
            for each in runs:
                writer.add(each.since(first).until(first + 4 if first == 0 else 9))
    opened = []
    producer = dafka.Producer

    def counted(*args, **kwargs):
        opened.append(kwargs["partition"])
        return producer(*args, **kwargs)

    monkeypatch.setattr(import_.dafka, "Producer", counted)
    with cluster(tmp_path / "two") as two:
        code, _, err = call(capfd, two, "import", file)
        assert code == 0, err
    assert len(opened) == 24
    assert stored(tmp_path / "two") == expected(*runs)


def test_a_record_larger_than_the_buffer(tmp_path, capfd, file, monkeypatch):
    monkeypatch.setattr(import_, "BUFFER_BYTES", 1000)
    big = Run("t", A, 0, [b"small", b"x" * 5000, b"y" * 20_000, b""])
    with ArchiveWriter.create(file, [Part("t", A, 0, 4)]) as writer:
        writer.add(big.until(1))
        writer.close()
    with ArchiveWriter.resume(file, lambda run: None) as writer:
        writer.add(big.since(1))
    with cluster(tmp_path / "two") as two:
        code, _, err = call(capfd, two, "import", file)
        assert code == 0, err
    assert stored(tmp_path / "two") == expected(big)


def test_a_partition_whose_oldest_records_have_expired(tmp_path, capfd, file):
    late = Run("t", A, 1000, contents(8, 50))
    with cluster(tmp_path / "one", late, RUNS[1]) as one:
        assert call(capfd, one, "export", file)[0] == 0
    with cluster(tmp_path / "two") as two:
        code, _, err = call(capfd, two, "import", file)
        assert code == 0, err
    assert stored(tmp_path / "two") == expected(late, RUNS[1])


def test_what_the_stores_do_not_keep_is_told(tmp_path):
    with ArchiveWriter.create(tmp_path / "some", [Part("t", A, 0, 2)]) as writer:
        writer.add(Run("t", A, 0, [b"0", b"1"]))
    with ArchiveReader(tmp_path / "some") as reader:
        import_.check_kept({("t", A): Held(2, alive=False)}, reader)
        for stored_now in ({}, {("t", A): Held(1, alive=False)}):
            with pytest.raises(Fault, match="the stores do not keep it up to offset 1: it was del"):
                import_.check_kept(stored_now, reader)
        import_.check_deleted({"other"}, reader)
        with pytest.raises(Fault, match="topic 't' was deleted from this cluster for good"):
            import_.check_deleted({"t"}, reader)


class TestRefusals:
    def test_an_export_never_overwrites(self, tmp_path, capfd, file):
        file.write_bytes(b"mine")
        with cluster(tmp_path / "one", *RUNS) as one:
            code, out, err = call(capfd, one, "export", file)
        assert (code, out) == (1, "")
        assert err == (
            f"dafka export: {file} exists already: give another name, or continue it with "
            "--resume\n"
        )
        assert file.read_bytes() == b"mine"

    def test_there_must_be_something_to_export(self, tmp_path, capfd, file):
        with cluster(tmp_path / "one") as one:
            code, _, err = call(capfd, one, "export", file)
            assert (code, err) == (
                1,
                "dafka export: no store holds any record of that: there is nothing to export\n",
            )
            code, _, err = call(capfd, one, "export", file, "--topic", "t")
            assert (code, err) == (
                1,
                "dafka export: topic 't' is unknown: no store has a record of it\n",
            )
        assert not (tmp_path / "backup.avro").exists()

    @pytest.mark.parametrize("command", ["export", "import"])
    def test_no_tower_and_no_store(self, tmp_path, capfd, file, command, monkeypatch):
        with ArchiveWriter.create(tmp_path / "some.avro", [Part("t", A, 0, 0)]):
            pass
        name = str(file) if command == "export" else str(tmp_path / "some.avro")
        nowhere = ["--tower", "tcp://127.0.0.1:1,tcp://127.0.0.1:2"]
        assert run(command_line, "dafka", [command, name, *nowhere, "--timeout", "0.1"]) == 1
        assert "no tower answered at tcp://127.0.0.1:1 within 0.1 s" in capfd.readouterr().err
        monkeypatch.setattr(snapshot, "LOOK_S", 1.0)
        with dafka.Tower(**PORTS) as tower:
            at = ["--tower", str(tower.address)]
            assert run(command_line, "dafka", [command, name, *at]) == 1
        assert "no store was found" in capfd.readouterr().err

    def test_damaged_records_end_an_export_with_their_place(self, tmp_path, capfd, file):
        with cluster(tmp_path / "one", Run("t", A, 0, [b"good"] * 3)) as one:
            parts = [Part("t", A, 0, 5)]  # more than there is, as if the rest were damaged
            with ArchiveWriter.create(file, parts):
                pass
            code, _, err = call(capfd, one, "export", file, "--resume", "--timeout", "1")
            assert code == 1
            assert err.startswith(
                f"dafka export: no store gave topic 't', partition {A}, offset 3 within 1 s"
            )
            code, _, err = call(capfd, one, "import", file)
        assert code == 1
        assert f"{file} is unfinished: it ends before topic 't', partition {A}, offset 3" in err

    def test_topics_are_not_chosen_again(self, capfd, file):
        assert run(command_line, "dafka", ["export", str(file), "--resume", "--topic", "t"]) == 2
        assert "FILE tells which topics it is for" in capfd.readouterr().err

    def test_a_file_that_is_no_archive(self, tmp_path, capfd, file):
        file.write_bytes(b"something else")
        for arguments in (["import", str(file)], ["export", str(file), "--resume"]):
            assert run(command_line, "dafka", arguments) == 1
            _, err = capfd.readouterr()
            assert f"{file} is not an archive that 'dafka export' wrote" in err
        assert run(command_line, "dafka", ["import", "nosuch"]) == 1
        assert "nosuch cannot be opened: No such file or directory" in capfd.readouterr().err

    def test_a_gap_before_the_archive(self, tmp_path, capfd, file):
        with ArchiveWriter.create(file, [Part("t", A, 10, 12)]) as writer:
            writer.add(Run("t", A, 10, [b"10", b"11"]))
        with cluster(tmp_path / "two", Run("t", A, 0, [b"0"])) as two:
            code, _, err = call(capfd, two, "import", file)
        assert (code, err) == (
            1,
            f"dafka import: topic 't', partition {A} begins at offset 10 in this file, but the "
            "stores lack it from offset 1 on: import an older export first\n",
        )
        assert stored(tmp_path / "two") == expected(Run("t", A, 0, [b"0"]))

    def test_a_producer_that_is_running_is_not_disturbed(self, tmp_path, capfd, file):
        with (
            cluster(tmp_path / "two") as two,
            dafka.Producer("t", tower=two.tower, beacon_interval_s=0.05) as producer,
        ):
            producer.publish(b"0")
            producer.flush(timeout=10)
            name = producer.partition
            with ArchiveWriter.create(file, [Part("t", name, 0, 2)]) as writer:
                writer.add(Run("t", name, 0, [b"0", b"from elsewhere"]))
            code, _, err = call(capfd, two, "import", file)
            assert code == 1
            assert f"partition {name} is being written by its own producer in this cluster" in err

    def test_too_few_stores(self, tmp_path, capfd, file):
        with ArchiveWriter.create(file, [Part("t", A, 0, 1)]) as writer:
            writer.add(Run("t", A, 0, [b"0"]))
        with cluster(tmp_path / "two") as two:
            code, _, err = call(capfd, two, "import", file, "--acks", "2", "--timeout", "1")
        assert code == 1
        assert err.startswith(f"dafka import: topic t partition {A}: 1 ")
        assert err.endswith("; run the same import again to go on\n")
