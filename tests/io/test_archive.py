"""Archives: whole ones are read back, any other one is refused, and an interrupted one goes on."""

from __future__ import annotations

import random
import re

import fastavro
import pytest

from dafka.core.run import Run
from dafka.io import archive
from dafka.io.archive import ArchiveError, ArchiveReader, ArchiveWriter, Incomplete, Part

A, B = "A" * 32, "B" * 32
UNICODE = "grün/雪"


def runs() -> list[Run]:
    """Records of three partitions, interleaved as an export may do it."""
    rng = random.Random(4)
    contents = [rng.randbytes(rng.choice([0, 1, 50, 300])) for _ in range(60)]
    return [
        Run("t", A, 0, contents[:20]),
        Run(UNICODE, A, 7, contents[20:30]),
        Run("t", A, 20, contents[30:35]),
        Run("t", B, 0, [b"", b"\0\xff"]),
        Run(UNICODE, A, 17, contents[35:]),
    ]


PARTS = [Part("t", A, 0, 25), Part("t", B, 0, 2), Part(UNICODE, A, 7, 42), Part("empty", B, 5, 5)]


def records(some: list[Run]) -> dict[tuple[str, str, int], bytes]:
    """Every record with its place."""
    return {
        (run.topic, run.partition, offset): content
        for run in some
        for offset, content in enumerate(run.contents, run.first)
    }


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Where an archive will be; its blocks are small."""
    monkeypatch.setattr(archive, "_BLOCK_BYTES", 600)
    return tmp_path / "backup.avro"


@pytest.fixture
def whole(path) -> bytes:
    """The bytes of a finished archive, which is at `path`."""
    with ArchiveWriter.create(path, PARTS) as writer:
        for run in runs():
            writer.add(run)
    return path.read_bytes()


def read(path) -> list[Run]:
    with ArchiveReader(path) as reader:
        return list(reader.runs())


def test_what_was_written_is_read_back(path, whole):
    assert records(read(path)) == records(runs())
    with ArchiveReader(path) as reader:
        assert list(reader.contents.parts.values()) == PARTS
        assert reader.contents.total == 62
        assert len(list(reader.runs())) >= 5
        assert reader.contents.lacking() == []
        assert reader.end == reader.size == len(whole)


def test_any_program_that_reads_avro_can_read_it(path, whole):
    with path.open("rb") as file:
        reader = fastavro.reader(file)
        rows = list(reader)
        assert reader.metadata["dafka.archive"] == "1"
        assert reader.codec == "deflate"
    assert {(r["topic"], r["partition"], r["offset"]): r["content"] for r in rows} == records(
        runs()
    )
    assert list(rows[0]) == ["topic", "partition", "offset", "content", "crc32"]


def test_retention_may_have_taken_the_oldest_records_meanwhile(path):
    with ArchiveWriter.create(path, [Part("t", A, 0, 10)]) as writer:
        writer.add(Run("t", A, 6, [b"6", b"7"]))
        with pytest.raises(ValueError, match="offset 9 does not belong there"):
            writer.add(Run("t", A, 9, [b"9"]))
        writer.add(Run("t", A, 8, [b"8", b"9"]))
    assert records(read(path)) == {("t", A, n): b"%d" % n for n in range(6, 10)}


@pytest.mark.parametrize(
    "run",
    [Run("t", B, 0, [b"0"]), Run("x", A, 0, [b"0"]), Run("t", A, 1, [b""] * 3)],
    ids=["partition", "topic", "too many"],
)
def test_only_what_was_promised_is_taken(path, run):
    with (
        ArchiveWriter.create(path, [Part("t", A, 0, 3)]) as writer,
        pytest.raises(ValueError, match="does not belong there"),
    ):
        writer.add(run)


def test_wherever_a_file_is_cut_off_it_is_refused_and_can_be_continued(path, whole):
    header = min(n for n in range(len(whole)) if _opens(path, whole[:n]))
    expected = records(runs())
    for size in [*range(header, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(Incomplete, match="dafka export --resume"):
            read(path)
        kept: list[Run] = []
        with ArchiveWriter.resume(path, kept.append) as writer:
            assert records(kept).items() <= expected.items()
            for run in runs():
                rest = run.since(writer.contents.positions[run.topic, run.partition])
                if rest.contents:
                    writer.add(rest)
        assert records(read(path)) == expected


def _opens(path, data: bytes) -> bool:
    path.write_bytes(data)
    try:
        ArchiveReader(path).close()
    except ArchiveError:
        return False
    return True


def test_a_flipped_bit_anywhere_never_gives_a_wrong_record(path, whole):
    rng, expected, refusals = random.Random(5), records(runs()), []
    for at in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        good: list[Run] = []
        try:
            with ArchiveReader(path) as reader:
                good.extend(reader.runs())
        except ArchiveError as error:
            refusals.append(str(error))
            assert records(good).items() <= expected.items()
        else:
            # Only what is no part of the records can change unnoticed.
            assert records(good) == expected
    assert len(refusals) > len(whole) / 3 * 0.8
    for text in refusals:
        assert str(path) in text
        assert re.search(": (use|give|finish) ", text)


def test_a_damaged_middle_is_replaced_from_there_on(path, whole):
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0x10
    path.write_bytes(damaged)
    with pytest.raises(Incomplete, match=f"damaged or cut off after byte \\d+ of {len(whole)}"):
        read(path)
    kept: list[Run] = []
    with ArchiveWriter.resume(path, kept.append) as writer:
        assert 0 < len(records(kept)) < 62
        for part in writer.contents.lacking():
            for run in runs():
                if (run.topic, run.partition) == part.key and run.next > part.first:
                    writer.add(run.since(part.first))
    assert records(read(path)) == records(runs())


class TestRefusals:
    def test_an_existing_file_is_never_overwritten(self, path, whole):
        with pytest.raises(ArchiveError, match="exists already: give another name, or continue"):
            ArchiveWriter.create(path, PARTS)
        assert path.read_bytes() == whole

    @pytest.mark.parametrize("data", [b"", b"Obj\x01", b"PK\x03\x04 something else", b"\0" * 99])
    def test_a_foreign_file_is_left_alone(self, path, data):
        path.write_bytes(data)
        with pytest.raises(ArchiveError, match="is not an archive"):
            ArchiveReader(path)
        with pytest.raises(ArchiveError, match="is not an archive"):
            ArchiveWriter.resume(path, lambda run: None)
        assert path.read_bytes() == data

    def test_another_avro_file_is_told_apart(self, path):
        schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}]}
        with path.open("wb") as file:
            fastavro.writer(file, schema, [{"x": 1}])
        with pytest.raises(ArchiveError, match="is an Avro file, but not one that"):
            ArchiveReader(path)

    def test_an_unknown_format_is_told(self, path):
        with path.open("wb") as file:
            fastavro.writer(file, archive.fmt.SCHEMA, [], metadata={"dafka.archive": "2"})
        with pytest.raises(ArchiveError, match="of the unknown format '2'; this Dafka knows '1'"):
            ArchiveReader(path)

    @pytest.mark.parametrize(
        "parts", ["", "[[1]]", '[["t", "short", 0, 1]]', f'[["t", "{A}", 2, 1]]', "{"]
    )
    def test_a_damaged_list_of_partitions_is_told(self, path, parts):
        with path.open("wb") as file:
            metadata = {"dafka.archive": "1", "dafka.parts": parts}
            fastavro.writer(file, archive.fmt.SCHEMA, [], metadata=metadata)
        with pytest.raises(ArchiveError, match="its list of partitions is damaged"):
            ArchiveReader(path)

    def test_one_process_writes_at_a_time(self, path):
        with (
            ArchiveWriter.create(path, PARTS),
            pytest.raises(ArchiveError, match="is being written by another process"),
        ):
            ArchiveWriter.resume(path, lambda run: None)

    def test_offsets_that_avro_cannot_tell_are_refused_at_once(self, path):
        with pytest.raises(ArchiveError, match="can hold offsets up to"):
            ArchiveWriter.create(path, [Part("t", A, 0, 1 << 63)])
        assert not path.exists()

    def test_a_missing_file_or_directory(self, tmp_path):
        with pytest.raises(ArchiveError, match=r"nosuch cannot be opened: No such file"):
            ArchiveReader(tmp_path / "nosuch")
        with pytest.raises(ArchiveError, match="cannot be opened: Is a directory"):
            ArchiveWriter.resume(tmp_path, lambda run: None)

    def test_a_full_disk_is_one_clear_sentence(self, monkeypatch):
        monkeypatch.setattr(archive.os, "O_EXCL", 0)
        with pytest.raises(ArchiveError, match="/dev/full cannot be written: No space left on dev"):
            ArchiveWriter.create("/dev/full", PARTS)
