"""Hosts that a node may announce."""

from __future__ import annotations

import pytest

from dafka import ConfigError
from dafka.names import check_host, is_host


@pytest.mark.parametrize(
    "host", ["", "h", "tower.example.net", "192.0.2.1", "[2001:db8::7]", "under_score", "h" * 255]
)
def test_a_host_is_taken_as_it_is(host: str) -> None:
    assert is_host(host)
    assert check_host(host) == host


@pytest.mark.parametrize(
    "host", ["a b", " a", "a\n", "a\0", "a/b", "tcp://a", "café", "caf\udce9", "h" * 256]
)
def test_what_no_node_could_connect_to_is_refused(host: str) -> None:
    assert not is_host(host)
    with pytest.raises(ConfigError, match=r"host .* is not a host: use the name or the IP address"):
        check_host(host)
