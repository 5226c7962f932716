"""What consumers of every shell have in common: their life, and how records are taken.

A shell adds the calls that wait: `start`, `stop`, `poll`, `runs`, `commit` and iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from dafka.config import ConsumerConfig
from dafka.core import consumer as core
from dafka.core.actions import Begin, Deliver, Expire, Settled
from dafka.core.run import Run
from dafka.errors import ConfigError, RecordsExpired
from dafka.io.commits import Commits
from dafka.io.driver import Driver
from dafka.io.life import configured, new_address, node_logger
from dafka.io.node import Wiring
from dafka.io.places import Places
from dafka.io.records import Position
from dafka.names import check_pattern, check_topic, names_of
from dafka.validity import check_callable, check_timeout

_YIELD_S = 0.02
"""A user's loop that finds records without waiting lets the node work this often."""
LOOK_EVERY = 64
"""Records of one run after which others may have their turn."""
_STOP_S = 2.0

logger = node_logger("consumer")


class Taking(Places):
    """Base of `Consumer`: everything but what waiting is."""

    def __init__(
        self,
        *topics: str | Iterable[str],
        pattern: str | Iterable[str] = (),
        config: ConsumerConfig | None = None,
        on_expired: Callable[[RecordsExpired], object] | None = None,
        on_partition: Callable[[Position], object] | None = None,
        only: Callable[[str, str], bool] | None = None,
        **settings: Any,
    ) -> None:
        """Opens nothing. `settings` are fields of `ConsumerConfig`; `ConfigError` if unusable.

        `topics` are names, or lists of them. Topics that match a `pattern`, such as `sensor.*`,
        are wanted as well, whenever they turn up.

        `on_expired` is called, where records that no store keeps any more would have come, with
        their range; without it a warning is logged. Delivery goes on behind them.

        `on_partition` is called with each partition that is found, and where its delivery begins,
        before the first of its records.

        `only(topic, partition)` says which partitions are wanted; others are left alone.
        """
        super().__init__()
        names = [name for one in topics for name in names_of("a topic", one)]
        self.topics = tuple(dict.fromkeys(check_topic(topic) for topic in names))
        patterns = names_of("a pattern", pattern)
        self.patterns = tuple(dict.fromkeys(check_pattern(one) for one in patterns))
        check_callable("on_expired", on_expired)
        check_callable("on_partition", on_partition)
        check_callable("only", only)
        if not self.topics and not self.patterns:
            raise ConfigError("a consumer needs at least one topic, or a pattern of topics")
        self.config = configured(ConsumerConfig, config, settings)
        if settings.get("offsets") and not self.config.name:
            raise ConfigError("offsets are given, but no name: positions are kept by name")
        self._commits = Commits(self.config, self._shell) if self.config.name else None
        self.address = new_address()
        self._direct = new_address()
        wanted = () if only is None else (_asking(only),)
        self._machine = core.Consumer(self.address, self.config, self._direct, *wanted)
        self._on_expired = on_expired or _log_expired
        self._on_partition = on_partition
        self._arrived = self._shell.signal()
        self._yielded = 0.0

    @property
    def endpoint(self) -> str:
        """Where peers listen to this consumer's requests."""
        self.driver  # noqa: B018  `Closed` before the start
        return self._wiring.publisher.endpoint

    def heads(self) -> dict[str, int]:
        """The offset behind the last record known to exist, by partition."""
        return {name: end for (_, name), end in self._machine.ends().items()}

    def stats(self) -> core.ConsumerStats:
        """Counters since the start."""
        return self._machine.stats

    # Life

    async def _start(self) -> None:
        with self._starting("a consumer"):
            await self._open_commits()
            try:
                driver = await self._open_node()
            except BaseException:
                if self._commits is not None:
                    await self._commits.close()
                raise
        driver.start()
        driver.failed.link(self._arrived.set)
        self.drivers = (driver,)
        if self._commits is not None:
            self._commits.start(driver, self._progress)
        logger.info("consumer started %s address=%s", self._what, self.address)

    async def _open_node(self) -> Driver:
        driver = Driver("consumer", logger, self._shell)
        self._wiring = Wiring(
            "consumer", self.address, self.config, self._machine, driver, direct=self._direct
        )
        driver.add_executors(
            {
                Begin: self._begin,
                Deliver: self._deliver,
                Expire: self._expire,
                Settled: self._settled,
            }
        )
        now = driver.now()
        await self._wiring.open(now)
        driver.perform(self._machine.start(now))
        self._subscribe(driver, now)
        return driver

    async def _stop(self, timeout: float | None) -> None:
        if not self.started or self._stopped:
            return
        self.driver.check_thread()
        timeout = check_timeout(timeout)
        self._stopped = True
        until = monotonic() + (_STOP_S if timeout is None else timeout)
        await self.driver.stop(timeout)
        if self._commits is not None:
            await self._commits.stop(max(0.0, until - monotonic()))
        await self._wiring.close()
        if self._commits is not None:
            await self._commits.close()
        self._arrived.set()
        logger.info("consumer stopped %s", self._what)

    # What the machine wants

    def _deliver(self, action: Deliver) -> None:
        self._queue.append(action.run)
        self._arrived.set()

    def _expire(self, action: Expire) -> None:
        self._queue.append(action)
        self._arrived.set()

    def _begin(self, action: Begin) -> None:
        if self._commits is not None:
            self._commits.began((action.topic, action.partition), action.offset)
        if action.found and self._on_partition is not None:
            self._queue.append(action)
            self._arrived.set()

    # Taking records: nothing waits between the moment a record leaves the queue and its delivery

    async def _ready(self, timeout: float | None) -> Run | None:
        """The run of which `_at` is the next record to give; others have their turn before."""
        if self._stopped:
            return None
        if monotonic() - self._yielded >= _YIELD_S:
            await self._let_others_work()
        run = self._run
        if run is None or self._at >= len(run.contents):
            run = await self._next_run(timeout)
            if run is not None:
                self._run, self._at = run, 0
        return None if self._stopped else run

    async def _take_run(self, timeout: float | None) -> Run | None:
        if self._stopped:
            return None
        self._came_back()
        run = self._run
        if run is not None and self._at < len(run):  # begun by `poll`
            self._run = None
            run = run.since(run.first + self._at)
        else:
            if monotonic() - self._yielded >= _YIELD_S:
                await self._let_others_work()
            run = await self._next_run(timeout)
        self._given = run
        return run

    async def _next_run(self, timeout: float | None) -> Run | None:
        timeout = check_timeout(timeout)
        until = None if timeout is None else monotonic() + timeout
        self.driver.check_thread()
        self._came_back()
        self._back = True
        try:
            run = await self._wait_for_run(until)
        finally:
            self._back = False
        if run is None:
            return None
        driver = self.driver
        was_full = self._machine.full
        actions = self._machine.taken(run, driver.now())
        if was_full and not self._machine.full:
            driver.post(lambda _: actions)
        self._sure = 0
        if self._commits is not None:
            self._commits.look()
        return run.listed()

    async def _wait_for_run(self, until: float | None) -> Run | None:
        while True:
            left = None if until is None else max(0.0, until - monotonic())
            if not self._queue and not await self._wait(left):
                return None
            if self._stopped:  # while others worked
                return None
            item = self._queue[0]
            if isinstance(item, Run) and self._commits is not None:
                key = (item.topic, item.partition)
                if self._commits.is_open(key):
                    await self._commits.settle(key)  # the queue may be another one after that
                    continue
            self._queue.popleft()
            if isinstance(item, Run):
                return item
            self._tell(item)

    def _tell(self, item: Expire | Begin) -> None:
        """Let the user know of what is no record."""
        if isinstance(item, Begin):
            if self._on_partition is not None:
                self._on_partition(Position(item.topic, item.partition, item.offset))
            return
        self._on_expired(RecordsExpired(item.topic, item.partition, item.first, item.end))
        if self._commits is not None:
            self._commits.note((item.topic, item.partition), item.end)

    async def _wait(self, timeout: float | None) -> bool:
        until = None if timeout is None else monotonic() + timeout
        if timeout == 0:
            await self._shell.pause()
        while not self._queue:
            if self._stopped or not self.driver.running:
                self.check_alive()
                return False
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                return False
            self._arrived.clear()
            await self._arrived.wait(left)
        self._yielded = monotonic()
        return True

    async def _let_others_work(self) -> None:
        await self._shell.pause()
        self._yielded = monotonic()


def _asking(only: Callable[[str, str], bool]) -> Callable[[str, str], bool]:
    """The same, but what goes wrong in it is told as its author's."""

    def asked(topic: str, partition: str) -> bool:
        try:
            return bool(only(topic, partition))
        except Exception as error:
            raise ConfigError(f"only({topic!r}, {partition!r}) has failed: {error!r}") from error

    return asked


def _log_expired(error: RecordsExpired) -> None:
    logger.warning("%s", error)
