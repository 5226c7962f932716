"""What is written down of an operator's state: no more than what has changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dafka.streams.keyed_state import Store, check_keys

KEYS = st.tuples(st.sampled_from([0, 1.5, "g"]), st.sampled_from(["a", 2, (1, "b")]))
CHANGES = st.one_of(
    st.tuples(st.just("put"), KEYS, st.integers()),
    st.tuples(st.just("remove"), KEYS),
    st.tuples(st.just("pop"), KEYS),
    st.tuples(st.just("save")),
)


def save(store, rows):
    """Write down what has changed."""
    for key, value in store.changes():
        if value is None:
            del rows[key]  # it must be there
        else:
            rows[key] = value


@given(st.lists(CHANGES, max_size=40))
def test_rows_tell_what_is_kept(changes):
    store, rows, wanted = Store("x"), {}, {}
    for what, *arguments in [*changes, ["save"]]:
        if what == "put":
            (group, key), value = arguments
            store.put(group, key, value)
            wanted[group, key] = value
        elif what == "remove":
            store.remove(*arguments[0])
            wanted.pop(arguments[0], None)
        elif what == "pop":
            group, _ = arguments[0]
            store.pop(group)
            wanted = {name: value for name, value in wanted.items() if name[0] != group}
        else:
            save(store, rows)
            assert len(rows) == len(wanted) == len(store)
            assert list(store.changes()) == []
            again = Store("x")
            for row in rows.values():
                again.load(row)
            told = {(g, k): v for g, bucket in again.groups.items() for k, v in bucket.items()}
            assert told == wanted


def test_keys_that_are_equal_are_one_row():
    store, rows = Store("x"), {}
    for number, key in enumerate([1, True, 1.0]):
        store.put(0, key, number)
        save(store, rows)
    assert len(rows) == 1
    again = Store("x")
    for row in rows.values():
        again.load(row)
    assert again.groups == {0: {1: 2}}


@pytest.mark.parametrize("key", [1e300, -0.0, 2**64 - 1, -(2**63), 1e19])
def test_numbers_that_are_keys_can_be_written(key):
    check_keys([key, (key,)])
    store, rows = Store("x"), {}
    store.put(0, key, "value")
    save(store, rows)
    assert len(rows) == 1


@pytest.mark.parametrize("key", [2**64, -(2**63) - 1, float("nan"), ("x", 2**70)])
def test_numbers_that_cannot_be_written_or_found_again_are_no_keys(key):
    with pytest.raises(TypeError, match=r"is too large|is not a number"):
        check_keys([1, key])
