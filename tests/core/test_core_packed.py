"""Packed contents are a list of bytes in all that can be asked of one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dafka.core.packed import Packed, largest_of, size_of
from dafka.core.run import Run

lists = st.lists(st.binary(max_size=9), max_size=9) | st.builds(
    lambda one, n: [one] * n, st.binary(max_size=9), st.integers(1, 9)
)
positions = st.none() | st.integers(-12, 12)


@given(lists)
def test_it_holds_what_was_packed(contents: list[bytes]) -> None:
    packed = Packed.of(contents)
    assert packed == contents
    assert contents == packed
    assert packed == Packed(packed.frame)
    assert packed != [*contents, b""]
    assert packed != tuple(contents)
    assert list(packed) == packed.split() == contents
    assert len(packed) == len(contents)
    assert bool(packed) is bool(contents)
    assert Packed.of(packed) is packed
    assert eval(repr(packed), {"Packed": Packed.of}) == packed


@given(lists, positions, positions, st.sampled_from([None, 1, 2, -1]))
def test_its_parts_are_those_of_a_list(contents, first, end, step) -> None:
    packed = Packed.of(contents)
    assert packed[first:end:step] == contents[first:end:step]
    for at in range(-len(contents), len(contents)):
        assert packed[at] == contents[at]
    for at in (-len(contents) - 1, len(contents)):
        with pytest.raises(IndexError):
            packed[at]


@given(lists)
def test_sizes_are_known_without_taking_it_apart(contents: list[bytes]) -> None:
    packed = Packed.of(contents)
    assert packed.size == size_of(packed) == size_of(contents) == sum(map(len, contents))
    assert packed.weight == packed.size + 4 * len(contents)
    assert largest_of(packed) == largest_of(contents) == max(map(len, contents), default=0)


@given(st.lists(lists, min_size=1, max_size=4))
def test_parts_are_joined_in_order(parts: list[list[bytes]]) -> None:
    joined = Packed.join([Packed.of(part) for part in parts])
    assert joined == [content for part in parts for content in part]


@given(lists, st.integers(0, 9), st.integers(-1, 60), st.booleans())
def test_as_many_fit_as_their_sizes_say(contents, first, most, lengths) -> None:
    first = min(first, len(contents))
    cost = 4 if lengths else 0
    found = Packed.of(contents).fitting(first, most, lengths=lengths)
    fits = [
        n
        for n in range(len(contents) - first + 1)
        if sum(len(content) + cost for content in contents[first : first + n]) <= most or not n
    ]
    assert found == max(fits)


@given(lists, st.integers(1, 40))
def test_parts_are_as_large_as_they_may_be(contents: list[bytes], most: int) -> None:
    packed = Packed.of(contents)
    parts = list(packed.parts(most))
    assert [content for part in parts for content in part] == contents
    assert all(part.weight <= most or len(part) == 1 for part in parts)
    for part, following in pairwise(parts):
        assert part.weight + len(following[0]) + 4 > most


@given(lists, st.integers(0, 12), st.integers(0, 12))
def test_a_run_of_packed_contents_is_cut_like_any_other(contents, since, until) -> None:
    plain, packed = Run("t", "P", 3, contents), Run("t", "P", 3, Packed.of(contents))
    assert packed == plain
    assert (packed.size, packed.cost, packed.next) == (plain.size, plain.cost, plain.next)
    assert packed.since(since).until(until) == plain.since(since).until(until)
    assert packed.since(since) == plain.since(since)
    assert type(packed.listed().contents) is list
    assert packed.listed() == plain == plain.listed()
    assert packed.since(3) is packed
    assert packed.until(packed.next) is packed
