"""Dafka: publish, store, replay and process streams of records, with no broker to operate.

>>> import dafka, tempfile
>>> with dafka.Cluster(tempfile.mkdtemp()) as cluster:
...     with dafka.Producer("hello", tower=cluster.tower) as producer:
...         offset = producer.publish(b"A first event")
...         producer.flush(timeout=5)
...     with dafka.Consumer("hello", start="earliest", tower=cluster.tower) as consumer:
...         consumer.poll(timeout=5).content
b'A first event'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dafka.version import __version__

if TYPE_CHECKING:
    from dafka.cluster import Cluster
    from dafka.config import ConsumerConfig, ProducerConfig, StoreConfig, TowerAddress, TowerConfig
    from dafka.core.inventory import Inventory
    from dafka.core.run import Run
    from dafka.errors import (
        Closed,
        ConfigError,
        DafkaError,
        ProtocolError,
        PublishTimeout,
        RecordsExpired,
        StoreError,
    )
    from dafka.io.consumer import Consumer
    from dafka.io.inspector import Inspector
    from dafka.io.producer import Producer
    from dafka.io.records import Position, Record
    from dafka.io.store import Store
    from dafka.io.tower import Tower

__all__ = [
    "Closed",
    "Cluster",
    "ConfigError",
    "Consumer",
    "ConsumerConfig",
    "DafkaError",
    "Inspector",
    "Inventory",
    "Position",
    "Producer",
    "ProducerConfig",
    "ProtocolError",
    "PublishTimeout",
    "Record",
    "RecordsExpired",
    "Run",
    "Store",
    "StoreConfig",
    "StoreError",
    "Tower",
    "TowerAddress",
    "TowerConfig",
    "__version__",
]

_WHERE = {
    "Closed": "dafka.errors",
    "Cluster": "dafka.cluster",
    "ConfigError": "dafka.errors",
    "Consumer": "dafka.io.consumer",
    "ConsumerConfig": "dafka.config",
    "DafkaError": "dafka.errors",
    "Inspector": "dafka.io.inspector",
    "Inventory": "dafka.core.inventory",
    "Position": "dafka.io.records",
    "Producer": "dafka.io.producer",
    "ProducerConfig": "dafka.config",
    "ProtocolError": "dafka.errors",
    "PublishTimeout": "dafka.errors",
    "Record": "dafka.io.records",
    "RecordsExpired": "dafka.errors",
    "Run": "dafka.core.run",
    "Store": "dafka.io.store",
    "StoreConfig": "dafka.config",
    "StoreError": "dafka.errors",
    "Tower": "dafka.io.tower",
    "TowerAddress": "dafka.config",
    "TowerConfig": "dafka.config",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: a program that only begins need not wait for gevent and zmq."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_WHERE[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
