"""Answers to FETCH, a slice at a time and in turn, so that one long catch-up starves nobody."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

Key = tuple[str, str, str]
"""Requester, topic and partition of an answer."""

MAX_RANGES = 64
"""Ranges that one answer remembers; the requester repeats what was forgotten."""


@dataclass(slots=True)
class Answer:
    """What is still to be sent to one requester: ranges [first, end) of a partition's offsets."""

    requester: str
    topic: str
    partition: str
    ranges: list[tuple[int, int]] = field(default_factory=list)
    not_before: float = 0.0
    runs: bool = False
    """Whether the requester welcomes DIRECT-RECORDS, as it said last."""

    @property
    def key(self) -> Key:
        """What tells this answer from others."""
        return self.requester, self.topic, self.partition

    def add(self, first: int, end: int) -> None:
        """Send this range as well; what is asked for twice before it was sent is sent once."""
        kept = []
        for range_ in self.ranges:
            if range_[1] < first or end < range_[0]:
                kept.append(range_)
            else:
                first, end = min(first, range_[0]), max(end, range_[1])
        self.ranges = sorted([*kept, (first, end)])[:MAX_RANGES]

    def take(self, most: int) -> tuple[int, int]:
        """The next range to send, of at most so many records; it is no longer to be sent."""
        first, end = self.ranges[0]
        cut = min(end, first + most)
        self.ranges[:1] = [(cut, end)] if cut < end else []
        return first, cut


class Answers:
    """All answers under way, served in turn; at most `limit`, beyond which requests are dropped.

    (A requester repeats a request that stays unanswered.)
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._answers: OrderedDict[Key, Answer] = OrderedDict()
        self._limit = limit

    def __len__(self) -> int:
        return len(self._answers)

    def add(
        self,
        requester: str,
        topic: str,
        partition: str,
        first: int,
        end: int,
        *,
        runs: bool = False,
    ) -> bool:
        """Begin to answer, or add to the answer under way; False: too many, and it was dropped."""
        key = (requester, topic, partition)
        answer = self._answers.get(key)
        if answer is None:
            if len(self._answers) >= self._limit:
                return False
            answer = self._answers[key] = Answer(requester, topic, partition)
        answer.add(first, end)
        answer.runs = runs
        return True

    def turn(self, now: float) -> Answer | None:
        """The answer whose turn it is, which then goes to the end of the line."""
        for key, answer in self._answers.items():
            if answer.not_before <= now:
                self._answers.move_to_end(key)
                return answer
        return None

    def get(self, key: Key) -> Answer | None:
        """The answer under way, if there is one."""
        return self._answers.get(key)

    def park(self, key: Key, first: int, end: int, until: float, *, runs: bool = False) -> None:
        """The requester takes no more for now: send [first, end) again, not before `until`."""
        answer = self._answers.setdefault(key, Answer(*key, runs=runs))
        answer.add(first, end)
        answer.not_before = until

    def drop(self, key: Key) -> None:
        """End one answer."""
        self._answers.pop(key, None)

    def drop_requester(self, requester: str) -> None:
        """End all answers to a requester that has gone."""
        for key in [k for k in self._answers if k[0] == requester]:
            del self._answers[key]

    def next_deadline(self) -> float | None:
        """When the next `turn` is due: in the past if one is waiting."""
        return min((answer.not_before for answer in self._answers.values()), default=None)
