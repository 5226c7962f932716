"""Looks after a log between commits: drops what has expired, merges small values, frees space,
verifies what nobody has read for long.

Plain blocking code, to be called in a thread by whoever also appends. What is to go,
`dafka.core.retention` decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from dafka.core.extent import Extent
from dafka.core.retention import Held, overdue
from dafka.io.log import Log
from dafka.io.scrub import Scrub
from dafka.retention import Retention, rule_for


class Keeper:
    """Upkeep of one log, in steps of bounded size. `clock` returns seconds since 1970."""

    def __init__(
        self,
        log: Log,
        rules: Sequence[Retention],
        scrub: Scrub,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._scrub = scrub
        self._rules = rules
        self._clock = clock

    def step(self) -> tuple[list[Extent], bool]:
        """Do the most urgent bit: what partitions that lost records still have, and if more is due.

        Raises `StoreError` if the disk does not let us.
        """
        # An idle store, which commits nothing, is to notice it as well.
        self._log.check_place()
        trimmed = self._drop() if self._rules else []
        if trimmed:
            return trimmed, True
        untidy = self._log.merge() or self._log.vacuum()
        return [], self._scrub.step() or untidy

    def _drop(self) -> list[Extent]:
        """Drop the oldest value of every partition where it is overdue."""
        trimmed: list[Extent] = []
        for topic, extents in self._by_topic().items():
            rule = rule_for(self._rules, topic)
            if rule is None:
                continue
            for held in overdue(rule, self._held(extents), self._clock()):
                self._log.drop(topic, held.partition, held.oldest_last + 1)
                extent = self._log.extent(topic, held.partition)
                trimmed += [] if extent is None else [extent]
        return trimmed

    def _by_topic(self) -> dict[str, list[Extent]]:
        topics: dict[str, list[Extent]] = {}
        for extent in self._log.partitions():
            if extent.records:
                topics.setdefault(extent.topic, []).append(extent)
        return topics

    def _held(self, extents: Iterable[Extent]) -> list[Held]:
        found = [(one, self._log.oldest(one.topic, one.partition)) for one in extents]
        return [
            Held(
                one.partition,
                one.records,
                one.bytes,
                oldest.last,
                oldest.last + 1 - one.earliest,
                oldest.bytes,
                oldest.arrival,
            )
            for one, oldest in found
            if oldest is not None
        ]
