"""The demo's check finds a record that is missing, doubled, changed or out of order."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from dafka.cli.demo_ledger import Ledger, Tally, differences

CONTENTS = [b'{"flight":%d}' % number for number in range(10)]

RECORDS = list(enumerate(CONTENTS))


def tally(records: Iterable[tuple[int, bytes]]) -> Tally:
    """What a ledger says of these records."""
    ledger = Ledger()
    for offset, content in records:
        ledger.add(offset, content)
    return ledger.tally()


def found(records: Iterable[tuple[int, bytes]]) -> list[str]:
    """What is wrong with these records, if `RECORDS` were published."""
    return differences({"P": tally(RECORDS)}, {"P": tally(records)})


def test_what_was_published_has_no_differences() -> None:
    assert found(RECORDS) == []
    assert tally(RECORDS).records == 10
    assert tally(RECORDS).bytes == sum(map(len, CONTENTS))


@pytest.mark.parametrize("gone", [0, 4, 9])
def test_missing_record_is_found(gone: int) -> None:
    assert found(r for r in RECORDS if r[0] != gone) == ["partition P: 1 record missing"]


def test_missing_tail_is_found() -> None:
    assert found(RECORDS[:3]) == ["partition P: 7 records missing"]


@pytest.mark.parametrize("twice", [0, 4, 9])
def test_doubled_record_is_found(twice: int) -> None:
    doubled = RECORDS[: twice + 1] + RECORDS[twice:]
    assert found(doubled) == ["partition P: 1 record doubled"]


def test_everything_doubled_is_found() -> None:
    assert found([*RECORDS, *RECORDS]) == ["partition P: 10 records doubled"]


def test_doubled_record_does_not_hide_a_missing_one() -> None:
    assert found([*RECORDS[:5], RECORDS[4], *RECORDS[6:]]) == [
        "partition P: 1 record missing",
        "partition P: 1 record doubled",
    ]


def test_swapped_records_are_found() -> None:
    swapped = [*RECORDS[:4], RECORDS[5], RECORDS[4], *RECORDS[6:]]
    assert found(swapped) == ["partition P: 1 record out of order"]


@pytest.mark.parametrize("at", [0, 4, 9])
@pytest.mark.parametrize("content", [b"", b'{"flight":x}', b'{"flight":99}'])
def test_changed_record_is_found(at: int, content: bytes) -> None:
    changed = [*RECORDS[:at], (at, content), *RECORDS[at + 1 :]]
    assert found(changed) == ["partition P: contents differ from what was published"]


def test_bytes_that_moved_to_the_neighbour_are_found() -> None:
    moved = [(0, b"ab"), (1, b"c")]
    published = [(0, b"a"), (1, b"bc")]
    assert differences({"P": tally(published)}, {"P": tally(moved)}) == [
        "partition P: contents differ from what was published"
    ]


def test_exchanged_contents_are_found() -> None:
    exchanged = [(0, CONTENTS[1]), (1, CONTENTS[0]), *RECORDS[2:]]
    assert found(exchanged) == ["partition P: contents differ from what was published"]


def test_records_beyond_the_last_are_found() -> None:
    assert found([*RECORDS, (10, b"more")]) == ["partition P: 1 record too many"]


def test_partition_that_was_not_seen_is_found() -> None:
    assert differences({"P": tally(RECORDS)}, {}) == ["partition P: nothing was seen of it"]


def test_partition_that_nobody_published_is_found() -> None:
    assert differences({}, {"Q": tally(RECORDS)}) == ["partition Q: 10 records nobody published"]


def test_partition_without_records_need_not_be_seen() -> None:
    assert differences({"P": tally([])}, {}) == []


def test_partitions_are_told_apart() -> None:
    published = {"P": tally(RECORDS), "Q": tally(RECORDS[:5])}
    assert differences(published, {"Q": published["P"], "P": published["Q"]}) == [
        "partition P: 5 records missing",
        "partition Q: 5 records too many",
    ]
