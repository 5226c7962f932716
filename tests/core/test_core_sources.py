"""Which peers are stores, and whose records can be trusted."""

from __future__ import annotations

import pytest
from support.machines import (
    ENDPOINT,
    OTHER_ENDPOINT,
    OTHER_READER,
    PRODUCER,
    READER,
    direct,
    live,
    offsets,
    stored,
)

from dafka.core.actions import ConnectStore, Deliver, DisconnectStore
from dafka.core.run import Arrival
from dafka.core.sources import PROOF_S, REFERENCE_EXACT, Sources


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
    assert sources.first_seen(READER) is None
    sources.peer_found(READER, OTHER_ENDPOINT, 9.0)
    assert sources.store_found(READER, 9.0) == [ConnectStore(OTHER_ENDPOINT)]


def test_store_that_goes_before_its_proof_is_not_waited_for() -> None:
    sources = Sources()
    sources.peer_found(READER, ENDPOINT, 0.0)
    sources.store_found(READER, 0.0)
    assert sources.peer_lost(READER, ENDPOINT, 11.0) == [DisconnectStore(ENDPOINT)]
    assert sources.next_deadline() is None
    assert sources.overdue(99.0) == []


def test_peer_that_is_no_store_leaves_without_trace() -> None:
    sources = Sources()
    sources.peer_found(PRODUCER, ENDPOINT, 1.0)
    assert sources.first_seen(PRODUCER) == 1.0
    assert sources.peer_lost(PRODUCER, ENDPOINT, 8.0) == []
    assert sources.peer_lost(PRODUCER, ENDPOINT, 8.0) == []
    assert sources.first_seen(PRODUCER) is None


def test_peer_with_two_endpoints_is_there_until_both_have_gone() -> None:
    sources = Sources()
    sources.peer_found(READER, ENDPOINT, 1.0)
    sources.store_found(READER, 1.0)
    sources.peer_found(READER, OTHER_ENDPOINT, 2.0)
    assert sources.peer_lost(READER, OTHER_ENDPOINT, 8.0) == []
    assert sources.first_seen(READER) == 1.0


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


def test_contact_is_when_the_first_of_those_that_are_there_was_introduced() -> None:
    sources = Sources()
    assert sources.contact is None
    sources.peer_found(READER, ENDPOINT, 3.0)
    sources.peer_found(PRODUCER, OTHER_ENDPOINT, 5.0)
    sources.peer_lost(READER, ENDPOINT, 9.0)
    assert sources.contact == 3.0
    sources.peer_lost(PRODUCER, OTHER_ENDPOINT, 9.0)
    assert sources.contact is None
    sources.peer_found(PRODUCER, OTHER_ENDPOINT, 20.0)
    assert sources.contact == 20.0


def test_requests_are_spread_over_the_stores_and_go_to_everybody_after_two_in_vain() -> None:
    sources = _with_store(READER, OTHER_READER)
    picked = {sources.pick(f"{n:032X}", 0, 0) for n in range(50)}
    assert picked == {READER, OTHER_READER}
    assert {sources.pick(PRODUCER, 0, 0), sources.pick(PRODUCER, 1, 1)} == {READER, OTHER_READER}
    assert sources.pick(PRODUCER, 2, 2) is None


def test_everybody_is_asked_while_no_store_is_known() -> None:
    assert Sources().pick(PRODUCER, 0, 0) is None


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("sources", [Sources(), _with_store(READER)], ids=["alone", "with store"])
def test_published_records_and_those_of_stores_are_trusted(
    sources: Sources, exact: bool, fresh: bool
) -> None:
    for arrival in (live(200, 300), stored(200, 300)):
        expected = list(range(200, 300))
        assert _trusted(sources, arrival, exact=exact, fresh=fresh) == expected


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("sources", [Sources(), _with_store(READER)], ids=["alone", "with store"])
def test_answers_of_a_producer_that_promises_to_be_exact_are_trusted(
    sources: Sources, fresh: bool
) -> None:
    expected = list(range(200, 300))
    assert _trusted(sources, direct(200, 300), exact=True, fresh=fresh) == expected


@pytest.mark.parametrize("sources", [Sources(), _with_store(READER)], ids=["alone", "with store"])
def test_answers_of_a_c_producer_are_trusted_for_its_first_256_records(sources: Sources) -> None:
    """Beside a store, too: what must not be believed is asked for under the other address."""
    expected = list(range(200, REFERENCE_EXACT))
    assert _trusted(sources, direct(200, 300), exact=False, fresh=True) == expected
    assert _trusted(sources, direct(256, 300), exact=False, fresh=True) == []


@pytest.mark.parametrize("sources", [Sources(), _with_store(READER)], ids=["alone", "with store"])
def test_answers_of_a_c_producer_are_not_trusted_once_it_was_asked_for_anything_but_0(
    sources: Sources,
) -> None:
    assert _trusted(sources, direct(0, 9), exact=False, fresh=False) == []
