"""`dafka topics`, `describe` and `nodes`: what is printed, and how they end."""

from __future__ import annotations

import io
import json
import logging
import os

import click
import pytest

from dafka.cli import inspecting, tables
from dafka.cli.main import dafka as command_line
from dafka.cli.main import run
from dafka.core.inventory import Inventory, StoreState, take
from dafka.errors import Closed
from dafka.io.inspector import ROLE, Deletion, NodeState
from protocol import DirectHead, Head
from tests.support.live_nodes import Nodes, fill, free_ports, tower_on

OURS = StoreState("A" * 32, "tcp://192.0.2.10:40001", "1" * 32, answered=True)
OF_C = StoreState("C" * 32, "tcp://192.0.2.11:40002", None, answered=True)
SILENT = StoreState("D" * 32, "tcp://192.0.2.12:40003", None, answered=False)
ALIVE, GONE = "0123456789ABCDEF" * 2, "F" * 32


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DAFKA_")]:
        monkeypatch.delenv(name)
    logger = logging.getLogger("dafka")
    before = (logger.level, logger.propagate, list(logger.handlers))
    yield
    logger.level, logger.propagate, logger.handlers = before


def result(capfd, *arguments):
    code = run(command_line, "dafka", arguments)
    out, err = capfd.readouterr()
    return code, out, err


def told(partition, end, earliest=None, size=None, topic="hello", **more):
    return DirectHead("", partition, topic, end - 1, earliest, bytes=size, **more)


def inventory(*stores, heads=(), complete=True) -> Inventory:
    by_store = {store: {(h.subject, h.address): h for h in known} for store, known in stores}
    return take(by_store, {(h.subject, h.address): h for h in heads}, {ALIVE}, complete=complete)


FULL = inventory(
    (OURS, [told(ALIVE, 1_234_567, 1000, 98_765_432), told(GONE, 10, 0, 640)]),
    (OF_C, [told(ALIVE, 1_234_000), told(GONE, 10)]),
)


class Cluster:
    """Stands for the inspector: a cluster that answers at once."""

    def __init__(self) -> None:
        self.inventory = FULL
        self.introduced = True
        self.states: list[NodeState] = []
        self.deletions: list[Deletion] = []
        self.deleted: list[str] = []
        self.running = 0

    def __call__(self, topic, *, config):
        self.topic, self.config = topic, config
        return self

    def start(self):
        self.running += 1

    def stop(self, timeout=None):
        self.running -= 1

    def gather(self, timeout):
        if not self.running:
            raise Closed("not started")
        return self.inventory

    def nodes(self):
        return self.states

    def delete(self, timeout):
        self.deleted.append(self.topic)
        return self.deletions


@pytest.fixture
def cluster(monkeypatch):
    made = Cluster()
    monkeypatch.setattr(inspecting, "Inspector", made)
    yield made
    assert made.running == 0


class TestHelp:
    @pytest.mark.parametrize(
        "command", [["topics"], ["topics", "list"], ["topics", "delete"], ["describe"], ["nodes"]]
    )
    def test_every_command_explains_itself_with_an_example(self, capfd, command):
        code, out, err = result(capfd, *command, "--help")
        assert (code, err) == (0, "")
        assert f"Example:\n    dafka {' '.join(command)}" in out
        common = ("--config", "--verbose", "--version", "--tower", "--sub", "--pub", "--help")
        for option in (*common, "--json", "--timeout"):
            assert option in out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["describe"], "dafka describe: Missing argument 'TOPIC'."),
            (["describe", ""], "dafka describe: the topic is empty"),
            (["describe", "t", "--timeout", "-1"], "dafka describe: Invalid value for '--timeout'"),
            (["topics", "delete"], "dafka topics delete: Missing argument 'TOPIC'."),
            (["topics", "delete", "a\0b"], "dafka topics delete: topic 'a\\x00b' contains a NUL"),
            (["topics", "nosuch"], "dafka topics: No such command 'nosuch'."),
            (["topics", "--json", "list"], "dafka topics: Give the options behind 'list'."),
            (["topics", "-c", "missing"], "dafka topics: cannot read missing: No such file"),
            (["nodes", "--tower", "a:b"], "dafka nodes: --tower: tower 'a:b' is not an address"),
        ],
    )
    def test_a_fault_is_one_line_and_exit_code_2(self, capfd, arguments, message):
        code, out, err = result(capfd, *arguments)
        assert (code, out) == (2, "")
        assert err.startswith(message)
        assert err.count("\n") == 1


class TestTopics:
    @pytest.mark.parametrize("command", [["topics"], ["topics", "list"]])
    def test_table(self, capfd, cluster, command):
        code, out, err = result(capfd, *command)
        assert (code, err, cluster.topic) == (0, "", "")
        assert out == (
            "TOPIC  PARTITIONS    RECORDS    BYTES\nhello           2  1,233,577  98.8 MB\n"
        )

    def test_json(self, capfd, cluster):
        code, out, _ = result(capfd, "topics", "--json")
        topic = {"topic": "hello", "partitions": 2, "records": 1_233_577, "bytes": 98_766_072}
        assert (code, json.loads(out)) == (0, {"topics": [topic], "complete": True})

    def test_no_topics(self, capfd, cluster):
        cluster.inventory = inventory((OURS, []))
        assert result(capfd, "topics") == (0, "no topics\n", "")

    def test_names_of_any_kind_fit_the_terminal(self, capfd, cluster):
        names = ["\x1b[31mred", "x" * 255, "größe", "\udcff", ""]
        cluster.inventory = inventory((OURS, [told(GONE, 1, topic=name) for name in names]))
        _, out, _ = result(capfd, "topics")
        assert "\x1b" not in out
        assert "\\x1b[31mred" in out
        assert "größe" in out
        assert max(map(len, out.splitlines())) <= 100

    def test_options_reach_the_node(self, capfd, cluster):
        result(capfd, "topics", "--tower", "h:1")
        assert [str(tower) for tower in cluster.config.towers] == ["tcp://h:1,tcp://h:2"]

    def test_what_is_missing_is_said_on_stderr(self, capfd, cluster):
        cluster.inventory = inventory((OURS, [told(GONE, 1)]), (SILENT, []), complete=False)
        code, out, err = result(capfd, "topics", "--timeout", "3")
        assert (code, out.splitlines()[1].split()[0]) == (0, "hello")
        assert err == "note: the store at tcp://192.0.2.12:40003 did not answer within 3 s\n"
        cluster.inventory = inventory((OURS, [told(GONE, 1)]), complete=False)
        assert "try a longer --timeout" in result(capfd, "topics")[2]

    def test_without_a_store_living_producers_are_listed(self, capfd, cluster):
        cluster.inventory = inventory(heads=[Head("hello", ALIVE, "hello", 4)])
        code, out, err = result(capfd, "topics")
        assert (code, out.splitlines()[1].split()) == (0, ["hello", "1", "5", "-"])
        assert err == "note: no store was found: only what living producers announce is known\n"


class TestDescribe:
    def test_table(self, capfd, cluster):
        code, out, err = result(capfd, "describe", "hello")
        assert (code, err, cluster.topic) == (0, "", "hello")
        assert out.splitlines() == [
            "topic hello: 2 partitions, 1,233,577 records, 2 stores",
            "PARTITION / STORE                 PRODUCER  EARLIEST       NEXT  LAG    BYTES",
            f"{ALIVE}  alive        1,000  1,234,567       98.8 MB",
            "  tcp://192.0.2.10:40001                       1,000  1,234,567    0  98.8 MB",
            "  tcp://192.0.2.11:40002                           -  1,234,000  567        -",
            f"{GONE}  gone             0         10         640 B",
            "  tcp://192.0.2.10:40001                           0         10    0    640 B",
            "  tcp://192.0.2.11:40002                           -         10    0        -",
        ]

    def test_widest_table_fits_a_hundred_columns(self, capfd, cluster):
        store = StoreState("A" * 32, f"tcp://[{'2001:db8:' * 4}1]:40001", "1" * 32, answered=True)
        cluster.inventory = inventory((store, [told("\0" + "F" * 254, 10**12, 10**11, 10**17)]))
        _, out, _ = result(capfd, "describe", "hello")
        assert max(map(len, out.splitlines())) <= 100

    def test_json(self, capfd, cluster):
        code, out, _ = result(capfd, "describe", "hello", "--json")
        shown = json.loads(out)
        assert code == 0
        assert (shown["topic"], shown["complete"]) == ("hello", True)
        first, second = shown["partitions"]
        copies = first.pop("stores")
        assert first == {
            "partition": ALIVE,
            "alive": True,
            "earliest": 1000,
            "next": 1_234_567,
            "records": 1_233_567,
            "bytes": 98_765_432,
        }
        assert [(c["endpoint"], c["name"], c["earliest"], c["lag"]) for c in copies] == [
            (OURS.endpoint, "1" * 32, 1000, 0),
            (OF_C.endpoint, None, None, 567),
        ]
        assert second["partition"] == GONE
        assert [store["answered"] for store in shown["stores"]] == [True, True]

    def test_unknown_topic(self, capfd, cluster):
        cluster.inventory = inventory((OURS, []))
        code, out, err = result(capfd, "describe", "nosuch")
        assert (code, out) == (1, "")
        assert err.startswith("dafka describe: topic 'nosuch' is unknown: no store has it")

    def test_deleted_topic(self, capfd, cluster):
        cluster.inventory = inventory((OURS, [told(GONE, 5, 5, 0, deleted=5)]))
        code, _, err = result(capfd, "describe", "hello")
        assert (code, "topic 'hello' was deleted" in err) == (1, True)

    def test_without_a_tower(self, capfd, cluster):
        cluster.introduced = False
        code, out, err = result(capfd, "describe", "t", "--tower", "h", "--timeout", "2")
        assert (code, out) == (1, "")
        assert err == (
            "dafka describe: no tower answered at tcp://h:5556 within 2 s: start one with "
            "`dafka server`, or name it with --tower\n"
        )


class TestNodes:
    def test_table(self, capfd, cluster):
        cluster.states = [
            NodeState("store reader", "A" * 32, "tcp://192.0.2.10:40001", "0.1.0", 0.04),
            NodeState(None, "B" * 32, "tcp://192.0.2.10:40002", None, 3.96),
        ]
        code, out, err = result(capfd, "nodes", "--tower", "h:1", "--tower", "h:3")
        assert (code, err, cluster.topic) == (0, "", None)
        assert out.splitlines() == [
            "tower tcp://h:1",
            "tower tcp://h:3",
            "ROLE          ENDPOINT                VERSION   SEEN  ADDRESS",
            f"store reader  tcp://192.0.2.10:40001  0.1.0    0.0 s  {'A' * 32}",
            f"-             tcp://192.0.2.10:40002  -        4.0 s  {'B' * 32}",
        ]

    def test_json(self, capfd, cluster):
        cluster.states = [NodeState("producer", "A" * 32, "tcp://h:7", "0.1.0", 0.5)]
        code, out, _ = result(capfd, "nodes", "--json", "--tower", "h:1")
        node = {
            "role": "producer",
            "address": "A" * 32,
            "endpoint": "tcp://h:7",
            "version": "0.1.0",
            "seen_s": 0.5,
        }
        towers = [{"sub": "tcp://h:1", "pub": "tcp://h:2"}]
        assert (code, json.loads(out)) == (0, {"towers": towers, "nodes": [node]})

    def test_no_nodes(self, capfd, cluster):
        assert result(capfd, "nodes", "--tower", "h")[:2] == (0, "tower tcp://h:5556\nno nodes\n")


class TestDelete:
    DONE = Deletion(OURS, able=True, records=9)
    NOT_ABLE = Deletion(OF_C, able=False, records=None)
    LATE = Deletion(SILENT, able=True, records=None)

    def answering(self, monkeypatch, text):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    def test_every_store_is_told(self, capfd, cluster):
        cluster.deletions = [self.DONE]
        code, out, err = result(capfd, "topics", "delete", "hello", "--yes")
        assert (code, out) == (0, "store tcp://192.0.2.10:40001: 9 records deleted\n")
        assert (err, cluster.deleted) == ("", ["hello"])

    def test_stores_that_did_not_delete_are_named_and_it_is_a_failure(self, capfd, cluster):
        cluster.deletions = [self.DONE, self.NOT_ABLE, self.LATE]
        code, out, err = result(capfd, "topics", "delete", "hello", "--yes", "--timeout", "2")
        assert (code, out.splitlines()[1:]) == (
            1,
            [
                "store tcp://192.0.2.11:40002: cannot delete (a C store); its records stay",
                "store tcp://192.0.2.12:40003: has not confirmed within 2 s; it may still delete",
            ],
        )
        assert err == "dafka topics delete: topic 'hello' was not deleted at 2 stores\n"

    def test_json(self, capfd, cluster):
        cluster.deletions = [self.DONE, self.NOT_ABLE]
        code, out, _ = result(capfd, "topics", "delete", "hello", "--yes", "--json")
        shown = json.loads(out)
        assert (code, shown["topic"]) == (1, "hello")
        assert [(s["endpoint"], s["records"]) for s in shown["stores"]] == [
            (OURS.endpoint, 9),
            (OF_C.endpoint, None),
        ]

    def test_question_tells_what_would_be_lost(self, capfd, cluster, monkeypatch):
        cluster.deletions = [self.DONE]
        self.answering(monkeypatch, "y\n")
        code, out, err = result(capfd, "topics", "delete", "hello", "--json")
        assert (code, json.loads(out)["topic"], cluster.deleted) == (0, "hello", ["hello"])
        assert err.startswith(
            "topic 'hello': 1,233,577 records in 2 partitions at 2 stores; 1 producer still "
            "publishing\nDelete all of it, for good? [y/N]"
        )

    @pytest.mark.parametrize("answer", ["n\n", "\n", ""])
    def test_nothing_is_deleted_without_a_yes(self, capfd, cluster, monkeypatch, answer):
        self.answering(monkeypatch, answer)
        code, out, err = result(capfd, "topics", "delete", "hello")
        assert (code, out, cluster.deleted) == (1, "", [])
        assert err.endswith("dafka topics delete: nothing was deleted: answer y, or give --yes\n")

    @pytest.mark.parametrize("yes", [[], ["--yes"]])
    def test_unknown_topic_is_not_deleted(self, capfd, cluster, yes):
        cluster.inventory = inventory((OURS, []))
        code, _, err = result(capfd, "topics", "delete", "nosuch", *yes)
        assert (code, "topic 'nosuch' is unknown" in err) == (1, True)
        assert cluster.deleted == []

    @pytest.mark.parametrize("yes", [[], ["--yes"]])
    def test_without_a_store_there_is_nothing_to_delete(self, capfd, cluster, yes):
        cluster.inventory = inventory(heads=[Head("hello", ALIVE, "hello", 4)])
        code, _, err = result(capfd, "topics", "delete", "hello", *yes)
        assert (code, "no store was found, so there is nothing to delete" in err) == (1, True)
        assert cluster.deleted == []


def test_interruption_is_no_answer(capfd, cluster, monkeypatch):
    def interrupted(node, body):
        """What `nodes.run` does about Ctrl-C."""

    monkeypatch.setattr(inspecting.nodes, "run", interrupted)
    code, out, err = result(capfd, "topics")
    assert (code, out) == (130, "")
    assert "interrupted" in err


@pytest.mark.io
class TestLive:
    """Against real nodes, in this process."""

    @pytest.fixture
    def nodes(self, tmp_path):
        made = Nodes(tmp_path)
        yield made
        made.end()

    def test_a_cluster(self, capfd, nodes):
        nodes.cluster()
        producer = nodes.producer("hello")
        fill(producer, 3)
        producer.flush(timeout=20)
        tower = str(nodes.tower)
        code, out, err = result(capfd, "describe", "hello", "--tower", tower, "--timeout", "20")
        assert (code, err) == (0, "")
        assert f"{producer.address}  alive" in out
        code, out, _ = result(capfd, "nodes", "--json", "--tower", tower, "--timeout", "20")
        roles = sorted(node["role"] for node in json.loads(out)["nodes"])
        # The tool that described is gone, but has not been silent for long enough.
        assert (code, [r for r in roles if r != ROLE]) == (
            0,
            ["producer", "store reader", "store writer"],
        )

    def test_no_cluster(self, capfd):
        tower = str(tower_on(free_ports(2)))
        code, out, err = result(capfd, "topics", "--tower", tower, "--timeout", "0.2")
        assert (code, out) == (1, "")
        assert err.startswith("dafka topics: no tower answered at tcp://127.0.0.1:")


class TestTables:
    def test_sizes(self):
        shown = [tables.size(n) for n in (None, 0, 999, 1000, 999_949, 999_950, 10**9, 5 * 10**18)]
        assert shown == [
            "-",
            "0 B",
            "999 B",
            "1.0 kB",
            "999.9 kB",
            "1.0 MB",
            "1.0 GB",
            "5,000.0 PB",
        ]

    def test_numbers_and_counts(self):
        assert [tables.number(n) for n in (None, 0, 1_000)] == ["-", "0", "1,000"]
        assert [tables.count(n, "store") for n in (0, 1, 2_000)] == [
            "0 stores",
            "1 store",
            "2,000 stores",
        ]

    def test_texts(self):
        assert tables.text(None, 5) == "-"
        assert tables.text("", 5) == "''"
        assert tables.text("a\nb", 9) == "a\\nb"
        assert tables.text("abcdefghij", 10) == "abcdefghij"
        assert tables.text("abcdefghijk", 10) == "abcdef…ijk"

    def test_columns(self):
        shown = tables.table(["A", "LONG"], "rl", [["10", "x"], ["1", ""]])
        assert shown == " A  LONG\n10  x\n 1"
        assert click.unstyle(shown) == shown
