"""Nodes for ordinary threads, with the names, settings, errors and guarantees of those of `dafka`.

Any thread may use them, several at once. A thread of their own keeps them in touch with the
cluster: they go on working while yours compute, or wait for something else.

>>> import tempfile
>>> from dafka import threads
>>> with threads.Cluster(tempfile.mkdtemp()) as cluster:
...     with threads.Producer("hello", tower=cluster.tower) as producer:
...         offset = producer.publish(b"A first event")
...         producer.flush(timeout=5)
...     with threads.Consumer("hello", start="earliest", tower=cluster.tower) as consumer:
...         consumer.poll(timeout=5).content
b'A first event'
"""

from __future__ import annotations

from dafka.threads.cluster import Cluster
from dafka.threads.consumer import Consumer
from dafka.threads.producer import Producer

__all__ = ["Cluster", "Consumer", "Producer"]
