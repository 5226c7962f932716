"""Outboxes that a test leaves behind, and looks into."""

from __future__ import annotations

from pathlib import Path

from dafka.io.log import Log
from tests.support.live_nodes import fill


def kept(box: Path, topic: str = "t") -> tuple[int, int]:
    """The offsets that an outbox holds, which nobody uses at the moment."""
    with Log(box) as log:
        (extent,) = log.partitions()
        assert extent.topic == topic
        return extent.earliest, extent.next


def left_behind(nodes, box: Path, count: int, **settings) -> str:
    """Fill an outbox while there is no store; return its partition."""
    producer = nodes.producer(outbox=box, stop_timeout_s=0, **settings)
    fill(producer, count)
    assert producer.stop() == count
    return producer.partition
