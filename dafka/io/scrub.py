"""Verifies a log that is in use, value by value, so that damage is found before it is read.

Decides how much to verify now; what to do about damage is decided by those who look at the log's
quarantine. Plain blocking code, as the log is.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable
from math import inf
from time import monotonic

from dafka.io.log import Damaged, Log

_STEP_BYTES = 2 * 1024 * 1024
_STEP_VALUES = 256

logger = logging.getLogger("dafka.store")


class Scrub:
    """Passes over a whole log, each spread evenly over `interval_s` seconds; 0: none.

    A pass begins anywhere, so that a store which is restarted often verifies all of it as well.
    What is appended during a pass is verified by the next one.
    """

    def __init__(
        self,
        log: Log,
        interval_s: float,
        clock: Callable[[], float] = monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._log = log
        self._interval_s = interval_s
        self._clock = clock
        self._chance = chance or random.Random()
        self._ranges: deque[tuple[str, str, int, int]] = deque()
        self._began = -interval_s
        self._whole = self._done = 0

    def step(self) -> bool:
        """Verify what is due, but not much at once; True if more is due. May raise `StoreError`."""
        if not self._interval_s:
            return False
        elapsed = self._clock() - self._began
        if not self._ranges and elapsed >= self._interval_s:
            self._begin()
            elapsed = 0.0
        # At the end all is due that is left, whatever changes have made of the sizes.
        late = elapsed >= self._interval_s
        due = inf if late else self._whole * elapsed / self._interval_s
        bound, values = min(due, self._done + _STEP_BYTES), _STEP_VALUES
        while self._ranges and self._done < bound and values:
            self._verify()
            values -= 1
        return bool(self._ranges) and self._done < due

    def _begin(self) -> None:
        extents = [extent for extent in self._log.partitions() if extent.records]
        if not extents:
            return
        self._began = self._clock()
        self._done = 0
        self._whole = sum(extent.bytes for extent in extents)
        first = self._chance.randrange(len(extents))
        ranges = [(one.topic, one.partition, one.earliest, one.next) for one in extents]
        topic, partition, earliest, end = ranges[first]
        middle = self._chance.randrange(earliest, end)
        self._ranges.append((topic, partition, middle, end))
        self._ranges.extend(ranges[first + 1 :] + ranges[:first])
        self._ranges.append((topic, partition, earliest, middle))

    def _verify(self) -> None:
        """Verify the next value, and go on behind it."""
        topic, partition, at, end = self._ranges[0]
        try:
            found = self._log.verify(topic, partition, at)
        except Damaged as error:
            logger.warning("store found damage, and will ask other stores: %s", error)
            found = error.last + 1, 0
        if found is None:
            # Dropped meanwhile, perhaps with what follows.
            extent = self._log.extent(topic, partition)
            at = end if extent is None else max(extent.earliest, at + 1)
        else:
            at = found[0]
            self._done += found[1]
        self._ranges.popleft()
        if at < end:
            self._ranges.appendleft((topic, partition, at, end))
