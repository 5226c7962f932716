"""The nodes behind sources and sinks, each usable from one ordinary thread at a time.

They live in the hub of the process (`dafka.beam.hub`); every call here blocks only its thread.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import gevent

import dafka
from dafka.beam.hub import hub
from dafka.core.inventory import Inventory
from dafka.core.run import Run
from dafka.errors import DafkaError, RecordsExpired
from dafka.io.inspector import Inspector
from dafka.io.life import new_address

_ANSWER_S = 4.0
"""Stores that have not told by then where a partition was at a time do not know how to."""

_SILENT_S = 60.0
"""So long they are not asked again."""

_STOP_S = 1.0
_LOOK_S = 0.001

Settings = dict[str, Any]


def inventory(topics: Sequence[str], settings: Settings, timeout: float) -> list[Inventory]:
    """What the stores have of each topic; takes a bit more than a second, twice that for nothing.

    `DafkaError` if no store has answered after `timeout` seconds.
    """
    return hub().call(lambda: [_gathered(topic, settings, timeout) for topic in topics])


def new_partition() -> str:
    """A name that no partition has."""
    return new_address()


def _gathered(topic: str, settings: Settings, timeout: float) -> Inventory:
    until = monotonic() + timeout
    silent: set[str] = set()
    while (left := until - monotonic()) > 0:
        with Inspector(topic, **settings) as inspector:
            found = inspector.gather(left)
        answered = {store.address for store in found.stores if store.answered}
        # Who has nothing says nothing, and so does who is killed when asked. A store that has
        # lived to be asked again had nothing: a restarted one has another address.
        told = any(partition.copies for partition in found.partitions)
        if answered and (told or answered & silent):
            return found
        silent |= answered
    if silent:
        raise DafkaError(
            f"topic {topic}: stores have answered within {timeout:g} s, but none of them twice, so "
            "it is not known whether they have none of it: do they stop and start all the time?"
        )
    raise DafkaError(
        f"topic {topic}: no store has answered within {timeout:g} s: is one running, and "
        "does tower= name its tower?"
    )


class Reader:
    """Reads one partition at a time, from any offset; and asks where partitions were at a time."""

    def __init__(self, topics: Sequence[str], settings: Settings) -> None:
        """Opens nothing."""
        # From the earliest record, so that stores tell at once what there is.
        own = {**settings, "start": "earliest"}
        self._consumer = dafka.Consumer(topics, on_expired=self._expired, **own)
        self._asker = dafka.Consumer(topics, **settings)
        self._found: deque[Run | RecordsExpired] = deque()
        self._at: tuple[str, str] | None = None
        self._next = -1
        self._silent_until = -math.inf

    def start(self) -> None:
        """Open the nodes; nothing is read yet."""
        hub().call(self._start)

    def stop(self) -> None:
        """Close them."""
        hub().call(self._stop)

    def go(self, topic: str, partition: str, offset: int) -> None:
        """Read this partition from here on; costs nothing where that is what is being read."""
        if (self._at, self._next) != ((topic, partition), offset):
            hub().call(lambda: self._go(topic, partition, offset))

    def take(self, timeout: float) -> Run | RecordsExpired | None:
        """What comes next, or None after `timeout` seconds.

        `RecordsExpired` for records that no store keeps any more.
        """
        if not self._found:
            hub().call(lambda: self._take(timeout))
        if not self._found:
            return None
        item = self._found.popleft()
        self._next = item.next if isinstance(item, Run) else item.end
        return item

    def give_back(self, rest: Run) -> None:
        """Take this again next: it is the end of what was taken last."""
        if rest.contents:
            self._found.appendleft(rest)
            self._next = rest.first

    def head(self, partition: str) -> int:
        """The offset behind the last record known to exist in a partition; 0 if it is unknown."""
        return hub().call(lambda: self._consumer.heads().get(partition, 0))

    def offset_at(self, topic: str, partition: str, time_ms: int) -> int | None:
        """The offset before which no record arrived at a time (ms since 1970) or later.

        None if no store tells.
        """
        if monotonic() < self._silent_until:
            return None
        offset = hub().call(lambda: self._ask(topic, partition, time_ms))
        if offset is None:
            self._silent_until = monotonic() + _SILENT_S
        return offset

    # In the hub

    def _start(self) -> None:
        for consumer in (self._consumer, self._asker):
            consumer.start()
            consumer.pause()

    def _stop(self) -> None:
        self._consumer.stop(_STOP_S)
        self._asker.stop(_STOP_S)

    def _go(self, topic: str, partition: str, offset: int) -> None:
        if self._at is not None:
            self._consumer.pause(topic=self._at[0], partition=self._at[1])
        self._found.clear()
        self._at, self._next = (topic, partition), offset
        self._consumer.seek(partition, offset, topic)
        self._consumer.resume(topic=topic, partition=partition)

    def _take(self, timeout: float) -> None:
        run = next(self._consumer.runs(timeout), None)
        if run is not None:
            self._found.append(run)

    def _expired(self, error: RecordsExpired) -> None:
        self._found.append(error)

    def _ask(self, topic: str, partition: str, time_ms: int) -> int | None:
        asker, until = self._asker, monotonic() + _ANSWER_S
        # Half a millisecond more, since what is no whole number of them is rounded down.
        when = datetime.fromtimestamp((time_ms + 0.5) / 1000, UTC)
        asker.seek_to_time(when, partition, topic)
        while (offset := asker.position(partition)) is None and monotonic() < until:
            asker.check_alive()
            gevent.sleep(_LOOK_S)
        return offset  # type: ignore[no-any-return]


class Writer:
    """Publishes to one partition of a topic."""

    def __init__(self, topic: str, settings: Settings, **place: Any) -> None:
        """Opens nothing. `place`: `partition` and `first` of a partition to be continued."""
        self._producer = dafka.Producer(topic, **place, **settings)
        self.next = place.get("first", 0)
        """The offset of the next record."""

    def start(self) -> None:
        """Open the node."""
        hub().call(self._producer.start)

    def publish(self, contents: Sequence[bytes], timeout: float) -> None:
        """Publish records; `PublishTimeout` if there is no room for them within `timeout` s."""
        hub().call(lambda: self._publish(contents, timeout))

    def flush(self, timeout: float) -> None:
        """Wait until all are acknowledged; `PublishTimeout` after `timeout` seconds."""
        hub().call(lambda: self._producer.flush(timeout))

    def stop(self, timeout: float) -> None:
        """Close it, once all is acknowledged or `timeout` seconds are over."""
        hub().call(lambda: self._producer.stop(timeout))

    def _publish(self, contents: Sequence[bytes], timeout: float) -> None:
        until = monotonic() + timeout
        for content in contents:
            self._producer.publish(content, max(0.0, until - monotonic()))
        self.next = self._producer.next_offset
