"""How long a topic has been quiet: what is there, or known to be there, is no quiet."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dafka.core.run import Run
from dafka.streams.feed import Feed


@pytest.fixture
def feed() -> Feed:
    """One that has had nothing to read for 5 s."""
    feed = Feed("t", {}, {})
    consumer = SimpleNamespace(introduced=True, lacking=0)
    consumer.behind = lambda: consumer.lacking
    feed.consumer = consumer
    assert feed.waited(1.0) == 0.0  # it has only just become quiet
    assert feed.waited(5.0) == 5.0
    assert feed.quiet_s == 5.0
    return feed


def test_records_that_are_known_to_exist_end_the_quiet(feed):
    """A partition may be found late, and be the last that was expected: then all are known."""
    feed.consumer.lacking = 10
    assert feed.waited(1.0) == 0.0
    assert feed.quiet_s == 0.0


def test_records_that_have_come_end_the_quiet_before_they_are_taken(feed):
    feed._run = Run("t", "P", 0, [b"a", b"b"])
    assert feed.waited(1.0) == 0.0
    assert feed.quiet_s == 0.0


def test_records_that_come_and_are_taken_between_two_looks_end_the_quiet(feed):
    feed._run = Run("t", "P", 0, [b"a"])
    assert feed.take(5).contents == [b"a"]
    assert feed.quiet_s == 0.0


def test_nothing_is_quiet_before_a_tower_has_answered(feed):
    feed.consumer.introduced = False
    assert feed.waited(1.0) == 0.0
    assert feed.quiet_s == 0.0
