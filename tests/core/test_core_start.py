"""Where a consumer begins with a partition it has never seen."""

from __future__ import annotations

import pytest
from support.machines import CONSUMER, ENDPOINT, PRODUCER, READER, TOPIC

from dafka.beginning import Start
from dafka.core.sources import Sources
from dafka.core.start import NEWCOMER_S, first_offset, is_newcomer
from protocol import DirectHead, Head


@pytest.mark.parametrize(
    ("start", "old", "new"),
    [
        ("earliest", 0, 0),
        ("latest", 77, 0),
        (5, 5, 5),
        ({PRODUCER: 9}, 9, 9),
        ({"another": 9}, 0, 0),
    ],
)
def test_first_offset_is_the_configured_one(start: Start, old: int, new: int) -> None:
    assert first_offset(start, PRODUCER, 77, is_new=False) == old
    assert first_offset(start, PRODUCER, 77, is_new=True) == new


def _head(age_ms: int | None) -> Head:
    return Head(TOPIC, PRODUCER, TOPIC, 3, 0, age_ms)


def test_producer_that_says_it_is_younger_than_the_subscription_is_a_newcomer() -> None:
    assert is_newcomer(Sources(), PRODUCER, 10.0, 12.0, _head(2000))
    assert not is_newcomer(Sources(), PRODUCER, 10.0, 12.0, _head(2001))


def _stored_head(age_ms: int | None) -> DirectHead:
    return DirectHead(CONSUMER, PRODUCER, TOPIC, 3, 0, READER, age_ms=age_ms)


def test_partition_that_a_store_says_is_younger_than_the_subscription_is_a_newcomer() -> None:
    """However late we hear of it, and though we never met its producer."""
    assert is_newcomer(Sources(), PRODUCER, 10.0, 12.0, _stored_head(2000))
    assert not is_newcomer(Sources(), PRODUCER, 10.0, 12.0, _stored_head(2001))
    assert not is_newcomer(Sources(), PRODUCER, 10.0, 12.0, _stored_head(None))


def test_partition_of_which_a_store_knows_no_age_is_as_old_as_its_producer_was() -> None:
    sources = _introduced(30.0, born=29.0)
    sources.peer_lost(PRODUCER, ENDPOINT, 34.0)
    assert is_newcomer(sources, PRODUCER, 10.0, 40.0, _stored_head(None))
    assert not is_newcomer(sources, PRODUCER, 29.5, 40.0, _stored_head(None))


def _introduced(at: float, welcomed: float | None = 9.0, born: float | None = None) -> Sources:
    sources = Sources()
    sources.contact = welcomed
    sources.peer_found(PRODUCER, ENDPOINT, at, born)
    return sources


def test_producer_that_said_how_old_it_is_needs_no_tower_to_tell() -> None:
    assert is_newcomer(_introduced(12.0, welcomed=None, born=11.0), PRODUCER, 10.0, 12.0)
    assert not is_newcomer(_introduced(12.0, welcomed=None, born=9.0), PRODUCER, 10.0, 12.0)


def test_producer_introduced_well_after_the_subscription_is_a_newcomer() -> None:
    sources = _introduced(10.0 + NEWCOMER_S)
    for head in (None, _head(None)):
        assert is_newcomer(sources, PRODUCER, 10.0, 12.0, head)


def test_producer_introduced_soon_after_the_subscription_was_there_before() -> None:
    assert not is_newcomer(_introduced(10.0 + NEWCOMER_S / 2), PRODUCER, 10.0, 12.0)


@pytest.mark.parametrize("pause", [0.0, NEWCOMER_S / 2])
def test_producer_introduced_soon_after_a_tower_was_found_was_there_before(pause: float) -> None:
    """All nodes are introduced within a beacon interval of its welcome."""
    assert not is_newcomer(_introduced(30.0 + pause, welcomed=30.0), PRODUCER, 10.0, 40.0)


def test_producer_that_was_introduced_with_its_age_is_a_newcomer_if_it_is_younger() -> None:
    """However soon after the subscription that was, and whoever else was there."""
    assert is_newcomer(_introduced(10.3, born=10.0), PRODUCER, 10.0, 10.4)
    assert not is_newcomer(_introduced(30.0, born=9.9), PRODUCER, 10.0, 30.0)


def test_producer_introduced_by_nobody_who_welcomed_us_is_no_newcomer() -> None:
    assert not is_newcomer(_introduced(30.0, welcomed=None), PRODUCER, 10.0, 40.0)


def test_producer_nobody_introduced_is_no_newcomer() -> None:
    assert not is_newcomer(Sources(), PRODUCER, 10.0, 12.0)
