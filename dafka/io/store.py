"""A store as the user meets it: a shell around the two machines `store_writer`, `store_reader`.

The writer and the reader are two nodes on the wire, as in C; here they share a log. Commits and
reads run in threads, so the loops never wait for the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Any

import gevent

from dafka.config import StoreConfig
from dafka.core.actions import Action, Append, Drop, Locate, Read, Repair
from dafka.core.extent import Extent
from dafka.core.run import Run
from dafka.core.store_reader import StoreReader, StoreReaderStats
from dafka.core.store_writer import StoreWriter, StoreWriterStats
from dafka.errors import Closed, StoreError
from dafka.io.committer import Committer
from dafka.io.driver import Driver
from dafka.io.green import GREEN, GreenLife
from dafka.io.keeper import Keeper
from dafka.io.life import configured, new_address, node_logger
from dafka.io.log import Damage, Damaged, Log
from dafka.io.node import Wiring
from dafka.io.outbox_identity import refuse_outbox
from dafka.io.scrub import Scrub
from dafka.io.shell import at_once
from dafka.io.threads import Threads, within
from dafka.validity import check_timeout

_STOP_S = 2.0
_CLOSE_S = 0.5

logger = node_logger("store")


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Counters since the start; `healthy` is False while the disk refuses records."""

    writer: StoreWriterStats
    reader: StoreReaderStats
    commits: int
    healthy: bool


class Store(GreenLife):
    """Keeps every partition of every topic it hears of on disk, and answers who asks for it.

    Acknowledges what a durable commit has brought to disk, and nothing else.
    """

    def __init__(self, config: StoreConfig | None = None, **settings: Any) -> None:
        """Opens nothing. `settings` are fields of `StoreConfig`; `ConfigError` if unusable."""
        self.config = configured(StoreConfig, config, settings)
        self.address = new_address()
        self.reader_address = new_address()
        self._log = Log(self.config.data, durability=self.config.durability)
        self._stopped = False

    @property
    def endpoint(self) -> str:
        """Where peers listen to this store's acknowledgements."""
        self.driver  # noqa: B018  `Closed` before the start
        return self._writer_wiring.publisher.endpoint

    def start(self) -> Store:
        """Open the directory and the sockets; `StoreError`, `ConfigError` if that fails."""
        with self._starting("a store"):
            self._threads = Threads(3)
            try:
                self._threads.run(refuse_outbox, self._log.directory)
                self._threads.run(self._log.open)
                self._open_nodes()
            except BaseException:
                self._log.close()
                self._threads.close()
                raise
        self._committer.start()
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
        writer, reader = (Driver(f"store {half}", logger, GREEN) for half in ("writer", "reader"))
        self._writer_wiring = Wiring(
            "store", self.address, self.config, self._writer, writer, direct=direct
        )
        self._reader_wiring = Wiring(
            "store", self.reader_address, self.config, self._reader, reader
        )
        scrub = Scrub(self._log, self.config.scrub_interval_s)
        keeper = Keeper(self._log, self.config.rules, scrub)
        self._committer = Committer(
            *(self._log, keeper, self._threads, writer.limited),
            interval_s=self.config.upkeep_interval_s,
            appended=self._appended,
            dropped=self._dropped,
            repaired=self._repaired,
            tidied=self._tidied,
            failed=writer.fail,
        )
        writer.add_executors(dict.fromkeys((Append, Drop, Repair), self._committer.add))
        reader.add_executors(
            {
                Read: lambda action: gevent.spawn(self._read, reader, action),
                Locate: lambda action: gevent.spawn(self._locate, reader, action),
                Drop: self._committer.add,
            }
        )
        extents = self._log.partitions()
        self._known = len(extents)
        now = writer.now()
        at_once(self._writer_wiring.open(now))
        try:
            at_once(self._reader_wiring.open(now))
        except BaseException:
            at_once(self._writer_wiring.close())
            raise
        writer.perform(self._writer.start(extents, now))
        reader.perform(self._reader.start(extents, now))
        self.drivers = (writer, reader)

    def stop(self, timeout: float | None = None) -> None:
        """Write and acknowledge what was received, then end; safe to call twice.

        Takes at most `timeout` seconds (None: 2), and a moment to close what is open. A database
        that another program has locked is closed as soon as it lets go.
        """
        if not self.started or self._stopped:
            return
        timeout = check_timeout(timeout)
        self._stopped = True
        until = monotonic() + (_STOP_S if timeout is None else timeout)
        writer, reader = self.drivers
        for driver in (reader, writer):
            at_once(driver.stop(max(0.0, until - monotonic())))
        self._committer.stop(max(0.0, until - monotonic()))
        at_once(self._writer_wiring.close())
        at_once(self._reader_wiring.close())
        if within(max(_CLOSE_S, until - monotonic()), self._log.close):
            logger.info("store stopped data=%s", self._log.directory)
        else:
            logger.warning("store stopped before it could close data=%s", self._log.directory)
        self._threads.close()

    def partitions(self) -> list[Extent]:
        """What is stored of every partition at this moment."""
        return self._log.partitions()

    def stats(self) -> StoreStats:
        """Counters since the start."""
        committer = self._committer
        return StoreStats(
            self._writer.stats, self._reader.stats, committer.commits, committer.healthy
        )

    @property
    def healthy(self) -> bool:
        """False while the disk refuses records."""
        return not self.started or self._committer.healthy

    # What the committer reports

    def _appended(self, runs: list[Run]) -> None:
        ends: dict[tuple[str, str], int] = {}
        costs: dict[tuple[str, str], int] = {}
        for run in runs:
            key = (run.topic, run.partition)
            ends[key] = run.next
            costs[key] = costs.get(key, 0) + run.cost
        actions: list[Action] = []
        now = self.driver.now()
        for key, end in ends.items():
            self._tell_reader(*key)
            actions += self._writer.committed(*key, end, costs[key], now)
        # From this greenlet: a turn of the loop never yields, so the loop is between two of them.
        self.driver.perform(actions)
        self.driver.wake()

    def _dropped(self, drop: Drop) -> None:
        key = (drop.topic, drop.partition)
        self._tell_reader(*key)
        self._writer.dropped(*key, drop.before, drop.deleted, self.driver.now())
        logger.info(
            "store dropped topic=%s partition=%s before=%d deleted=%s",
            *(*key, drop.before, drop.deleted),
        )
        self.drivers[1].post(lambda _: self._reader.dropped(drop))

    def _repaired(self, run: Run) -> None:
        self._writer.repaired(run.topic, run.partition, run.first, run.next)

    def _tidied(self, trimmed: list[Extent]) -> None:
        for extent in trimmed:
            self._reader.stored(extent)
            self._writer.repaired(extent.topic, extent.partition, 0, extent.earliest)
        for damage in self._log.quarantined():
            # Whoever found it, and perhaps a repair has failed before.
            if damage.first <= damage.last:
                self._ask_repair(damage)

    def _ask_repair(self, damage: Damage | Damaged) -> None:
        place = (damage.topic, damage.partition, damage.first, damage.last)
        self.driver.post(lambda now: self._writer.damaged(*place, now))

    def _tell_reader(self, topic: str, partition: str) -> None:
        extent = self._log.extent(topic, partition)
        if extent is not None:
            self._reader.stored(extent, self._writer.born(topic, partition))

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
            reader.limited.warn(f"damage {error}", f"store will ask other stores: {error}")
            self._ask_repair(error)
        except Closed:
            return
        except StoreError as error:
            reader.limited.warn("read", f"store cannot read: {error}")
        reader.post(lambda now: self._reader.read_done(action, run, now))

    def _locate(self, reader: Driver, wanted: Locate) -> None:
        offset: int | None = None
        place = (wanted.topic, wanted.partition, wanted.time_ms)
        try:
            # All that an unknown partition will have arrives later.
            offset = self._threads.run(self._log.arrived, *place) or 0
        except Closed:
            return
        except StoreError as error:
            reader.limited.warn("read", f"store cannot read: {error}")
        reader.post(lambda _: self._reader.located(wanted, offset))
