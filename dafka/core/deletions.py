"""Decides how a store deletes a whole topic, and whom it tells when that is done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dafka.core.actions import Action, Drop, Send
from dafka.core.extent import Extent
from protocol import TopicDeleted

_MAX_REQUESTERS = 100


@dataclass(slots=True)
class _Deletion:
    """A topic that is being deleted: who asked, what is still to go, how many records it had."""

    requesters: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    records: int = 0


class Deletions:
    """The topics that a store is deleting."""

    def __init__(self, store: str) -> None:
        """`store` is the address under which the store reader speaks."""
        self._store = store
        self._topics: dict[str, _Deletion] = {}

    def begin(self, topic: str, requester: str, held: Iterable[Extent]) -> list[Action]:
        """Delete what is held of a topic; a request during a deletion joins it."""
        deletion = self._topics.get(topic)
        if deletion is not None:
            room = len(deletion.requesters) < _MAX_REQUESTERS
            if room and requester not in deletion.requesters:
                deletion.requesters.append(requester)
            return []
        going = [extent for extent in held if extent.deleted < extent.next]
        if not going:
            return [Send(TopicDeleted(requester, self._store, topic, 0))]
        self._topics[topic] = _Deletion(
            [requester],
            {extent.partition: extent.next for extent in going},
            sum(extent.records for extent in going),
        )
        return [Drop(topic, one.partition, one.next, deleted=True) for one in going]

    def done(self, drop: Drop) -> list[Action]:
        """A partition's records are gone."""
        deletion = self._topics.get(drop.topic)
        if deletion is None or drop.before < deletion.left.get(drop.partition, 0):
            return []
        deletion.left.pop(drop.partition, None)
        if deletion.left:
            return []
        del self._topics[drop.topic]
        return [
            Send(TopicDeleted(requester, self._store, drop.topic, deletion.records))
            for requester in deletion.requesters
        ]
