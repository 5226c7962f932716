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

from dafka.cluster import Cluster
from dafka.config import ConsumerConfig, ProducerConfig, StoreConfig, TowerAddress, TowerConfig
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
from dafka.io.consumer import Consumer, Record
from dafka.io.producer import Producer
from dafka.io.store import Store
from dafka.io.tower import Tower
from dafka.version import __version__

__all__ = [
    "Closed",
    "Cluster",
    "ConfigError",
    "Consumer",
    "ConsumerConfig",
    "DafkaError",
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
