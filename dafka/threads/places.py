"""Where a consumer of all threads is: positions, seeking, pausing and saving, for any thread."""

from __future__ import annotations

from datetime import datetime
from threading import current_thread
from typing import Any, TypeVar

from dafka.core.consumer import ConsumerStats
from dafka.core.run import Run
from dafka.io.consumer import Consumer
from dafka.io.life import node_logger
from dafka.io.records import Position, Record
from dafka.threads.hands import Hands
from dafka.threads.shell import Shell

C = TypeVar("C", bound=Consumer)

logger = node_logger("consumer")


class Places(Shell[C]):
    """Base of `dafka.threads.Consumer`: everything about positions."""

    _hands: Hands | None
    """What threads have in hand; None without a name."""

    # Positions

    def position(self, partition: str | None = None) -> Any:
        """The offset of the next record `poll` gives, by partition: `{partition: offset}`.

        With a partition's name, its offset alone, or None if it is not known yet.
        """
        return self._locked(lambda: self._node.position(partition))

    def behind(self) -> int:
        """Records known to exist that this consumer has not received yet."""
        return self._there(self._node.behind)

    def heads(self) -> dict[str, int]:
        """The offset behind the last record known to exist, by partition."""
        return self._there(self._node.heads)

    def seek(self, partition: str, offset: int, topic: str | None = None) -> None:
        """Continue a partition at `offset`, back or ahead, whether or not it is known yet."""
        self._change(lambda: self._node.seek(partition, offset, topic))

    def seek_to_earliest(self) -> None:
        """Continue every partition at its first record; new ones begin there as well."""
        self._change(self._node.seek_to_earliest)

    def seek_to_latest(self) -> None:
        """Continue every partition behind the last record known; new ones begin at latest."""
        self._change(self._node.seek_to_latest)

    def seek_to_time(
        self, when: datetime, partition: str | None = None, topic: str | None = None
    ) -> None:
        """Continue every partition, or one, with the first record that arrived at `when` or later.

        By the clocks of the stores, which are asked; a moment later the position is known.
        """
        self._change(lambda: self._node.seek_to_time(when, partition, topic))

    def pause(self, *, topic: str | None = None, partition: str | None = None) -> None:
        """Give no records of a partition, of a topic, or of all, until they are resumed."""
        self._change(lambda: self._node.pause(topic=topic, partition=partition))

    def resume(self, *, topic: str | None = None, partition: str | None = None) -> None:
        """Go on where a partition, a topic, or all of them were paused."""
        self._change(lambda: self._node.resume(topic=topic, partition=partition))

    def paused(self) -> list[Position]:
        """Where the paused partitions stand, as far as they are known."""
        return self._locked(self._node.paused)

    def commit(self, up_to: Record | Run | Position | None = None, *, wait: bool = True) -> None:
        """Save that what this thread was given was handled, and what others have come back from.

        With a record, a run or a position: save that, for its partition, whatever others do.
        They are on the disk when this returns; without `wait` that is done soon, together with
        others. Raises `StoreError` if they cannot be saved now: then that is tried again later.
        """
        with self._lock:
            if self._hands is not None and up_to is None:
                self._hands.back(current_thread())
            elif self._hands is not None and up_to is not None:
                end = up_to.next if isinstance(up_to, Run) else up_to.offset
                end += isinstance(up_to, Record)
                self._hands.commit(current_thread(), (up_to.topic, up_to.partition), end)
        self.check_alive()
        self._there(lambda: self._node.commit(up_to, wait=wait))

    # Where it stands

    @property
    def endpoint(self) -> str:
        """Where peers listen to this consumer's requests."""
        self._check_started()
        return self._node.endpoint

    def stats(self) -> ConsumerStats:
        """Counters since the start."""
        return self._node.stats()

    # Inside

    def _lose(self) -> None:
        """Say what stays in the hands of threads that have ended. Only with the lock."""
        for (topic, partition), offset in self._hands.lose() if self._hands is not None else ():
            logger.warning(
                "topic %s partition %s: a thread has ended with the record at offset %d in hand: "
                "the saved position stays before it, until it is committed",
                *(topic, partition, offset),
            )
