"""Runs an application: reads, lets the engine work, saves, publishes. Decides nothing itself.

What the engine has done is saved in one transaction with what it leads to: positions, state and
output. Nothing is published before. So a process that dies has published nothing that the next one
would not have published as well.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from dafka.io.driver import LimitedLog
from dafka.io.life import new_address
from dafka.io.threads import Threads
from dafka.streams.engine import Engine
from dafka.streams.errors import DeadLetter, Fault
from dafka.streams.feed import Feed
from dafka.streams.layout import numbers
from dafka.streams.publisher import Publisher
from dafka.streams.signals import stopped_by_signals
from dafka.streams.state import State
from dafka.streams.topology import APPLICATION

if TYPE_CHECKING:
    from dafka.streams.app import App

Wanted = Callable[[str, str], bool]
"""Says whether a partition of a topic is read."""

PART_RECORDS = 4096
"""Most records that are processed at once."""
_FIRST_PART = 32
_PART_S = 0.04
"""Where that takes longer than this, the next part is smaller: functions may be slow."""
_LOOK_S = 0.1
"""So often event time is looked at, and whether to stop, where nothing happens."""
_ACK_PAUSE_S = 0.005
_EMPTY_S = 10.0
"""Where partitions are lacking, stores are given so much longer to tell of them."""
_STOP_S = 1.0
"""Time to get acknowledgements for what is published when the application is to end."""

logger = logging.getLogger("dafka.streams")


class Runner:
    """One life of an application."""

    def __init__(self, app: App) -> None:
        self.running = False
        self._app = app
        self._limited = LimitedLog(logger)
        self.engine = Engine(
            app.topology,
            app.settings,
            worker=app.worker,
            clock=time.perf_counter,
            on_skip=self._skipped,
        )
        self._threads = Threads(1)
        workers = self._workers = app.topology.workers
        place = () if workers is None else (app.worker, *workers.names)
        self._state = State(app.state, app.name, app.durability, self._new_name, place)
        self._sources: list[Feed] = []
        self._relayed: list[Feed] = []
        """What workers hand over."""
        self._publishers: dict[str, Publisher] = {}
        self._arrived = Event()
        self._stopping = self._finishing = self._fresh = False
        self._failed: BaseException | None = None
        self._looked = self._committed = 0.0
        self._records = self._commits = 0
        self._part = min(_FIRST_PART, PART_RECORDS)

    def run(self, drain_s: float | None, timeout_s: float | None) -> bool:
        """Work until `stop`, a signal, an error or all is read; True if that, and acknowledged."""
        self.running = True
        until = math.inf if timeout_s is None else time.monotonic() + timeout_s
        try:
            with stopped_by_signals(self):
                try:
                    self._open()
                    return self._end(until, self._work(drain_s, until))
                finally:
                    self._close()
        finally:
            self.running = False
            self._threads.close()

    def stop(self) -> None:
        """End soon."""
        self._stopping = True

    def metrics(self) -> dict[str, dict[str, float]]:
        """Numbers of every operator, and of the application."""
        own: dict[str, float] = {
            "records": self._records,
            "commits": self._commits,
            "outbox_records": sum(one.waiting for one in self._publishers.values()),
            "outbox_bytes": sum(one.waiting_bytes for one in self._publishers.values()),
            "behind": sum(feed.consumer.behind() for feed in self._feeds),
        }
        return {**self.engine.metrics(), APPLICATION: own}

    # Beginning and ending

    def _open(self) -> None:
        app = self._app
        topics = [*app.topology.sinks, *app.topology.exchanged]
        if isinstance(app.settings.on_error, DeadLetter):
            topics = list(dict.fromkeys([*topics, app.settings.on_error.topic]))
        self._threads.run(self._state.open, app.topology, topics)
        rows = self._threads.run(lambda: list(self._state.rows()))
        self.engine.restore(rows, numbers(self._state.known))
        del rows
        for topic, out in self._state.outgoing.items():
            publisher = Publisher(topic, out, app.node_settings)
            self._publishers[topic] = publisher
            publisher.start(self._fail)
        for topic in app.topology.topics:
            self._feed(topic, self._sources, None if self._workers is None else self._is_mine)
        for topic in self.engine.relayed:
            self.engine.know([(topic, self._state.outgoing[topic].partition)])
            self._feed(topic, self._relayed, self._is_of_a_worker)
        self._looked = self._committed = time.monotonic()
        logger.info("streams started app=%s state=%s", app.name, self._state.directory)

    def _feed(self, topic: str, feeds: list[Feed], wanted: Wanted | None) -> None:
        feed = Feed(topic, self.engine.positions(topic), self._app.node_settings, wanted)
        feeds.append(feed)
        feed.start(self._arrived, self._fail)

    @property
    def _feeds(self) -> list[Feed]:
        return [*self._sources, *self._relayed]

    def _is_mine(self, topic: str, partition: str) -> bool:
        assert self._workers is not None
        return self._workers.owner(topic, partition) == self._app.worker

    def _is_of_a_worker(self, topic: str, partition: str) -> bool:
        assert self._workers is not None
        return self._workers.writer(partition) is not None

    def _new_name(self) -> str:
        name, workers = new_address(), self._workers
        return name if workers is None else workers.sign(self._app.worker, name)

    def _end(self, until: float, drained: bool) -> bool:
        """Save, and wait for acknowledgements: a moment, or until all has come of what is read."""
        self._commit()
        end = time.monotonic() + _STOP_S
        while waiting := any(one.waiting for one in self._publishers.values()):
            now = time.monotonic()
            if now >= end and (now >= until or self._stopping or not drained):
                break
            self._check()
            gevent.sleep(_ACK_PAUSE_S)
        if drained and not waiting:
            self.engine.leave()
        self._save()
        return drained and not waiting

    def _close(self) -> None:
        for feed in self._feeds:
            feed.stop()
        for publisher in self._publishers.values():
            publisher.stop(0.0)
        self._threads.run(self._state.close)
        logger.info("streams stopped app=%s records=%d", self._app.name, self._records)

    def _fail(self, error: BaseException) -> None:
        self._failed = self._failed or error
        self._arrived.set()

    def _check(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _skipped(self, fault: Fault) -> None:
        self._limited.warn(fault.operator, f"app={self._app.name} skipped a record: {fault}")

    # Working

    def _work(self, drain_s: float | None, until: float) -> bool:
        """True if it ends because all is read."""
        while not self._stopping and time.monotonic() < until:
            self._check()
            self._count_waiting()
            if drain_s is not None and self._drained(drain_s):
                self._finishing = True
                self.engine.finish()
                # Others may still have something for us.
                if self.engine.finished and not any(feed.ready for feed in self._relayed):
                    return True
            feed = None if self._full() else self._next()
            if feed is not None:
                self._process(feed)
            if self._is_due(feed):
                self._commit()
            if feed is None:
                self._rest()
        return False

    def _process(self, feed: Feed) -> None:
        """Let the engine work for a moment; the nodes of this process have their turn then."""
        began = time.monotonic()
        run = feed.take(self._part)
        self.engine.process(run)
        took = time.monotonic() - began
        if took > _PART_S:
            self._part = max(1, self._part // 2)
        elif took < _PART_S / 4 and len(run) == self._part:
            self._part = min(2 * self._part, PART_RECORDS)
        self._records += len(run)
        self._fresh = True
        gevent.sleep(0)

    def _drained(self, quiet_s: float) -> bool:
        """Whether all there is has been read: nothing has come for so long."""
        if self._finishing:
            return True
        for feed in self._sources:
            complete = feed.known + len(feed.others) >= self.engine.expected(feed.topic)
            if feed.quiet_s < quiet_s + (0.0 if complete else _EMPTY_S):
                return False
        return True

    def _full(self) -> bool:
        """Whether so much waits to be acknowledged that no more is to be read."""
        waiting = sum(one.waiting_bytes for one in self._publishers.values())
        return waiting >= self._app.outbox_bytes

    def _next(self) -> Feed | None:
        """Of the topics that have something, the one whose event time is least."""
        feeds = self._relayed if self._finishing else self._feeds
        ready = [feed for feed in feeds if feed.ready]
        if len(ready) < 2:
            return ready[0] if ready else None
        return min(ready, key=lambda feed: self.engine.watermark(feed.topic))

    def _count_waiting(self) -> None:
        now = time.monotonic()
        passed, self._looked = now - self._looked, now
        for feed in self._feeds:
            waited = feed.waited(passed)
            if waited:
                self.engine.waited(feed.topic, waited)

    def _is_due(self, feed: Feed | None) -> bool:
        idle = feed is None and self._fresh
        return idle or time.monotonic() - self._committed >= max(
            self._app.commit_interval_s, 0.0 if self._fresh else _LOOK_S
        )

    def _rest(self) -> None:
        """Wait for something to do, or for acknowledgements."""
        if self._full():
            gevent.sleep(_ACK_PAUSE_S)
            return
        self._arrived.clear()
        if self._next() is None and self._failed is None:
            self._arrived.wait(_LOOK_S)

    def _commit(self) -> None:
        """Save what has been done, then publish what came of it."""
        for feed in self._feeds:
            self.engine.know(feed.found())
        for feed in self._sources:
            self.engine.know_others(feed.topic, len(feed.others))
        self.engine.advance(time.monotonic())
        self._save()

    def _save(self) -> None:
        changes = self.engine.collect()
        acknowledged = self._acknowledged()
        if changes.rows or changes.outputs or acknowledged:
            self._threads.run(self._state.commit, changes, acknowledged)
            self._commits += 1
            for topic, contents in changes.outputs.items():
                self._publishers[topic].add(contents)
        self._fresh = False
        self._committed = time.monotonic()

    def _acknowledged(self) -> dict[str, int]:
        """By topic, before which offset output need not be kept; where that is news."""
        found = {}
        for topic, publisher in self._publishers.items():
            waiting = self._state.outgoing[topic].waiting
            end = publisher.acknowledged
            if waiting and waiting[0][0] + len(waiting[0][1]) <= end:
                found[topic] = end
        return found
