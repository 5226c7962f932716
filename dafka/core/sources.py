"""Knows which peers are stores, and whose records can be trusted.

A C producer that has had any record acknowledged, or holds more than 256, can answer a FETCH
with another record's content (shared/wire, "Behaviour of the reference peer", 1). So direct
records from a peer that is not known to be a store count only if the producer says that its
answers are exact (our extension of HEAD), or within the bounds where the reference is right.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from dafka.core.actions import Action, ConnectStore, DisconnectStore
from dafka.core.run import Arrival, Origin, Run

PROOF_S = 1.0
"""How long a store may take to answer on its own socket before it is used all the same."""

_MAX_SHOWN = 1000
"""Stores remembered that were not introduced yet."""
MAX_DEPARTED = 1000
"""Nodes remembered that have gone."""

REFERENCE_EXACT = 256
"""A C producer's answers are right below this offset, while nothing has been acknowledged."""


class Introduced(NamedTuple):
    """When a node was introduced to us, and when it started, if it said so."""

    at: float
    born: float | None


class Sources:
    """The stores a node can ask. A store is `ready` once its direct answers can reach us."""

    def __init__(self) -> None:
        self._endpoints: dict[str, dict[str, Introduced]] = {}
        self._departed: dict[str, tuple[Introduced, bool]] = {}
        """Who has gone, and whether it had shown that it is a store."""
        self._connected: dict[str, str] = {}
        self._patience: dict[str, float] = {}
        self._shown: set[str] = set()
        self.ready: list[str] = []
        self.contact: float | None = None
        """When a tower welcomed us last."""

    def peer_found(
        self, address: str, endpoint: str, now: float, born: float | None = None
    ) -> list[Action]:
        """A node was introduced; it may have shown before that it is a store."""
        met = self.introduced(address) or Introduced(now, born)
        _, was_store = self._departed.pop(address, (met, False))
        self._endpoints.setdefault(address, {})[endpoint] = met
        # If it never lost us, it need not show once more that it is a store.
        is_store = was_store or address in self._shown
        return self.store_found(address, now) if is_store else []

    def introduced(self, address: str) -> Introduced | None:
        """When a node was introduced first; known for a while after it has gone."""
        gone, _ = self._departed.get(address, (None, False))
        return next(iter(self._endpoints.get(address, {}).values()), gone)

    def peer_lost(self, address: str, endpoint: str, now: float) -> list[Action]:
        """A node fell silent, at one of its endpoints if it has several."""
        endpoints = self._endpoints.get(address, {})
        gone = endpoints.pop(endpoint, None)
        if not endpoints:
            is_store = address in self._connected or address in self._shown
            self._endpoints.pop(address, None)
            self._shown.discard(address)
            if gone is not None:
                self._remember(address, gone, is_store)
        if self._connected.get(address) != endpoint:
            return []
        del self._connected[address]
        self._patience.pop(address, None)
        if address in self.ready:
            self.ready.remove(address)
        again = self.store_found(address, now) if endpoints else []
        return [DisconnectStore(endpoint), *again]

    def _remember(self, address: str, gone: Introduced, is_store: bool) -> None:
        if len(self._departed) >= MAX_DEPARTED:
            del self._departed[next(iter(self._departed))]
        self._departed[address] = (gone, is_store)

    def store_found(self, address: str, now: float) -> list[Action]:
        """A node showed that it is a store: listen to it on the stores' own socket."""
        endpoint = next(iter(self._endpoints.get(address, {})), None)
        if endpoint is None and len(self._shown) < _MAX_SHOWN:
            self._shown.add(address)
        if endpoint is None or address in self._connected:
            return []
        self._connected[address] = endpoint
        self._patience[address] = now + PROOF_S
        return [ConnectStore(endpoint)]

    def store_proven(self, address: str) -> bool:
        """A STORE-HELLO came over the stores' own socket, so the way back works: SUB sends its
        subscriptions in order, D and J before L, and the hello answers the L. True if that is
        news.
        """
        self._patience.pop(address, None)
        if address not in self._connected or address in self.ready:
            return False
        self.ready.append(address)
        return True

    def overdue(self, now: float) -> list[str]:
        """Stores that never proved the way back, and are now believed to have one."""
        late = [address for address, until in self._patience.items() if now >= until]
        return [address for address in late if self.store_proven(address)]

    def next_deadline(self) -> float | None:
        """When `overdue` may have something to say."""
        return min(self._patience.values(), default=None)

    def pick(self, partition: str, attempts: int, silences: int) -> str | None:
        """The store to ask: spread over partitions; None (everybody) after two silent attempts."""
        if not self.ready or attempts >= 2:
            return None
        spread = crc32(partition.encode("utf-8", "surrogateescape"))
        return self.ready[(spread + silences) % len(self.ready)]

    def trusted(self, arrival: Arrival, *, exact: bool, fresh: bool) -> Run | None:
        """The part of `arrival` whose contents are sure to be the producer's.

        `exact`: the producer says that it answers exactly. `fresh`: we never asked for anything
        but from offset 0 on, which a C producer answers only while nothing is acknowledged.
        """
        if arrival.origin is not Origin.PEER or exact:
            return arrival.run
        run = arrival.run.until(REFERENCE_EXACT)
        return run if fresh and run.contents else None
