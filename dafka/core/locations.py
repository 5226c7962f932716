"""Decides in which order a store looks for where partitions were at a time: one after the other.

Each takes reading from the disk, of which answers with records need the most.
"""

from __future__ import annotations

from itertools import islice

from dafka.core.actions import Action, Locate, Send
from protocol import DirectOffset, GetOffset

MAX_WAITING = 10_000
"""Questions that wait; more are dropped, and whoever asked will ask again."""


class Locations:
    """The questions of GET-OFFSET that a store has not answered yet."""

    def __init__(self, store: str) -> None:
        """`store` is the name of the records."""
        self._store = store
        self._waiting: dict[Locate, None] = {}
        """In the order of arrival; the first one is being looked for."""

    def __len__(self) -> int:
        return len(self._waiting)

    def asked(self, question: GetOffset) -> list[Action]:
        """Take a question; one that is repeated while it waits is answered once."""
        wanted = Locate(question.address, question.subject, question.topic, question.time_ms)
        if wanted in self._waiting or len(self._waiting) >= MAX_WAITING:
            return []
        self._waiting[wanted] = None
        return [wanted] if len(self._waiting) == 1 else []

    def found(self, wanted: Locate, offset: int | None) -> list[Action]:
        """Answer the one that was looked for, if it could be found, and go on with the next."""
        del self._waiting[wanted]
        actions: list[Action] = [*islice(self._waiting, 1)]
        if offset is not None:
            where = (wanted.requester, wanted.partition, wanted.topic)
            actions.append(Send(DirectOffset(*where, offset, wanted.time_ms, self._store)))
        return actions
