"""Decides how damaged records of a log are replaced: by those of another store."""

from __future__ import annotations

from dataclasses import dataclass

from dafka.core.actions import Action, Repair, Send
from dafka.core.intake import Intake
from dafka.core.partition import Key
from dafka.core.run import Run
from dafka.core.sources import Sources
from protocol import Fetch

_ASK_S = 1.0
_AT_ONCE = 4
"""Damaged ranges that are asked for at the same time: what comes is held in memory."""
_PATIENCE = 3
"""Requests for a range that bring nothing, after which others have their turn."""
_ROOM = 1 << 40


@dataclass(slots=True)
class _Damage:
    """The offsets [first, end), what has come of them, and when to ask again."""

    first: int
    end: int
    intake: Intake
    contents: list[bytes]
    attempts: int = 0
    due: float | None = None


class Repairs:
    """The damaged ranges of all partitions. Only stores are asked: producers have forgotten."""

    def __init__(self, sources: Sources, direct: str, pause_max: float) -> None:
        self._sources = sources
        self._direct = direct
        self._pause_max = pause_max
        self._damages: dict[Key, list[_Damage]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._damages.values()))

    def add(self, key: Key, first: int, end: int) -> None:
        """A range is damaged; what is known already changes nothing."""
        known = self._damages.setdefault(key, [])
        if any(damage.first <= first and end <= damage.end for damage in known):
            return
        known.append(_Damage(first, end, Intake(first), []))

    def done(self, key: Key, first: int, end: int) -> None:
        """Forget the ranges that lie in [first, end)."""
        left = [d for d in self._damages.get(key, []) if d.first < first or end < d.end]
        self._damages[key] = left
        if not left:
            del self._damages[key]

    def ask(self, now: float) -> list[Action]:
        """Ask for ranges whose time has come, of one store after the other."""
        if not self._sources.ready:
            return []
        actions: list[Action] = []
        for (topic, partition), damage in self._current():
            if damage.due is not None and now < damage.due:
                continue
            first = damage.intake.next
            store = self._sources.ready[damage.attempts % len(self._sources.ready)]
            pause = min(_ASK_S * 2 ** min(damage.attempts, 16), self._pause_max)
            damage.attempts += 1
            damage.due = now + pause
            count = damage.end - first
            wanted = (partition, self._direct, topic, first, count, store)
            actions.append(Send(Fetch(*wanted, runs=1)))
        return actions

    def offer(self, key: Key, run: Run) -> Repair | None:
        """Take what may belong to a damaged range; the repair, once the range is complete."""
        for damage in self._damages.get(key, []):
            part = run.since(damage.first).until(damage.end)
            if damage.intake.next >= damage.end or not part.contents:
                continue
            for piece in damage.intake.offer(part, _ROOM):
                damage.contents += piece.contents
                damage.attempts = 0
            if damage.intake.next >= damage.end:
                return Repair(Run(*key, damage.first, damage.contents))
        return None

    def next_deadline(self) -> float | None:
        """When `ask` has something to do."""
        if not self._sources.ready:
            return None
        return min((damage.due or 0.0 for _, damage in self._current()), default=None)

    def _current(self) -> list[tuple[Key, _Damage]]:
        waiting = [
            (key, damage)
            for key, damages in self._damages.items()
            for damage in damages
            if damage.intake.next < damage.end
        ]
        # What stays unanswered goes behind the others: perhaps nobody has it.
        return sorted(waiting, key=lambda each: each[1].attempts // _PATIENCE)[:_AT_ONCE]
