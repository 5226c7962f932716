"""Waiting in tests: for a condition, with a deadline; or that nothing happens, for a while."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TypeVar

import gevent

from dafka import Consumer, Record
from tests.support.async_facade import Facade

DEADLINE_S = 20.0
"""Generous: a machine that is busy with something else must not fail a test."""

_PAUSE_S = 0.005

T = TypeVar("T")


def until(condition: Callable[[], T], timeout: float = DEADLINE_S, what: str = "") -> T:
    """Let nodes work until `condition()` is true and return what it gave; else fail."""
    end = monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if monotonic() >= end:
            raise AssertionError(f"{what or 'the condition'} did not come true in {timeout} s")
        gevent.sleep(_PAUSE_S)


def during(seconds: float, condition: Callable[[], object], what: str = "") -> None:
    """Let nodes work for `seconds`; fail as soon as `condition()` is not true."""
    end = monotonic() + seconds
    while monotonic() < end:
        if not condition():
            raise AssertionError(f"{what or 'the condition'} did not stay true for {seconds} s")
        gevent.sleep(_PAUSE_S)


def take(consumer: Consumer, count: int, timeout: float = DEADLINE_S) -> list[Record]:
    """The next `count` records of a consumer; fail if they have not all come in time."""
    end = monotonic() + timeout
    records: list[Record] = []
    if isinstance(consumer, Facade):
        records = consumer.take(count, timeout)
    else:
        while len(records) < count and (record := consumer.poll(max(0.0, end - monotonic()))):
            records.append(record)
    assert len(records) == count, f"{len(records)} of {count} records came in {timeout} s"
    return records
