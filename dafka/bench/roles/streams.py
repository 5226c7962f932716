"""A stream application between two topics of a store."""

from __future__ import annotations

from itertools import count

import gevent

from dafka import streams
from dafka.bench.roles.nodes import LOOPBACK, TOPIC
from dafka.bench.work import Work
from dafka.bench.worker import Clock, green_ready

KEYS = 1000
PER_SECOND = 1000
"""Records that have happened in a second of event time."""
WINDOW_S = 10
_LOOK_S = 0.002
COUNT = "count"
"""The mode in which records are counted by key in windows; else each is mapped."""


def stream(work: Work) -> None:
    """Read all that a store has, until what comes of it is saved and acknowledged."""
    app = streams.App(
        "bench",
        state=work.data,
        tower=work.endpoints[0],
        bind=LOOPBACK,
        durability=work.durability,
        settle=0.1,
    )
    _compose(app, counting=work.mode == COUNT)
    green_ready()
    clock = Clock()
    running = gevent.spawn(app.run)
    try:
        _check(running)
        while app.metrics()["app"]["records"] < work.records:
            _check(running)
        saved = app.metrics()["app"]["commits"]
        # What is acknowledged is removed from the state by another commit.
        while app.metrics()["app"]["commits"] == saved or app.metrics()["app"]["outbox_records"]:
            _check(running)
        clock.say(commits=app.metrics()["app"]["commits"])
    finally:
        app.stop()
        running.join()


def _check(running: gevent.Greenlet) -> None:
    """Let it work, and raise what has ended it."""
    gevent.sleep(_LOOK_S)
    if running.ready():
        running.get()


def _compose(app: streams.App, *, counting: bool) -> None:
    if not counting:
        app.source(TOPIC, streams.BYTES).map(bytes.swapcase).to("mapped", streams.BYTES)
        return
    numbers = count()
    numbered = streams.Codec[int]("numbers", lambda value: b"", lambda content: next(numbers))
    source = app.source(TOPIC, numbered, time=lambda number: number / PER_SECOND)
    counts = source.key_by(lambda number: number % KEYS).window(streams.tumbling(WINDOW_S)).count()
    counts.to("counted", streams.JSON)
