"""Means of sensors by minute, alerts, and dead letters for what cannot be read.

python sensors.py simulate --sensors 20 --minutes 10
python sensors.py aggregate --state state
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gevent

import dafka
from dafka import streams

LATENESS_S = 10
LIMIT = 80.0


@dataclass
class Reading:
    """What a sensor says, and when it was so: in seconds since 1970."""

    sensor: str
    at: float
    value: float


@dataclass
class Minute:
    """What is known of a sensor's minute so far; sums are exact in thousandths."""

    count: int = 0
    thousandths: int = 0
    highest: float = float("-inf")


def add(so_far: Minute, reading: Reading) -> Minute:
    """Count a reading in."""
    so_far.count += 1
    so_far.thousandths += round(reading.value * 1000)
    so_far.highest = max(so_far.highest, reading.value)
    return so_far


def report(result: streams.Result[str, Minute]) -> dict[str, Any]:
    """A minute as it is published."""
    so_far = result.value
    mean = so_far.thousandths / so_far.count / 1000
    return {
        "sensor": result.key,
        "minute": int(result.start),
        "count": so_far.count,
        "mean": round(mean, 6),
        "highest": so_far.highest,
    }


def application(state: str, tower: str, gateways: int) -> streams.App:
    """Compose it: readings, minutes, alerts."""
    broken = streams.DeadLetter("readings.broken")
    app = streams.App("sensors", state=state, tower=tower, on_error=broken)
    readings = app.source(
        "readings", streams.json(Reading), time=lambda r: r.at, partitions=gateways
    )
    minutes = (
        readings.key_by(lambda r: r.sensor)
        .window(streams.tumbling(60), lateness=LATENESS_S)
        .aggregate(Minute, add, name="minutes")
        .map(report)
    )
    minutes.to("minutes", streams.JSON)
    minutes.filter(lambda minute: minute["mean"] > LIMIT).to("alerts", streams.JSON)
    return app


def readings(gateway: int, sensors: int, minutes: int) -> Iterator[bytes]:
    """What a gateway hears: each sensor once a second; some late, too late, or broken."""
    chance = random.Random(gateway)
    for second in range(minutes * 60):
        for sensor in range(sensors):
            at = 1_700_000_000 + second - chance.choice([0, 0, 0, 0, 0, 3, 7, 80])
            value = round(chance.gauss(60 + sensor, 10), 3)
            text = f'{{"sensor":"{gateway}-{sensor}","at":{at},"value":{value}}}'
            yield (text[:-5] if chance.random() < 0.001 else text).encode()


def simulate(gateway: int, sensors: int, minutes: int, tower: str) -> None:
    """Publish a gateway's readings as fast as they are stored."""
    with dafka.Producer("readings", tower=tower) as producer:
        for content in readings(gateway, sensors, minutes):
            producer.publish(content)
        producer.flush()


def main() -> None:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tower", default="localhost", help="default: %(default)s")
    roles = parser.add_subparsers(dest="role", required=True)
    gateway = roles.add_parser("simulate", help="publish made-up readings of a gateway's sensors")
    gateway.add_argument("--gateway", type=int, default=1, help="its number")
    gateway.add_argument("--sensors", type=int, default=20)
    gateway.add_argument("--minutes", type=int, default=10)
    aggregate = roles.add_parser("aggregate", help="publish minutes, alerts and dead letters")
    aggregate.add_argument("--state", required=True, help="a directory of its own")
    aggregate.add_argument("--gateways", type=int, default=0, help="wait for so many, if known")
    aggregate.add_argument("--drain", type=float, help="end after so many seconds of silence")
    given = parser.parse_args()
    if given.role == "simulate":
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, sys.exit)  # leaves every `with` in order
        simulate(given.gateway, given.sensors, given.minutes, given.tower)
    else:
        application(given.state, given.tower, given.gateways).run(drain=given.drain)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except (dafka.DafkaError, OSError) as error:
        sys.exit(f"sensors.py: {error}")
