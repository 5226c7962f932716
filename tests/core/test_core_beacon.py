"""When a node shows itself, and whom it listens to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.machines import ENDPOINT, OTHER_ENDPOINT, address, only

from dafka.core.actions import Connect, Disconnect, ReachTowers, SendBeacon, Warn
from dafka.core.beacon import TOWER_PATIENCE_S, Beacon
from protocol import NodeBeacon, TowerBeacon, Welcome

OWN = NodeBeacon(address(1), "", "5000", "store", "0.1")


def _own(now: float) -> SendBeacon:
    """Our beacon, after so many seconds of life."""
    return SendBeacon(replace(OWN, age_ms=round(now * 1000)))


TOWERS = ["tcp://a:1,tcp://a:2", "tcp://b:1,tcp://b:2"]
OWN_TOLD = TowerBeacon(address(1), "tcp://h:5000", "store", "0.1")
"""What a tower makes of it: as long as this comes back, a tower is there."""


def _beacon(max_peers: int = 3) -> Beacon:
    beacon = Beacon(OWN, towers=TOWERS, interval=1.0, timeout=4.0, max_peers=max_peers)
    assert beacon.next_deadline() is None
    assert beacon.tick(0.0) == []
    assert beacon.start(0.0) == []
    assert beacon.receive(Welcome(), 0.0) == [_own(0.0)]
    return beacon


def _of(number: int, endpoint: str = ENDPOINT) -> TowerBeacon:
    return TowerBeacon(address(number), endpoint, "producer", "0.1")


def test_node_is_silent_until_a_tower_has_welcomed_it() -> None:
    """Nodes answer a newcomer's beacon once: it must be able to hear them by then."""
    beacon = Beacon(OWN, towers=TOWERS, interval=1.0, timeout=4.0, max_peers=3)
    assert beacon.start(0.0) == []
    assert beacon.tower_connected(0.1) == []
    assert beacon.next_deadline() == 1.0
    assert beacon.tick(1.0) == []
    assert not beacon.welcomed
    assert beacon.receive(Welcome(), 1.2) == [_own(1.2)]
    assert beacon.welcomed
    assert beacon.next_deadline() == 2.0
    assert _own(2.2) in beacon.tick(2.2)


def test_node_that_was_old_at_its_start_grows_older() -> None:
    """A producer that continues a partition is as old as the partition."""
    old = replace(OWN, age_ms=60_000)
    beacon = Beacon(old, towers=TOWERS, interval=1.0, timeout=4.0, max_peers=3)
    beacon.start(5.0)
    assert beacon.receive(Welcome(), 7.0) == [SendBeacon(replace(OWN, age_ms=62_000))]


@pytest.mark.parametrize("interval", [0.1, 1.0, 60.0])
def test_operator_is_told_once_that_no_tower_answers_and_where(interval: float) -> None:
    beacon = Beacon(OWN, towers=TOWERS, interval=interval, timeout=100.0, max_peers=3)
    beacon.start(10.0)
    told: list[tuple[float, Warn]] = []
    while (now := beacon.next_deadline() or 0.0) < 200.0:
        told += [(now, warning) for warning in only(beacon.tick(now), Warn)]
    ((when, warning),) = told
    assert when == 10.0 + TOWER_PATIENCE_S
    assert warning.text == (
        "no tower answers at tcp://a:1,tcp://a:2 or tcp://b:1,tcp://b:2: waiting; start one with "
        "'dafka tower' or 'dafka server', or name another with --tower"
    )


@pytest.mark.parametrize("message", [Welcome(), OWN_TOLD, TowerBeacon(address(2), ENDPOINT)])
def test_operator_is_told_nothing_once_a_tower_has_answered(message: TowerBeacon | Welcome) -> None:
    beacon = Beacon(OWN, towers=TOWERS, interval=1.0, timeout=4.0, max_peers=3)
    beacon.start(0.0)
    beacon.receive(message, 1.9)
    assert [only(beacon.tick(float(now)), Warn) for now in range(2, 60)] == [[]] * 58


def test_half_of_a_node_leaves_the_telling_to_the_other() -> None:
    beacon = Beacon(OWN, towers=[], interval=1.0, timeout=4.0, max_peers=3)
    beacon.start(0.0)
    assert [only(beacon.tick(float(now)), Warn) for now in range(60)] == [[]] * 60


def test_beacon_leaves_at_once_and_then_every_interval() -> None:
    beacon = _beacon()
    assert beacon.next_deadline() == 1.0
    assert beacon.tick(0.9) == []
    assert beacon.tick(1.0) == [_own(1.0)]
    assert beacon.tick(1.5) == []
    assert beacon.tick(2.0) == [_own(2.0)]


@pytest.mark.parametrize("still", [1.5, 3.0, 600.0])
def test_a_node_that_stood_still_takes_its_own_silence_for_nobodys(still: float) -> None:
    """What towers said meanwhile waits to be read, and its first turn may come before that."""
    beacon = _beacon()
    beacon.receive(_of(2), 0.0)
    beacon.receive(OWN_TOLD, 0.01)
    assert beacon.tick(1.0) == [_own(1.0)]
    for second in range(4):
        now = 1.01 + still + second
        assert beacon.tick(now) == [_own(now)]
        beacon.receive(OWN_TOLD, now + 0.01)
        beacon.receive(_of(2), now + 0.01)


@pytest.mark.parametrize("by_welcome", [True, False])
def test_tower_that_is_new_gets_a_beacon_at_once(by_welcome: bool) -> None:
    beacon = _beacon()
    news = beacon.receive(Welcome(), 0.4) if by_welcome else beacon.tower_connected(0.4)
    assert news == [_own(0.4)]
    assert beacon.tick(1.0) == []
    assert beacon.tick(1.4) == [_own(1.4)]


def test_peer_is_connected_once_and_answered_with_a_beacon() -> None:
    beacon = _beacon()
    assert beacon.receive(_of(2), 0.2) == [Connect(address(2), ENDPOINT), _own(0.2)]
    assert beacon.receive(_of(2), 0.3) == []
    peer = beacon.peers[ENDPOINT]
    assert (peer.address, peer.role, peer.version, peer.seen) == (
        address(2),
        "producer",
        "0.1",
        0.3,
    )


def test_peer_that_tells_its_age_has_a_time_of_birth() -> None:
    beacon = _beacon()
    young = replace(_of(2), age_ms=150)
    assert only(beacon.receive(young, 0.2), Connect) == [
        Connect(address(2), ENDPOINT, pytest.approx(0.05))
    ]


def test_another_address_at_a_known_endpoint_changes_nothing() -> None:
    beacon = _beacon()
    beacon.receive(_of(2), 0.2)
    assert beacon.receive(_of(3), 0.3) == []
    assert beacon.peers[ENDPOINT].address == address(2)


def _aged(number: int, age_s: float) -> TowerBeacon:
    return TowerBeacon(address(number), ENDPOINT, "store", "0.1", int(age_s * 1000))


def test_node_that_was_restarted_at_its_endpoint_takes_the_place_of_the_old_one() -> None:
    beacon = _beacon()
    beacon.receive(_aged(2, 60.0), 100.0)
    actions = beacon.receive(_aged(3, 0.5), 101.0)
    assert actions[:2] == [
        Disconnect(address(2), ENDPOINT),
        Connect(address(3), ENDPOINT, 100.5),
    ]
    assert only(actions, SendBeacon)
    assert beacon.receive(_aged(2, 61.5), 101.5) == []  # it was under way for long
    assert beacon.peers[ENDPOINT].address == address(3)


def test_of_two_of_one_age_at_an_endpoint_the_one_that_is_known_stays() -> None:
    beacon = _beacon()
    beacon.receive(_aged(2, 5.0), 100.0)
    for second in (101.0, 102.0):
        assert beacon.receive(_aged(3, second - 95.0), second) == []
        assert beacon.receive(_aged(2, second - 95.0), second) == []


def test_who_says_another_address_at_an_endpoint_does_not_keep_the_old_one_alive() -> None:
    beacon = _beacon()
    beacon.receive(_of(2), 0.5)
    for now in (1.5, 2.5, 3.5, 4.4):
        assert beacon.receive(_of(3), now) == []
    assert Disconnect(address(2), ENDPOINT) in beacon.tick(5.0)
    assert Connect(address(3), ENDPOINT, None) in beacon.receive(_of(3), 5.4)


def test_known_address_with_another_endpoint_is_connected_again() -> None:
    beacon = _beacon()
    beacon.receive(_of(2), 0.2)
    actions = beacon.receive(_of(2, OTHER_ENDPOINT), 0.3)
    assert only(actions, Connect) == [Connect(address(2), OTHER_ENDPOINT)]


def test_own_beacon_is_ignored() -> None:
    beacon = _beacon()
    assert beacon.receive(_of(1), 0.2) == []
    assert beacon.peers == {}


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "192.0.2.2:1",
        "udp://192.0.2.2:1",
        "tcp://" + "h" * 300,
        "tcp://caf\udce9:1",
        "tcp://café:1",
        "tcp://h\n:1",
        "tcp://h\0:1",
    ],
)
def test_unusable_endpoint_is_ignored_with_a_warning(endpoint: str) -> None:
    beacon = _beacon()
    assert [type(action) for action in beacon.receive(_of(2, endpoint), 0.2)] == [Warn]
    assert beacon.peers == {}


@pytest.mark.parametrize("endpoint", ["tcp://h:1", "ipc:///tmp/x", "inproc://x"])
def test_usable_endpoint_is_connected(endpoint: str) -> None:
    assert only(_beacon().receive(_of(2, endpoint), 0.2), Connect)


def test_peers_beyond_the_limit_are_ignored_until_there_is_room() -> None:
    beacon = _beacon(max_peers=2)
    for number in (2, 3):
        beacon.receive(_of(number, f"tcp://h:{number}"), 0.2)
    assert [type(a) for a in beacon.receive(_of(4, "tcp://h:4"), 0.3)] == [Warn]
    for second in range(1, 5):
        assert beacon.receive(_of(3, "tcp://h:3"), second + 0.9) == []
    beacon.tick(5.0)
    assert beacon.peers.keys() == {"tcp://h:3"}
    assert only(beacon.receive(_of(4, "tcp://h:4"), 5.1), Connect)


def test_silent_peer_is_disconnected_at_the_next_check_and_connected_when_heard_again() -> None:
    beacon = _beacon()
    beacon.receive(_of(2), 0.9)
    for now in (1.0, 2.0, 3.0, 4.0):
        assert only(beacon.tick(now), Disconnect) == []
        beacon.receive(OWN_TOLD, now + 0.01)
    assert only(beacon.tick(5.0), Disconnect) == [Disconnect(address(2), ENDPOINT)]
    assert only(beacon.tick(6.0), Disconnect) == []
    assert only(beacon.receive(_of(2), 6.1), Connect) == [Connect(address(2), ENDPOINT)]


@pytest.mark.parametrize(
    ("endpoint", "port", "runs"),
    [
        ("tcp://192.0.2.2:5000", 5001, "tcp://192.0.2.2:5001"),
        ("tcp://[2001:db8::1]:5000", 65_535, "tcp://[2001:db8::1]:65535"),
        ("tcp://192.0.2.2:5000", None, None),
        ("ipc:///tmp/node", 5001, None),
    ],
)
def test_where_a_peer_publishes_runs_is_another_port_of_its_host(endpoint, port, runs) -> None:
    beacon = _beacon()
    told = TowerBeacon(address(2), endpoint, "producer", "2", 0, port)
    assert only(beacon.receive(told, 0.1), Connect) == [
        Connect(address(2), endpoint, pytest.approx(0.1), runs)
    ]


def test_losing_every_tower_disconnects_nobody() -> None:
    beacon = _beacon()
    beacon.receive(_of(2), 0.9)
    for now in range(1, 600):
        assert only(beacon.tick(float(now)), Disconnect) == []
    assert beacon.peers.keys() == {ENDPOINT}


def test_towers_that_stay_silent_are_connected_anew_but_not_too_often() -> None:
    beacon = _beacon()
    times = [now for now in range(1, 12) if ReachTowers() in beacon.tick(float(now))]
    assert times == [3, 5, 7, 9, 11]


def test_towers_that_hear_others_but_not_us_are_connected_anew() -> None:
    """Something else once answered where we publish: others' beacons still come."""
    beacon = _beacon()
    times = []
    for now in range(1, 8):
        beacon.receive(_of(2), now - 0.5)
        times += [now] if ReachTowers() in beacon.tick(float(now)) else []
    assert times == [3, 5, 7]


def test_towers_that_speak_are_left_alone() -> None:
    beacon = _beacon()
    for second in range(1, 20):
        assert ReachTowers() not in beacon.tick(float(second))
        beacon.receive(OWN_TOLD, second + 0.01)


@pytest.mark.parametrize("by_welcome", [True, False])
def test_after_the_towers_were_silent_all_peers_get_their_time_again(by_welcome: bool) -> None:
    beacon = _beacon()
    beacon.receive(_of(2), 0.9)
    beacon.receive(_of(3, OTHER_ENDPOINT), 0.9)
    beacon.receive(Welcome() if by_welcome else OWN_TOLD, 100.5)
    gone: list[tuple[float, str]] = []
    for second in range(101, 120):
        gone += [(second, a.address) for a in only(beacon.tick(float(second)), Disconnect)]
        beacon.receive(_of(3, OTHER_ENDPOINT), second + 0.5)
    assert gone == [(105, address(2))]


def test_peer_that_is_heard_stays() -> None:
    beacon = _beacon()
    for second in range(20):
        beacon.receive(_of(2), second + 0.5)
        assert only(beacon.tick(second + 1.0), Disconnect) == []


def test_peer_whose_records_come_stays_without_beacons() -> None:
    """A C node that publishes without end may be late with them; what it sent would be lost."""
    beacon = _beacon()
    beacon.receive(_of(2), 0.5)
    beacon.receive(_of(3, OTHER_ENDPOINT), 0.5)
    gone: list[tuple[float, str]] = []
    for second in range(1, 20):
        beacon.spoke([address(2), address(4)] if second <= 10 else [], second - 0.5)
        gone += [(second, a.address) for a in only(beacon.tick(float(second)), Disconnect)]
        beacon.receive(OWN_TOLD, second + 0.5)
    assert gone == [(5, address(3)), (14, address(2))]


def test_records_of_a_node_that_moved_do_not_keep_the_places_where_it_was() -> None:
    """A producer that continues a partition has another port, and the address it had."""
    beacon = _beacon()
    for life in range(20):
        place = f"tcp://10.0.0.2:{5000 + life}"
        for second in range(6 * life, 6 * life + 6):
            beacon.receive(OWN_TOLD, second + 0.1)
            beacon.receive(_of(2, place), second + 0.1)
            beacon.spoke([address(2)], second + 0.2)
            beacon.tick(float(second + 1))
        assert beacon.peers.keys() == {place}


def test_nobody_is_let_go_while_what_came_waits_to_be_read() -> None:
    """It would be lost with the connection: a consumer that is full reads nothing."""
    beacon = _beacon()
    beacon.receive(_of(2), 0.5)
    beacon.caught_up = False
    for second in range(1, 60):
        assert only(beacon.tick(float(second)), Disconnect) == []
        beacon.receive(OWN_TOLD, second + 0.5)
    beacon.caught_up = True
    assert only(beacon.tick(60.0), Disconnect) == [Disconnect(address(2), ENDPOINT)]
    beacon.spoke([address(2)], 60.5)
    assert beacon.peers == {}


def test_deadline_always_lies_ahead_after_a_tick() -> None:
    beacon = _beacon()
    now = 0.0
    for step in range(50):
        beacon.receive(_of(2 + step % 3, f"tcp://h:{step % 3}"), now)
        now = beacon.next_deadline() or now
        beacon.tick(now)
        deadline = beacon.next_deadline()
        assert deadline is not None
        assert now < deadline <= now + 1.0


def test_stores_are_counted_by_their_two_nodes_as_far_as_towers_tell_who_is_one() -> None:
    beacon = _beacon(max_peers=9)
    assert beacon.stores == 0
    for number, (role, stores) in enumerate(
        [("producer", 0), ("store", 1), ("store", 1), ("store", 2), (None, 2), ("store", 2)]
    ):
        told = replace(_of(number + 2, f"tcp://h:{number + 1}"), role=role)
        beacon.receive(told, 1.0)
        assert beacon.stores == stores
