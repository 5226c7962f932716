"""Every error Dafka raises for its user, all below `DafkaError`. Decides nothing."""

from __future__ import annotations

from protocol.errors import ProtocolError

__all__ = [
    "Closed",
    "ConfigError",
    "DafkaError",
    "ProtocolError",
    "PublishTimeout",
    "RecordsExpired",
    "StoreError",
]


class DafkaError(Exception):
    """Root of all errors a user of Dafka may want to catch, except `ProtocolError`."""


class ConfigError(DafkaError, ValueError):
    """A setting, topic name, endpoint or command line that cannot be used."""


class Closed(DafkaError):
    """The node was stopped, or never started."""


class PublishTimeout(DafkaError, TimeoutError):
    """Records could not be accepted, or were not acknowledged, in the time given.

    `unacknowledged` is the number of records of this producer that not enough stores
    (`min_store_acks`) have confirmed yet.
    """

    def __init__(self, message: str, unacknowledged: int = 0) -> None:
        super().__init__(message)
        self.unacknowledged = unacknowledged


class StoreError(DafkaError):
    """A store's data cannot be opened, read or written."""


class RecordsExpired(DafkaError):
    """Records that a consumer asked for are no longer kept by any store.

    They have the offsets from `first` up to, but without, `end`.
    """

    def __init__(self, topic: str, partition: str, first: int, end: int) -> None:
        super().__init__(
            f"topic {topic} partition {partition}: the records from offset {first} to {end - 1} "
            f"are kept nowhere any more; going on at offset {end}"
        )
        self.topic = topic
        self.partition = partition
        self.first = first
        self.end = end
