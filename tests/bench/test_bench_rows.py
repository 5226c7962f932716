"""Rows are data: they are complete, and requests mean the right ones."""

from __future__ import annotations

import pytest

from dafka.bench.rows import GROUPS, all_rows, chosen, unknown, with_ceilings

ROWS = all_rows()


def names(rows):
    return [row.name for row in rows]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_every_row_is_complete(row):
    assert row.group in (*GROUPS, "raw")
    assert all(name in ROWS for name in (*row.ceilings, *row.trial.after))
    assert row.who == "raw" or row.ceilings, "it carries no ceiling"
    assert all(ROWS[name].unit == row.unit for name in row.ceilings[:1])


def test_trials_of_one_name_are_one_trial():
    trials = {row.trial.name: row.trial for row in ROWS.values()}
    assert all(trials[row.trial.name] is row.trial for row in ROWS.values())


@pytest.mark.parametrize(
    "row",
    [
        *(
            f"publish/{size}/{producers}p/{stores}s/{durability}"
            for size in ("100B", "1KB", "100KB")
            for producers in (1, 4, 16)
            for stores in (1, 2)
            for durability in ("fsync", "os")
        ),
        *(f"live/100B/{n}c/{mode}" for n in (1, 4, 16) for mode in ("runs", "records")),
        "replay/100B/runs",
        "replay/catch-up/one-lacks-5x",
        "raw/wire/100B/1-1/curve",
    ],
)
def test_what_the_suite_promises_is_there(row):
    assert row in ROWS


def test_without_a_request_there_are_headlines():
    found = names(chosen(ROWS, [], []))
    assert "publish/100B/1p/1s/fsync" in found
    assert len(found) < 30


def test_a_request_names_rows_their_beginnings_or_patterns():
    def request(*patterns: str) -> list[str]:
        return names(chosen(ROWS, patterns, []))

    assert request("live/100B/1c/runs") == ["live/100B/1c/runs"]
    assert request("live/100B/1c") == ["live/100B/1c/runs", "live/100B/1c/records"]
    assert request("live/100B/1c/") == request("live/100B/1c")
    assert request("publish/*/16p/1s/os") == [
        f"publish/{size}/16p/1s/os" for size in ("100B", "1KB", "100KB")
    ]
    assert request("live/100") == []
    assert unknown(ROWS, ["live", "live/100", "*/os"]) == ["live/100"]


def test_a_group_is_all_its_rows():
    found = chosen(ROWS, [], ["live"])
    assert {row.group for row in found} == {"live"}
    assert len(found) >= 18


def test_all_are_all_but_the_ceilings_alone():
    found = names(chosen(ROWS, [], [], everything=True))
    assert found == [
        name for name, row in ROWS.items() if row.group != "raw" and row.who in ("dafka", "raw")
    ]


def test_ceilings_come_along_and_last():
    found = names(with_ceilings(ROWS, [ROWS["publish/100B/4p/2s/fsync"]]))
    assert found == [
        "publish/100B/4p/2s/fsync",
        "raw/wire/100B/4-2",
        "raw/commit/100B/fsync",
        "raw/fdatasync/100B",
    ]
    late = names(with_ceilings(ROWS, [ROWS["replay/catch-up/one-lacks-5x"]]))
    assert "replay/catch-up/both-have-all" in late
    assert "raw/wire/100B/1-2" in late
