"""Where a producer stands, as its user can ask at any time. Changes nothing."""

from __future__ import annotations

from dafka.config import ProducerConfig
from dafka.core import producer as core
from dafka.errors import Closed
from dafka.io.life import Life
from dafka.io.node import Wiring
from dafka.io.outbox import Outbox
from dafka.io.refusals import obstacle


class Standing(Life):
    """What a producer is called, has published and has seen acknowledged."""

    config: ProducerConfig
    _machine: core.Producer
    _wiring: Wiring
    _outbox: Outbox | None
    _next: int

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

    def stats(self) -> core.ProducerStats:
        """Counters since the start."""
        return self._machine.stats

    @property
    def trouble(self) -> str:
        """Why the outbox can be neither written nor read at this moment; empty if all is well."""
        return "" if self._outbox is None else self._outbox.trouble

    @property
    def obstacle(self) -> str:
        """Why records are not acknowledged, as far as it is known here, and what would help."""
        return self.trouble or obstacle(self._machine, self._wiring.discovery.stores)
