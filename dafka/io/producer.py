"""A producer as the user meets it: a shell around `dafka.core.producer`."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event

from dafka.config import ProducerConfig
from dafka.core import producer as core
from dafka.core.run import RECORD_COST
from dafka.errors import Closed, ConfigError, PublishTimeout
from dafka.io.driver import Driver
from dafka.io.life import Life, configured, new_address, node_logger
from dafka.io.node import Wiring
from dafka.names import check_topic

_BATCH_RECORDS = 256
"""Records of one burst that are sent together; the hub has its turn in between."""
_BURST_S = 0.001
"""A record published this long after the last one leaves at once, whoever else has to wait."""

logger = node_logger("producer")


class Producer(Life):
    """Publishes records to one topic: one partition, named by `address`.

    A record leaves at once. It is kept, and sent again to whoever lacks it, until
    `min_store_acks` stores have acknowledged it. Use one producer from one thread.
    """

    def __init__(self, topic: str, config: ProducerConfig | None = None, **settings: Any) -> None:
        """Opens nothing. `settings` are fields of `ProducerConfig`; `ConfigError` if unusable."""
        self.topic = check_topic(topic)
        self.config = configured(ProducerConfig, config, settings)
        self.address = new_address()
        self._machine = core.Producer(self.topic, self.address, self.config)
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._burst = False
        self._sent_at = 0.0
        self._acked = Event()
        self._stopped = False

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
        """The offset the next record will get."""
        return self._machine.next + len(self._pending)

    @property
    def acknowledged(self) -> int:
        """Records that enough stores have acknowledged; they are the first of the partition."""
        return self._machine.acked

    @property
    def unacknowledged(self) -> int:
        """Records that not enough stores have acknowledged yet."""
        return self.next_offset - self.acknowledged

    def start(self) -> Producer:
        """Open sockets; returns at once, whether or not a tower or a store is there."""
        if self.started:
            raise Closed("a producer can be started once")
        driver = Driver("producer", logger)
        self._wiring = Wiring("producer", self.address, self.config, self._machine, driver)
        now = driver.now()
        self._wiring.open(now)
        driver.perform(self._machine.start(now))
        driver.add_source(self._between_turns)
        driver.start()
        driver.failed.rawlink(lambda _: self._acked.set())
        self.drivers = (driver,)
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
            content = _as_bytes(content)
        size = len(content) + RECORD_COST
        if not self._machine.has_room(self._pending_bytes + size):
            self._wait_for_room(size, timeout)
        if self._stopped or not self.driver.running:
            self._refuse()
        offset = self._machine.next + len(self._pending)
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
        target = self._machine.next
        if not self._wait_until(lambda: self._machine.acked >= target, timeout):
            left = target - self._machine.acked
            raise PublishTimeout(
                f"topic {self.topic} partition {self.address}: {left} records from offset "
                f"{self._machine.acked} on are not acknowledged after {timeout} s; is a store "
                "running at this tower?",
                left,
            )

    def stop(self, timeout: float | None = None) -> int:
        """Wait for outstanding acknowledgements, then end; safe to call twice.

        Waits at most `timeout` seconds (None: `stop_timeout_s`). Returns the number of records
        that stayed unacknowledged, and logs a warning if there are any.
        """
        if not self.started or self._stopped:
            return self.unacknowledged
        try:
            self.flush(self.config.stop_timeout_s if timeout is None else timeout)
        except PublishTimeout as error:
            logger.warning("producer stopped with unacknowledged records: %s", error)
        except Closed:
            pass  # it had been stopped meanwhile
        finally:
            self._stopped = True
            self.driver.stop()
            self._wiring.close()
        logger.info("producer stopped topic=%s records=%d", self.topic, self._machine.next)
        return self.unacknowledged

    def stats(self) -> core.ProducerStats:
        """Counters since the start."""
        return self._machine.stats

    # Inside

    def _transmit(self) -> None:
        if not self._pending:
            return
        now = self._sent_at = monotonic()
        contents, self._pending, self._pending_bytes = self._pending, [], 0
        self.driver.perform(self._machine.publish(contents, now))
        self.driver.wake()

    def _between_turns(self, now: float) -> bool:
        """In every turn of the loop: what waited leaves, and who waited is told."""
        self._transmit()
        self._burst = False
        self._acked.set()
        return False

    def _wait_for_room(self, size: int, timeout: float | None) -> None:
        if size > self.config.buffer_bytes:
            raise ConfigError(
                f"topic {self.topic}: a record of {size - RECORD_COST} bytes does not fit into "
                f"buffer_bytes ({self.config.buffer_bytes}): raise it, or publish less at once"
            )
        self._transmit()
        if not self._wait_until(lambda: self._machine.has_room(size), timeout):
            raise PublishTimeout(
                f"topic {self.topic} partition {self.address}: {self.unacknowledged} records "
                f"fill buffer_bytes ({self.config.buffer_bytes}) and were not acknowledged "
                f"within {timeout} s; is a store running at this tower?",
                self.unacknowledged,
            )

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


def _as_bytes(content: object) -> bytes:
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    hint = "; encode text first, for example text.encode()" if isinstance(content, str) else ""
    raise ConfigError(f"a record's content is bytes, not {type(content).__name__}{hint}")
