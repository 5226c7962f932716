"""Where a producer of all threads stands, as any thread can ask at any time. Changes nothing."""

from __future__ import annotations

from typing import TypeVar

from dafka.core.producer import ProducerStats
from dafka.io.producer import Producer
from dafka.threads.shell import Shell

P = TypeVar("P", bound=Producer)


class Standing(Shell[P]):
    """What a producer is called, has published and has seen acknowledged."""

    _next: int

    @property
    def address(self) -> str:
        """This node's address, which names its partition."""
        return self._node.address

    @property
    def partition(self) -> str:
        """The name of this producer's partition: its address."""
        return self._node.address

    @property
    def endpoint(self) -> str:
        """Where peers listen to this producer."""
        self._check_started()
        return self._node.endpoint

    @property
    def next_offset(self) -> int:
        """The offset the next record will get; see `dafka.Producer`."""
        return self._next

    @property
    def saved(self) -> int:
        """The records before this offset outlive this process: in the outbox, or acknowledged."""
        return self._node.saved

    @property
    def acknowledged(self) -> int:
        """Records that enough stores have acknowledged; they are the first of the partition."""
        return self._node.acknowledged

    @property
    def unacknowledged(self) -> int:
        """Records that not enough stores have acknowledged yet."""
        return self._next - self._node.acknowledged

    def stats(self) -> ProducerStats:
        """Counters since the start."""
        return self._node.stats()

    @property
    def trouble(self) -> str:
        """Why the outbox can be neither written nor read at this moment; empty if all is well."""
        return self._node.trouble

    @property
    def obstacle(self) -> str:
        """Why records are not acknowledged, as far as it is known here, and what would help."""
        return self._there(lambda: self._node.obstacle)
