"""What a tower tells all nodes about a node that showed itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.machines import address, only

from dafka.core.actions import Forward, Warn
from dafka.core.tower import Tower
from protocol import NodeBeacon, TowerBeacon

LOOPBACK = "127.0.0.1"
REMOTE = "192.0.2.77"
OWN_HOST = "192.0.2.1"


def _tower(host: str = "") -> Tower:
    return Tower(host=host, timeout=4.0, own_host=lambda: OWN_HOST)


def _beacon(host: str = "", port: str = "5000", number: int = 1) -> NodeBeacon:
    return NodeBeacon(address(number), host, port, "store", "0.1")


def _endpoint(tower: Tower, beacon: NodeBeacon, source: str, now: float = 0.0) -> str:
    (forward,) = only(tower.receive(beacon, source, now), Forward)
    return forward.message.endpoint


def test_beacon_is_forwarded_with_all_it_says() -> None:
    beacon = replace(_beacon("example.net"), age_ms=7, runs_port=5001)
    actions = _tower().receive(beacon, REMOTE, 0.0)
    told = TowerBeacon(address(1), "tcp://example.net:5000", "store", "0.1", 7, 5001)
    assert actions == [Forward(told)]


def test_node_without_host_is_called_by_where_its_beacon_came_from() -> None:
    assert _endpoint(_tower(), _beacon(), REMOTE) == f"tcp://{REMOTE}:5000"
    assert _endpoint(_tower(), _beacon(), "2001:db8::7") == "tcp://[2001:db8::7]:5000"
    assert _endpoint(_tower(), _beacon(), "gateway") == "tcp://gateway:5000"


@pytest.mark.parametrize("source", [LOOPBACK, "127.0.1.1", "::1", ""])
def test_local_node_is_loopback_while_all_nodes_are_local(source: str) -> None:
    assert _endpoint(_tower(), _beacon(), source) == f"tcp://{LOOPBACK}:5000"


def test_local_node_has_the_machines_address_while_a_remote_node_is_there() -> None:
    tower = _tower()
    _endpoint(tower, _beacon(number=2), REMOTE, now=1.0)
    assert _endpoint(tower, _beacon(), LOOPBACK, now=5.0) == f"tcp://{OWN_HOST}:5000"
    assert _endpoint(tower, _beacon(), LOOPBACK, now=5.1) == f"tcp://{LOOPBACK}:5000"


def test_configured_host_is_used_for_local_nodes_only() -> None:
    tower = _tower("tower.example.net")
    assert _endpoint(tower, _beacon(), LOOPBACK) == "tcp://tower.example.net:5000"
    assert _endpoint(tower, _beacon(), REMOTE) == f"tcp://{REMOTE}:5000"
    assert _endpoint(tower, _beacon("named"), LOOPBACK) == "tcp://named:5000"


@pytest.mark.parametrize(
    "beacon",
    [
        *(_beacon(port=port) for port in ("", "0", "-1", "65536", "99999", "80x", " 80", "٣")),
        *(_beacon(host=host) for host in ("a b", "a\n", "a\x00b", "a/b", "café", "h" * 256)),
        NodeBeacon("", "", "80"),
        NodeBeacon("A" * 256, "", "80"),
    ],
)
def test_unusable_beacon_is_refused_and_counted(beacon: NodeBeacon) -> None:
    tower = _tower()
    assert [type(action) for action in tower.receive(beacon, REMOTE, 0.0)] == [Warn]
    assert (tower.stats.beacons, tower.stats.refused, tower.stats.nodes) == (1, 1, 0)


@pytest.mark.parametrize("port", ["000001111111", "00001" + "1" * 100_000])
def test_port_of_many_digits_is_refused(port: str) -> None:
    assert [type(a) for a in _tower().receive(_beacon(port=port), REMOTE, 0.0)] == [Warn]


@pytest.mark.parametrize("port", ["1", "80", "65535"])
def test_every_real_port_is_forwarded(port: str) -> None:
    assert _endpoint(_tower(), _beacon(port=port), REMOTE) == f"tcp://{REMOTE}:{port}"


def test_nodes_are_counted_until_they_fall_silent() -> None:
    tower = _tower()
    assert tower.next_deadline() is None
    tower.receive(_beacon(number=1), REMOTE, 1.0)
    tower.receive(_beacon(number=1), REMOTE, 2.0)
    tower.receive(_beacon(number=2), REMOTE, 3.0)
    assert tower.stats.nodes == 2
    assert tower.next_deadline() == 5.0
    tower.tick(4.9)
    assert tower.stats.nodes == 2
    tower.tick(6.5)
    assert tower.stats.nodes == 1
    tower.tick(tower.next_deadline() or 0.0)
    assert tower.stats.nodes == 0
    assert tower.next_deadline() is None
    tower.receive(_beacon(number=3), REMOTE, 50.0)
    assert tower.next_deadline() == 54.0


@pytest.mark.no_cover
@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=12), st.text(max_size=40))
def test_tower_survives_every_beacon(who: str, host: str, port: str, source: str) -> None:
    tower = _tower()
    (action,) = tower.receive(NodeBeacon(who, host, port), source, 0.0)
    if isinstance(action, Forward):
        assert 0 < int(port) < 65536
        assert len(action.message.address) <= 255
    else:
        assert isinstance(action, Warn)
