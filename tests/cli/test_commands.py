"""Help, usage faults and output of the commands; no node is started."""

from __future__ import annotations

import json
import logging
import re

import click
import pytest

import dafka
from dafka.cli import c_names, logs
from dafka.cli.consume import FORMATS
from dafka.cli.main import COMMANDS, run
from dafka.cli.main import dafka as command_line
from dafka.cli.nodes import notation
from dafka.cli.options import Command, Fault
from dafka.io.refusals import records

NODE_COMMANDS = ["server", "tower", "store", "produce", "consume"]
C_PROGRAMS = {
    "dafka_towerd": c_names.towerd,
    "dafka_stored": c_names.stored,
    "dafka_console_producer": c_names.console_producer,
    "dafka_console_consumer": c_names.console_consumer,
}
PARTITION = "0123456789ABCDEF" * 2


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("DAFKA_TOWER", "DAFKA_SUB", "DAFKA_PUB", "DAFKA_VERBOSE", "DAFKA_DATA"):
        monkeypatch.delenv(name, raising=False)
    logger = logging.getLogger("dafka")
    before = (logger.level, logger.propagate, list(logger.handlers))
    yield
    logger.level, logger.propagate, logger.handlers = before


def result(capfd, *arguments, command=command_line, name="dafka"):
    code = run(command, name, arguments)
    out, err = capfd.readouterr()
    return code, out, err


class TestHelp:
    @pytest.mark.parametrize("name", NODE_COMMANDS)
    def test_every_command_explains_itself_with_an_example(self, capfd, name):
        code, out, err = result(capfd, name, "--help")
        assert (code, err) == (0, "")
        assert f"Example:\n    dafka {name}" in out or f"| dafka {name}" in out
        for option in ("--config", "--verbose", "--version", "--sub", "--pub", "--help"):
            assert option in out

    @pytest.mark.parametrize("name", list(C_PROGRAMS))
    @pytest.mark.parametrize("option", ["-h", "--help"])
    def test_the_c_programs_too(self, capfd, name, option):
        code, out, _ = result(capfd, option, command=C_PROGRAMS[name], name=name)
        assert code == 0
        assert f"Usage: {name}" in out
        assert re.search(rf"Example:\n.*{name}", out)
        assert {"--pub", "--sub", "--verbose", "-c,"} <= set(out.split())

    def test_without_a_command_all_are_listed_with_how_to_start(self, capfd):
        code, out, err = result(capfd)
        assert (code, err) == (0, "")
        assert "dafka server" in out
        assert all(name in out for name in COMMANDS)

    @pytest.mark.parametrize("name", list(COMMANDS))
    def test_every_command_that_is_listed_is_there(self, capfd, name):
        code, out, err = result(capfd, name, "--help")
        assert (code, err) == (0, "")
        assert out.startswith(f"Usage: dafka {name} ")

    @pytest.mark.parametrize("arguments", [["--version"], ["server", "--version"]])
    def test_version(self, capfd, arguments):
        assert result(capfd, *arguments) == (0, f"dafka {dafka.__version__}\n", "")


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nosuch"], "dafka: No such command 'nosuch'."),
            (["--nosuch"], "dafka: No such option"),
            (["consume"], "dafka consume: Missing argument 'TOPIC'."),
            (["consume", "t", "--from", "first"], "dafka consume: Invalid value for '--from'"),
            (["consume", "t", "--from", "-1"], "dafka consume: Invalid value for '--from'"),
            (["consume", "t", "--from", str(2**64)], "dafka consume: Invalid value for '--from'"),
            (["consume", "t", "--count", "0"], "dafka consume: Invalid value for '--count'"),
            (["consume", "t", "--format", "xml"], "dafka consume: Invalid value for '--format'"),
            (["consume", ""], "dafka consume: the topic is empty"),
            (["consume", "t" * 256], "dafka consume: topic 'tttttttttttttttttttt'"),
            (["produce"], "dafka produce: Missing argument 'TOPIC'."),
            (["produce", "t", "missing"], "dafka produce: cannot read missing: No such file"),
            (["produce", "t", "."], "dafka produce: cannot read .: Is a directory"),
            (["produce", "t", "--acks", "0"], "dafka produce: Invalid value for '--acks'"),
            (["produce", "t", "--timeout", "x"], "dafka produce: Invalid value for '--timeout'"),
            (["tower", "--port", "5556", "--sub", "tcp://*:1"], "dafka tower: Give either --port"),
            (["tower", "--port", "65535"], "dafka tower: Invalid value for '--port'"),
            (["tower", "--sub", "here"], "dafka tower: --sub: sub 'here' is not an endpoint"),
            (["tower", "--pub", "tcp://*:65536"], "dafka tower: --pub: pub 'tcp://*:65536' is not"),
            (["tower", "--sub", "tcp://*:7", "--pub", "tcp://*:7"], "dafka tower: sub and pub are"),
            (["server", "--sub", "tcp://*:7", "--pub", "tcp://*:7"], "dafka server: sub and pub"),
            (
                ["tower", "--port", "abc"],
                "dafka tower: Invalid value for '--port': 'abc' is not a valid whole number. Try",
            ),
            (
                ["produce", "t", "--timeout", "x"],
                "dafka produce: Invalid value for '--timeout': 'x' is not a valid number of sec",
            ),
            (
                ["produce", "t", "f", "x"],
                "dafka produce: Got unexpected extra argument (x). Try 'dafka produce --help'.",
            ),
            (["store", "--data", ""], "dafka store: --data: data is empty: give the directory"),
            (["server", "--data", ""], "dafka server: --data: data is empty: give the directory"),
            (["server", "-c", "missing"], "dafka server: cannot read missing: No such file"),
            (["store", "--tower", "a:b"], "dafka store: --tower: tower 'a:b' is not an address"),
            (["store", "--tower", "a", "--sub", "tcp://a:1"], "dafka store: give either --tower"),
        ],
    )
    def test_a_fault_is_one_line_and_exit_code_2(self, capfd, arguments, message):
        code, out, err = result(capfd, *arguments)
        assert (code, out) == (2, "")
        assert err.startswith(message)
        assert err.count("\n") == 1

    def test_the_c_programs_name_themselves(self, capfd):
        code, _, err = result(capfd, "-c", "missing", command=c_names.stored, name="dafka_stored")
        assert (code, err) == (2, "dafka_stored: cannot read missing: No such file or directory\n")

    @pytest.mark.parametrize(
        ("variable", "value", "message"),
        [
            ("BUFFER_BYTES", "much", "'much' is not a whole number"),
            ("HIGH_WATER_MARK", "2147483648", "high_water_mark is 2147483648: it must be at most"),
            ("BIND", "foo", "bind 'foo' is not an endpoint to listen on, such as tcp://*:"),
            ("HOST", "a://b", "host 'a://b' is not a host: use the name or the IP address"),
        ],
    )
    def test_the_environment_is_to_blame_if_it_is(
        self, capfd, monkeypatch, variable, value, message
    ):
        monkeypatch.setenv(f"DAFKA_{variable}", value)
        code, _, err = result(capfd, "produce", "t")
        assert code == 2
        assert err.startswith(f"dafka produce: environment variable DAFKA_{variable}: {message}")
        assert err.count("\n") == 1


class TestEndings:
    def ending(self, capfd, error):
        @click.command(cls=Command)
        def command():
            raise error

        return result(capfd, command=command, name="dafka it")

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (dafka.ConfigError("wrong setting"), (2, "", "dafka it: wrong setting\n")),
            (dafka.StoreError("disk\n is full"), (1, "", "dafka it: disk is full\n")),
            (dafka.PublishTimeout("late", 3), (1, "", "dafka it: late\n")),
            (dafka.Closed("odd"), (1, "", "dafka it: odd\n")),
            (Fault("no", 7), (7, "", "dafka it: no\n")),
            (KeyboardInterrupt(), (130, "", "dafka it: interrupted\n")),
        ],
    )
    def test_expected_errors_are_a_sentence(self, capfd, error, expected):
        code, out, err = self.ending(capfd, error)
        assert (code, out, err) == expected

    def test_our_own_faults_are_not_hidden(self, capfd):
        with pytest.raises(ZeroDivisionError):
            self.ending(capfd, ZeroDivisionError())

    def test_what_this_installation_lacks_is_said(self, capfd, monkeypatch):
        monkeypatch.setitem(COMMANDS, "lacking", ("dafka.cli.lacking", "main", "Is not there."))
        assert result(capfd, "lacking") == (
            1,
            "",
            "dafka lacking: this installation does not contain it\n",
        )


class TestLog:
    def test_warnings_only_unless_asked_for_more(self, capfd):
        logs.start(verbose=False)
        logging.getLogger("dafka.store").info("event topic=x")
        logging.getLogger("dafka.store").warning("disk is full")
        err = capfd.readouterr().err
        assert re.fullmatch(r"[-0-9]+ [:,0-9]+ WARNING dafka\.store: disk is full\n", err)

    def test_it_may_be_started_again(self, capfd):
        logs.start(verbose=False)
        logs.start(verbose=True)
        logging.getLogger("dafka.store").debug("event topic=x")
        assert capfd.readouterr().err.count("event topic=x") == 1


class TestFormats:
    def printed(self, form, *contents, topic="t", partition=PARTITION, first=5):
        return FORMATS[form](dafka.Run(topic, partition, first, list(contents)))

    def test_text_is_what_the_c_console_consumer_prints(self):
        assert self.printed("text", b"a", b"", b"\xff\0", topic="grün") == (
            f"grün {PARTITION} a\ngrün {PARTITION} \ngrün {PARTITION} ".encode() + b"\xff\0\n"
        )

    def test_raw_is_the_contents(self):
        assert self.printed("raw", b"a", b"", b"\xff") == b"a\n\n\xff\n"

    def test_json_is_an_object_per_line_whatever_the_content(self):
        lines = self.printed("json", b"a\nb", "ü\u2028".encode(), b"\xff").decode().split("\n")
        assert [json.loads(line) for line in lines[:-1]] == [
            {"topic": "t", "partition": PARTITION, "offset": 5, "content": "a\nb"},
            {"topic": "t", "partition": PARTITION, "offset": 6, "content": "ü\u2028"},
            {"topic": "t", "partition": PARTITION, "offset": 7, "content_base64": "/w=="},
        ]
        assert lines[-1] == ""

    def test_a_foreign_producer_whose_address_is_no_text(self):
        foreign = {"topic": "caf\udce9", "partition": "\udcff"}
        assert self.printed("text", b"a", **foreign) == b"caf\xe9 \xff a\n"
        assert self.printed("raw", b"a", **foreign) == b"a\n"
        assert json.loads(self.printed("json", b"a", **foreign)) == {
            "topic_base64": "Y2Fm6Q==",
            "partition_base64": "/w==",
            "offset": 5,
            "content": "a",
        }


def test_a_tower_is_named_as_short_as_can_be():
    assert notation(dafka.TowerAddress("tcp://h:1", "tcp://h:2")) == "tcp://h:1"
    assert notation(dafka.TowerAddress("tcp://h:1", "tcp://h:3")) == "tcp://h:1,tcp://h:3"
    assert notation(dafka.TowerAddress("ipc://a", "ipc://b")) == "ipc://a,ipc://b"


def test_numbers_of_records_in_words():
    assert [records(n) for n in (0, 1, 2)] == ["0 records", "1 record", "2 records"]
