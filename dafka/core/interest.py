"""Which topics a consumer wants, by name and by pattern, and since when it has wanted them."""

from __future__ import annotations

from typing import NamedTuple

from dafka.names import matches


class Wish(NamedTuple):
    """A topic is wanted, in this life of a consumer, from `at` on, in the time of `now`.

    `since`: it has been wanted since then, in an earlier life; None: there was none. `settled`: by
    its end, the consumer had been told of every partition there was.
    """

    at: float
    since: float | None = None
    settled: bool = False


class Interest:
    """The topics of a consumer."""

    def __init__(self) -> None:
        self._topics: dict[str, Wish] = {}
        self._patterns: dict[str, Wish] = {}

    def add(self, topic: str, wish: Wish) -> None:
        """Want a topic."""
        self._topics[topic] = wish

    def add_pattern(self, pattern: str, wish: Wish) -> None:
        """Want every topic that matches."""
        self._patterns[pattern] = wish

    def find(self, topic: str) -> Wish | None:
        """The wish that is about a topic; None if it is not wanted."""
        wish = self._topics.get(topic)
        if wish is not None or not self._patterns:
            return wish
        found = (wish for pattern, wish in self._patterns.items() if matches(pattern, topic))
        return next(found, None)

    def questions(self) -> tuple[str, ...]:
        """The topics to ask stores for: which of them match a pattern only we can tell."""
        return ("",) if self._patterns else tuple(self._topics)

    def wishes(self) -> list[Wish]:
        """All wishes."""
        return [*self._topics.values(), *self._patterns.values()]

    def renew(self, now: float) -> None:
        """What was wanted in an earlier life is wanted as though for the first time, now."""
        for wishes in (self._topics, self._patterns):
            for name, wish in wishes.items():
                if wish.since is not None:
                    wishes[name] = Wish(now)
