"""Decides what heads from stores and producers say of a cluster: partitions, sizes and lags."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from protocol import DirectHead, Head

Key = tuple[str, str]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """A store of the cluster, named by its reader's `address`.

    `name` tells it from others over restarts; C stores have none. `answered` is False if it is
    there, but did not answer in time.
    """

    address: str
    endpoint: str
    name: str | None
    answered: bool


@dataclass(frozen=True, slots=True)
class Copy:
    """What one store has of a partition; `earliest` and `bytes` are None where it does not say.

    `lag` is how many of the kept records it lacks at the end.
    """

    store: StoreState
    earliest: int | None
    next: int
    lag: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class PartitionState:
    """A partition as the whole cluster has it: from its oldest record kept to its newest known.

    `bytes` is what it takes at the store where that is most.
    """

    topic: str
    partition: str
    alive: bool
    earliest: int
    next: int
    bytes: int | None
    copies: tuple[Copy, ...]

    @property
    def records(self) -> int:
        """Records that are kept."""
        return max(0, self.next - self.earliest)


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic in numbers; `bytes` is None if no store says."""

    topic: str
    partitions: int
    records: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is known of a cluster. `complete` is False if time ran out before all had answered.

    `deleted` are topics of which nothing but an operator's deletion is left.
    """

    stores: tuple[StoreState, ...]
    partitions: tuple[PartitionState, ...]
    deleted: frozenset[str]
    complete: bool

    def topics(self) -> list[TopicState]:
        """The topics by name."""
        by_topic: dict[str, list[PartitionState]] = defaultdict(list)
        for partition in self.partitions:
            by_topic[partition.topic].append(partition)
        return [
            TopicState(
                topic,
                len(partitions),
                sum(one.records for one in partitions),
                _sum(one.bytes for one in partitions),
            )
            for topic, partitions in sorted(by_topic.items())
        ]


def take(
    stores: Mapping[StoreState, Mapping[Key, DirectHead]],
    heads: Mapping[Key, Head],
    living: Collection[str],
    *,
    complete: bool,
) -> Inventory:
    """The inventory: what each store has, what producers announced, and which nodes are there."""
    keys = sorted({*heads, *(key for told in stores.values() for key in told)})
    partitions, gone = [], set()
    for key in keys:
        told = {store: answers.get(key) for store, answers in stores.items() if store.answered}
        head = heads.get(key)
        alive = head is not None or key[1] in living
        partition = _partition(key, told, head, alive)
        if partition.records or alive or not _is_deleted(told.values()):
            partitions.append(partition)
        else:
            gone.add(key[0])
    deleted = gone - {partition.topic for partition in partitions}
    return Inventory(
        tuple(sorted(stores, key=_place)), tuple(partitions), frozenset(deleted), complete
    )


def _partition(
    key: Key, told: Mapping[StoreState, DirectHead | None], head: Head | None, alive: bool
) -> PartitionState:
    known = [one for one in (head, *told.values()) if one is not None]
    end = max(one.sequence + 1 for one in known)
    # A C store does not say where it begins; it keeps everything, so where its producer began.
    begins = [one.earliest for one in told.values() if one and one.earliest is not None]
    begin = min(begins, default=(head.earliest if head else None) or 0)
    places = sorted(told, key=_place)
    copies = tuple(_copy(store, told[store], begin, end) for store in places)
    sizes = [copy.bytes for copy in copies if copy.bytes is not None]
    return PartitionState(*key, alive, begin, end, max(sizes, default=None), copies)


def _copy(store: StoreState, head: DirectHead | None, begin: int, end: int) -> Copy:
    if head is None:
        return Copy(store, None, 0, max(0, end - begin), None)
    here = head.sequence + 1
    return Copy(store, head.earliest, here, max(0, end - max(here, begin)), head.bytes)


def _is_deleted(told: Iterable[DirectHead | None]) -> bool:
    return any(head and (head.deleted or 0) > head.sequence for head in told)


def _sum(numbers: Iterable[int | None]) -> int | None:
    told = [number for number in numbers if number is not None]
    return sum(told) if told else None


def _place(store: StoreState) -> tuple[str, str]:
    return store.endpoint, store.address
