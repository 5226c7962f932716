"""Latencies count from when a record was due, and come to known figures."""

from __future__ import annotations

import os
import time

import pytest

from dafka.bench import latency
from dafka.bench.roles.latency import send_paced
from dafka.bench.roles.pace import Pace, Timer
from dafka.bench.work import Work


def test_a_record_tells_when_it_was_due_and_has_its_size():
    record = latency.content(1.5, 2.25, latency.padding(100))
    assert len(record) == 100
    assert latency.times(record) == (1.5, 2.25)
    assert len(latency.content(1.0, 2.0, latency.padding(1))) == latency.HEAD_BYTES


def test_the_percentiles_of_known_figures():
    found = latency.percentiles(latency.histogram(ms / 1000 for ms in range(1, 1001)))
    assert found["p50"] == pytest.approx(500, rel=0.002)
    assert found["p99"] == pytest.approx(990, rel=0.002)
    assert found["p99.9"] == pytest.approx(999, rel=0.002)
    assert found["max"] == pytest.approx(1000, rel=0.002)


def test_rounds_are_merged_by_counting_all_their_records():
    quick = latency.encoded([0.001] * 900)
    slow = latency.encoded([0.1] * 100)
    found = latency.percentiles(latency.merged([quick, slow]))
    assert found["p50"] == pytest.approx(1, rel=0.002)
    assert found["p99"] == pytest.approx(100, rel=0.002)


def test_what_takes_no_time_or_for_ever_is_counted_as_well():
    found = latency.histogram([0.0, -1e-9, 1e9])
    assert found.get_total_count() == 3


class Standstill:
    """A clock that stands until somebody waits, and jumps once while a record is sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, seconds: float) -> None:
        self.now, self.sent, self._at, self._seconds = 100.0, 0, at, seconds
        for module in ("pace", "latency"):
            monkeypatch.setattr(f"dafka.bench.roles.{module}.monotonic", lambda: self.now)

    def wait(self, _timer: Timer, due: float) -> None:
        self.now = due

    def send(self, _content: bytes) -> None:
        self.sent += 1
        if self.sent == self._at:
            self.now += self._seconds


def test_records_that_a_standstill_held_up_count_their_wait(monkeypatch):
    clock = Standstill(monkeypatch, at=400, seconds=0.1)
    pace = Pace(Work(rate=1000.0, records=600))
    assert pace.lead == 300
    late = send_paced(pace, clock.send, 100, wait=clock.wait)
    assert len(late) == clock.sent == 900
    # One record was held up for 0.1 s, and so were the hundred that fell due meanwhile.
    assert late[:400] == pytest.approx([0.0] * 400, abs=1e-6)
    assert late[400] == pytest.approx(0.099, abs=1e-6)
    assert [late[400 + n] for n in range(99)] == pytest.approx(
        [0.099 - n / 1000 for n in range(99)], abs=1e-6
    )
    assert late[500:] == pytest.approx([0.0] * 400, abs=1e-6)


def test_the_timer_is_never_early():
    timer = Timer()
    for _ in range(20):
        due = time.monotonic() + 0.002
        timer.set(due)
        os.set_blocking(timer.descriptor, True)
        os.read(timer.descriptor, 8)
        assert time.monotonic() >= due


def test_a_time_that_has_passed_is_due_at_once():
    timer = Timer()
    os.set_blocking(timer.descriptor, True)
    timer.set(time.monotonic() - 5)
    os.read(timer.descriptor, 8)
