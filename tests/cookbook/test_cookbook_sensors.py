"""Sensors: minutes, alerts and dead letters are what plain Python makes of the same readings."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict

import pytest

from tests.support.processes import dafka, eventually

pytestmark = pytest.mark.process

SENSORS, GATEWAYS = 30, 2


@pytest.fixture(scope="module")
def sensors(program):
    """The program as a module."""
    return program("sensors")


def expected(sensors, length):
    """Minutes, and the texts that are broken, by a loop over the readings."""
    minutes, broken, late = defaultdict(list), [], 0
    for gateway in range(1, GATEWAYS + 1):
        latest = 0
        for text in map(bytes.decode, sensors.readings(gateway, SENSORS, length)):
            try:
                reading = json.loads(text)
            except ValueError:
                broken.append(text)
                continue
            minute = reading["at"] // 60 * 60
            if minute + 60 + sensors.LATENESS_S > latest:
                minutes[reading["sensor"], minute].append(reading["value"])
            else:
                late += 1
            latest = max(latest, reading["at"])
    assert late
    return minutes, broken


def read(programs):
    """The values of all topics but that of the readings."""
    topics = ("minutes", "alerts", "readings.broken")
    flags = ("--from", "earliest", "--json", "--timeout", "1", *programs.cluster.at)
    values = {topic: [] for topic in topics}
    for line in programs.run(dafka("consume", *topics, *flags)).printed().splitlines():
        record = json.loads(line)
        values[record["topic"]].append(json.loads(record["content"]))
    return values


def check(programs, sensors, length):
    """What was published is what is expected."""
    minutes, broken = expected(sensors, length)
    published = read(programs)
    told = published["minutes"]
    by_key = {(one["sensor"], one["minute"]): one for one in told}
    assert len(by_key) == len(told) == len(minutes)
    for key, values in minutes.items():
        one = by_key[key]
        assert one["count"] == len(values)
        assert one["highest"] == max(values)
        assert one["mean"] == pytest.approx(sum(values) / len(values), abs=1e-6)
    alerts = [one for one in told if one["mean"] > sensors.LIMIT]
    assert alerts
    assert sorted(published["alerts"], key=str) == sorted(alerts, key=str)
    assert broken
    assert Counter(one["text"] for one in published["readings.broken"]) == Counter(broken)


def run_and_kill(programs, sensors, lives, length):
    flags = ("aggregate", "--state", "state", "--gateways", str(GATEWAYS))
    victim = programs.begin("sensors", *flags)
    gateways = [
        programs.begin(
            "sensors", "simulate", "--gateway", number, "--sensors", SENSORS, "--minutes", length
        )
        for number in range(1, GATEWAYS + 1)
    ]
    lock = programs.directory / "state" / "lock"

    def at_work():
        return lock.exists() and lock.read_text().strip() == str(victim.popen.pid)

    for life in range(lives):
        eventually(at_work, "the application has opened its state")
        time.sleep(0.2 * (life % 4))  # any moment will do
        victim.kill()
        victim = programs.begin("sensors", *flags)
    for gateway in gateways:
        assert gateway.wait() == 0, gateway.complained()
    eventually(at_work, "the application has opened its state")
    victim.kill()
    programs.complete("sensors", *flags, "--drain", "1", within=120)
    check(programs, sensors, length)


def test_an_aggregation_that_is_killed_publishes_what_plain_python_does(programs, sensors):
    run_and_kill(programs, sensors, lives=2, length=6)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_does_so_however_often(programs, sensors):
    run_and_kill(programs, sensors, lives=30, length=60)
