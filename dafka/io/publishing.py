"""What producers of every shell have in common: their life, their room, and what leaves when.

A shell adds the calls that wait: `start`, `stop`, `publish`, `publish_many` and `flush`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from dafka.config import ProducerConfig
from dafka.core import producer as core
from dafka.core.packed import Packed
from dafka.errors import Closed, PublishTimeout
from dafka.io.driver import Driver
from dafka.io.life import configured, new_address, node_logger
from dafka.io.node import Wiring
from dafka.io.outbox import Outbox
from dafka.io.refusals import (
    check_continued,
    full,
    lacking,
    largest,
    together,
    too_large,
)
from dafka.io.standing import Standing
from dafka.names import check_topic
from dafka.validity import check_timeout

_BATCH_BYTES = 64 * 1024
"""Records of one burst that are sent together cost so much at most."""
_FEW = 16
"""Fewer records are not worth being packed."""
_BURST_S = 0.001
"""A record published this long after the last one leaves at once, whoever else has to wait."""
_YIELD_S = 0.002
"""A user's loop that publishes without waiting lets the node work this often."""
_SAVE_S = 5.0
"""Time to write to the outbox what was published last, however short the time to stop is."""

logger = node_logger("producer")


class Publishing(Standing):
    """Base of `Producer`: everything but what waiting is."""

    def __init__(
        self,
        topic: str,
        config: ProducerConfig | None = None,
        *,
        partition: str | None = None,
        first: int = 0,
        earliest: int = 0,
        **settings: Any,
    ) -> None:
        """Opens nothing. `settings` are fields of `ProducerConfig`; `ConfigError` if unusable.

        `partition` and `first`: continue this partition at this offset. Two producers must never
        use one partition at the same time. `earliest`: where it begins, for stores that lack it.
        """
        self.topic = check_topic(topic)
        self.config = configured(ProducerConfig, config, settings)
        check_continued(partition, first, earliest, self.config)
        self._machine = core.Producer(
            self.topic, partition or new_address(), self.config, first, first, earliest
        )
        self._largest = largest(self.config)
        self._outbox: Outbox | None = None
        self._next = first
        self._pending: list[bytes] = []
        self._room = 0
        """What can be published before somebody has to look."""
        self._burst_ends = self._yielded = 0.0
        self._acked, self._stopped = self._shell.signal(), False
        self._hasty = False
        """Whether the end waits for acknowledgements no longer."""

    async def _start(self) -> None:
        with self._starting("a producer"):
            try:
                driver = await self._open()
            except BaseException:
                if self._outbox is not None:
                    await self._outbox.close()
                raise
        driver.add_source(self._between_turns)
        driver.start()
        driver.failed.link(self._failed)
        self.drivers = (driver,)
        if self._outbox is not None:
            self._outbox.start(driver)
        logger.info("producer started topic=%s partition=%s", self.topic, self.address)

    async def _publish_many(self, contents: Iterable[bytes], timeout: float | None) -> int:
        records, size = together(self.topic, contents, self.config)
        await self._look(size, timeout)
        first, end = self._next, self._next + len(records)
        # Without a call in between: an interrupt comes before all of it, or after it.
        self._room, self._pending, self._next = 0, records, end
        self._transmit()
        return first

    async def _flush(self, timeout: float | None) -> None:
        self._transmit()
        target = self._next
        await self._wait_until(lambda: self._machine.acked >= target or self._hasty, timeout)
        if self._machine.acked < target:
            raise lacking(self._machine, target, timeout, self.obstacle)

    async def _stop(self, timeout: float | None) -> int:
        if not self.started or self._stopped:
            return self.unacknowledged
        self.driver.check_thread()
        timeout = check_timeout(timeout)
        timeout = self.config.stop_timeout_s if timeout is None else timeout
        try:
            await self._flush(timeout)
        except PublishTimeout as error:
            logger.warning("producer stopped with unacknowledged records: %s", error)
        except Closed:
            pass  # it had been stopped meanwhile
        finally:
            self._stopped, self._room = True, 0
            await self._close(timeout)
        logger.info("producer stopped topic=%s records=%d", self.topic, self._next)
        return self.unacknowledged

    # Inside

    async def _open(self) -> Driver:
        """Open the outbox, if there is one, and the sockets."""
        config = self.config
        if config.outbox:
            outbox = self._outbox = Outbox(self.topic, config, self._shell)
            await outbox.open(self._machine.address)
            self._machine = core.Producer(
                self.topic, outbox.partition, config, outbox.first, outbox.saved
            )
            self._next = outbox.saved
        driver = Driver("producer", logger, self._shell)
        self._wiring = Wiring("producer", self._machine.address, config, self._machine, driver)
        now = driver.now()
        await self._wiring.open(now)
        driver.perform(self._machine.start(now))
        return driver

    async def _close(self, timeout: float) -> None:
        outbox = self._outbox
        if outbox is not None:
            await outbox.stop(max(timeout, _SAVE_S))
        await self.driver.stop()
        await self._wiring.close()
        if outbox is not None:
            await outbox.close()

    def _failed(self) -> None:
        self._room = 0
        self._acked.set()

    async def _look(self, size: int, timeout: float | None) -> None:
        """Let leave what has waited, let others work, and wait until there is room for `size`."""
        if self._stopped or not self.driver.running:
            self._refuse()
        self.driver.check_thread()
        if size > self._largest:
            raise too_large(self.topic, size, self.config)
        self._transmit()
        if monotonic() - self._yielded >= _YIELD_S:
            await self._shell.pause()
            self._yielded = monotonic()
        if not await self._wait_until(lambda: self._has_room(size), timeout):
            raise full(self._machine, self.unacknowledged, timeout, self.obstacle)
        self._room = max(size, min(self._free(), _BATCH_BYTES))

    def _has_room(self, size: int) -> bool:
        """Whether so much can be taken, nothing being left that others have published."""
        self._transmit()
        return self._free() >= size

    def _free(self) -> int:
        """What can be taken now, nothing being about to leave."""
        outbox = self._outbox
        waiting = 0 if outbox is None else outbox.waiting_bytes
        free = self.config.buffer_bytes - self._machine.unacked_bytes - waiting
        return free if outbox is None or not outbox.loading else -1

    def _transmit(self) -> None:
        """Let leave what has waited.

        It waits until all of it has left: an interrupt under way leaves the rest for later.
        """
        if self._pending:
            self.driver.check_thread()
            now = monotonic()
            self._burst_ends = now + _BURST_S
            outbox = self._outbox
            taken = self._machine.next if outbox is None else outbox.end
            rest = self._pending[taken - (self._next - len(self._pending)) :]
            if outbox is not None:
                outbox.put(rest)
            elif len(rest) < _FEW:
                self.driver.perform(self._machine.publish(rest, now))
            else:
                for part in Packed.of(rest).parts(_BATCH_BYTES):
                    self.driver.perform(self._machine.publish(part, now))
            self._pending = []
            self.driver.wake()

    def _between_turns(self, now: float) -> bool:
        """In every turn of the loop: what waited leaves, and who waited is told."""
        self._transmit()
        more = self._outbox is not None and self._send_saved(self._outbox, now)
        self._burst_ends = 0.0
        self._acked.set()
        return more

    def _send_saved(self, outbox: Outbox, now: float) -> bool:
        """Send what has become durable, a bit in each turn; True if there is more."""
        run = outbox.take(self._machine.next)
        if run is not None:
            self.driver.perform(self._machine.publish(run.contents, now))
        outbox.progress(self._machine.acked, self._machine.unacked_bytes)
        return run is not None

    async def _wait_until(self, done: Callable[[], bool], timeout: float | None) -> bool:
        timeout = check_timeout(timeout)
        until = None if timeout is None else monotonic() + timeout
        while not done():
            if self._stopped or not self.driver.running:
                self._refuse()
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                return False
            self.driver.check_thread()
            self._acked.clear()
            await self._acked.wait(left)
            self._yielded = monotonic()
        return True

    def _refuse(self) -> None:
        self.check_alive()
        raise Closed(f"topic {self.topic}: this producer is not running")
