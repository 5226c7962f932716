"""Replay: the means of what was read back are those of pandas, and time ranges hold."""

from __future__ import annotations

import time
from datetime import datetime

import gevent
import msgspec
import pytest

import dafka

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def replay(program):
    """The program as a module."""
    return program("replay")


class Number(msgspec.Struct):
    number: int


def test_the_script_finds_what_pandas_finds(programs):
    done = programs.complete("replay")
    assert done.printed().startswith(b"336776 records in ")
    assert done.printed().endswith(b"equal to pandas directly: True\n")
    assert done.complained() == ""


def test_a_stretch_of_time_has_its_records(replay, tmp_path):
    marks = []
    with dafka.Cluster(tmp_path) as cluster:
        with (
            dafka.Producer("numbers", tower=cluster.tower) as one,
            dafka.Producer("numbers", tower=cluster.tower) as other,
        ):
            for part in range(4):
                for number in range(100):
                    one.publish(b'{"number":%d,"more":"x"}' % (part * 1000 + number))
                    if part == 1:
                        other.publish(b'{"number":%d}' % (part * 1000 + 500 + number))
                one.flush(20)
                other.flush(20)
                gevent.sleep(0.05)  # times are told in milliseconds
                marks.append(datetime.now())
                gevent.sleep(0.05)
        begun = time.monotonic()
        tower = cluster.tower
        everything = replay.read("numbers", Number, tower)
        assert len(everything) == 500
        middle = replay.read("numbers", Number, tower, since=marks[0], until=marks[2])
        assert sorted(middle.number) == [*range(1000, 1100), *range(1500, 1600), *range(2000, 2100)]
        last = replay.read("numbers", Number, tower, since=marks[2])
        assert list(last.number) == list(range(3000, 3100))
        assert len(replay.read("numbers", Number, tower, since=marks[3])) == 0
        assert time.monotonic() - begun < 30
    with pytest.raises(TimeoutError, match="not all stores answered"):
        replay.read("numbers", Number, tower, timeout=0.5)
