"""A producer that any thread may use: records are handed to the background thread in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike
from time import monotonic
from typing import Any

from dafka.config import MIB, ProducerConfig
from dafka.core.run import RECORD_COST
from dafka.errors import Closed, PublishTimeout
from dafka.io import producer as io
from dafka.io.life import node_logger
from dafka.io.refusals import as_bytes, full, lacking, largest, together, too_large
from dafka.io.shell import at_once
from dafka.names import check_topic
from dafka.threads.standing import Standing
from dafka.validity import check_timeout

_AHEAD_BYTES = 2 * MIB
"""Threads get so far ahead of what has left, then they let the background thread have its turn."""
_CHUNK = 4096
"""So many records are packed at once."""
_TURN_S = 1.0
"""How long somebody who does not want to wait does wait, for what the next turn brings."""

logger = node_logger("producer")


class _Node(io.Producer):
    """A producer that takes what its shell has been given, whenever its loop has a turn."""

    shell: Producer

    def _between_turns(self, now: float) -> bool:
        self.take()
        more = super()._between_turns(now)
        self.shell._turned(self._free(), self._machine.acked)
        return more

    def take(self) -> None:
        """Publish what was published in other threads; it leaves soon."""
        batch = self.shell._hand_over()
        for at in range(0, len(batch), _CHUNK):
            chunk = batch[at : at + _CHUNK]
            self._pending += chunk
            self._next += len(chunk)
            self._transmit()

    def end(self, timeout: float) -> None:
        """Take what is left, and end at once: its acknowledgements were waited for."""
        if not self._stopped:
            self.take()
            self._stopped, self._room = True, 0
            at_once(self._close(timeout))

    def full(self, timeout: float | None) -> PublishTimeout:
        """What to raise if there was no room in time."""
        return full(self._machine, self.unacknowledged, timeout, self.obstacle)

    def lacking(self, end: int, timeout: float | None) -> PublishTimeout:
        """What to raise if the records before `end` were not acknowledged in time."""
        return lacking(self._machine, end, timeout, self.obstacle)


class Producer(Standing[_Node]):
    """Publishes records to one topic, as `dafka.Producer` does: one partition, named by `address`.

    Any thread may use it, several at once: each record has an offset of its own, and the records
    of a thread have rising ones. They leave, are kept and sent again while your threads do
    something else. What is left when the program ends is waited for, for two seconds at most.
    """

    _kind = "producer"

    def __init__(
        self,
        topic: str,
        config: ProducerConfig | None = None,
        *,
        partition: str | None = None,
        first: int = 0,
        earliest: int = 0,
        outbox: str | PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        """Opens nothing; takes what `dafka.Producer` takes."""
        if outbox is not None:
            settings["outbox"] = outbox
        node = _Node(topic, config, partition=partition, first=first, earliest=earliest, **settings)
        node.shell = self
        super().__init__(node)
        self.topic = check_topic(topic)
        self.config = node.config
        self._largest = largest(self.config)
        self._pending: list[bytes] = []
        self._next = self._acked = first
        self._room = self._room_before = 0
        """What can be published before somebody has to wait; and when a batch was last taken."""
        self._turns = 0
        self._wanted = 0
        """The most that anybody waits for."""
        self._closed = False

    def publish(self, content: bytes, timeout: float | None = None) -> int:
        """Send a record and return its offset; it is not yet acknowledged (see `flush`).

        Blocks this thread, at most `timeout` seconds (None: for ever), while the contents not yet
        acknowledged fill `buffer_bytes`; then raises `PublishTimeout`, and the record was not
        accepted. `ConfigError`: a content that never fits. `Closed`: the producer is not running.
        """
        if type(content) is not bytes:
            content = as_bytes(content)
        size = len(content) + RECORD_COST
        with self._lock:
            if size <= self._room or self._has_room(size, timeout):
                self._room -= size
                offset = self._next
                self._next = offset + 1
                self._pending.append(content)
                if not self._told:
                    self._wake()
                return offset
        raise self._there(lambda: self._node.full(timeout))

    def publish_many(self, contents: Iterable[bytes], timeout: float | None = None) -> int:
        """Send records in a row, all or none; return the offset of the first. Much faster.

        Blocks as `publish` does, until there is room for all of them. `ConfigError` also if all
        together never fit into `buffer_bytes`.
        """
        records, size = together(self.topic, contents, self.config)
        with self._lock:
            if self._has_room(size, timeout):
                first, end = self._next, self._next + len(records)
                # Without a call in between: an interrupt comes before all of it, or after it.
                self._pending += records
                self._next = end
                self._room -= size
                self._wake()
                return first
        raise self._there(lambda: self._node.full(timeout))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until every record published so far, by any thread, is acknowledged.

        Raises `PublishTimeout` after `timeout` seconds (None: wait for ever), with the number
        of records that are not; nothing is given up, and they go on being sent.
        """
        with self._lock:
            target = self._next
            if self._wait_until(lambda: self._acked >= target, timeout):
                return
        raise self._there(lambda: self._node.lacking(target, timeout))

    def stop(self, timeout: float | None = None) -> int:
        """Wait for outstanding acknowledgements, then end; safe to call twice, from any thread.

        Waits at most `timeout` seconds (None: `stop_timeout_s`). Returns the number of records
        that stayed unacknowledged, and logs a warning if there are any. An outbox keeps them for
        its next start.
        """
        if self._done:
            return self.unacknowledged
        timeout = check_timeout(timeout)
        wait = self.config.stop_timeout_s if timeout is None else timeout
        try:
            self.flush(wait)
        except PublishTimeout as error:
            logger.warning("producer stopped with unacknowledged records: %s", error)
        except Closed:
            pass  # it had been stopped meanwhile
        finally:
            with self._lock:
                self._stopped = True
                self._shut()
                self._changed.notify_all()
            self._leave(lambda: self._node.end(wait))
        logger.info("producer stopped topic=%s records=%d", self.topic, self._next)
        return self.unacknowledged

    # In the background thread

    def _has_begun(self) -> None:
        with self._lock:
            self._next, self._acked = self._node.next_offset, self._node.acknowledged
            self._room = self._room_before = 0
            self._told = False

    def _hand_over(self) -> list[bytes]:
        with self._lock:
            batch, self._pending = self._pending, []
            self._room_before = self._room
            self._told = self._over.is_set()
        return batch

    def _turned(self, free: int, acked: int) -> None:
        """All that was taken has left; tell those who wait what that means for them."""
        with self._lock:
            if not self._closed:
                # What was published since the batch was taken is in nobody's books yet.
                ahead = max(_AHEAD_BYTES, self._wanted)
                self._room = min(free, ahead) - (self._room_before - self._room)
            self._acked = acked
            self._turns += 1
            if self._waiting:
                self._wanted = 0
                self._changed.notify_all()

    # Inside

    def _shut(self) -> None:
        self._closed, self._room = True, -1

    def _has_room(self, size: int, timeout: float | None) -> bool:
        """Wait until there is room for `size`. Only with the lock."""
        if self._closed or not self.started:
            self._refuse()
        if size > self._largest:
            raise too_large(self.topic, size, self.config)

        def has_room() -> bool:
            self._wanted = max(self._wanted, size)
            return size <= self._room

        return self._wait_until(has_room, timeout)

    def _wait_until(self, done: Callable[[], bool], timeout: float | None) -> bool:
        until = self._until(timeout)
        seen, latest, woken = self._turns, monotonic() + _TURN_S, False
        while not done():
            if self._closed or not self.started:
                self._refuse()
            if not woken:
                self._wake()
                woken = True
            # What the last turn has brought may not have been looked at yet.
            if not self._wait_changed(until) and (
                self._turns != seen or not self._wait_changed(latest)
            ):
                return False
        return True

    def _refuse(self) -> None:
        self._check_started()
        self.check_alive()
        raise Closed(f"topic {self.topic}: this producer is not running")
