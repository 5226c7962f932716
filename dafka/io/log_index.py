"""Which partitions there are and where their values are, for any number of threads.

Decides what continues a partition; touches no disk.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby

from dafka.core.extent import Extent
from dafka.core.packed import Packed
from dafka.core.run import Run
from dafka.io import log_format as fmt
from dafka.io.log_damage import Quarantine
from dafka.io.log_plan import Plan, Row, check_contents, pieces
from dafka.io.log_values import Span, Values

_MERGE_STEPS = 256


class Index:
    """The values of all partitions; every method may be called from any thread.

    Changes come from one thread at a time, so what it plans is still true when it is entered.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._partitions: dict[int, Values] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._next_number = 0
        self._unscanned: dict[int, None] = {}
        self._leftover: dict[int, None] = {}

    # Loading

    def name(self, number: int, topic: str, partition: str) -> None:
        """Enter a partition that has no values yet; `BadValue` if it has another number already."""
        with self._lock:
            if (topic, partition) in self._numbers:
                raise fmt.BadValue("another entry names the same partition")
            self._partitions[number] = Values(number, topic, partition)
            self._numbers[topic, partition] = number
            self._next_number = max(self._next_number, number + 1)

    def knows(self, number: int) -> bool:
        """Whether a partition has this number, or may get it while another thread appends."""
        with self._lock:
            return number in self._partitions or number >= self._next_number

    def reserve(self, number: int) -> None:
        """Never give this number to a new partition: one whose name is lost has it."""
        with self._lock:
            self._next_number = max(self._next_number, number + 1)

    def load_floor(self, number: int, floor: fmt.Floor) -> None:
        """Enter where a partition begins."""
        with self._lock:
            if number in self._partitions:
                self._partitions[number].earliest, self._partitions[number].deleted = floor

    def load(self, keys: Sequence[bytes]) -> list[int]:
        """Enter values from their keys, in order; the partition numbers that nothing names.

        Those will not be given to a new partition either.
        """
        numbers, firsts, counts, sizes = fmt.columns(keys)
        ends = max(map(int.__add__, firsts, counts), default=0)
        if 0 in counts or ends - 1 > fmt.MAX_OFFSET:
            return self.load([key for key in keys if fmt.parse_record_key(key)])
        nameless, start = [], 0
        for number, some in groupby(numbers):
            stop = start + sum(1 for _ in some)
            self.reserve(number)
            with self._lock:
                found = self._partitions.get(number)
                if found is None:
                    nameless.append(number)
                else:
                    found.load(firsts[start:stop], counts[start:stop], sizes[start:stop])
            start = stop
        return nameless

    def settle(self) -> None:
        """All has been loaded."""
        with self._lock:
            for number, found in self._partitions.items():
                found.settle()
                self._unscanned[number] = None
                self._note_leftover(number)

    def unplaced(self) -> list[tuple[str, str]]:
        """Topic and partition of those of which nothing tells where they are."""
        with self._lock:
            lost = [found for found in self._partitions.values() if found.earliest is None]
            return [(found.topic, found.partition) for found in lost]

    # Appending

    def plan(self, runs: Iterable[Run]) -> Plan:
        """Join runs that follow each other and cut them into values; changes nothing.

        Raises `ValueError` for a run that does not continue its partition, and for contents that
        are too large.
        """
        joined: dict[tuple[str, str], list[Run]] = {}
        for run in runs:
            if run.contents:
                check_contents(run)
                joined.setdefault((run.topic, run.partition), []).append(run)
        plan = Plan()
        for name, parts in joined.items():
            number = self._continue(name, parts, plan)
            packed = (Packed.of(part.contents) for part in parts)
            plan.pieces.extend(pieces(number, parts[0].first, packed))
        return plan

    def _continue(self, name: tuple[str, str], parts: list[Run], plan: Plan) -> int:
        """The partition's number, a new one for a new partition; every part must fit."""
        with self._lock:
            number = self._number(name, plan)
            stored = self._partitions.get(number)
            if stored is not None and stored.earliest is not None:
                expected = stored.next
            else:
                expected = max(0, parts[0].first)
                plan.floors[number] = fmt.Floor(expected)
        for part in parts:
            if part.first != expected or part.first < 0 or part.next - 1 > fmt.MAX_OFFSET:
                raise ValueError(
                    f"records of topic {part.topic!r}, partition {part.partition} from offset"
                    f" {part.first} to {part.next - 1} cannot be appended: {expected} comes next"
                )
            expected = part.next
        return number

    def _number(self, name: tuple[str, str], plan: Plan) -> int:
        """The partition's number; a new one is noted in the plan."""
        number = self._numbers.get(name)
        if number is None:
            number = self._next_number + len(plan.newcomers)
            if number >= fmt.MAX_PARTITIONS:
                raise ValueError("no more partitions are possible in this log")
            plan.newcomers[number] = name
        return number

    def extend(self, plan: Plan) -> None:
        """Enter what has been written."""
        for number, name in plan.newcomers.items():
            self.name(number, *name)
        with self._lock:
            for number, floor in plan.floors.items():
                self._partitions[number].set_floor(*floor)
                self._note_leftover(number)
            for piece in plan.pieces:
                found = self._partitions[piece.number]
                found.add(piece.first, piece.count, piece.size)
                self._unscanned[piece.number] = None

    # Forgetting and replacing

    def plan_drop(
        self, name: tuple[str, str], before: int, exact: bool, deleted: bool, max_values: int
    ) -> tuple[Plan, list[bytes]]:
        """What to write and the first keys to remove to forget the records before an offset.

        One key more than `max_values` where there are more. Changes nothing.
        """
        plan = Plan()
        with self._lock:
            if name not in self._numbers and not exact:
                return plan, []
            number = self._number(name, plan)
            found = self._partitions.get(number, Values(number, *name))
            floor = found.floor(before, exact)
            if floor is None:
                return plan, []
            gone = max(found.deleted, before) if deleted else found.deleted
            if (floor, gone) != (found.earliest, found.deleted):
                plan.floors[number] = fmt.Floor(floor, gone)
            return plan, found.unused(floor, max_values + 1)

    def removed(self, name: tuple[str, str], count: int) -> None:
        """Enter that the first values of a partition, all forgotten, are no longer stored."""
        with self._lock:
            found = self._values(*name)
            found.remove(count)
            self._note_leftover(found.number)

    def _note_leftover(self, number: int) -> None:
        if self._partitions[number].forgotten:
            self._leftover[number] = None
        else:
            self._leftover.pop(number, None)

    def leftover(self) -> tuple[str, str] | None:
        """Topic and partition of one that has values to remove, all of them forgotten."""
        with self._lock:
            for number in self._leftover:
                found = self._partitions[number]
                return found.topic, found.partition
            return None

    def mergeable(self, max_bytes: int, quarantine: Quarantine) -> tuple[Row | None, bool]:
        """Neighbours worth merging, or None; and whether there may be more."""
        steps = _MERGE_STEPS
        with self._lock:
            while self._unscanned and steps > 0:
                number = next(iter(self._unscanned))
                found = self._partitions[number]
                damaged = partial(quarantine.overlaps, found.topic, found.partition)
                at, steps = found.mergeable(max_bytes, steps, damaged)
                if at is not None:
                    return self._row(found, at), True
                if found.scanned >= len(found):
                    del self._unscanned[number]
            return None, bool(self._unscanned)

    def row(self, topic: str, partition: str, first: int, last: int) -> Row:
        """The kept values that have any of these offsets."""
        with self._lock:
            found = self._values(topic, partition)
            return self._row(found, found.positions(first, last))

    def replace(self, row: Row, values: Iterable[tuple[int, int, int]]) -> None:
        """Enter what has been written instead of a row: first offsets, counts and sizes."""
        with self._lock:
            self._partitions[row.number].replace(row.positions, values)
            self._unscanned[row.number] = None

    def _row(self, found: Values, at: range) -> Row:
        spans = [found.span(position) for position in at]
        return Row(found.topic, found.partition, found.number, at, spans)

    def cut(
        self, topic: str, partition: str, keep_bytes: int | None, keep_records: int | None
    ) -> int:
        """The offset before which whole values can go; 0 for an unknown partition."""
        with self._lock:
            number = self._numbers.get((topic, partition))
            if number is None:
                return 0
            return self._partitions[number].cut(keep_bytes, keep_records)

    # Looking up

    def find(self, topic: str, partition: str, offset: int) -> Span | None:
        """The value that holds `offset`; None if the offset is not in the partition's extent."""
        with self._lock:
            number = self._numbers.get((topic, partition))
            return None if number is None else self._partitions[number].find(offset)

    def holds(self, topic: str, partition: str, span: Span) -> bool:
        """Whether this very value is still one of the partition's."""
        with self._lock:
            return self._values(topic, partition).holds(span)

    def spans(self, number: int) -> Iterator[Span]:
        """The values kept of a partition at this moment, in order."""
        with self._lock:
            return self._partitions[number].spans()

    def numbers(self) -> dict[int, tuple[str, str]]:
        """Topic and partition of each partition number."""
        with self._lock:
            return {number: name for name, number in self._numbers.items()}

    def extents(self) -> dict[int, Extent]:
        """What is kept of each partition, by partition number."""
        with self._lock:
            extents = {number: found.extent() for number, found in self._partitions.items()}
        return {number: extent for number, extent in extents.items() if extent is not None}

    def extent(self, topic: str, partition: str) -> Extent | None:
        """What is kept of one partition; None if it is unknown."""
        with self._lock:
            number = self._numbers.get((topic, partition))
            return None if number is None else self._partitions[number].extent()

    def _values(self, topic: str, partition: str) -> Values:
        return self._partitions[self._numbers[topic, partition]]
