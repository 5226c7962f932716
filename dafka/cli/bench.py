"""`dafka bench`: what this machine does, beside the ceiling measured in the same run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import click

from dafka.cli.bench_workers import Work
from dafka.cli.options import Command, Fault, Whole, json_option, version_option


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: records a second in each round, and the ceiling's in the same rounds."""

    name: str
    rates: list[float]
    ceiling: list[float]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return median(a / b for a, b in zip(self.rates, self.ceiling, strict=True))


class Worker:
    """A process of the benchmark."""

    def __init__(self, role: str, work: Work) -> None:
        command = [sys.executable, "-m", "dafka.cli.bench_workers", role, json.dumps(asdict(work))]
        self.role = role
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def hear(self) -> dict[str, Any]:
        """Its next line; `Fault` if it has ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Fault(f"the benchmark's {self.role} process ended early (see above)")
        said: dict[str, Any] = json.loads(line)
        return said

    def go(self) -> None:
        """Let it begin, or end."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Wait for its end, a little."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def _worker(role: str, work: Work) -> Iterator[Worker]:
    worker = Worker(role, work)
    try:
        yield worker
    finally:
        worker.end()


def _ceiling(work: Work) -> float:
    with _worker("raw_publish", work) as publisher:
        endpoint = publisher.hear()["ready"]["endpoint"]
        with _worker("raw_subscribe", replace(work, endpoint=endpoint)) as subscriber:
            subscriber.hear()
            subscriber.go()
            # PUB drops what nobody has subscribed to yet; there is no way to ask it.
            subprocess.run(["sleep", "0.5"], check=True)
            publisher.go()
            rate = work.records / float(subscriber.hear()["seconds"])
        publisher.hear()
    return rate


def _dafka(work: Work) -> dict[str, float]:
    """One round: publish into a new store while a consumer reads live, then replay."""
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as data, _worker("store", replace(work, data=data)) as store:
        work = replace(work, endpoint=store.hear()["ready"]["endpoint"])
        with _worker("produce", work) as producer:
            producer.hear()
            producer.go()
            rates["acked publish"] = work.records / float(producer.hear()["seconds"])
        with _worker("replay", work) as consumer:
            rates["replay"] = work.records / float(consumer.hear()["seconds"])
    with tempfile.TemporaryDirectory() as data, _worker("store", replace(work, data=data)) as store:
        work = replace(work, endpoint=store.hear()["ready"]["endpoint"])
        with _worker("live", work) as consumer, _worker("produce", work) as producer:
            producer.hear()
            consumer.hear()
            consumer.go()
            producer.go()
            rates["live delivery"] = work.records / float(consumer.hear()["seconds"])
            producer.hear()
    return rates


def _two_stores(work: Work, history: int) -> float:
    """Publish while a further store joins, which lacks `history` older records."""
    with (
        tempfile.TemporaryDirectory() as data,
        tempfile.TemporaryDirectory() as other,
        _worker("store", replace(work, data=data)) as store,
    ):
        work = replace(work, endpoint=store.hear()["ready"]["endpoint"])
        with _worker("produce", replace(work, records=history)) as producer:
            producer.hear()
            producer.go()
            producer.hear()
        with _worker("produce", work) as producer, _worker("join", replace(work, data=other)) as it:
            producer.hear()
            it.hear()
            producer.go()
            return work.records / float(producer.hear()["seconds"])


def _catch_up(work: Work) -> dict[str, float]:
    """What it costs live records that another store catches up with five times as many."""
    return {
        "2 stores": _two_stores(work, 1000),
        "one catching up": _two_stores(work, 5 * work.records),
    }


def measure(
    records: int, size: int, rounds: int, durability: str, *, catch_up: bool = False
) -> list[Row]:
    """Alternate between the ceiling and us, so that both see the same machine."""
    work = Work(records, size, durability=durability)
    ceiling: list[float] = []
    rates: dict[str, list[float]] = {}
    for _ in range(rounds):
        ceiling.append(_ceiling(work))
        done = {**_dafka(work), **(_catch_up(work) if catch_up else {})}
        for name, rate in done.items():
            rates.setdefault(name, []).append(rate)
    return [Row(name, rate, ceiling) for name, rate in rates.items()]


def _table(rows: list[Row]) -> str:
    lines = [f"{'':16}{'records/s':>12}{'min':>12}{'max':>12}{'of ceiling':>12}"]
    raw = rows[0].ceiling
    for name, rates, ratio in [
        ("raw PUB to SUB", raw, 1.0),
        *((row.name, row.rates, row.ratio) for row in rows),
    ]:
        lines.append(
            f"{name:16}{median(rates):12,.0f}{min(rates):12,.0f}{max(rates):12,.0f}{ratio:12.2f}"
        )
    return "\n".join(lines)


@click.command(cls=Command)
@version_option
@json_option
@click.option("--records", default=300_000, show_default=True, type=Whole(1000))
@click.option("--size", default=100, show_default=True, help="Bytes of a record's content.")
@click.option("--rounds", default=3, show_default=True, type=Whole(1))
@click.option(
    "--durability", default="fsync", show_default=True, type=click.Choice(["fsync", "os"])
)
@click.option(
    "--catch-up",
    is_flag=True,
    help="Also publish to two stores, of which one lacks five times as many older records.",
)
def bench(
    records: int, size: int, rounds: int, durability: str, catch_up: bool, as_json: bool
) -> None:
    """Measure publishing, live delivery and replay beside the raw socket ceiling.

    Each round runs one producer, one store and one consumer as processes of their own over
    loopback, and in between plain pyzmq with the same two frames. Medians of all rounds.

    \b
    Example:
      dafka bench --records 500000 --rounds 5
    """
    rows = measure(records, size, rounds, durability, catch_up=catch_up)
    if as_json:
        result = {row.name: {"records_per_s": row.rates, "of_ceiling": row.ratio} for row in rows}
        click.echo(json.dumps({"ceiling": {"records_per_s": rows[0].ceiling}, **result}))
        return
    click.echo(f"{records:,} records of {size} bytes, {rounds} rounds, durability={durability}")
    click.echo(_table(rows))
