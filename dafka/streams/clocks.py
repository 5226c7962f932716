"""How far an application has come: in each partition, and in event time at each operator."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import msgspec

from dafka.streams.errors import StreamError
from dafka.streams.keyed_state import Row
from dafka.streams.topology import Node, Topology
from dafka.streams.watermark import Key, Mark, Relayed, Told, Watermark

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.decode


class Clocks:
    """The watermarks of all sources, and of what other workers hand over."""

    def __init__(self, topology: Topology, worker: str, idle_s: float, settle_s: float) -> None:
        self.watermarks: dict[Node, Watermark] = {}
        self._topology = topology
        self._worker = worker
        self._by_topic: dict[str, Node] = {}
        self._finished: set[Node] = set()
        """Sources of which nothing more will be read."""
        workers = topology.workers
        for node in topology.nodes:
            if node.source is not None:
                self.watermarks[node] = Watermark(idle_s, settle_s, node.source.partitions)
                self._by_topic.update(dict.fromkeys(node.source.topics, node))
            elif node.relays and workers is not None:
                self.watermarks[node] = Relayed(len(workers))
                self._by_topic[workers.topic(node.name, worker)] = node

    # State that outlives the process

    def restore_clock(self, key: bytes, value: bytes) -> None:
        """Go on where a row was written."""
        if key[:1] == b"i":
            self._restore_mark(key, value)
        elif key[:1] == b"w":
            self._restore_watermark(key, value)

    def _restore_mark(self, key: bytes, value: bytes) -> None:
        topic, partition = _decode(key[1:])
        node = self._by_topic.get(topic)
        if node is None:
            return  # not read any more
        mark = self.watermarks[node].mark((topic, partition))
        mark.next, mark.maximum, mark.idle, mark.final = _decode(value)
        workers = self._topology.workers
        if workers is not None and workers.writer(partition) == self._worker:
            mark.final = False  # this life has yet to say so

    def _restore_watermark(self, key: bytes, value: bytes) -> None:
        for node, watermark in self.watermarks.items():
            if node.name == key[1:].decode():
                watermark.time = _decode(value)

    def collect_clocks(self) -> list[Row]:
        """What has changed since the last call."""
        rows: list[Row] = []
        for watermark in self.watermarks.values():
            for key, mark in watermark.marks.items():
                if mark.changed:
                    mark.changed = False
                    told = (mark.next, mark.maximum, mark.idle, mark.final)
                    rows.append((b"i" + _encode(key), _encode(told)))
        if rows:
            rows += [
                (b"w" + node.name.encode(), _encode(watermark.time))
                for node, watermark in self.watermarks.items()
            ]
        return rows

    # What is known

    def know(self, keys: Iterable[Key]) -> None:
        """These partitions exist, whether or not there has been a record of them."""
        for key in keys:
            self.mark(self._by_topic[key[0]], key)

    def know_others(self, topic: str, count: int) -> None:
        """So many partitions of a topic are read by other workers."""
        self.watermarks[self._by_topic[topic]].others[topic] = count

    def waited(self, topic: str, seconds: float) -> None:
        """There was nothing left to read of a topic for so long."""
        self.watermarks[self._by_topic[topic]].waited(seconds)

    def finish_sources(self) -> None:
        """Nothing more will be read by this worker."""
        self._finished.update(node for node in self.watermarks if node.source is not None)

    def leave(self) -> None:
        """This run is over: in the next one, all have to say anew that they have read all.

        Nothing follows but `collect`: others are not to be told that there is more to come.
        """
        for watermark in self.watermarks.values():
            for mark in watermark.marks.values():
                mark.changed = mark.changed or mark.final
                mark.final = False

    @property
    def finished(self) -> bool:
        """Whether that is so of other workers as well, as far as they concern this one."""
        relays = [one for one in self.watermarks.values() if isinstance(one, Relayed)]
        return all(one.final for one in relays)

    def expected(self, topic: str) -> int:
        """How many partitions a topic has at least."""
        source = self._by_topic[topic].source
        return max(1, source.partitions) if source and len(source.topics) == 1 else 1

    @property
    def relayed(self) -> list[str]:
        """The topics through which this worker is handed records."""
        return [topic for topic, node in self._by_topic.items() if node.relays]

    def positions(self, topic: str) -> dict[str, int]:
        """The next offset to process of each partition of a topic that there are records of."""
        marks = self.watermarks[self._by_topic[topic]].marks
        return {name: mark.next for (of, name), mark in marks.items() if of == topic}

    def watermark(self, topic: str) -> float:
        """How far the event time of a topic has come."""
        return self.watermarks[self._by_topic[topic]].time

    # Event time

    def told(self, node: Node) -> Told:
        """How far event time has come in all that a node gets its records from."""
        clocks = [self.watermarks[clock] for clock in node.clocks]
        active = [one.time for one in clocks if not one.idle]
        time = min(active) if active else max([one.time for one in clocks], default=-inf)
        return Told(time, not active, bool(clocks) and all(map(self._is_final, node.clocks)))

    def _is_final(self, clock: Node) -> bool:
        watermark = self.watermarks[clock]
        if clock in self._finished:
            return True
        # What others have said counts once this worker has read all itself.
        return bool(self._finished) and isinstance(watermark, Relayed) and watermark.final

    def mark(self, node: Node, key: Key) -> Mark:
        """A partition's mark; no worker has two partitions of one topic."""
        watermark, workers = self.watermarks[node], self._topology.workers
        if node.relays and workers is not None and key not in watermark.marks:
            writer = workers.writer(key[1])
            if writer in [workers.writer(name) for _, name in watermark.marks]:
                raise StreamError(
                    f"topic {key[0]} has two partitions of worker {writer!r}: it has begun anew, "
                    "with other state than before, or runs twice. Stop all workers, and begin "
                    "anew with all of them: with empty state, and another name of the application"
                )
        return watermark.mark(key)
