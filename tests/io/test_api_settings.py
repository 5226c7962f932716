"""What cannot work is refused at once, in a sentence that says what to do."""

from __future__ import annotations

import gc
import re

import pytest

import dafka
from dafka.settings import load
from tests.support.live_nodes import LOOPBACK

NOWHERE = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: dafka.Producer("t", towers="x"), "no setting 'towers' .* did you mean tower"),
        (lambda: dafka.Producer("t", buffer_byte=1), "did you mean buffer_bytes"),
        (lambda: dafka.Consumer("t", strat="latest"), "did you mean start"),
        (lambda: dafka.Store(dat="x"), "did you mean data"),
        (lambda: dafka.Tower(peer_timeout=1), "did you mean peer_timeout_s"),
        (lambda: dafka.Tower(zzzz=1), "did you mean .*host"),
        (lambda: dafka.Producer(""), "the topic is empty"),
        (lambda: dafka.Producer("x" * 256), "256 bytes in UTF-8: at most 255"),
        (lambda: dafka.Producer("ä" * 128), "256 bytes in UTF-8"),
        (lambda: dafka.Producer("a\0b"), "contains a NUL"),
        (lambda: dafka.Producer("\ud800"), "not valid Unicode"),
        (lambda: dafka.Producer(b"t"), "a topic is a str, not bytes"),
        (lambda: dafka.Consumer(), "at least one topic"),
        (lambda: dafka.Consumer("t", ""), "the topic is empty"),
        (lambda: dafka.Consumer(5), "a topic is a str, not int"),
        (lambda: dafka.Consumer("t", None), "a topic is a str, not NoneType"),
        (lambda: dafka.Consumer(pattern=5), "a pattern is a str, not int"),
        (lambda: dafka.Consumer("t", only=5), "only is 5: it must be a function"),
        (lambda: dafka.Consumer("t", on_expired="x"), "on_expired is 'x': it must be a function"),
        (lambda: dafka.Consumer("t", on_partition=5), "on_partition is 5: it must be a function"),
        (
            lambda: dafka.Consumer("t", config=dafka.ProducerConfig()),
            "config is a ConsumerConfig, not ProducerConfig",
        ),
        (lambda: dafka.Producer("t", config=3), "config is a ProducerConfig, not int"),
        (lambda: dafka.Consumer("t", start="newest"), "neither 'latest', 'earliest'"),
        (lambda: dafka.Consumer("t", start=-1), "-1 is no offset"),
        (lambda: dafka.Consumer("t", start={"me": 1}), "32 upper-case hex digits"),
        (lambda: dafka.Consumer("t", start={"A" * 32: -1}), "is no offset"),
        (lambda: dafka.Producer("t", tower=[]), "no tower is given"),
        (lambda: dafka.Producer("t", tower="a b"), "is not an address: use HOST"),
        (lambda: dafka.Producer("t", tower="host:99999"), "between 1 and 65534"),
        (lambda: dafka.Producer("t", tower="http://host"), "is not an address"),
        (lambda: dafka.Producer("t", buffer_bytes=0), "buffer_bytes is 0: .* greater than zero"),
        (lambda: dafka.Producer("t", min_store_acks=0), "min_store_acks is 0"),
        (lambda: dafka.Store(high_water_mark=2**31), "2147483648: it must be at most 2147483647"),
        (lambda: dafka.Producer("t", beacon_interval_s=-1), "beacon_interval_s is -1"),
        (lambda: dafka.Producer("t", beacon_interval_s=1e30), "1e.30: .* 0.001 and 86400 seconds"),
        (lambda: dafka.Producer("t", head_interval_s=0), "head_interval_s is 0: .* 0.001 and 86"),
        (lambda: dafka.Producer("t", stop_timeout_s=-1), "stop_timeout_s is -1: .* be 0, or betw"),
        (lambda: dafka.Consumer("t", fetch_timeout_max_s=1e9), "_max_s is 1000000000.0: it must"),
        (lambda: dafka.Tower(peer_timeout_s=86_401), "peer_timeout_s is 86401: it must be betw"),
        (lambda: dafka.Store(upkeep_interval_s=1e-9), "upkeep_interval_s is 1e-09: it must be"),
        (lambda: dafka.Store(scrub_interval_s=1e9), "0, or between 0.001 and 316224000 seconds"),
        (lambda: dafka.Consumer("t", fetch_records=0), "fetch_records is 0"),
        (lambda: dafka.Store(durability="maybe"), "durability 'maybe' is neither"),
        (lambda: dafka.Producer("t", host="a://b"), "host 'a://b' is not a host: use the name"),
        (lambda: dafka.Consumer("t", host="a b"), "host 'a b' is not a host"),
        (lambda: dafka.Store(host="caf\udce9"), "is not a host"),
        (lambda: dafka.Tower(host="h" * 256), "is not a host"),
        (lambda: dafka.TowerConfig(sub="tcp://*:1", pub="tcp://*:1"), "both tcp://.*:1: .* two"),
        (lambda: dafka.Tower(sub="ipc://a", pub="ipc://a"), "sub and pub are both ipc://a: a to"),
        (lambda: dafka.Tower(sub="tcp://*:5557"), "sub and pub are both"),
        (lambda: dafka.Tower(sub="5556"), "'5556' is not an endpoint to listen on"),
    ],
)
def test_it_is_refused_when_the_node_is_made(make, sentence):
    with pytest.raises(dafka.ConfigError, match=sentence) as caught:
        make()
    assert isinstance(caught.value, dafka.DafkaError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.io
@pytest.mark.parametrize(
    "make",
    [
        lambda bind: dafka.Producer("t", tower=NOWHERE, bind=bind),
        lambda bind: dafka.Consumer("t", tower=NOWHERE, bind=bind),
        lambda bind: dafka.Tower(sub=bind, pub=LOOPBACK),
        lambda bind: dafka.Tower(sub=LOOPBACK, pub=bind),
    ],
    ids=["producer", "consumer", "tower sub", "tower pub"],
)
def test_a_port_in_use_is_named_and_the_node_can_be_started_when_it_is_free(nodes, make):
    taken = nodes.add(dafka.Producer("t", tower=NOWHERE, bind=LOOPBACK, stop_timeout_s=0))
    node = make(taken.endpoint)
    with pytest.raises(dafka.ConfigError, match=f"{taken.endpoint} is in use by another program"):
        node.start()
    assert not node.started
    taken.stop()
    nodes.add(node)


@pytest.mark.io
def test_a_port_in_use_leaves_nothing_of_a_store_behind(nodes, tmp_path):
    taken = nodes.add(dafka.Producer("t", tower=NOWHERE, bind=LOOPBACK, stop_timeout_s=0))
    gc.collect()
    with pytest.raises(dafka.ConfigError):
        dafka.Store(data=str(tmp_path / "data"), tower=NOWHERE, bind=taken.endpoint).start()
    gc.collect()  # what was not closed says so


@pytest.mark.io
@pytest.mark.filterwarnings("ignore:Unclosed context:ResourceWarning")  # see the test before
def test_a_port_in_use_stops_a_store_and_frees_its_directory(nodes, tmp_path):
    taken = nodes.add(dafka.Producer("t", tower=NOWHERE, bind=LOOPBACK, stop_timeout_s=0))
    with pytest.raises(dafka.ConfigError, match="is in use by another program"):
        dafka.Store(data=str(tmp_path / "data"), tower=NOWHERE, bind=taken.endpoint).start()
    nodes.tower = NOWHERE
    nodes.store(tmp_path / "data")
    gc.collect()


@pytest.mark.io
@pytest.mark.parametrize(
    "bind", ["tcp://192.0.2.1:*", "tcp://no.such.name.invalid:*", "ipc:///no/such"]
)
def test_an_endpoint_this_machine_does_not_have_is_refused(bind):
    with pytest.raises(dafka.ConfigError, match=rf"cannot listen on {re.escape(bind)} \(bind\): "):
        dafka.Producer("t", tower=NOWHERE, bind=bind).start()


@pytest.mark.io
def test_a_tower_endpoint_that_zeromq_refuses_is_named():
    tower = dafka.TowerAddress("tcp://127.0.0.1", "tcp://127.0.0.1:1")
    with pytest.raises(dafka.ConfigError, match=r"endpoint tcp://127\.0\.0\.1 cannot be used"):
        dafka.Producer("t", tower=tower).start()


def test_single_settings_change_a_configuration_that_is_given_too():
    config = dafka.ProducerConfig(buffer_bytes=1000, min_store_acks=2)
    producer = dafka.Producer("t", config, min_store_acks=3)
    assert (producer.config.buffer_bytes, producer.config.min_store_acks) == (1000, 3)
    assert config.min_store_acks == 2


def test_every_public_name_is_exported_and_sorted():
    names = [name for name in dafka.__all__ if name != "__version__"]
    assert names == sorted(names)
    assert all(getattr(dafka, name).__doc__ for name in names)


def test_the_defaults_of_a_tower_may_change_places():
    environ = {"DAFKA_SUB": "tcp://*:5557", "DAFKA_PUB": "tcp://*:5556"}
    config = load(dafka.TowerConfig, environ=environ)
    assert (config.sub, config.pub) == ("tcp://*:5557", "tcp://*:5556")
