"""Which of an application's workers reads a partition, and which of them has a key.

Every worker decides that by itself, and alike, since all are given the same list: nobody votes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any

from dafka.errors import ConfigError
from dafka.names import check_topic
from dafka.streams.keyed_state import key_bytes

_CACHED = 1 << 16
_SIGN_BYTES = 8
"""How a worker signs the partitions that it writes: half of their names."""


@dataclass(frozen=True)
class Workers:
    """The processes of one application. The order in which they are named says nothing."""

    application: str
    names: tuple[str, ...]
    """Sorted."""

    def __len__(self) -> int:
        return len(self.names)

    def owner(self, topic: str, partition: str) -> str:
        """Who reads a partition: the worker whose hash with it is the highest."""
        return max(self.names, key=lambda name: _hash(name, topic, partition))

    def place(self, key: Any) -> int:
        """Who has a key, by its number."""
        return _place(key, len(self.names))

    def topic(self, exchange: str, worker: str) -> str:
        """Where the others hand a worker the records of its keys."""
        return f"{self.application}.{exchange}.{self._list}.{worker}"

    def sign(self, worker: str, name: str) -> str:
        """The name of a partition that shows who writes it."""
        return self._signs[worker] + name[2 * _SIGN_BYTES :]

    def writer(self, partition: str) -> str | None:
        """Who writes a partition; None if it is none of these."""
        sign = partition[: 2 * _SIGN_BYTES]
        return next((name for name, own in self._signs.items() if own == sign), None)

    @cached_property
    def _signs(self) -> dict[str, str]:
        return {name: _hash(name)[:_SIGN_BYTES].hex().upper() for name in self.names}

    @cached_property
    def _list(self) -> str:
        """Other lists have other topics, so that nothing of an earlier list is taken for new."""
        return _hash(*self.names)[:4].hex()


def checked(application: str, names: Iterable[str], worker: str) -> Workers | None:
    """The workers of an application, None if there are none; `ConfigError` if they cannot be."""
    given = [names] if isinstance(names, str) else list(names)
    if not given:
        if worker:
            raise ConfigError(f"worker is {worker!r}, but there is no list: name all in workers=…")
        return None
    for name in given:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"a worker is called {name!r}: it must be some text")
        if given.count(name) > 1:
            raise ConfigError(f"there are two workers {name!r}: their names must differ")
    workers = Workers(application, tuple(sorted(given)))
    for name in given:
        check_topic(workers.topic("", name))
    if worker and worker not in given:
        raise ConfigError(f"worker {worker!r} is not one of the workers {', '.join(given)}")
    return workers


@lru_cache(_CACHED)
def _place(key: Any, count: int) -> int:
    return int.from_bytes(blake2b(key_bytes(key), digest_size=8).digest(), "big") % count


def _hash(*parts: str) -> bytes:
    return blake2b(b"\0".join(part.encode() for part in parts)).digest()


def split(keys: Sequence[Any], workers: Workers) -> list[list[int]]:
    """The indices of each worker's keys."""
    found: list[list[int]] = [[] for _ in workers.names]
    count = len(workers)
    for index, key in enumerate(keys):
        found[_place(key, count)].append(index)
    return found
