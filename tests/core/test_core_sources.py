"""Which peers are stores, and whose records can be trusted."""

from __future__ import annotations

from support.machines import (
    ENDPOINT,
    OTHER_ENDPOINT,
    PRODUCER,
    READER,
    address,
    offsets,
)

from dafka.core.actions import ConnectStore, Deliver, DisconnectStore
from dafka.core.run import Arrival
from dafka.core.sources import MAX_DEPARTED, PROOF_S, Introduced, Sources


def _with_store(*readers: str) -> Sources:
    sources = Sources()
    for number, reader in enumerate(readers):
        sources.peer_found(reader, f"{ENDPOINT}{number}", 0.0)
        assert sources.store_found(reader, 0.0)
        assert sources.store_proven(reader)
    return sources


def _trusted(sources: Sources, arrival: Arrival, *, exact: bool, fresh: bool) -> list[int]:
    run = sources.trusted(arrival, exact=exact, fresh=fresh)
    return [] if run is None else offsets([Deliver(run)])


def test_hello_of_a_node_not_introduced_changes_nothing() -> None:
    sources = Sources()
    assert sources.store_found(READER, 0.0) == []
    assert not sources.store_proven(READER)
    assert sources.ready == []


def test_store_that_says_hello_gets_a_socket_of_its_own_once() -> None:
    sources = Sources()
    sources.peer_found(READER, ENDPOINT, 0.0)
    assert sources.store_found(READER, 0.0) == [ConnectStore(ENDPOINT)]
    assert sources.store_found(READER, 0.1) == []
    assert sources.ready == []


def test_store_is_ready_when_its_hello_came_over_its_own_socket() -> None:
    sources = Sources()
    sources.peer_found(READER, ENDPOINT, 0.0)
    sources.store_found(READER, 0.0)
    assert sources.store_proven(READER)
    assert sources.ready == [READER]
    assert not sources.store_proven(READER)
    assert sources.next_deadline() is None


def test_store_that_proves_nothing_is_believed_after_a_while() -> None:
    sources = Sources()
    sources.peer_found(READER, ENDPOINT, 0.0)
    sources.store_found(READER, 3.0)
    assert sources.next_deadline() == 3.0 + PROOF_S
    assert sources.overdue(3.0 + PROOF_S - 0.01) == []
    assert sources.overdue(3.0 + PROOF_S) == [READER]
    assert sources.ready == [READER]
    assert sources.overdue(99.0) == []


def test_store_that_has_gone_is_disconnected_and_can_come_back() -> None:
    sources = _with_store(READER)
    assert sources.peer_lost(READER, f"{ENDPOINT}0", 8.0) == [DisconnectStore(f"{ENDPOINT}0")]
    assert sources.ready == []
    assert sources.introduced(READER) == Introduced(0.0, None)
    # It may never have lost us: then it does not show again that it is a store.
    assert sources.peer_found(READER, OTHER_ENDPOINT, 9.0) == [ConnectStore(OTHER_ENDPOINT)]
    assert sources.store_found(READER, 9.0) == []


def test_node_with_two_endpoints_was_introduced_at_the_first_also_after_it_has_gone() -> None:
    sources = Sources()
    sources.peer_found(READER, ENDPOINT, 1.0)
    sources.peer_found(READER, OTHER_ENDPOINT, 5.0)
    sources.peer_lost(READER, ENDPOINT, 8.0)
    sources.peer_lost(READER, OTHER_ENDPOINT, 9.0)
    assert sources.introduced(READER) == Introduced(1.0, None)


def test_store_that_goes_before_its_proof_is_not_waited_for() -> None:
    sources = Sources()
    sources.peer_found(READER, ENDPOINT, 0.0)
    sources.store_found(READER, 0.0)
    assert sources.peer_lost(READER, ENDPOINT, 11.0) == [DisconnectStore(ENDPOINT)]
    assert sources.next_deadline() is None
    assert sources.overdue(99.0) == []


def test_peer_that_has_gone_is_remembered_as_it_was_first_met() -> None:
    sources = Sources()
    sources.peer_found(PRODUCER, ENDPOINT, 1.0)
    assert sources.introduced(PRODUCER) == (1.0, None)
    assert sources.peer_lost(PRODUCER, ENDPOINT, 8.0) == []
    assert sources.introduced(PRODUCER) == (1.0, None)
    sources.peer_found(PRODUCER, OTHER_ENDPOINT, 9.0, 8.5)
    assert sources.introduced(PRODUCER) == (1.0, None)


def test_only_so_many_peers_that_have_gone_are_remembered() -> None:
    sources = Sources()
    for number in range(MAX_DEPARTED + 1):
        sources.peer_found(address(number), ENDPOINT, 1.0)
        sources.peer_lost(address(number), ENDPOINT, 2.0)
    assert sources.introduced(address(0)) is None
    assert sources.introduced(address(1)) == (1.0, None)


def test_only_so_many_stores_are_remembered_before_they_are_introduced() -> None:
    sources = Sources()
    for number in range(1_001):
        sources.store_found(address(number), 0.0)
    assert sources.peer_found(address(1_000), ENDPOINT, 1.0) == []
    assert sources.peer_found(address(999), ENDPOINT, 1.0) == [ConnectStore(ENDPOINT)]


def test_stores_that_have_gone_leave_room_for_those_that_are_not_introduced_yet() -> None:
    sources = Sources()
    for number in range(1_001):
        sources.store_found(address(number), 0.0)
        assert sources.peer_found(address(number), ENDPOINT, 1.0) == [ConnectStore(ENDPOINT)]
        sources.peer_lost(address(number), ENDPOINT, 2.0)


def test_peer_with_two_endpoints_is_there_until_both_have_gone() -> None:
    sources = Sources()
    sources.peer_found(READER, ENDPOINT, 1.0)
    sources.store_found(READER, 1.0)
    sources.peer_found(READER, OTHER_ENDPOINT, 2.0)
    assert sources.peer_lost(READER, OTHER_ENDPOINT, 8.0) == []
    assert sources.introduced(READER) == (1.0, None)


def test_store_whose_endpoint_changes_stays_a_store() -> None:
    """A tower calls local nodes by another host as soon as a remote node has shown itself."""
    sources = Sources()
    sources.peer_found(READER, ENDPOINT, 0.0)
    sources.store_found(READER, 0.0)
    sources.store_proven(READER)
    sources.peer_found(READER, OTHER_ENDPOINT, 10.0)
    assert sources.store_found(READER, 10.0) == []  # the only hello over the new connection
    moved = [DisconnectStore(ENDPOINT), ConnectStore(OTHER_ENDPOINT)]
    assert sources.peer_lost(READER, ENDPOINT, 11.0) == moved
    assert sources.ready == []
    assert sources.next_deadline() == 11.0 + PROOF_S
    assert sources.store_proven(READER)
    assert sources.peer_lost(READER, OTHER_ENDPOINT, 12.0) == [DisconnectStore(OTHER_ENDPOINT)]
