"""Which partitions of a consumer are paused. Of two calls that are about one, the later counts."""

from __future__ import annotations

from collections.abc import Iterable

from dafka.core.partition import Key


class Pauses:
    """The paused partitions, and whether partitions that are found later will be."""

    def __init__(self) -> None:
        self.keys: set[Key] = set()
        self._topics: dict[str, bool] = {}
        self._all = False

    def found(self, key: Key) -> None:
        """A partition was found: it is paused if its topic is."""
        if self._topics.get(key[0], self._all):
            self.keys.add(key)

    def pause(self, topic: str | None, partition: str | None, known: Iterable[Key]) -> None:
        """Pause the partitions that are about to be, as far as they are `known`."""
        self._note(topic, partition, paused=True)
        self.keys |= set(known)

    def resume(self, topic: str | None, partition: str | None) -> list[Key]:
        """Pause them no more; return those that were."""
        self._note(topic, partition, paused=False)
        keys = [key for key in self.keys if topic in (None, key[0]) and partition in (None, key[1])]
        self.keys -= set(keys)
        return keys

    def _note(self, topic: str | None, partition: str | None, *, paused: bool) -> None:
        if partition is not None:
            if paused and topic is not None:
                self.keys.add((topic, partition))
        elif topic is not None:
            self._topics[topic] = paused
        else:
            self._topics.clear()
            self._all = paused
