"""A producer as the user meets it: the shell of gevent around what producers have in common."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from dafka.core.run import RECORD_COST
from dafka.io.green import GreenLife
from dafka.io.publishing import Publishing
from dafka.io.refusals import as_bytes
from dafka.io.shell import at_once


class Producer(Publishing, GreenLife):
    """Publishes records to one topic: one partition, named by `address`.

    A record leaves at once. It is kept, and sent again to whoever lacks it, until
    `min_store_acks` stores have acknowledged it. With an `outbox` (a directory) it is kept on
    disk, and leaves as soon as it is there: the next producer with this outbox continues the
    partition and sends what is not acknowledged. Use it in the thread that starts it, which waits
    in gevent; `dafka.threads.Producer` is for others.
    """

    def start(self) -> Producer:
        """Open sockets; returns at once, whether or not a tower or a store is there.

        With an outbox: `StoreError` if it is unusable or in use, `ConfigError` if it is another
        topic's.
        """
        at_once(self._start())
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
        if size > self._room:
            at_once(self._look(size, timeout))
        leaves = monotonic() >= self._burst_ends
        if leaves:
            self.driver.check_thread()
        self._room -= size
        offset = self._next
        self._next = offset + 1
        self._pending.append(content)
        if leaves:
            self._transmit()
        return offset

    def publish_many(self, contents: Iterable[bytes], timeout: float | None = None) -> int:
        """Send records in a row, all or none; return the offset of the first. Much faster.

        Blocks as `publish` does, until there is room for all of them. `ConfigError` also if all
        together never fit into `buffer_bytes`.
        """
        return at_once(self._publish_many(contents, timeout))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until every record published so far is acknowledged.

        Raises `PublishTimeout` after `timeout` seconds (None: wait for ever), with the number
        of records that are not; nothing is given up, and they go on being sent.
        """
        at_once(self._flush(timeout))

    def stop(self, timeout: float | None = None) -> int:
        """Wait for outstanding acknowledgements, then end; safe to call twice.

        Waits at most `timeout` seconds (None: `stop_timeout_s`). Returns the number of records
        that stayed unacknowledged, and logs a warning if there are any. An outbox keeps them for
        its next start.
        """
        return at_once(self._stop(timeout))
