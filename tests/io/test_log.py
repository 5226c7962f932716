"""The record log as its users see it: append, read, extents, reopening."""

from __future__ import annotations

import itertools
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dafka.core.run import Run
from dafka.errors import Closed, ConfigError
from dafka.io import log_format as fmt
from dafka.io.log import Extent, Log

A, B, C = "A" * 32, "B" * 32, "C" * 32
MIB = 1 << 20


def read_all(log: Log, topic: str, partition: str) -> list[bytes]:
    extent = log.extent(topic, partition)
    contents: list[bytes] = []
    while extent and extent.earliest + len(contents) < extent.next:
        at = extent.earliest + len(contents)
        run = log.read(topic, partition, at, max_records=10**9, max_bytes=10**9)
        assert run is not None
        assert (run.topic, run.partition, run.first) == (topic, partition, at)
        contents += run.contents
    return contents


def counts(log: Log, number: int = 0) -> list[int]:
    """Records per value of a partition."""
    return [span.last - span.first + 1 for span in log._index.spans(number)]


@pytest.fixture
def log(tmp_path: Path):
    with Log(tmp_path / "data") as log:
        yield log


def test_records_come_back_after_reopening(tmp_path):
    with Log(tmp_path) as log:
        log.append([Run("hello", A, 0, [b"one", b"two"]), Run("hello", B, 7, [b"seven"])])
        log.append([Run("hello", A, 2, [b"three"])])
    with Log(tmp_path) as log:
        assert log.read("hello", A, 0, max_records=9, max_bytes=99) == Run(
            "hello", A, 0, [b"one", b"two", b"three"]
        )
        assert log.read("hello", B, 7, max_records=9, max_bytes=99) == Run(
            "hello", B, 7, [b"seven"]
        )
        assert sorted(log.partitions(), key=lambda extent: extent.partition) == [
            Extent("hello", A, 0, 3),
            Extent("hello", B, 7, 8),
        ]
        log.append([Run("hello", B, 8, [b"eight"])])
        assert list(log.check()) == []
    with Log(tmp_path) as log:
        assert read_all(log, "hello", B) == [b"seven", b"eight"]


def test_the_same_log_object_can_be_opened_again(tmp_path):
    log = Log(tmp_path)
    for offset in range(3):
        with log:
            assert log.extent("t", A) == (Extent("t", A, 0, offset) if offset else None)
            log.append([Run("t", A, offset, [b"x"])])


def test_topics_and_partitions_are_apart_and_may_have_any_name(tmp_path):
    names = [("t", A), ("t", B), ("u", A), ("tA", "A" * 31), ("ü/日本", C), ("\udcff\udc80", C)]
    with Log(tmp_path) as log:
        log.append([Run(*name, 5, [repr(name).encode()]) for name in names])
    with Log(tmp_path) as log:
        for name in names:
            assert read_all(log, *name) == [repr(name).encode()]
        assert len(log.partitions()) == len(names)


def test_nothing_is_read_outside_of_the_extent(log):
    log.append([Run("t", A, 10, [b"ten", b"eleven"])])
    for offset in (0, 9, 12, 10**9):
        assert log.read("t", A, offset, max_records=9, max_bytes=99) is None
    assert log.read("t", B, 10, max_records=9, max_bytes=99) is None
    assert log.read("u", A, 10, max_records=9, max_bytes=99) is None
    assert log.extent("t", B) is None
    assert log.partitions() == [Extent("t", A, 10, 12)]


def test_a_read_obeys_its_bounds_but_has_at_least_one_record(log):
    log.append([Run("t", A, 0, [b"12345"] * 10)])
    sizes = {
        (3, 10**6): 3,
        (100, 10**6): 10,
        (100, 25): 5,
        (100, 24): 4,
        (100, 1): 1,
        (0, 0): 1,
        (2, 25): 2,
    }
    for (max_records, max_bytes), expected in sizes.items():
        run = log.read("t", A, 0, max_records=max_records, max_bytes=max_bytes)
        assert run is not None
        assert len(run) == expected
    last = log.read("t", A, 9, max_records=100, max_bytes=100)
    assert last == Run("t", A, 9, [b"12345"])


def test_a_read_spans_several_values(log):
    for offset in range(0, 100, 10):
        log.append([Run("t", A, offset, [b"%d" % i for i in range(offset, offset + 10)])])
    assert counts(log) == [10] * 10
    for first, most in itertools.product((0, 5, 10, 55, 99), (1, 4, 5, 6, 30, 1000)):
        run = log.read("t", A, first, max_records=most, max_bytes=10**6)
        expected = [b"%d" % i for i in range(first, min(100, first + most))]
        assert run == Run("t", A, first, expected)
    bounded = log.read("t", A, 5, max_records=1000, max_bytes=15)
    assert bounded is not None
    assert b"".join(bounded.contents) == b"56789" + b"1011121314"


def test_slices_of_one_value_need_it_only_once(log, monkeypatch):
    log.append([Run("t", A, 0, [b"x" * 100] * 1000)])
    decoded = []
    decode = fmt.decode_value
    monkeypatch.setattr(fmt, "decode_value", lambda *args: decoded.append(1) or decode(*args))
    offset = 0
    while (run := log.read("t", A, offset, max_records=10, max_bytes=10**6)) is not None:
        offset = run.next
    assert offset == 1000
    assert len(decoded) == 1


def test_many_half_read_values_do_not_pile_up(log):
    log.append([Run(f"t{i}", A, 0, [b"a", b"b"]) for i in range(50)])
    for i in range(50):
        assert log.read(f"t{i}", A, 0, max_records=1, max_bytes=1) == Run(f"t{i}", A, 0, [b"a"])
    assert len(log._reader.recent._values) <= 8
    for i in range(50):
        assert log.read(f"t{i}", A, 1, max_records=1, max_bytes=1) == Run(f"t{i}", A, 1, [b"b"])


def test_consecutive_runs_of_a_batch_become_one_value(log):
    log.append(
        [
            Run("t", A, 0, [b"0", b"1"]),
            Run("t", B, 0, [b"other"]),
            Run("t", A, 2, [b"2"]),
            Run("t", A, 3, []),
            Run("t", A, 3, [b"3"]),
        ]
    )
    assert counts(log, 0) == [4]
    assert read_all(log, "t", A) == [b"0", b"1", b"2", b"3"]
    assert read_all(log, "t", B) == [b"other"]


def test_values_are_cut_at_about_one_mebibyte(log):
    contents = [bytes([i % 256]) * 1000 for i in range(5000)]
    log.append([Run("t", A, 0, contents[:3000]), Run("t", A, 3000, contents[3000:])])
    sizes = counts(log)
    assert len(sizes) == 5
    assert all(size * 1004 <= MIB for size in sizes)
    assert all((size + 1) * 1004 > MIB for size in sizes[:-1])
    assert read_all(log, "t", A) == contents


def test_a_record_larger_than_a_value_gets_its_own(log):
    contents = [b"small", b"y" * (5 * MIB), b"", b"z" * MIB, b"end"]
    log.append([Run("t", A, 0, contents)])
    assert counts(log) == [1, 1, 1, 1, 1]
    assert read_all(log, "t", A) == contents
    run = log.read("t", A, 1, max_records=10, max_bytes=10)
    assert run is not None
    assert len(run) == 1


def test_a_half_read_value_that_is_very_large_is_not_kept_in_memory(log, monkeypatch):
    monkeypatch.setattr(fmt, "VALUE_BYTES", 1000)
    log.append([Run("t", A, 0, [b"x"] * 150)])
    monkeypatch.setattr(fmt, "VALUE_BYTES", 10)
    log.read("t", A, 0, max_records=1, max_bytes=1)
    assert not log._reader.recent._values


def test_empty_contents_are_records_too(tmp_path):
    with Log(tmp_path) as log:
        log.append([Run("t", A, 0, [b""] * 300_000)])
        assert len(counts(log)) == 2
    with Log(tmp_path) as log:
        assert read_all(log, "t", A) == [b""] * 300_000
        run = log.read("t", A, 0, max_records=50, max_bytes=0)
        assert run is not None
        assert len(run) == 50


def test_a_content_above_the_limit_is_refused_by_name(log, monkeypatch):
    monkeypatch.setattr(fmt, "MAX_CONTENT_BYTES", 10)
    with pytest.raises(ValueError, match=f"topic 'big', partition {A}, offset 6 has 11 bytes"):
        log.append([Run("t", B, 0, [b"fine"]), Run("big", A, 5, [b"1234567890", b"12345678901"])])
    assert log.partitions() == []


@pytest.mark.parametrize(
    "runs",
    [
        [Run("t", A, 1, [b"gap"])],
        [Run("t", A, 4, [b"gap"])],
        [Run("t", A, 2, [b"again"])],
        [Run("t", A, 3, [b"fine"]), Run("t", A, 5, [b"gap"])],
        [Run("t", A, 3, [b"fine"]), Run("t", A, 3, [b"twice"])],
        [Run("new", B, 3, [b"fine"]), Run("new", B, 5, [b"gap"])],
        [Run("new", B, -1, [b"below nothing"])],
        [Run("new", B, 2**64 - 1, [b"last", b"beyond"])],
    ],
)
def test_a_run_that_does_not_continue_its_partition_is_our_own_bug(log, runs):
    log.append([Run("t", A, 0, [b"0", b"1", b"2"])])
    with pytest.raises(ValueError, match="comes next"):
        log.append([Run("t", C, 0, [b"also refused"]), *runs])
    assert log.partitions() == [Extent("t", A, 0, 3)]
    assert list(log.check()) == []
    log.append([Run("t", A, 3, [b"3"])])


def test_the_last_offset_of_all_can_be_stored(tmp_path):
    with Log(tmp_path) as log:
        log.append([Run("t", A, 2**64 - 2, [b"last but one", b"last"])])
    with Log(tmp_path) as log:
        assert log.partitions() == [Extent("t", A, 2**64 - 2, 2**64)]
        assert read_all(log, "t", A) == [b"last but one", b"last"]
        assert list(log.check()) == []
        with pytest.raises(ValueError, match="comes next"):
            log.append([Run("t", A, 2**64, [b"beyond"])])


def test_partition_numbers_end_somewhere(log, monkeypatch):
    monkeypatch.setattr(fmt, "MAX_PARTITIONS", 1)
    log.append([Run("t", A, 0, [b"x"])])
    with pytest.raises(ValueError, match="no more partitions"):
        log.append([Run("t", B, 0, [b"x"])])


def test_nothing_to_append_is_nothing_written(log):
    log.append([])
    log.append([Run("t", A, 5, [])])
    assert log.partitions() == []


def test_values_carry_the_time_of_their_arrival(tmp_path):
    with Log(tmp_path, clock=lambda: 1234.5678) as log:
        log.append([Run("t", A, 0, [b"x"])])
        span = log._index.find("t", A, 0)
        assert span is not None
        value = log._reader.value("t", A, span)
        assert value is not None
        assert list(value.arrivals) == [(1_234_567, 1)]


def test_a_log_that_is_not_open_says_so(tmp_path):
    log = Log(tmp_path)
    assert not list(tmp_path.iterdir())
    log.close()
    for use in (lambda: log.append([]), log.check):
        with pytest.raises(Closed, match="not open"):
            use()
    with log:
        log.append([Run("t", A, 0, [b"x"])])
        with pytest.raises(RuntimeError, match="already open"):
            log.open()
    log.close()
    with pytest.raises(Closed, match="not open"):
        log.read("t", A, 0, max_records=1, max_bytes=1)


def test_an_unknown_durability_is_refused():
    with pytest.raises(ConfigError, match='"fsync" or "os", not \'always\''):
        Log("anywhere", durability="always")


@pytest.mark.usefixtures("hasty_threads")
def test_reads_beside_appends_see_whole_batches(log):
    wrong: list[object] = []
    done = threading.Event()

    def reader() -> None:
        try:
            while not done.is_set():
                extent = log.extent("t", A)
                if extent is None:
                    continue
                run = log.read("t", A, extent.next - 10, max_records=1000, max_bytes=10**6)
                assert run is not None
                assert len(run) % 10 == 0
                expected = [b"%d" % i for i in range(run.first, run.next)]
                assert run.contents == expected
        except BaseException as error:
            wrong.append(error)

    readers = [threading.Thread(target=reader) for _ in range(3)]
    for thread in readers:
        thread.start()
    for first in range(0, 500, 10):
        contents = [b"%d" % i for i in range(first, first + 10)]
        writer = threading.Thread(target=log.append, args=([Run("t", A, first, contents)],))
        writer.start()
        writer.join()
    done.set()
    for thread in readers:
        thread.join()
    assert wrong == []
    assert log.extent("t", A) == Extent("t", A, 0, 500)


run_sizes = st.lists(
    st.tuples(st.sampled_from("tu"), st.sampled_from([A, B]), st.lists(st.binary(max_size=40))),
    max_size=5,
)


@settings(max_examples=25, deadline=None)
@given(
    batches=st.lists(st.one_of(run_sizes, st.just("reopen")), max_size=8),
    starts=st.fixed_dictionaries({A: st.integers(0, 2**63), B: st.integers(0, 10)}),
    bounds=st.tuples(st.integers(1, 30), st.integers(1, 300)),
    value_bytes=st.integers(1, 200),
)
def test_any_batches_come_back_as_they_went_in(batches, starts, bounds, value_bytes):
    model: dict[tuple[str, str], list[bytes]] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        pytest.MonkeyPatch.context() as patch,
        Log(directory, durability="os") as log,
    ):
        patch.setattr(fmt, "VALUE_BYTES", value_bytes)
        for batch in batches:
            if batch == "reopen":
                log.close()
                log.open()
                continue
            runs = []
            for topic, partition, contents in batch:
                so_far = model.setdefault((topic, partition), [])
                runs.append(Run(topic, partition, starts[partition] + len(so_far), contents))
                so_far += contents
            log.append(runs)
        stored = {name: contents for name, contents in model.items() if contents}
        assert {(e.topic, e.partition): (e.earliest, e.next) for e in log.partitions()} == {
            name: (starts[name[1]], starts[name[1]] + len(contents))
            for name, contents in stored.items()
        }
        max_records, max_bytes = bounds
        for name, contents in stored.items():
            seen = 0
            while seen < len(contents):
                run = log.read(
                    *name, starts[name[1]] + seen, max_records=max_records, max_bytes=max_bytes
                )
                assert run is not None
                assert run.contents == contents[seen : seen + len(run)]
                assert 1 <= len(run) <= max_records
                assert run.size <= max_bytes or len(run) == 1
                seen += len(run)
        assert list(log.check()) == []
