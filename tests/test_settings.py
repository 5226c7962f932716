"""Settings come from flags, the environment, a file, or their defaults, in this order."""

from __future__ import annotations

import logging
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dafka.beginning import Instant
from dafka.config import (
    LOCALHOST,
    ConsumerConfig,
    ProducerConfig,
    StoreConfig,
    TowerAddress,
    TowerConfig,
)
from dafka.errors import ConfigError
from dafka.settings import load, read, verbose
from dafka.settings_file import UNLIMITED, bindable, connectable

PARTITION = "0123456789ABCDEF" * 2

CLUSTER_ZPL = """\
#   A cluster of C nodes
beacon
    interval = 250          # ms
    timeout = 3000
    verbose = 0
    sub_address = "tcp://10.0.0.1:6556"
    pub_address = 'tcp://10.0.0.1:6557'
tower
    verbose = 1
    sub_address = tcp://*:6556
    pub_address = tcp://*:6557
store
    db = /var/lib/dafka
    high_watermark = 5000
producer
    head_interval = 500
    high_watermark = 0
    terminate_unacked = 1
consumer
    high_watermark = 6000
    offset
        reset = earliest
"""

CLUSTER_TOML = """\
[node]
tower = ["10.0.0.1", "10.0.0.2:6000"]
beacon_interval_s = 2
verbose = true
[tower]
host = "10.0.0.1"
[store]
data = "/var/lib/dafka"
durability = "os"
buffer_bytes = 1_000
[consumer]
start = "earliest"
peer_timeout_s = 8
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_file(text: str | bytes, name: str = "cluster.conf") -> str:
        Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    return write_file


def sentence(kind, **arguments) -> str:
    with pytest.raises(ConfigError) as caught:
        load(kind, environ=arguments.pop("environ", {}), **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestPrecedence:
    def test_without_any_source_everything_is_default(self):
        for kind in (TowerConfig, StoreConfig, ProducerConfig, ConsumerConfig):
            assert load(kind, environ={}) == kind()

    def test_a_configuration_cannot_change(self):
        with pytest.raises(FrozenInstanceError):
            load(TowerConfig, environ={}).host = "x"  # type: ignore[misc]

    def test_flag_beats_environment_beats_file(self, write):
        file = write('[store]\ndata = "file"\nbuffer_bytes = 1\nslice_bytes = 2\n')
        environ = {"DAFKA_DATA": "environment", "DAFKA_BUFFER_BYTES": "3"}
        config = load(StoreConfig, file=file, flags={"data": "flag"}, environ=environ)
        assert (config.data, config.buffer_bytes, config.slice_bytes) == ("flag", 3, 2)
        assert config.fetch_records == StoreConfig().fetch_records

    def test_flags_that_were_not_given_hide_nothing(self):
        config = load(StoreConfig, flags={"data": None, "tower": ()}, environ={"DAFKA_DATA": "e"})
        assert config == StoreConfig(data="e")

    def test_an_empty_environment_variable_counts_as_unset(self):
        assert load(StoreConfig, environ={"DAFKA_DATA": ""}) == StoreConfig()

    def test_the_environment_of_other_kinds_of_nodes_is_not_looked_at(self):
        environ = {"DAFKA_DATA": "x", "DAFKA_TOWER": "no address !"}
        assert load(TowerConfig, environ=environ) == TowerConfig()

    def test_the_environment_is_the_process_environment(self, monkeypatch):
        monkeypatch.setenv("DAFKA_DATA", "from-process")
        assert load(StoreConfig).data == "from-process"

    def test_a_table_of_the_node_beats_the_common_table(self, write):
        file = write("[producer]\nmax_peers = 1\n[node]\nmax_peers = 2\n")
        assert load(ProducerConfig, file=file, environ={}).max_peers == 1
        assert load(ConsumerConfig, file=file, environ={}).max_peers == 2


class TestTowers:
    def towers(self, *, file=None, environ=None, **flags):
        return load(ProducerConfig, file=file, flags=flags, environ=environ or {}).towers

    def test_one_or_several_in_a_flag(self):
        one, two = TowerAddress("tcp://a:1", "tcp://a:2"), TowerAddress("tcp://b:1", "tcp://b:9")
        assert self.towers(tower=("a:1",)) == (one,)
        assert self.towers(tower=("a:1", "tcp://b:1,tcp://b:9")) == (one, two)

    def test_several_in_the_environment_are_separated_by_blanks(self):
        towers = self.towers(environ={"DAFKA_TOWER": "a:1  tcp://b:1, tcp://b:9"})
        assert [tower.pub for tower in towers] == ["tcp://a:2", "tcp://b:9"]

    def test_both_endpoints_as_in_c(self):
        towers = self.towers(sub="tcp://a:1", pub="tcp://a:7")
        assert towers == (TowerAddress("tcp://a:1", "tcp://a:7"),)

    def test_of_one_endpoint_alone_the_other_is_the_default_and_a_warning_says_so(self, caplog):
        assert self.towers(sub="tcp://a:1") == (TowerAddress("tcp://a:1", LOCALHOST.pub),)
        assert self.towers(pub="tcp://a:2") == (TowerAddress(LOCALHOST.sub, "tcp://a:2"),)
        assert "only one endpoint is given, by --sub" in caplog.text

    def test_one_endpoint_in_a_flag_replaces_that_of_the_file(self, write, caplog):
        file = write(CLUSTER_ZPL)
        towers = self.towers(file=file, pub="tcp://a:2")
        assert towers == (TowerAddress("tcp://10.0.0.1:6556", "tcp://a:2"),)
        towers = self.towers(environ={"DAFKA_TOWER": "b:1"}, pub="tcp://a:2")
        assert towers == (TowerAddress("tcp://b:1", "tcp://a:2"),)
        assert not caplog.records

    def test_a_tower_hides_the_endpoints_of_lower_levels(self, write):
        file = write(CLUSTER_ZPL)
        assert self.towers(file=file, tower=("a:1",)) == (TowerAddress("tcp://a:1", "tcp://a:2"),)

    def test_endpoints_in_the_environment_may_be_those_a_tower_binds(self):
        environ = {"DAFKA_SUB": "tcp://*:1", "DAFKA_PUB": "tcp://0.0.0.0:2"}
        assert self.towers(environ=environ) == (
            TowerAddress("tcp://127.0.0.1:1", "tcp://127.0.0.1:2"),
        )
        assert load(TowerConfig, environ=environ).sub == "tcp://*:1"

    def test_lists_of_endpoints_as_in_c(self, write):
        file = write(
            "beacon\n    sub_address = >tcp://a:1,>tcp://b:1\n    pub_address = tcp://a:2, tcp://b:2\n"
        )
        assert [str(tower) for tower in self.towers(file=file)] == [
            "tcp://a:1,tcp://a:2",
            "tcp://b:1,tcp://b:2",
        ]

    def test_faults_are_named(self, write):
        assert "--tower, or --sub" in sentence(
            ProducerConfig, flags={"tower": ("a",), "sub": "tcp://a:1"}
        )
        assert sentence(ProducerConfig, flags={"tower": ("a b c:x",)}).startswith(
            "--tower: tower 'c:x' is not an address"
        )
        assert sentence(ProducerConfig, environ={"DAFKA_TOWER": "a:0"}).startswith(
            "environment variable DAFKA_TOWER: tower 'a:0'"
        )
        assert sentence(ProducerConfig, flags={"sub": "a:1", "pub": "tcp://a:2"}).startswith(
            "--sub:"
        )
        assert "2 sub and 1 pub" in sentence(
            ProducerConfig, flags={"sub": "tcp://a:1,tcp://b:1", "pub": "tcp://a:2"}
        )
        assert sentence(ProducerConfig, file=write("[node]\ntower = 5\n")).startswith(
            "cluster.conf: [node] tower: 5 is not"
        )
        assert "no tower is given" in sentence(ProducerConfig, file=write("[node]\ntower = []\n"))

    def test_a_tower_binds_an_address_where_localhost_is_said(self):
        config = load(
            TowerConfig, flags={"sub": "tcp://localhost:1", "pub": "tcp://*:*"}, environ={}
        )
        assert (config.sub, config.pub) == ("tcp://127.0.0.1:1", "tcp://*:*")

    @pytest.mark.parametrize(
        ("given", "bound", "connected"),
        [
            ("tcp://*:1", "tcp://*:1", "tcp://127.0.0.1:1"),
            ("tcp://0.0.0.0:1", "tcp://0.0.0.0:1", "tcp://127.0.0.1:1"),
            ("tcp://10.0.0.1:1", "tcp://10.0.0.1:1", "tcp://10.0.0.1:1"),
            ("tcp://[::]:1", "tcp://[::]:1", "tcp://127.0.0.1:1"),
            ("tcp://localhost:1", "tcp://127.0.0.1:1", "tcp://localhost:1"),
            ("tcp://tower.example:1", "tcp://*:1", "tcp://tower.example:1"),
            ("ipc:///tmp/x", "ipc:///tmp/x", "ipc:///tmp/x"),
        ],
    )
    def test_both_sides_of_an_endpoint(self, given, bound, connected):
        assert (bindable(given), connectable(given)) == (bound, connected)


class TestConversion:
    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({"DAFKA_BUFFER_BYTES": "12"}, {"buffer_bytes": 12}),
            ({"DAFKA_BEACON_INTERVAL_S": "0.25"}, {"beacon_interval_s": 0.25}),
            ({"DAFKA_BEACON_INTERVAL_S": "2"}, {"beacon_interval_s": 2.0}),
            ({"DAFKA_DURABILITY": "os"}, {"durability": "os"}),
            ({"DAFKA_HOST": "node7"}, {"host": "node7"}),
        ],
    )
    def test_text_becomes_the_type_of_its_field(self, environ, expected):
        assert load(StoreConfig, environ=environ) == StoreConfig(**expected)

    def test_a_start_may_be_a_time(self, write):
        when = datetime(2026, 11, 25, 17, 0, tzinfo=UTC)
        for file in ("2026-11-25T17:00:00Z", "'2026-11-25T17:00:00Z'", "2026-11-25T18:00:00+01:00"):
            file = write(f"[consumer]\nstart = {file}\n")
            assert load(ConsumerConfig, file=file, environ={}).start == when
        for text in ("2026-11-25T17:00Z", "2026-11-25 17:00:00.000+00:00"):
            config = load(ConsumerConfig, environ={"DAFKA_START": text})
            assert config.start == when
            assert config.beginning == Instant(1_795_626_000_000)
        assert load(ConsumerConfig, environ={"DAFKA_START": "2026-11-25"}).start == datetime(
            2026, 11, 25
        )
        message = "environment variable DAFKA_START: '25.11.2026' is not a time in ISO 8601"
        assert sentence(ConsumerConfig, environ={"DAFKA_START": "25.11.2026"}).startswith(message)

    def test_a_switch_is_on_or_off(self, write):
        for text, on in (("1", True), ("true", True), ("No", False), ("0", False)):
            assert load(ConsumerConfig, environ={"DAFKA_AUTO_COMMIT": text}).auto_commit is on
        file = write("[consumer]\nauto_commit = false\n")
        assert load(ConsumerConfig, file=file, environ={}).auto_commit is False
        assert "'maybe' is neither true nor false" in sentence(
            ConsumerConfig, environ={"DAFKA_AUTO_COMMIT": "maybe"}
        )
        with pytest.raises(ConfigError, match="auto_commit is 1: it must be true or false"):
            ConsumerConfig(auto_commit=1)

    def test_a_start_may_be_a_word_or_offsets(self, write):
        assert load(ConsumerConfig, environ={"DAFKA_START": "earliest"}).start == "earliest"
        file = write(f"[consumer.start]\n{PARTITION} = 7\n")
        assert load(ConsumerConfig, file=file, environ={}).start == {PARTITION: 7}

    @pytest.mark.parametrize(
        ("environ", "start"),
        [
            ({"DAFKA_BUFFER_BYTES": "1.5"}, "DAFKA_BUFFER_BYTES: '1.5' is not a whole number"),
            ({"DAFKA_BUFFER_BYTES": "-1"}, "DAFKA_BUFFER_BYTES: buffer_bytes is -1: it must be"),
            ({"DAFKA_BEACON_INTERVAL_S": "nan"}, "DAFKA_BEACON_INTERVAL_S: 'nan' is not a number"),
            (
                {"DAFKA_BEACON_INTERVAL_S": "1e30"},
                "DAFKA_BEACON_INTERVAL_S: beacon_interval_s is 1e+30: it must be between 0.001 and",
            ),
            ({"DAFKA_BEACON_INTERVAL_S": "1s"}, "DAFKA_BEACON_INTERVAL_S: '1s' is not a number"),
            ({"DAFKA_DURABILITY": "yes"}, "DAFKA_DURABILITY: durability 'yes' is neither"),
        ],
    )
    def test_faults_in_the_environment_name_variable_and_value(self, environ, start):
        assert sentence(StoreConfig, environ=environ).startswith(f"environment variable {start}")

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("buffer_bytes = true", "True is not a whole number"),
            ("buffer_bytes = 1.5", "1.5 is not a whole number"),
            ("beacon_interval_s = false", "False is not a number"),
            ("beacon_interval_s = inf", "inf is not a number"),
            ("host = 7", "7 is not a text"),
            ("start = -7", "start -7 is no offset"),
            ("start = 1.5", "1.5 is not a text"),
            ("start = 'newest'", "start 'newest' is neither"),
            ("start = {x = 1}", "partition 'x' is not"),
            ("fetch_records = 0", "fetch_records is 0: it must be greater"),
        ],
    )
    def test_faults_in_a_file_name_file_and_key(self, write, line, message):
        file = write(f"[consumer]\n{line}\n")
        key = line.split()[0]
        assert sentence(ConsumerConfig, file=file).startswith(
            f"{file}: [consumer] {key}: {message}"
        )


class TestToml:
    def test_a_whole_cluster(self, write):
        file = read(write(CLUSTER_TOML))
        store = load(StoreConfig, file=file, environ={})
        assert [tower.pub for tower in store.towers] == [
            "tcp://10.0.0.1:5557",
            "tcp://10.0.0.2:6001",
        ]
        assert store.data == "/var/lib/dafka"
        assert (store.durability, store.buffer_bytes) == ("os", 1000)
        consumer = load(ConsumerConfig, file=file, environ={})
        assert (consumer.start, consumer.peer_timeout_s) == ("earliest", 8.0)
        assert consumer.beacon_interval_s == 2.0
        assert load(TowerConfig, file=file, environ={}) == TowerConfig(host="10.0.0.1")

    def test_tower_and_nodes_agree_although_only_one_of_them_is_told(self, write):
        file = write('[tower]\nsub = "tcp://*:7000"\npub = "tcp://*:7001"\n')
        assert str(load(StoreConfig, file=file, environ={}).towers[0]) == (
            "tcp://127.0.0.1:7000,tcp://127.0.0.1:7001"
        )
        file = write('[node]\ntower = "tower.example:7000"\n')
        config = load(TowerConfig, file=file, environ={})
        assert (config.sub, config.pub) == ("tcp://*:7000", "tcp://*:7001")

    def test_ports_chosen_by_the_system_are_not_guessed_at(self, write):
        file = write('[tower]\nsub = "tcp://*:*"\npub = "tcp://*:*"\n')
        assert load(StoreConfig, file=file, environ={}) == StoreConfig()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "[store]\ndate = 'x'\n",
                "cluster.conf: key 'date' in [store] is unknown; did you mean",
            ),
            ("[stor]\n", "cluster.conf: table [stor] is unknown; did you mean store"),
            ("[zzzzzz]\n", "cluster.conf: table [zzzzzz] is unknown; known are node, tower, store"),
            (
                "data = 'x'\n",
                "cluster.conf: 'data' must stand in one of the tables [node], [tower]",
            ),
            ("[node]\ndata = 'x'\n", "cluster.conf: key 'data' in [node] is unknown"),
            ("[node]\nverbose = 1\n", "cluster.conf: [node] verbose is neither true nor false"),
            ("[store]\ndata =\n", "cluster.conf:2: Invalid value"),
            ("[store]\ndata = '''\n", "cluster.conf:2: "),
        ],
    )
    def test_faults(self, write, text, message):
        assert sentence(ProducerConfig, file=write(text)).startswith(message)

    def test_the_suffix_decides_before_the_content(self, write):
        assert sentence(TowerConfig, file=write("beacon\n    a = 1\n", "x.toml")).startswith(
            "x.toml:1:"
        )
        assert sentence(TowerConfig, file=write("[tower]\n", "x.zpl")).startswith("x.zpl:1:")

    def test_a_byte_order_mark_does_no_harm(self, write):
        file = write(b"\xef\xbb\xbf[store]\ndata = 'x'\n")
        assert load(StoreConfig, file=file, environ={}).data == "x"

    def test_files_that_cannot_be_read(self, write, tmp_path):
        assert (
            sentence(TowerConfig, file="missing")
            == "cannot read missing: No such file or directory"
        )
        assert sentence(TowerConfig, file=str(tmp_path)).endswith("Is a directory")
        assert sentence(TowerConfig, file=write(b"\xff\xfe")).endswith("it is not UTF-8 text")

    def test_an_empty_file_says_nothing(self, write):
        assert load(StoreConfig, file=write("# nothing\n"), environ={}) == StoreConfig()


class TestZpl:
    def test_a_whole_cluster(self, write, caplog):
        file = read(write(CLUSTER_ZPL))
        tower = TowerAddress("tcp://10.0.0.1:6556", "tcp://10.0.0.1:6557")
        common = {"tower": (tower,), "beacon_interval_s": 0.25, "peer_timeout_s": 3.0}
        assert load(TowerConfig, file=file, environ={}) == TowerConfig(
            sub="tcp://*:6556", pub="tcp://*:6557", peer_timeout_s=3.0
        )
        assert load(StoreConfig, file=file, environ={}) == StoreConfig(
            **common, data="/var/lib/dafka", high_water_mark=5000
        )
        assert load(ProducerConfig, file=file, environ={}) == ProducerConfig(
            **common, high_water_mark=UNLIMITED, head_interval_s=0.5, stop_timeout_s=0.0
        )
        assert load(ConsumerConfig, file=file, environ={}) == ConsumerConfig(
            **common, high_water_mark=6000, start="earliest"
        )
        assert not caplog.records

    def test_nodes_fall_back_on_the_towers_endpoints_and_the_other_way_round(self, write):
        file = write("tower\n    sub_address = tcp://*:1\n    pub_address = tcp://*:2\n")
        assert load(StoreConfig, file=file, environ={}).towers == (
            TowerAddress("tcp://127.0.0.1:1", "tcp://127.0.0.1:2"),
        )
        file = write("beacon\n    sub_address = tcp://t:1\n    pub_address = tcp://127.0.0.1:2\n")
        config = load(TowerConfig, file=file, environ={})
        assert (config.sub, config.pub) == ("tcp://*:1", "tcp://127.0.0.1:2")

    def test_of_one_endpoint_alone_the_other_is_the_default(self, write):
        file = write("tower\n    sub_address = tcp://127.0.0.1:1\n")
        assert load(TowerConfig, file=file, environ={}) == TowerConfig(sub="tcp://127.0.0.1:1")

    def test_unknown_keys_are_ignored_with_a_warning(self, write, caplog):
        with caplog.at_level(logging.WARNING):
            file = read(write("store\n    db = x\n    colour = red\n"))
        assert load(StoreConfig, file=file, environ={}).data == "x"
        assert [record.getMessage() for record in caplog.records] == [
            "cluster.conf: store/colour is ignored"
        ]

    def test_records_may_be_left_unacknowledged_only_if_the_file_says_so(self, write):
        file = write("producer\n    terminate_unacked = 0\n")
        assert load(ProducerConfig, file=file, environ={}) == ProducerConfig()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "beacon\n    interval = soon\n",
                "cluster.conf: beacon/interval: 'soon' is not a whole",
            ),
            (
                "beacon\n    interval = 0\n",
                "cluster.conf: beacon/interval: beacon_interval_s is 0.0",
            ),
            (
                "consumer\n    high_watermark = x\n",
                "cluster.conf: consumer/high_watermark: 'x' is not",
            ),
            (
                "consumer/offset/reset = first\n",
                "cluster.conf: consumer/offset/reset: start 'first'",
            ),
            ("beacon\n  interval = 1\n", "cluster.conf:2: indent by 4 spaces"),
            ("beacon/sub_address = nowhere\n", "cluster.conf: beacon/sub_address: tower "),
        ],
    )
    def test_faults(self, write, text, message):
        assert sentence(ConsumerConfig, file=write(text)).startswith(message)


class TestVerbose:
    def test_the_environment_beats_the_file(self, write):
        file = read(write(CLUSTER_TOML))
        assert verbose(StoreConfig, file, {})
        assert not verbose(StoreConfig, file, {"DAFKA_VERBOSE": "0"})
        assert verbose(StoreConfig, None, {"DAFKA_VERBOSE": "1"})
        assert not verbose(StoreConfig, None, {})

    def test_zpl_has_one_key_per_kind_of_node(self, write):
        file = read(write(CLUSTER_ZPL))
        assert verbose(TowerConfig, file, {})
        assert not verbose(StoreConfig, file, {})
        assert verbose(StoreConfig, read(write("beacon/verbose = 1\n")), {})
        assert not verbose(StoreConfig, read(write("beacon/verbose = no\n")), {})
