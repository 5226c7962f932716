"""How long a publisher is patient, and what it says: with a clock and a producer of the test's."""

from __future__ import annotations

from types import SimpleNamespace

import click
import pytest

from dafka.cli import publishing
from dafka.cli.publishing import Publishing
from dafka.config import ProducerConfig
from dafka.errors import PublishTimeout


class SlowProducer:
    """Its stores acknowledge a record every `pace` seconds, `last` in all.

    It has room for five records. What comes then is so large that it needs all the room.
    """

    def __init__(self, pace: float, last: int) -> None:
        self.pace = pace
        self.last = last
        self.now = 100.0
        self.next_offset = 0
        self.introduced = True
        self.trouble = ""
        self.obstacle = "why it is so"
        self.config = ProducerConfig()

    @property
    def acknowledged(self) -> int:
        return min(int((self.now - 100.0) / self.pace), self.last, self.next_offset)

    @property
    def unacknowledged(self) -> int:
        return self.next_offset - self.acknowledged

    def publish(self, content: bytes, timeout: float | None = None) -> None:
        if self.unacknowledged >= 5:
            self._wait_for(self.next_offset, timeout)
        self.next_offset += 1

    def flush(self, timeout: float | None = None) -> None:
        self._wait_for(self.next_offset, timeout)

    def _wait_for(self, end: int, timeout: float | None) -> None:
        until = float("inf") if timeout is None else self.now + timeout
        while self.acknowledged < end:
            if self.now >= until:
                raise PublishTimeout("late", self.unacknowledged)
            self.now = min(self.now + 0.05, until)


@pytest.fixture
def slow(monkeypatch):
    def make(pace: float, last: int) -> SlowProducer:
        producer = SlowProducer(pace, last)
        monkeypatch.setattr(publishing, "time", SimpleNamespace(monotonic=lambda: producer.now))
        return producer

    return make


def test_a_slow_but_living_store_is_waited_for_however_long_all_of_it_takes(slow):
    producer = slow(pace=0.8, last=10)
    Publishing(producer, "t", timeout=1.0).run(iter([[b"x"] * 10]))
    assert producer.acknowledged == 10
    assert producer.now - 100 == pytest.approx(8.0, abs=0.1)


@pytest.mark.parametrize("lines", [3, 7])
def test_it_gives_up_so_long_after_the_last_acknowledgement(slow, lines):
    producer = slow(pace=0.8, last=2)
    with pytest.raises(PublishTimeout):
        Publishing(producer, "t", timeout=1.0).run(iter([[b"x"] * lines]))
    assert producer.now - 100 == pytest.approx(2 * 0.8 + 1.0, abs=0.25)


def context() -> click.Context:
    return click.Context(click.Command("produce"), info_name="dafka produce")


def test_what_is_known_of_the_stores_is_told_once(slow, capsys):
    with context(), pytest.raises(PublishTimeout):
        Publishing(slow(pace=0.8, last=1), "t", timeout=9.0).run(iter([[b"x"] * 3]))
    assert capsys.readouterr().err == (
        "dafka produce: waiting for a store to acknowledge 2 records of topic 't': why it is so "
        "(Ctrl-C gives up)\n"
    )


def test_a_store_that_is_slow_is_nothing_to_tell(slow, capsys):
    with context():
        Publishing(slow(pace=1.7, last=9), "t", timeout=None).run(iter([[b"x"] * 9]))
    assert capsys.readouterr().err == ""
