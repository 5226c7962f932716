"""`dafka offsets` and `dafka consume --name`, in this process; a cluster where one is needed."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import gevent
import pytest

from dafka.cli.main import dafka as command_line
from dafka.cli.main import run
from dafka.io.offsets import Offsets, look
from dafka.io.offsets_format import Subscription
from tests.support.live_nodes import Nodes, fill
from tests.support.waiting import until

A, B = "A" * 32, "B" * 32


@pytest.fixture(autouse=True)
def _place(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in ("DAFKA_NAME", "DAFKA_OFFSETS", "DAFKA_TOWER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "dafka" / "offsets"


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    made = Nodes(tmp_path / "nodes").cluster()
    monkeypatch.setenv("DAFKA_TOWER", str(made.tower))
    yield made
    made.end()


def result(capfd, *arguments):
    code = run(command_line, "dafka", [str(one) for one in arguments])
    out, err = capfd.readouterr()
    return code, out, err


def kept(place, name="billing", positions=None, subscriptions=()):
    offsets = Offsets(place, name)
    offsets.open()
    offsets.save(positions or {("t", A): 1234, ("u", B): 0}, subscriptions)
    offsets.close()
    return offsets


class TestShow:
    def test_nothing_is_there(self, capfd, place):
        assert result(capfd, "offsets", "show") == (0, f"no positions in {place}\n", "")
        _code, out, _err = result(capfd, "offsets", "show", "--json")
        assert json.loads(out) == {"directory": str(place), "consumers": []}

    def test_all_and_one(self, capfd, place):
        kept(place, "billing")
        kept(place, "shipping", {("t", A): 7})
        code, out, err = result(capfd, "offsets", "show")
        assert (code, err) == (0, "")
        words = [line.split()[:4] for line in out.splitlines()]
        assert words == [
            ["NAME", "TOPIC", "PARTITION", "POSITION"],
            ["billing", "t", A, "1,234"],
            ["billing", "u", B, "0"],
            ["shipping", "t", A, "7"],
        ]
        code, out, _ = result(capfd, "offsets", "show", "shipping", "--json")
        (told,) = json.loads(out)["consumers"]
        (position,) = told["positions"]
        assert (position["topic"], position["partition"], position["offset"]) == ("t", A, 7)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", position["saved"])

    def test_subscriptions_are_in_json(self, capfd, place):
        subscriptions = [Subscription("t", False, 86400.0), Subscription("u.*", True, 0.0)]
        kept(place, subscriptions=subscriptions)
        _, out, _ = result(capfd, "offsets", "show", "--json")
        assert json.loads(out)["consumers"][0]["subscriptions"] == [
            {"pattern": "u.*", "since": "1970-01-01T00:00:00Z"},
            {"topic": "t", "since": "1970-01-02T00:00:00Z"},
        ]

    def test_an_unknown_name(self, capfd, place):
        kept(place, "shipping")
        code, out, err = result(capfd, "offsets", "show", "billing")
        assert (code, out) == (1, "")
        assert err == (
            f"dafka offsets show: consumer 'billing' has no positions in {place}; there are those "
            "of shipping\n"
        )

    def test_another_directory(self, capfd, tmp_path, monkeypatch):
        kept(tmp_path / "mine", "x", {("t", A): 7})
        for arguments in (["--offsets", tmp_path / "mine"], []):
            _code, out, _ = result(capfd, "offsets", "show", *arguments)
            assert out.splitlines()[1].split()[:4] == ["x", "t", A, "7"]
            monkeypatch.setenv("DAFKA_OFFSETS", str(tmp_path / "mine"))

    def test_while_the_consumer_runs(self, capfd, place):
        offsets = kept(place)
        offsets.open()
        assert result(capfd, "offsets", "show")[0] == 0
        offsets.close()


class TestSet:
    def test_a_known_partition(self, capfd, place):
        kept(place)
        code, out, err = result(capfd, "offsets", "set", "billing", A, 99)
        assert (code, err) == (0, "")
        assert out.splitlines()[1].split() == ["t", A, "99", "1,234"]
        assert look(place, "billing").positions == {("t", A): 99, ("u", B): 0}

    def test_json(self, capfd, place):
        kept(place)
        _, out, _ = result(capfd, "offsets", "set", "billing", A, 99, "--json")
        changed = {"topic": "t", "partition": A, "offset": 99, "was": 1234}
        assert json.loads(out) == {"name": "billing", "positions": [changed]}

    def test_a_new_one_needs_its_topic(self, capfd, place):
        code, _, err = result(capfd, "offsets", "set", "billing", A, 99)
        assert code == 1
        assert "has no positions in" in err
        assert "--topic would begin some" in err
        code, _, err = result(capfd, "offsets", "set", "billing", A, 99, "--topic", "t")
        assert (code, err) == (0, "")
        saved = look(place, "billing")
        assert saved.positions == {("t", A): 99}
        assert saved.subscriptions["t", False].settled
        code, _, err = result(capfd, "offsets", "set", "billing", B, 99)
        assert code == 1
        assert f"has no position in partition {B}: name its topic by --topic" in err

    def test_a_running_consumer_holds_its_positions(self, capfd, place):
        offsets = kept(place)
        offsets.open()
        code, out, err = result(capfd, "offsets", "set", "billing", A, 99)
        offsets.close()
        assert (code, out) == (1, "")
        assert err.startswith("dafka offsets set: consumer 'billing' is running in process ")
        assert look(place, "billing").positions["t", A] == 1234

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["set", "billing", "xyz", "5"], "partition 'xyz' is not a producer's address"),
            (["set", "billing", A, "x"], "Invalid value for 'OFFSET'"),
            (["set", "billing", A, str(1 << 64)], "the position 18446744073709551616 is no offset"),
            (["set", "bil\nling", A, "5"], "is not the name of a consumer"),
            (["set", "billing", A], "Missing argument 'OFFSET'"),
            (["reset", "billing"], "Give either --to or --to-time."),
            (["reset", "billing", "--to", "0", "--to-time", "2026-11-25"], "Give either --to or"),
            (["reset", "billing", "--to", "first"], "'first' is neither earliest, latest nor an"),
            (["reset", "billing", "--to-time", "noon"], "'noon' is not a time in ISO 8601"),
            (["reset", "billing", "--to", "0", "--topic", ""], "the topic is empty"),
            (["show", "x" * 300], "is not the name of a consumer"),
        ],
    )
    def test_wrong_usage_is_one_sentence_and_exit_code_2(self, capfd, arguments, message):
        code, out, err = result(capfd, "offsets", *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1


class TestReset:
    @pytest.fixture
    def produced(self, nodes):
        producer = nodes.producer()
        fill(producer, 100)
        producer.flush(20)
        gevent.sleep(0.02)
        self.when = datetime.now(UTC)
        gevent.sleep(0.02)
        fill(producer, 50, first=100)
        producer.flush(20)
        return producer

    def test_to_earliest_latest_an_offset_and_a_time(self, capfd, place, produced):
        key = ("t", produced.partition)
        kept(place, positions={key: 7})
        for goal, at in (("earliest", 0), ("latest", 150), ("33", 33)):
            code, out, err = result(capfd, "offsets", "reset", "billing", "--to", goal)
            assert (code, err) == (0, "")
            assert out.splitlines()[1].split()[1:3] == [produced.partition, str(at)]
            assert look(place, "billing").positions == {key: at}
        when = self.when.isoformat()
        code, out, err = result(capfd, "offsets", "reset", "billing", "--to-time", when, "--json")
        assert (code, err) == (0, "")
        changed = {"topic": "t", "partition": produced.partition, "offset": 100, "was": 33}
        assert json.loads(out) == {"name": "billing", "positions": [changed]}
        assert look(place, "billing").positions == {key: 100}

    def test_it_includes_partitions_that_are_new_to_the_consumer(
        self, capfd, place, nodes, produced
    ):
        kept(place, positions={("t", produced.partition): 7})
        other = nodes.producer()
        fill(other, 5)
        other.flush(20)
        assert result(capfd, "offsets", "reset", "billing", "--to", "latest")[0] == 0
        assert look(place, "billing").positions == {
            ("t", produced.partition): 150,
            ("t", other.partition): 5,
        }

    def test_one_partition_or_topic_only(self, capfd, place, nodes, produced):
        other = nodes.producer("u")
        fill(other, 5)
        other.flush(20)
        before = {("t", produced.partition): 7, ("u", other.partition): 1}
        for flags, changed in (
            (["--topic", "u"], {("u", other.partition): 5}),
            (["--partition", produced.partition], {("t", produced.partition): 150}),
        ):
            kept(place, positions=before)
            assert result(capfd, "offsets", "reset", "billing", "--to", "latest", *flags)[0] == 0
            assert look(place, "billing").positions == before | changed

    def test_a_new_name_can_be_given_a_beginning(self, capfd, place, produced):
        arguments = ["reset", "fresh", "--to", "33", "--topic", "t"]
        assert result(capfd, "offsets", *arguments)[0] == 0
        code, out, _ = result(
            capfd, "consume", "t", "--name", "fresh", "--count", 2, "--format", "raw"
        )
        assert (code, out) == (0, "33\n34\n")

    def test_what_the_cluster_does_not_have_changes_nothing(self, capfd, place, nodes):
        kept(place)
        code, out, err = result(
            capfd, "offsets", "reset", "billing", "--to", "latest", "--timeout", 2
        )
        assert (code, out) == (1, "")
        assert "the cluster has no partition of t, u: nothing was changed" in err
        assert look(place, "billing").positions == {("t", A): 1234, ("u", B): 0}

    def test_a_running_consumer_holds_its_positions(self, capfd, place, nodes):
        offsets = kept(place)
        offsets.open()
        code, _, err = result(capfd, "offsets", "reset", "billing", "--to", "latest")
        offsets.close()
        assert code == 1
        assert "consumer 'billing' is running in process" in err


class TestConsume:
    def test_it_goes_on_where_it_was(self, capfd, place, nodes):
        producer = nodes.producer()
        fill(producer, 30)
        producer.flush(20)
        command = ["consume", "t", "--name", "billing", "--from", "earliest", "--format", "raw"]
        for first in (0, 10, 20):
            code, out, err = result(capfd, *command, "--count", 10)
            assert (code, err) == (0, "")
            assert out.split() == [str(number) for number in range(first, first + 10)]
        assert look(place, "billing").positions == {("t", producer.partition): 30}

    def test_several_topics_and_patterns(self, capfd, nodes):
        for topic in ("red", "sensor.a", "sensor.b", "blue"):
            producer = nodes.producer(topic)
            fill(producer, 3)
            producer.flush(20)
        command = ["consume", "red", "--pattern", "sensor.*", "--from", "earliest", "--json"]
        code, out, _ = result(capfd, *command, "--count", 9)
        assert code == 0
        topics = [json.loads(line)["topic"] for line in out.splitlines()]
        assert sorted(topics) == sorted(["red", "sensor.a", "sensor.b"] * 3)

    def test_from_a_time(self, capfd, nodes):
        producer = nodes.producer()
        fill(producer, 3)
        producer.flush(20)
        gevent.sleep(0.02)
        when = datetime.now(UTC).isoformat()
        gevent.sleep(0.02)
        fill(producer, 3, first=3)
        producer.flush(20)
        for arguments in (["--from-time", when], ["--from-time", when.replace("+00:00", "Z")]):
            command = ["consume", "t", *arguments, "--format", "raw", "--count", 3]
            assert result(capfd, *command) == (0, "3\n4\n5\n", "")

    def test_a_name_in_use_is_one_sentence_and_exit_code_1(self, capfd, place, nodes):
        consumer = nodes.consumer(name="billing", offsets=str(place))
        code, out, err = result(capfd, "consume", "t", "--name", "billing")
        assert (code, out) == (1, "")
        assert err.startswith("dafka consume: consumer 'billing' is running in process ")
        consumer.stop()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--pattern", ""], "'' is not a pattern of topics"),
            (["t", "--from", "0", "--from-time", "2026-11-25"], "Give either --from or --from-tim"),
            (["t", "--from-time", "2026-11-25T25:00"], "is not a time in ISO 8601"),
            (["t", "--offsets", "here"], "--offsets needs --name"),
            (["t", "--name", "a" * 201], "--name: 'aaaa"),
        ],
    )
    def test_wrong_usage(self, capfd, arguments, message):
        code, out, err = result(capfd, "consume", *arguments)
        assert (code, out) == (2, "")
        assert message in err

    def test_the_environment_names_it_too_but_not_for_an_export(
        self, capfd, place, nodes, monkeypatch, tmp_path
    ):
        producer = nodes.producer()
        fill(producer, 10)
        producer.flush(20)
        monkeypatch.setenv("DAFKA_NAME", "billing")
        monkeypatch.setenv("DAFKA_START", "earliest")
        assert result(capfd, "consume", "t", "--count", 10)[0] == 0
        until(lambda: look(place, "billing").positions)
        code, out, _err = result(capfd, "export", tmp_path / "file.avro", "--json")
        assert (code, json.loads(out)["records"]) == (0, 10)
