"""What producers and store readers have in common: they answer requests for records, in turn."""

from __future__ import annotations

from collections import Counter

from dafka.core.actions import Action, SendDirect
from dafka.core.answers import Answers
from dafka.core.role import Role
from protocol import Fetch

PARK_S = 0.01
"""How long an answer rests whose requester takes no more for now."""


class Answerer(Role):
    """Base of the machines that answer FETCH."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._answers = Answers()
        self._peers: Counter[str] = Counter()

    def peer_found(
        self, address: str, endpoint: str, now: float, born: float | None = None
    ) -> list[Action]:
        """A node was introduced."""
        self._peers[address] += 1
        return []

    def peer_lost(self, address: str, endpoint: str, now: float) -> list[Action]:
        """A node fell silent: nobody waits for its answers any more."""
        self._peers[address] -= 1
        if self._peers[address] <= 0:
            del self._peers[address]
            self._answers.drop_requester(address)
        return []

    def blocked(self, answer: SendDirect, sent: int, now: float) -> list[Action]:
        """The requester took only the first `sent` records of an answer for now."""
        run = answer.run
        self._unsent(len(run) - sent)
        key = (answer.requester, run.topic, run.partition)
        self._answers.park(key, run.first + sent, run.next, now + PARK_S, runs=answer.runs)
        return []

    # For the roles

    def _unsent(self, records: int) -> None:
        """So many records of an answer have not left, though they were counted."""
        raise NotImplementedError

    def _is_for_another(self, fetch: Fetch) -> bool:
        """Whether a request names somebody else, who is there, to answer it."""
        return fetch.store not in (None, self.address) and fetch.store in self._peers
