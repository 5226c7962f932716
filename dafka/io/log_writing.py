"""Changes a log: one change at a time, each one transaction, entered in the index once committed.

Decides what a change removes and adds; where records go is the index's to decide.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dafka.core.packed import Packed
from dafka.core.run import Run
from dafka.errors import StoreError
from dafka.io import log_format as fmt
from dafka.io.log_connections import FAILURES, cause
from dafka.io.log_damage import Damaged, Quarantine
from dafka.io.log_index import Index
from dafka.io.log_plan import Piece, Plan, Row
from dafka.io.log_reading import Lend, Reader
from dafka.io.log_repair import patched

_DELETE = "DELETE FROM Cache WHERE key = ? AND raw = 1"
_LEFTOVER_VALUES = 64
_FREE_SLACK_BYTES = 16 << 20
"""So much free space stays in the file for records to come."""


class Writer:
    """The one who changes a log. `clock` returns seconds since 1970.

    `change` lends a cache within a transaction, `lend` one without.
    """

    def __init__(
        self,
        directory: Path,
        index: Index,
        quarantine: Quarantine,
        reader: Reader,
        change: Lend,
        lend: Lend,
        clock: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._index = index
        self._quarantine = quarantine
        self._reader = reader
        self._change = change
        self._lend = lend
        self._clock = clock
        self._busy = threading.Lock()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("only one change at a time: another one is still running")
        try:
            yield
        finally:
            self._busy.release()

    def append(self, runs: Sequence[Run]) -> None:
        """Store runs: all of them, or none if it raises."""
        with self._alone():
            plan = self._index.plan(runs)
            if plan.pieces:
                now = int(self._clock() * 1000)
                self._commit(plan, [], ((piece, _arrived(piece, now)) for piece in plan.pieces))
                self._index.extend(plan)

    def drop(
        self,
        name: tuple[str, str],
        before: int,
        *,
        exact: bool,
        deleted: bool,
        max_values: int,
    ) -> bool:
        """Forget the records before an offset; True if values of theirs are left to remove."""
        if not 0 <= before <= fmt.MAX_OFFSET + 1:
            raise ValueError(f"there is no offset {before}")
        with self._alone():
            return self._drop(name, before, exact=exact, deleted=deleted, max_values=max_values)

    def _drop(
        self, name: tuple[str, str], before: int, *, exact: bool, deleted: bool, max_values: int
    ) -> bool:
        plan, keys = self._index.plan_drop(name, before, exact, deleted, max_values)
        removed = keys[:max_values]
        if not plan.floors and not removed:
            return False
        with self._reader.settling:
            self._commit(plan, removed, [])
            self._index.extend(plan)
            self._index.removed(name, len(removed))
            for floor in plan.floors.values():
                self._quarantine.remove(*name, 0, floor.earliest - 1)
        return len(keys) > len(removed)

    def merge(self, max_bytes: int) -> bool:
        """Replace small neighbours by one value; True if there may be more to do."""
        with self._alone():
            name = self._index.leftover()
            if name is not None:
                # Before they are merged, values that an interrupted drop left are removed.
                self._drop(name, 0, exact=False, deleted=False, max_values=_LEFTOVER_VALUES)
                return True
            row, more = self._index.mergeable(max_bytes, self._quarantine)
            if row is None:
                return more
            parts: list[Packed] = []
            arrivals: list[tuple[int, int]] = []
            try:
                for span in row.spans:
                    value = self._reader.value(row.topic, row.partition, span)
                    if value is None:
                        raise RuntimeError("the log was changed beside its only writer")
                    parts.append(value.packed)
                    arrivals += value.arrivals
            except Damaged:
                return True
            piece = Piece(row.number, row.spans[0].first, parts)
            self._replace(row, [(piece, fmt.join_arrivals(arrivals))])
            return True

    def repair(self, run: Run) -> None:
        """Replace damaged records by those of a run."""
        topic, partition = run.topic, run.partition
        with self._alone():
            extent = self._index.extent(topic, partition)
            if extent is None:
                return
            at, end = max(run.first, extent.earliest), min(run.next, extent.next)
            while at < end:
                damage = self._quarantine.following(topic, partition, at)
                if damage is None or damage.first >= end:
                    break
                part = run.since(max(damage.first, at)).until(min(damage.last + 1, end))
                self._patch(part, extent.earliest)
                at = part.next

    def _patch(self, part: Run, earliest: int) -> None:
        row = self._index.row(part.topic, part.partition, part.first, part.next - 1)
        now = int(self._clock() * 1000)
        self._replace(row, patched(self._reader, row, part, earliest, now))
        self._reader.recent.clear()
        self._quarantine.remove(part.topic, part.partition, part.first, part.next - 1)

    def _replace(self, row: Row, values: list[tuple[Piece, fmt.Arrivals]]) -> None:
        with self._reader.settling:
            keys = [span.key for span in row.spans if span.key is not None]
            self._commit(Plan(), keys, values)
            self._index.replace(
                row, [(piece.first, piece.count, piece.size) for piece, _ in values]
            )

    def vacuum(self, max_pages: int) -> bool:
        """Give free pages beyond the slack back to the file system; True if more are left."""
        with self._alone(), self._translated(), self._lend() as cache:
            slack = _FREE_SLACK_BYTES // _pragma(cache, "page_size")
            free = _pragma(cache, "freelist_count") - slack
            if free > 0:
                # Not execute(), which would give back one page and forget the rest.
                cache._con.executescript(f"PRAGMA incremental_vacuum({min(free, max_pages)})")
            if 0 < free <= max_pages:
                # The file shrinks when what is in the write-ahead log has been moved into it.
                cache._sql("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            return free > max_pages

    def _commit(
        self, plan: Plan, removed: list[bytes], added: Iterable[tuple[Piece, fmt.Arrivals]]
    ) -> None:
        # Not transact(retry=True): it would repeat a BEGIN that fails for any reason for ever.
        with self._translated(), self._change() as cache:
            for number, name in plan.newcomers.items():
                key = fmt.partition_key(number)
                add(cache, key, fmt.encode_partition(key, *name))
            for number, floor in plan.floors.items():
                key = fmt.floor_key(number)
                cache.set(key, fmt.encode_floor(key, floor))
            for key in removed:
                cache._sql(_DELETE, (key,))
            for piece, arrivals in added:
                add(cache, piece.key, piece.encode(arrivals))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise StoreError(
                f"records cannot be written to {self._directory}: {cause(error)}"
            ) from error


def add(cache: Any, key: bytes, value: bytes) -> None:
    """Store a new entry: nothing stored is ever overwritten."""
    row = (None, None, *cache.disk.store(value, False))
    with suppress(sqlite3.IntegrityError):
        # What `add` of diskcache does once it has looked whether the key is there.
        cache._row_insert(*cache.disk.put(key), time.time(), row)
        return
    raise sqlite3.IntegrityError(f"there is already an entry for the new key {key.hex()}")


def _arrived(piece: Piece, now_ms: int) -> fmt.Arrivals:
    return [(now_ms, piece.count)]


def _pragma(cache: Any, name: str) -> int:
    return int(cache._sql(f"PRAGMA {name}").fetchone()[0])
