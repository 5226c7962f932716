"""A store as the user meets it: a shell around the two machines `store_writer`, `store_reader`.

The writer and the reader are two nodes on the wire, as in C; here they share a log. Commits and
reads run in threads, so the loops never wait for the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gevent
from gevent.event import Event

from dafka.config import StoreConfig
from dafka.core.actions import Action, Append, Read
from dafka.core.run import Run
from dafka.core.store_reader import StoreReader, StoreReaderStats
from dafka.core.store_writer import StoreWriter, StoreWriterStats
from dafka.errors import Closed, StoreError
from dafka.io.driver import Driver
from dafka.io.life import Life, configured, new_address, node_logger
from dafka.io.log import Damaged, Extent, Log
from dafka.io.node import Wiring
from dafka.io.threads import Threads

_RETRY_S = 0.2
_RETRY_MAX_S = 5.0
_COMMIT_BYTES = 32 * 1024 * 1024

logger = node_logger("store")


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Counters since the start; `healthy` is False while the disk refuses records."""

    writer: StoreWriterStats
    reader: StoreReaderStats
    commits: int
    healthy: bool


class Store(Life):
    """Keeps every partition of every topic it hears of on disk, and answers who asks for it.

    Acknowledges what a durable commit has brought to disk, and nothing else.
    """

    def __init__(self, config: StoreConfig | None = None, **settings: Any) -> None:
        """Opens nothing. `settings` are fields of `StoreConfig`; `ConfigError` if unusable."""
        self.config = configured(StoreConfig, config, settings)
        self.address = new_address()
        self.reader_address = new_address()
        self.healthy = True
        self._log = Log(self.config.data, durability=self.config.durability)
        self._accepted: list[Run] = []
        self._more = Event()
        self._commits = 0
        self._stopped = False

    @property
    def endpoint(self) -> str:
        """Where peers listen to this store's acknowledgements."""
        self.driver  # noqa: B018  `Closed` before the start
        return self._writer_wiring.publisher.endpoint

    def start(self) -> Store:
        """Open the directory and the sockets; `StoreError`, `ConfigError` if that fails."""
        if self.started:
            raise Closed("a store can be started once")
        self._threads = Threads(3)
        try:
            self._threads.run(self._log.open)
            self._open_nodes()
        except Exception:
            self._log.close()
            self._threads.close()
            raise
        self._committer = gevent.spawn(self._commit_for_ever)
        self._committer.name = "store committer"
        for driver in self.drivers:
            driver.start()
        logger.info("store started data=%s partitions=%d", self._log.directory, self._known)
        return self

    def _open_nodes(self) -> None:
        identity, direct = self._log.identity, new_address()
        self._writer = StoreWriter(
            self.address, self.reader_address, self.config, store=identity, direct=direct
        )
        self._reader = StoreReader(self.reader_address, self.address, direct, store=identity)
        writer, reader = Driver("store writer", logger), Driver("store reader", logger)
        self._writer_wiring = Wiring(
            "store", self.address, self.config, self._writer, writer, direct=direct
        )
        self._reader_wiring = Wiring(
            "store", self.reader_address, self.config, self._reader, reader
        )
        writer.add_executors({Append: self._accept})
        reader.add_executors({Read: lambda action: gevent.spawn(self._read, reader, action)})
        extents = self._log.partitions()
        self._known = len(extents)
        now = writer.now()
        self._writer_wiring.open(now)
        try:
            self._reader_wiring.open(now)
        except Exception:
            self._writer_wiring.close()
            raise
        stored = [(e.topic, e.partition, e.earliest, e.next) for e in extents]
        writer.perform(self._writer.start([(t, p, end) for t, p, _, end in stored], now))
        reader.perform(self._reader.start(stored, now))
        self.drivers = (writer, reader)

    def stop(self, timeout: float | None = None) -> None:
        """Write and acknowledge what was received, then end; safe to call twice."""
        if not self.started or self._stopped:
            return
        self._stopped = True
        writer, reader = self.drivers
        reader.stop(timeout)
        writer.stop(timeout)
        self._more.set()
        self._committer.join(2.0 if timeout is None else timeout)
        self._committer.kill()
        self._writer_wiring.close()
        self._reader_wiring.close()
        self._log.close()
        self._threads.close()
        logger.info("store stopped data=%s", self._log.directory)

    def partitions(self) -> list[Extent]:
        """What is stored of every partition at this moment."""
        return self._log.partitions()

    def stats(self) -> StoreStats:
        """Counters since the start."""
        return StoreStats(self._writer.stats, self._reader.stats, self._commits, self.healthy)

    # Writing

    def _accept(self, action: Append) -> None:
        self._accepted.append(action.run)
        self._more.set()

    def _commit_for_ever(self) -> None:
        """Group commit: everything that came while the last commit ran is the next one."""
        try:
            while True:
                self._more.wait()
                self._more.clear()
                while self._accepted:
                    self._commit(self._next_batch())
                if self._stopped:
                    return
        except Exception as error:
            self.driver.fail(error)

    def _next_batch(self) -> list[Run]:
        size = count = 0
        for run in self._accepted:
            count += 1
            size += run.size
            if size >= _COMMIT_BYTES:
                break
        batch, self._accepted = self._accepted[:count], self._accepted[count:]
        return batch

    def _commit(self, batch: list[Run]) -> None:
        pause = _RETRY_S
        while True:
            try:
                self._threads.run(self._log.append, batch)
                break
            except StoreError as error:
                # Not acknowledged, not forgotten: reads go on, and this is tried again.
                self.healthy = False
                self.driver.limited.warn("disk", f"store cannot write, and will retry: {error}")
                if self._stopped:
                    return
                gevent.sleep(pause)
                pause = min(pause * 2, _RETRY_MAX_S)
        if not self.healthy:
            self.healthy = True
            logger.warning("store can write again data=%s", self._log.directory)
        self._commits += 1
        self._acknowledge(batch)

    def _acknowledge(self, batch: list[Run]) -> None:
        ends: dict[tuple[str, str], int] = {}
        costs: dict[tuple[str, str], int] = {}
        for run in batch:
            key = (run.topic, run.partition)
            ends[key] = run.next
            costs[key] = costs.get(key, 0) + run.cost
        actions: list[Action] = []
        now = self.driver.now()
        for (topic, partition), end in ends.items():
            extent = self._log.extent(topic, partition)
            earliest = extent.earliest if extent else end
            self._reader.stored(topic, partition, earliest, end)
            cost = costs[(topic, partition)]
            actions += self._writer.committed(topic, partition, end, cost, now)
        if self._stopped:
            self.driver.perform(actions)  # the loop has ended; its sockets are still open
        else:
            self.driver.post(lambda _: actions)

    # Reading

    def _read(self, reader: Driver, action: Read) -> None:
        run: Run | None = None
        try:
            run = self._threads.run(
                self._log.read,
                action.topic,
                action.partition,
                action.first,
                max_records=action.count,
                max_bytes=self.config.slice_bytes,
            )
        except Damaged as error:
            logger.error("store has damaged records: %s", error)
        except Closed:
            return
        except StoreError as error:
            reader.limited.warn("read", f"store cannot read: {error}")
        reader.post(lambda now: self._reader.read_done(action, run, now))
