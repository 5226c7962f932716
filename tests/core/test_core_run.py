"""Runs: cutting keeps offsets and contents together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.machines import content, run

from dafka.core.run import RECORD_COST, Run


def _right(part: Run) -> bool:
    offsets = range(part.first, part.next)
    return part.contents == [content(offset) for offset in offsets]


def test_run_knows_its_end_its_size_and_its_cost() -> None:
    records = Run("t", "P", 7, [b"", b"ab", b"cde"])
    assert (len(records), records.next, records.size) == (3, 10, 5)
    assert records.cost == 5 + 3 * RECORD_COST


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 15))
def test_cut_run_holds_the_same_records_at_the_same_offsets(
    first: int, length: int, cut: int
) -> None:
    whole = run(first, first + length)
    before, after = whole.until(cut), whole.since(cut)
    assert _right(before)
    assert _right(after)
    assert before.contents + after.contents == whole.contents
    assert all(offset < cut for offset in range(before.first, before.next))
    assert all(offset >= cut for offset in range(after.first, after.next))


@given(st.integers(0, 12), st.integers(1, 12))
def test_run_that_needs_no_cut_is_not_copied(first: int, length: int) -> None:
    whole = run(first, first + length)
    assert whole.since(first) is whole
    assert whole.until(whole.next) is whole
