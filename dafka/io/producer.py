"""A producer as the user meets it: a shell around `dafka.core.producer`."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike, fspath
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event

from dafka.config import ProducerConfig
from dafka.core import producer as core
from dafka.core.run import RECORD_COST
from dafka.errors import Closed, PublishTimeout
from dafka.io.driver import Driver
from dafka.io.life import Life, configured, new_address, node_logger
from dafka.io.node import Wiring
from dafka.io.outbox import Outbox
from dafka.io.refusals import as_bytes, check_continued, full, lacking, largest, obstacle, too_large
from dafka.names import check_topic

_BATCH_RECORDS = 256
"""Records of one burst that are sent together; the hub has its turn in between."""
_BURST_S = 0.001
"""A record published this long after the last one leaves at once, whoever else has to wait."""
_SAVE_S = 5.0
"""Time to write to the outbox what was published last, however short the time to stop is."""

logger = node_logger("producer")


class Producer(Life):
    """Publishes records to one topic: one partition, named by `address`.

    A record leaves at once. It is kept, and sent again to whoever lacks it, until
    `min_store_acks` stores have acknowledged it. With an `outbox` (a directory) it is kept on
    disk, and leaves as soon as it is there: the next producer with this outbox continues the
    partition and sends what is not acknowledged. Use one producer from one thread.
    """

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
        if isinstance(settings.get("outbox", ""), PathLike):
            settings["outbox"] = fspath(settings["outbox"])
        self.config = configured(ProducerConfig, config, settings)
        check_continued(partition, first, earliest, self.config)
        self._machine = core.Producer(
            self.topic, partition or new_address(), self.config, first, first, earliest
        )
        self._largest = largest(self.config)
        self._outbox: Outbox | None = None
        self._next = first
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._burst, self._sent_at = False, 0.0
        self._acked, self._stopped = Event(), False

    @property
    def address(self) -> str:
        """This node's address, which names its partition."""
        if self.config.outbox and not self.started:
            raise Closed("a producer knows the partition of its outbox once it has been started")
        return self._machine.address

    @property
    def partition(self) -> str:
        """The name of this producer's partition: its address."""
        return self.address

    @property
    def endpoint(self) -> str:
        """Where peers listen to this producer."""
        self.driver  # noqa: B018  `Closed` before the start
        return self._wiring.publisher.endpoint

    @property
    def next_offset(self) -> int:
        """The offset the next record will get.

        After a crash, and with an outbox, it tells which records have to be published again:
        those that would have had this offset and later ones.
        """
        return self._next

    @property
    def saved(self) -> int:
        """The records before this offset outlive this process: in the outbox, or acknowledged."""
        acked = self.acknowledged
        return acked if self._outbox is None else max(acked, self._outbox.saved)

    @property
    def acknowledged(self) -> int:
        """Records that enough stores have acknowledged; they are the first of the partition."""
        return self._machine.acked

    @property
    def unacknowledged(self) -> int:
        """Records that not enough stores have acknowledged yet."""
        return self.next_offset - self.acknowledged

    def start(self) -> Producer:
        """Open sockets; returns at once, whether or not a tower or a store is there.

        With an outbox: `StoreError` if it is unusable or in use, `ConfigError` if it is another
        topic's.
        """
        if self.started:
            raise Closed("a producer can be started once")
        try:
            driver = self._open()
        except BaseException:
            if self._outbox is not None:
                self._outbox.close()
            raise
        driver.add_source(self._between_turns)
        driver.start()
        driver.failed.rawlink(lambda _: self._acked.set())
        self.drivers = (driver,)
        if self._outbox is not None:
            self._outbox.start(driver)
        logger.info("producer started topic=%s partition=%s", self.topic, self.address)
        return self

    def publish(self, content: bytes, timeout: float | None = None) -> int:
        """Send a record and return its offset; it is not yet acknowledged (see `flush`).

        Blocks this greenlet, at most `timeout` seconds (None: for ever), while the contents not
        yet acknowledged fill `buffer_bytes`; then raises `PublishTimeout`, and the record was
        not accepted. `ConfigError`: a content that never fits. `Closed`: the producer is not
        running.
        """
        if type(content) is not bytes:
            content = as_bytes(content)
        size = len(content) + RECORD_COST
        if size > self._largest:
            raise too_large(self.topic, size, self.config)
        if self._outbox is not None or not self._machine.has_room(self._pending_bytes + size):
            self._wait_for_room(size, timeout)
        if self._stopped or not self.driver.running:
            self._refuse()
        offset = self._next
        self._next = offset + 1
        self._pending.append(content)
        self._pending_bytes += size
        if not self._burst or monotonic() - self._sent_at >= _BURST_S:
            self._burst = True
            self._transmit()
        elif len(self._pending) >= _BATCH_RECORDS:
            self._transmit()
            gevent.sleep(0)
        return offset

    def flush(self, timeout: float | None = None) -> None:
        """Wait until every record published so far is acknowledged.

        Raises `PublishTimeout` after `timeout` seconds (None: wait for ever), with the number
        of records that are not; nothing is given up, and they go on being sent.
        """
        self._transmit()
        target = self._next
        if not self._wait_until(lambda: self._machine.acked >= target, timeout):
            raise lacking(self._machine, target, timeout, self.obstacle)

    def stop(self, timeout: float | None = None) -> int:
        """Wait for outstanding acknowledgements, then end; safe to call twice.

        Waits at most `timeout` seconds (None: `stop_timeout_s`). Returns the number of records
        that stayed unacknowledged, and logs a warning if there are any. An outbox keeps them for
        its next start.
        """
        if not self.started or self._stopped:
            return self.unacknowledged
        timeout = self.config.stop_timeout_s if timeout is None else timeout
        try:
            self.flush(timeout)
        except PublishTimeout as error:
            logger.warning("producer stopped with unacknowledged records: %s", error)
        except Closed:
            pass  # it had been stopped meanwhile
        finally:
            self._stopped = True
            self._close(timeout)
        logger.info("producer stopped topic=%s records=%d", self.topic, self._next)
        return self.unacknowledged

    def stats(self) -> core.ProducerStats:
        """Counters since the start."""
        return self._machine.stats

    # Inside

    def _open(self) -> Driver:
        """Open the outbox, if there is one, and the sockets."""
        config = self.config
        if config.outbox:
            outbox = self._outbox = Outbox(self.topic, config)
            outbox.open(self._machine.address)
            self._machine = core.Producer(
                self.topic, outbox.partition, config, outbox.first, outbox.saved
            )
            self._next = outbox.saved
        driver = Driver("producer", logger)
        self._wiring = Wiring("producer", self._machine.address, config, self._machine, driver)
        now = driver.now()
        self._wiring.open(now)
        driver.perform(self._machine.start(now))
        return driver

    def _close(self, timeout: float) -> None:
        outbox = self._outbox
        if outbox is not None:
            outbox.stop(max(timeout, _SAVE_S))
        self.driver.stop()
        self._wiring.close()
        if outbox is not None:
            outbox.close()

    def _transmit(self) -> None:
        if not self._pending:
            return
        now = self._sent_at = monotonic()
        contents, self._pending, self._pending_bytes = self._pending, [], 0
        if self._outbox is None:
            self.driver.perform(self._machine.publish(contents, now))
        else:
            self._outbox.put(contents)
        self.driver.wake()

    def _between_turns(self, now: float) -> bool:
        """In every turn of the loop: what waited leaves, and who waited is told."""
        self._transmit()
        more = self._outbox is not None and self._send_saved(self._outbox, now)
        self._burst = False
        self._acked.set()
        return more

    def _send_saved(self, outbox: Outbox, now: float) -> bool:
        """Send what has become durable, a bit in each turn; True if there is more."""
        run = outbox.take(self._machine.next)
        if run is not None:
            self.driver.perform(self._machine.publish(run.contents, now))
        outbox.progress(self._machine.acked, self._machine.unacked_bytes)
        return run is not None

    def _has_room(self, size: int) -> bool:
        outbox, waiting = self._outbox, self._pending_bytes
        if outbox is not None:
            if outbox.loading:
                return False
            waiting += outbox.waiting_bytes
        return self._machine.has_room(waiting + size)

    def _wait_for_room(self, size: int, timeout: float | None) -> None:
        if self._has_room(size):
            return
        self._transmit()
        if not self._wait_until(lambda: self._has_room(size), timeout):
            raise full(self._machine, self.unacknowledged, timeout, self.obstacle)

    @property
    def trouble(self) -> str:
        """Why the outbox can be neither written nor read at this moment; empty if all is well."""
        return "" if self._outbox is None else self._outbox.trouble

    @property
    def obstacle(self) -> str:
        """Why records are not acknowledged, as far as it is known here, and what would help."""
        return self.trouble or obstacle(self._machine, self._wiring.discovery.stores)

    def _wait_until(self, done: Callable[[], bool], timeout: float | None) -> bool:
        until = None if timeout is None else monotonic() + timeout
        while not done():
            if self._stopped or not self.driver.running:
                self._refuse()
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                return False
            self._acked.clear()
            self._acked.wait(left)
        return True

    def _refuse(self) -> None:
        self.check_alive()
        raise Closed(f"topic {self.topic}: this producer is not running")
