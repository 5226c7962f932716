"""A consumer as the user meets it: a shell around `dafka.core.consumer`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event

from dafka.config import ConsumerConfig
from dafka.core import consumer as core
from dafka.core.actions import Deliver, Expire
from dafka.core.run import Run
from dafka.errors import Closed, ConfigError, RecordsExpired
from dafka.io.driver import Driver
from dafka.io.life import Life, configured, new_address, node_logger
from dafka.io.node import Wiring
from dafka.names import check_offset, check_partition, check_topic

_YIELD_S = 0.02
"""A user's loop that finds records without waiting lets the node work this often."""
_LOOK_EVERY = 64

logger = node_logger("consumer")


@dataclass(frozen=True, slots=True)
class Record:
    """One record: where it is (topic, partition, offset) and what it says."""

    topic: str
    partition: str
    offset: int
    content: bytes


class Consumer(Life):
    """Delivers the records of topics: each partition in order, once, without gaps.

    Iterate it, `poll` it, or take whole `runs`. Use one consumer from one thread.
    """

    def __init__(
        self,
        *topics: str,
        config: ConsumerConfig | None = None,
        on_expired: Callable[[RecordsExpired], object] | None = None,
        **settings: Any,
    ) -> None:
        """Opens nothing. `settings` are fields of `ConsumerConfig`; `ConfigError` if unusable.

        `on_expired` is called, where records that no store keeps any more would have come, with
        their range; without it a warning is logged. Delivery goes on behind them.
        """
        if not topics:
            raise ConfigError("a consumer needs at least one topic")
        self.topics = tuple(dict.fromkeys(check_topic(topic) for topic in topics))
        self.config = configured(ConsumerConfig, config, settings)
        self.address = new_address()
        self._direct = new_address()
        self._machine = core.Consumer(self.address, self.config, self._direct)
        self._on_expired = on_expired or _log_expired
        self._queue: deque[Run | Expire] = deque()
        self._run: Run | None = None
        self._at = 0
        self._arrived = Event()
        self._yielded = 0.0
        self._stopped = False

    @property
    def endpoint(self) -> str:
        """Where peers listen to this consumer's requests."""
        self.driver  # noqa: B018  `Closed` before the start
        return self._wiring.publisher.endpoint

    def start(self) -> Consumer:
        """Open sockets and subscribe; returns at once, whether or not a tower is there."""
        if self.started:
            raise Closed("a consumer can be started once")
        driver = Driver("consumer", logger)
        self._wiring = Wiring(
            "consumer", self.address, self.config, self._machine, driver, direct=self._direct
        )
        driver.add_executors({Deliver: self._deliver, Expire: self._expire})
        now = driver.now()
        self._wiring.open(now)
        driver.perform(self._machine.start(now))
        for topic in self.topics:
            driver.perform(self._machine.subscribe(topic, now))
        driver.start()
        driver.failed.rawlink(lambda _: self._arrived.set())
        self.drivers = (driver,)
        logger.info("consumer started topics=%s address=%s", ",".join(self.topics), self.address)
        return self

    def stop(self, timeout: float | None = None) -> None:
        """End the consumer; iterations end. Records not yet taken are not counted as taken."""
        if not self.started or self._stopped:
            return
        self._stopped = True
        self.driver.stop(timeout)
        self._wiring.close()
        self._arrived.set()
        logger.info("consumer stopped topics=%s", ",".join(self.topics))

    # Taking records

    def poll(self, timeout: float | None = None) -> Record | None:
        """The next record, or None after `timeout` seconds (0: do not wait; None: for ever).

        None also when the consumer was stopped meanwhile.
        """
        if self._stopped:
            return None
        run = self._run
        if run is None or self._at >= len(run.contents):
            run = self._next_run(timeout)
            if run is None:
                return None
            self._run, self._at = run, 0
        at = self._at
        self._at = at + 1
        if not at % _LOOK_EVERY:
            self._let_others_work()
        return Record(run.topic, run.partition, run.first + at, run.contents[at])

    def __iter__(self) -> Iterator[Record]:
        """Records as they come, until the consumer is stopped."""
        while (record := self.poll()) is not None:
            yield record

    def runs(self, timeout: float | None = None) -> Iterator[Run]:
        """Runs as they come: consecutive records of one partition, for those in a hurry.

        Ends when none has come for `timeout` seconds (None: never), or by `stop`.
        """
        while (run := self._take_run(timeout)) is not None:
            yield run

    # Positions

    def position(self, partition: str | None = None) -> Any:
        """The offset of the next record `poll` gives, by partition: `{partition: offset}`.

        With a partition's name, its offset alone, or None if it is not known yet. A partition
        name is unique in a cluster, so topics need not be named.
        """
        positions = {name: at for (_, name), at in self._machine.partitions().items()}
        for run in reversed(self._queue):
            positions[run.partition] = run.first
        if self._run is not None and self._at < len(self._run):
            positions[self._run.partition] = self._run.first + self._at
        return positions if partition is None else positions.get(partition)

    def seek(self, partition: str, offset: int, topic: str | None = None) -> None:
        """Continue a partition at `offset`, back or ahead, whether or not it is known yet.

        `topic` need only be given where the consumer has several and the partition is new.
        """
        check_partition(partition)
        check_offset(offset, f"partition {partition}: offset")
        known = [name for name, part in self._machine.partitions() if part == partition]
        if topic is None and not known and len(self.topics) > 1:
            raise ConfigError(f"partition {partition} is not known yet: name its topic in seek")
        name = topic or (known or list(self.topics))[0]
        if name not in self.topics:
            raise ConfigError(f"topic {name!r} is not one of this consumer's topics")
        driver = self._open_driver()
        self._forget(partition)
        driver.perform(self._machine.seek(name, partition, offset, driver.now()))
        driver.wake()

    def seek_to_earliest(self) -> None:
        """Continue every partition at its first record; new ones begin there as well."""
        self._seek_all("earliest")

    def seek_to_latest(self) -> None:
        """Continue every partition behind the last record known; new ones begin at latest."""
        self._seek_all("latest")

    def behind(self) -> int:
        """Records known to exist that this consumer has not received yet."""
        return self._machine.behind()

    def stats(self) -> core.ConsumerStats:
        """Counters since the start."""
        return self._machine.stats

    # Inside

    def _seek_all(self, start: str) -> None:
        driver = self._open_driver()
        self._forget(None)
        driver.perform(self._machine.seek_all(start, driver.now()))
        driver.wake()

    def _open_driver(self) -> Driver:
        if self._stopped or not self.driver.running:
            self.check_alive()
            raise Closed(f"topics {', '.join(self.topics)}: this consumer is not running")
        return self.driver

    def _forget(self, partition: str | None) -> None:
        """Throw away what is queued of one partition, or all."""
        gone = [item for item in self._queue if partition in (None, item.partition)]
        self._queue = deque(one for one in self._queue if partition not in (None, one.partition))
        self._machine.forgotten([item for item in gone if isinstance(item, Run)])
        if self._run is not None and partition in (None, self._run.partition):
            self._run = None

    def _deliver(self, action: Deliver) -> None:
        self._queue.append(action.run)
        self._arrived.set()

    def _expire(self, action: Expire) -> None:
        self._queue.append(action)
        self._arrived.set()

    def _take_run(self, timeout: float | None) -> Run | None:
        if self._stopped:
            return None
        current = self._run
        if current is not None and self._at < len(current):
            self._run = None
            return current.since(current.first + self._at)
        self._let_others_work()
        return self._next_run(timeout)

    def _next_run(self, timeout: float | None) -> Run | None:
        until = None if timeout is None else monotonic() + timeout
        while True:
            left = None if until is None else max(0.0, until - monotonic())
            if not self._queue and not self._wait(left):
                return None
            if self._stopped:  # while others worked
                return None
            run = self._queue.popleft()
            if isinstance(run, Run):
                break
            self._on_expired(RecordsExpired(run.topic, run.partition, run.first, run.end))
        driver = self.driver
        was_full = self._machine.full
        actions = self._machine.taken(run, driver.now())
        if was_full and not self._machine.full:
            driver.post(lambda _: actions)
        return run

    def _wait(self, timeout: float | None) -> bool:
        until = None if timeout is None else monotonic() + timeout
        if timeout == 0:
            gevent.sleep(0)
        while not self._queue:
            if self._stopped or not self.driver.running:
                self.check_alive()
                return False
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                return False
            self._arrived.clear()
            self._arrived.wait(left)
        self._yielded = monotonic()
        return True

    def _let_others_work(self) -> None:
        now = monotonic()
        if now - self._yielded >= _YIELD_S:
            gevent.sleep(0)
            self._yielded = monotonic()


def _log_expired(error: RecordsExpired) -> None:
    logger.warning("%s", error)
