"""What the heads of stores and producers say of a cluster."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.machines import OTHER_PRODUCER, OTHER_READER, PRODUCER, READER, address

from dafka.core.inventory import Inventory, StoreState, TopicState, take
from protocol import DirectHead, Head

ONE = StoreState(READER, "tcp://h:1", address(1), answered=True)
TWO = StoreState(OTHER_READER, "tcp://h:2", address(2), answered=True)
C_STORE = StoreState(address(0x99), "tcp://h:3", None, answered=True)
SILENT = StoreState(address(0x98), "tcp://h:4", None, answered=False)


def told(end: int, earliest: int | None = 0, size: int | None = None, **more: int) -> DirectHead:
    return DirectHead("", PRODUCER, "t", end - 1, earliest, bytes=size, **more)


def inventory(
    *stores: tuple[StoreState, list[DirectHead]], heads: tuple[Head, ...] = (), living: str = ""
) -> Inventory:
    return take(
        {store: {(head.subject, head.address): head for head in known} for store, known in stores},
        {(head.subject, head.address): head for head in heads},
        {living},
        complete=True,
    )


def test_lag_is_what_a_store_lacks_of_what_another_has() -> None:
    (partition,) = inventory((TWO, [told(70)]), (ONE, [told(100)])).partitions
    assert (partition.topic, partition.partition) == ("t", PRODUCER)
    assert (partition.earliest, partition.next, partition.records) == (0, 100, 100)
    assert [(c.store, c.next, c.lag) for c in partition.copies] == [(ONE, 100, 0), (TWO, 70, 30)]
    assert not partition.alive


def test_lag_is_what_a_store_lacks_of_what_a_producer_announced() -> None:
    (partition,) = inventory((ONE, [told(70)]), heads=(Head("t", PRODUCER, "t", 99),)).partitions
    assert (partition.next, partition.copies[0].lag) == (100, 30)
    assert partition.alive


def test_store_that_lacks_a_partition_lags_by_all_that_is_kept() -> None:
    (partition,) = inventory((ONE, [told(100, earliest=40)]), (TWO, [])).partitions
    assert (partition.earliest, partition.records) == (40, 60)
    assert [(c.earliest, c.next, c.lag) for c in partition.copies] == [(40, 100, 0), (None, 0, 60)]


def test_store_that_ends_before_what_is_kept_lags_by_what_is_kept_only() -> None:
    (partition,) = inventory(
        (ONE, [told(100, earliest=40)]), (C_STORE, [told(10, None)])
    ).partitions
    assert [copy.lag for copy in partition.copies] == [0, 60]


def test_partition_begins_where_the_store_begins_that_keeps_most() -> None:
    (partition,) = inventory((ONE, [told(9, 5)]), (TWO, [told(9, 3)])).partitions
    assert partition.earliest == 3


@pytest.mark.parametrize(("announced", "expected"), [(None, 0), (7, 7)])
def test_where_no_store_tells_the_producer_does(announced: int | None, expected: int) -> None:
    head = Head("t", PRODUCER, "t", 9, earliest=announced)
    assert inventory(heads=(head,)).partitions[0].earliest == expected
    of_c_store = inventory((C_STORE, [told(5, None)]), heads=(head,)).partitions[0]
    assert of_c_store.earliest == expected
    assert of_c_store.copies[0].earliest is None


def test_partition_takes_what_it_takes_at_the_store_where_that_is_most() -> None:
    stores = ((ONE, [told(9, size=100)]), (TWO, [told(9, size=300)]), (C_STORE, [told(9, None)]))
    (partition,) = inventory(*stores).partitions
    assert partition.bytes == 300
    assert [copy.bytes for copy in partition.copies] == [100, 300, None]
    assert inventory((C_STORE, [told(9, None)])).partitions[0].bytes is None


def test_store_that_did_not_answer_has_no_copies_but_is_named() -> None:
    found = inventory((SILENT, []), (ONE, [told(9)]))
    assert found.stores == (ONE, SILENT)
    assert [copy.store for copy in found.partitions[0].copies] == [ONE]


def test_producer_is_alive_if_it_is_there_though_it_announced_nothing() -> None:
    assert inventory((ONE, [told(9)]), living=PRODUCER).partitions[0].alive


def test_topics_are_sums_in_order_of_names() -> None:
    found = inventory(
        (ONE, [told(10, 4, 50), DirectHead("", OTHER_PRODUCER, "t", 0, 0, bytes=7)]),
        (TWO, [DirectHead("", PRODUCER, "a", 4)]),
    )
    assert found.topics() == [TopicState("a", 1, 5, None), TopicState("t", 2, 7, 57)]


def test_what_was_deleted_is_not_there_any_more() -> None:
    found = inventory((ONE, [told(10, 10, deleted=10)]), (TWO, []))
    assert (found.partitions, found.deleted) == ((), {"t"})


@pytest.mark.parametrize("living", [PRODUCER, ""])
def test_what_was_published_after_a_deletion_is_there(living: str) -> None:
    end = 10 if living else 12
    found = inventory((ONE, [told(end, 10, deleted=10)]), living=living)
    assert [partition.records for partition in found.partitions] == [end - 10]
    assert not found.deleted


def test_topic_is_deleted_only_if_all_its_partitions_are() -> None:
    other = DirectHead("", OTHER_PRODUCER, "t", 5, 0)
    found = inventory((ONE, [told(10, 10, deleted=10), other]))
    assert [partition.partition for partition in found.partitions] == [OTHER_PRODUCER]
    assert not found.deleted


def test_partition_whose_records_expired_is_still_there() -> None:
    (partition,) = inventory((ONE, [told(10, 10)])).partitions
    assert (partition.records, partition.next) == (0, 10)


_HEADS = st.builds(
    told, st.integers(1, 2**64), st.none() | st.integers(0, 2**64 - 1), st.none() | st.just(5)
)


@given(st.lists(st.none() | _HEADS, min_size=1, max_size=4))
def test_nothing_is_negative_and_somebody_has_the_newest(heads: list[DirectHead | None]) -> None:
    stores = [
        (StoreState(address(i), f"tcp://h:{i}", None, answered=True), [head] if head else [])
        for i, head in enumerate(heads)
    ]
    for partition in inventory(*stores).partitions:
        assert partition.records >= 0
        assert all(copy.lag >= 0 for copy in partition.copies)
        assert max(copy.next for copy in partition.copies) == partition.next
        assert all(copy.lag == 0 for copy in partition.copies if copy.next == partition.next)
