"""What the loop says: which warnings are kept, and which errors have a traceback."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import pytest

from dafka.errors import Closed, StoreError
from dafka.io import driver
from dafka.io.driver import Driver, LimitedLog
from dafka.io.green import GREEN, Green
from dafka.io.shell import at_once
from tests.support.waiting import until


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time that the log sees, in its only element."""
    now = [100.0]
    monkeypatch.setattr(driver, "monotonic", lambda: now[0])
    return now


def test_a_warning_that_comes_too_often_is_counted_and_the_count_is_told(caplog, clock):
    log = LimitedLog(logging.getLogger("dafka.test"))
    for _ in range(3):
        log.warn("key", "text")
    log.warn("other", "another")
    assert caplog.messages == ["text", "another"]
    clock[0] += driver.WARN_EVERY_S
    log.warn("key", "text")
    clock[0] += driver.WARN_EVERY_S
    log.warn("key", "text")
    assert caplog.messages[2:] == ["text (and 2 times before)", "text"]


def test_whatever_the_keys_are_the_log_keeps_a_bounded_number(caplog, clock):
    log = LimitedLog(logging.getLogger("dafka.test"))
    most = 0
    for number in range(3 * driver._MAX_KEYS):
        for _ in range(2):
            log.warn(f"key {number}", "text")
        kept = [value for value in vars(log).values() if isinstance(value, dict)]
        most = max(most, sum(map(len, kept)))
    assert most == driver._MAX_KEYS
    assert len(caplog.messages) == 3 * driver._MAX_KEYS


@pytest.mark.parametrize(
    ("error", "traced"), [(StoreError("moved"), False), (Closed("by whom?"), True)]
)
def test_a_node_that_ends_by_a_bug_shows_where_it_is(caplog, error, traced):
    driver = Driver("store", logging.getLogger("dafka.test"), GREEN)
    driver.fail(error)
    (record,) = caplog.records
    assert bool(record.exc_info) == traced
    assert driver.failed.exception is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), ValueError("a bug")])
def test_whatever_ends_the_loop_nobody_waits_for_it_any_more(error):
    driver = Driver("producer", logging.getLogger("dafka.test"), GREEN)

    def fail(_: float) -> bool:
        raise error

    driver.add_source(fail)
    driver.start()
    with suppress(KeyboardInterrupt, SystemExit):  # gevent hands these to the main greenlet
        until(driver.failed.ready, 5)
    assert driver.failed.ready()
    assert not driver.running


def test_the_loop_looks_again_every_second_whatever_else_it_does(clock):
    loop, looks = Driver("store", logging.getLogger("dafka.test"), GREEN), []
    loop.add_check(lambda: looks.append(clock[0]))
    for _ in range(25):
        loop._turn()
        clock[0] += 0.125
    assert looks == [100.0, 101.0, 102.0, 103.0]


class Alarms:
    """A machine that wants to be woken at one time after the other, and notes when it was."""

    def __init__(self, times: list[float]) -> None:
        self._times = times
        self.late: list[float] = []

    def next_deadline(self) -> float | None:
        return self._times[0] if self._times else None

    def tick(self, now: float) -> list:
        self.late.append(now - self._times.pop(0))
        return []


class EarlyAlarm:
    """Rings when half of the time is over."""

    def __init__(self, ring: Callable[[], object]) -> None:
        self._alarm = GREEN.alarm(ring)
        self.end = self._alarm.end

    def set(self, delay: float) -> None:
        self._alarm.set(delay / 2)


class Hasty(Green):
    """A shell whose clock is ahead of the machines' one, as uvloop's is by up to a millisecond."""

    def alarm(self, ring: Callable[[], object]) -> EarlyAlarm:
        return EarlyAlarm(ring)


def test_a_deadline_is_kept_although_the_alarm_rings_early():
    begin = monotonic()
    machine = Alarms([begin + 0.02, begin + 0.04, begin + 0.06])
    loop = Driver("store", logging.getLogger("dafka.test"), Hasty())
    loop.add_machine(machine)
    loop.start()
    until(lambda: len(machine.late) == 3, 5)
    at_once(loop.stop(5))
    assert min(machine.late) >= 0


def test_deadlines_are_kept_in_whatever_order_they_turn_up():
    begin = monotonic()
    machine = Alarms([begin + 0.2, begin + 0.02, begin + 0.04, begin + 0.03, begin + 0.25])
    loop = Driver("store", logging.getLogger("dafka.test"), GREEN)
    loop.add_machine(machine)
    loop.start()
    until(lambda: len(machine.late) == 5)
    at_once(loop.stop(5))
    assert min(machine.late) >= 0
    sooner = Alarms([monotonic() + 60])
    loop = Driver("store", logging.getLogger("dafka.test"), GREEN)
    loop.add_machine(sooner)
    loop.start()
    until(lambda: sooner.next_deadline() is not None)
    wanted = monotonic() + 0.02
    loop.post(lambda _: sooner._times.insert(0, wanted) or [])
    until(lambda: sooner.late, 5)
    at_once(loop.stop(5))
    assert len(sooner.late) == 1
