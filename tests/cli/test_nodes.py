"""Commands and nodes in this process: what they do when signals, silence or faults end them."""

from __future__ import annotations

import io
import json
import os
import signal
import sys

import gevent
import pytest

import dafka
from dafka.cli import c_names, nodes, produce, publishing
from dafka.cli.consume import FORMATS, Printing
from dafka.cli.main import dafka as command_line
from dafka.cli.main import run
from dafka.cli.options import Fault
from dafka.core import beacon
from tests.support.waiting import until

pytestmark = pytest.mark.io


@pytest.fixture(autouse=True)
def _workplace(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DAFKA_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    with dafka.Cluster(tmp_path / "records") as cluster:
        monkeypatch.setenv("DAFKA_TOWER", str(cluster.tower))
        yield cluster


@pytest.fixture
def tower(monkeypatch):
    with dafka.Tower(sub="tcp://127.0.0.1:*", pub="tcp://127.0.0.1:*") as tower:
        monkeypatch.setenv("DAFKA_TOWER", str(tower.address))
        yield tower


@pytest.fixture
def signal_after():
    """Sends this process a signal in so many seconds, unless the test has ended by then."""
    waiting = []

    def send(seconds: float, number: int = signal.SIGTERM) -> None:
        waiting.append(gevent.spawn_later(seconds, os.kill, os.getpid(), number))

    yield send
    gevent.killall(waiting)


def result(capfdbinary, *arguments, command=command_line, name="dafka"):
    code = run(command, name, arguments)
    out, err = capfdbinary.readouterr()
    return code, out, err.decode()


def write(text: bytes, name: str = "lines") -> str:
    with open(name, "wb") as file:
        file.write(text)
    return name


class TestProduceAndConsume:
    def test_there_and_back(self, cluster, capfdbinary):
        code, out, err = result(capfdbinary, "produce", "t", write(b"a\n\nc"), "--acks", "1")
        assert (code, out) == (0, b"")
        assert err.startswith("3 records acknowledged in ")
        assert result(
            capfdbinary, "consume", "t", "--from", "earliest", "--count", "3", "--format", "raw"
        ) == (0, b"a\n\nc\n", "")

    def test_json(self, cluster, capfdbinary):
        code, out, err = result(capfdbinary, "produce", "t", write(b"a\n"), "--json")
        report = json.loads(out)
        assert (code, err, report["records"]) == (0, "", 1)
        code, out, _ = result(
            capfdbinary, "consume", "t", "--from", "earliest", "--count", "1", "--json"
        )
        assert json.loads(out) == {
            "topic": "t",
            "partition": report["partition"],
            "offset": 0,
            "content": "a",
        }

    def test_an_offset_counts_for_every_partition(self, cluster, capfdbinary):
        for name in (b"a", b"b"):
            lines = b"".join(b"%s%d\n" % (name, number) for number in range(5000))
            result(capfdbinary, "produce", "t", write(lines))
        code, out, _ = result(
            capfdbinary, "consume", "t", "--from", "4998", "--count", "4", "--format", "raw"
        )
        assert code == 0
        assert sorted(out.split()) == [b"a4998", b"a4999", b"b4998", b"b4999"]

    def test_silence_before_the_count_is_reached_is_a_failure(self, cluster, capfdbinary):
        code, out, err = result(capfdbinary, "consume", "t", "--count", "2", "--timeout", "0.2")
        assert (code, out) == (1, b"")
        assert err == "dafka consume: 2 records are missing after 0.2 s of silence\n"

    def test_one_record_is_missing_in_the_singular(self, cluster, capfdbinary):
        code, _, err = result(capfdbinary, "consume", "t", "--count", "1", "--timeout", "0.2")
        assert (code, err) == (
            1,
            "dafka consume: 1 record is missing after 0.2 s of silence\n",
        )

    @pytest.mark.parametrize(("start", "known"), [("earliest", 6), (4, 2)])
    def test_silence_is_a_failure_if_records_are_known_that_did_not_come(
        self, cluster, start, known
    ):
        # It says that it has published the first five before, but no store has them.
        producer = dafka.Producer("t", tower=cluster.tower, partition="A" * 32, first=5)
        consumer = dafka.Consumer("t", tower=cluster.tower, start=start)
        with producer, consumer, nodes.Interrupts() as interrupts:
            producer.publish(b"five")
            until(lambda: consumer.behind() == known, what="the consumer knows")
            message = f"{known} records that are known to exist are missing after 0.1 s of silence"
            with pytest.raises(Fault, match=f"^{message}$"):
                Printing(consumer, FORMATS["raw"], timeout=0.1).run(interrupts)
            producer.stop(timeout=0)

    def test_silence_is_success_if_everything_that_is_known_has_come(self, cluster, capfdbinary):
        producer = dafka.Producer("t", tower=cluster.tower)
        consumer = dafka.Consumer("t", tower=cluster.tower, start="earliest")
        with producer, consumer, nodes.Interrupts() as interrupts:
            for content in (b"a", b"b"):
                producer.publish(content)
            until(lambda: consumer.position(producer.partition) is not None, what="a record")
            until(lambda: consumer.stats().records == 2, what="all records")
            Printing(consumer, FORMATS["raw"], timeout=0.1).run(interrupts)
        assert capfdbinary.readouterr().out == b"a\nb\n"

    def test_a_signal_ends_a_consumer_as_success(self, cluster, capfdbinary, signal_after):
        signal_after(0.3, signal.SIGINT)
        assert result(capfdbinary, "consume", "t") == (0, b"", "")

    def test_the_c_console_programs(self, cluster, capfdbinary, monkeypatch, signal_after):
        sub, pub = cluster.tower.sub, cluster.tower.pub
        descriptor = os.open(write(b"a\nb\n"), os.O_RDONLY)
        monkeypatch.setattr("dafka.cli.stdio.STDIN", descriptor)
        monkeypatch.setattr(produce, "STDIN", descriptor)
        assert result(
            capfdbinary, "--sub", sub, "--pub", pub, "t", command=c_names.console_producer
        ) == (0, b"", "")
        os.close(descriptor)
        signal_after(1.0)
        code, out, err = result(
            capfdbinary, "--from-beginning", "--sub", sub, "--pub", pub, "t",
            command=c_names.console_consumer,
        )  # fmt: skip
        assert (code, err) == (0, "")
        assert [line.split()[::2] for line in out.splitlines()] == [[b"t", b"a"], [b"t", b"b"]]

    def test_a_buffer_that_is_full_makes_a_producer_wait(self, cluster, capfdbinary, monkeypatch):
        monkeypatch.setenv("DAFKA_BUFFER_BYTES", "1000")
        lines = b"".join(b"%0100d\n" % number for number in range(500))
        code, _, err = result(capfdbinary, "produce", "t", write(lines))
        assert code == 0
        assert err.startswith("500 records acknowledged in ")

    @pytest.mark.parametrize("end", [b"", b"\nlast\n"])
    def test_a_line_that_is_too_long_is_said_and_those_before_it_are_kept(
        self, cluster, capfdbinary, monkeypatch, end
    ):
        monkeypatch.setenv("DAFKA_BUFFER_BYTES", "1000")
        given = b"a\n" + b"b" * 936 + b"\n" + b"c" * 937 + end
        code, out, err = result(capfdbinary, "produce", "t", write(given))
        first, second = err.splitlines()
        assert (code, out) == (2, b"")
        assert first.startswith("2 records acknowledged in ")
        assert second == (
            "dafka produce: line 3 is longer than 936 bytes, the most that buffer_bytes allows: "
            "raise that (DAFKA_BUFFER_BYTES, or buffer_bytes in [producer]), or cut the line"
        )
        monkeypatch.delenv("DAFKA_BUFFER_BYTES")
        flags = ("--from", "earliest", "--count", "2", "--format", "raw")
        assert result(capfdbinary, "consume", "t", *flags) == (0, b"a\n" + b"b" * 936 + b"\n", "")


class TestWithoutStore:
    def test_without_a_tower_a_producer_says_only_that(self, capfdbinary, monkeypatch):
        monkeypatch.setattr(publishing, "NOTICE_AFTER_S", 0.1)
        monkeypatch.setattr(beacon, "TOWER_PATIENCE_S", 0.2)
        monkeypatch.setenv("DAFKA_TOWER", "127.0.0.1:1")
        code, _, err = result(capfdbinary, "produce", "t", write(b"a\n"), "--timeout", "0.6")
        first, second = err.splitlines()
        assert code == 1
        assert " WARNING dafka.producer: no tower answers at tcp://127.0.0.1:1," in first
        assert second.endswith(
            "1 of 1 record not acknowledged by a store, since no tower answered at "
            "tcp://127.0.0.1:1"
        )

    def test_nor_does_a_consumer_end_well_without_one(self, capfdbinary):
        code, out, err = result(
            capfdbinary, "consume", "t", "--timeout", "0.1", "--tower", "127.0.0.1:1"
        )
        assert (code, out) == (1, b"")
        assert err == "dafka consume: no tower answered at tcp://127.0.0.1:1 within 0.1 s\n"

    def test_a_producer_tells_what_it_waits_for_then_gives_up(
        self, tower, capfdbinary, monkeypatch
    ):
        monkeypatch.setattr(publishing, "NOTICE_AFTER_S", 0.2)
        code, out, err = result(capfdbinary, "produce", "t", write(b"a\n"), "--timeout", "2")
        first, second = err.splitlines()
        assert (code, out) == (1, b"")
        assert "waiting for a store to acknowledge 1 record of topic 't'" in first
        assert second == "dafka produce: topic 't': 1 of 1 record not acknowledged by a store"

    def test_also_when_its_buffer_is_full(self, tower, capfdbinary, monkeypatch):
        monkeypatch.setattr(publishing, "NOTICE_AFTER_S", 0.1)
        monkeypatch.setenv("DAFKA_BUFFER_BYTES", "1000")
        code, _, err = result(
            capfdbinary, "produce", "t", write(b"a" * 600 + b"\n" + b"b" * 600), "--timeout", "2"
        )
        assert code == 1
        assert "waiting for a store" in err
        assert err.endswith("1 of 1 record not acknowledged by a store\n")

    def test_a_signal_ends_the_wait(self, capfdbinary, signal_after):
        signal_after(0.3)
        code, _, err = result(capfdbinary, "produce", "t", write(b"a\n"))
        assert code == 1
        assert err.startswith("dafka produce: topic 't': 1 of 1 record not acknowledged by a store")

    def test_an_interrupted_file_is_a_failure(
        self, cluster, capfdbinary, monkeypatch, signal_after
    ):
        def endless(_descriptor, _longest):
            while True:
                yield [b"a"]
                gevent.sleep(0.05)

        monkeypatch.setattr(produce, "read_lines", endless)
        signal_after(0.5)
        code, _, err = result(capfdbinary, "produce", "t", write(b""))
        assert code == 1
        assert err.splitlines()[-1].endswith(", before the end of lines")

    def test_progress_is_drawn_only_on_a_terminal(self, cluster, capfdbinary, monkeypatch):
        monkeypatch.setattr(publishing, "PROGRESS_S", 0.01)
        code, _, err = result(capfdbinary, "produce", "t", write(b"a\nb\n"), "--progress")
        assert (code, err.count("\n")) == (0, 1)

        class Terminal(io.StringIO):
            def isatty(self):
                return True

        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        assert run(command_line, "dafka", ["produce", "t", "lines", "--progress"]) == 0
        assert "2/2" in terminal.getvalue()


class TestServers:
    @pytest.mark.parametrize(
        ("arguments", "start"),
        [
            (["server", "--port", "0", "--data", "r"], b"tower tcp://127.0.0.1:"),
            (["server", "--port", "0", "--data", "r", "--json"], b'{"tower": {"sub": "tcp://127'),
            (["tower", "--port", "0"], b"tower tcp://127.0.0.1:"),
            (["tower", "--port", "0", "--json"], b'{"tower": {"sub": "tcp://127'),
            (["store", "--data", "r"], b"store r: ready\n"),
            (["store", "--data", "r", "--json"], b'{"store": {"data": "r", "endpoint": "tcp://'),
        ],
    )
    def test_each_says_when_it_is_ready_and_ends_by_a_signal(
        self, capfdbinary, arguments, start, signal_after
    ):
        signal_after(0.5)
        code, out, err = result(capfdbinary, *arguments)
        assert (code, err) == (0, "")
        assert out.startswith(start)

    def test_the_c_programs(self, capfdbinary, signal_after):
        signal_after(0.5)
        at = ["--sub", "tcp://127.0.0.1:*", "--pub", "tcp://127.0.0.1:*"]
        code, out, _ = result(capfdbinary, *at, command=c_names.towerd)
        assert (code, out.endswith(b": ready\n")) == (0, True)
        signal_after(0.5)
        code, out, _ = result(capfdbinary, command=c_names.stored)
        assert (code, out) == (0, b"store storedb: ready\n")

    def test_verbose_tells_what_happens(self, capfdbinary, signal_after):
        signal_after(0.3)
        code, _, err = result(capfdbinary, "tower", "--port", "0", "--verbose")
        assert code == 0
        assert "INFO dafka.tower: tower started" in err

    def test_a_port_in_use_is_a_failure(self, cluster, capfdbinary):
        code, out, err = result(
            capfdbinary, "tower", "--sub", cluster.tower.sub, "--pub", "tcp://127.0.0.1:*"
        )
        assert (code, out) == (1, b"")
        assert err.startswith("dafka tower: tcp://127.0.0.1:")


class FakeNode:
    def __init__(self):
        self.calls = []

    def start(self):
        self.calls.append("start")

    def stop(self, timeout=None):
        self.calls.append("stop")


class TestInterrupts:
    def test_what_the_body_raises_is_raised_after_the_node_was_stopped(self):
        node = FakeNode()
        with pytest.raises(Fault):
            nodes.run(node, body=lambda _: (_ for _ in ()).throw(Fault("x")))
        assert node.calls == ["start", "stop"]

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_each_of_these_signals_ends_a_node(self, monkeypatch, signal_after, number):
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        node = FakeNode()
        signal_after(0.1, number)
        try:
            nodes.run(node, body=lambda _: (gevent.sleep(5), node.calls.append("slept")))
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        finally:
            signal.signal(signal.SIGHUP, before)
        assert node.calls == ["start", "stop"]

    def test_what_nohup_has_a_process_ignore_stays_ignored(self, signal_after):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        node = FakeNode()

        def body(_interrupts):
            os.kill(os.getpid(), signal.SIGHUP)
            gevent.sleep(0.1)
            node.calls.append("body")

        try:
            nodes.run(node, body)
        finally:
            signal.signal(signal.SIGHUP, before)
        assert node.calls == ["start", "body", "stop"]

    def test_a_signal_during_the_start_ends_it(self, signal_after):
        node = FakeNode()
        node.start = lambda: gevent.sleep(5)
        signal_after(0.1)
        nodes.run(node, body=lambda _: node.calls.append("body"))
        assert node.calls == []

    def test_while_the_node_stops_a_signal_changes_nothing(self, signal_after):
        node = FakeNode()
        node.stop = lambda timeout: (gevent.sleep(0.3), node.calls.append("stop"))
        signal_after(0.1)
        nodes.run(node, body=lambda _: None)
        assert node.calls == ["start", "stop"]

    def test_a_second_signal_later_ends_the_process_at_once(self, monkeypatch, signal_after):
        monkeypatch.setattr(nodes, "IMPATIENT_AFTER_S", 0.05)
        monkeypatch.setattr(nodes.os, "_exit", lambda code: node.calls.append(code))
        node = FakeNode()
        node.stop = lambda timeout: gevent.sleep(0.4)
        signal_after(0.05)
        signal_after(0.2)
        nodes.run(node, body=lambda _: gevent.sleep(5))
        assert node.calls == ["start", 1]

    def test_the_handlers_from_before_are_put_back(self):
        before = signal.getsignal(signal.SIGINT)
        nodes.run(FakeNode(), body=lambda _: None)
        assert signal.getsignal(signal.SIGINT) is before
