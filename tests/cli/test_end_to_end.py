"""The commands as a user types them: real processes on loopback, at ports the system chooses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.process


def at(tower) -> str:
    """The address that a tower prints for programs."""
    ends = json.loads(tower.stdout.readline())["tower"]
    return f"{ends['sub']},{ends['pub']}"


def script(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / name), *arguments]


def call(*arguments: str, name: str = "dafka", **options):
    options.setdefault("timeout", 30)
    return subprocess.run(script(name, *arguments), capture_output=True, **options)


@contextmanager
def started(*arguments: str, name: str = "dafka", **options):
    """A process that was started, and is surely gone afterwards."""
    for stream in ("stdin", "stdout", "stderr"):
        options.setdefault(stream, subprocess.PIPE)
    with subprocess.Popen(script(name, *arguments), **options) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process, number=signal.SIGTERM, within_s=2.0):
    """End a process by a signal and return its exit code."""
    began = time.monotonic()
    process.send_signal(number)
    code = process.wait(timeout=20)
    assert time.monotonic() - began < within_s
    return code


@pytest.fixture(autouse=True)
def _workplace(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DAFKA_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def server(monkeypatch):
    """A running server, which the commands of the test find by their environment."""
    with started("server", "--port", "0", "--data", "records") as process:
        line = process.stdout.readline().decode()
        match = re.fullmatch(r"tower (\S+)  store records: ready\n", line)
        assert match, line
        monkeypatch.setenv("DAFKA_TOWER", match[1])
        yield process


class TestServer:
    def test_it_says_what_to_type_next_and_ends_by_a_signal(self, server):
        hint = b"".join(server.stdout.readline() for _ in range(3)).decode()
        assert "dafka consume hello --from earliest --tower tcp://127.0.0.1:" in hint
        assert "| dafka produce hello --tower tcp://127.0.0.1:" in hint
        assert ended(server) == 0
        assert server.stderr.read() == b""

    def test_json(self):
        with started("server", "--port", "0", "--data", "r", "--json") as process:
            ready = json.loads(process.stdout.readline())
            assert ready["tower"]["sub"].startswith("tcp://127.0.0.1:")
            assert ready["store"] == {"data": "r"}

    def test_a_port_in_use_is_one_sentence_and_exit_code_1(self):
        with started("tower", "--port", "0", "--json") as process:
            endpoint = json.loads(process.stdout.readline())["tower"]["sub"]
            done = call("tower", "--sub", endpoint, "--pub", "tcp://127.0.0.1:*")
            assert (done.returncode, done.stdout) == (1, b"")
            assert done.stderr.startswith(b"dafka tower: tcp://127.0.0.1:")
            assert done.stderr.count(b"\n") == 1
            assert ended(process, signal.SIGINT) == 0


class TestProduceAndConsume:
    def test_lines_arrive_as_they_were(self, server):
        done = call("produce", "hello", input=b"one\n\n\xff\0 three\r\nlast")
        assert done.returncode == 0
        assert re.fullmatch(
            rb"4 records acknowledged in \d+\.\d+ s \([\d,]+ records/s\)\n", done.stderr
        )
        done = call("consume", "hello", "--from", "earliest", "--count", "4", "--format", "raw")
        assert (done.returncode, done.stdout) == (0, b"one\n\n\xff\0 three\nlast\n")

    def test_a_file_of_many_lines(self, server):
        lines = b"".join(b"%d\n" % number for number in range(100_000))
        Path("lines").write_bytes(lines)
        done = call("produce", "many", "lines", "--json")
        report = json.loads(done.stdout)
        assert (done.returncode, done.stderr) == (0, b"")
        assert (report["topic"], report["records"], report["acknowledged"]) == (
            "many",
            100_000,
            100_000,
        )
        done = call("consume", "many", "--from", "earliest", "--count", "100000", "--format", "raw")
        assert done.stdout == lines
        done = call("consume", "many", "--from", "99999", "--count", "1", "--json")
        assert json.loads(done.stdout) == {
            "topic": "many",
            "partition": report["partition"],
            "offset": 99_999,
            "content": "99999",
        }

    def test_silence_ends_a_consumer_that_has_a_timeout(self, server):
        call("produce", "few", input=b"a\nb\nc\n")
        done = call("consume", "few", "--from", "1", "--timeout", "1", "--format", "raw")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"b\nc\n", b"")
        done = call("consume", "few", "--from", "1", "--timeout", "1", "--count", "5")
        assert done.returncode == 1
        assert done.stderr == b"dafka consume: 3 records are missing after 1 s of silence\n"

    def test_a_line_that_is_typed_is_seen_at_once(self, server):
        with (
            started("consume", "live", "--from", "earliest", "--format", "raw") as consumer,
            started("produce", "live") as producer,
        ):
            for line in (b"first\n", b"second\n"):
                producer.stdin.write(line)
                producer.stdin.flush()
                assert consumer.stdout.readline() == line
            assert ended(producer, signal.SIGINT) == 0
            assert b"2 records acknowledged" in producer.stderr.read()
            assert ended(consumer, signal.SIGINT) == 0
            assert consumer.stderr.read() == b""

    def test_a_closed_pipe_ends_a_consumer_quietly(self, server):
        call("produce", "pipe", input=b"a\nb\nc\n")
        with started("consume", "pipe", "--from", "earliest", "--format", "raw") as consumer:
            assert consumer.stdout.readline() == b"a\n"
            consumer.stdout.close()
            assert consumer.wait(timeout=5) == 0
            assert consumer.stderr.read() == b""

    def test_a_full_pipe_does_not_make_a_consumer_deaf(self, server):
        call("produce", "full", input=b"x" * 1000 * 1000 + b"\n")
        with started("consume", "full", "--from", "earliest") as consumer:
            assert consumer.stdout.read(5) == b"full "
            assert ended(consumer) == 0

    def test_a_full_disk_is_said(self, server):
        call("produce", "disk", input=b"a\n")
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                script("dafka", "consume", "disk", "--from", "earliest"),
                stdout=full,
                stderr=subprocess.PIPE,
                timeout=30,
            )
        assert done.returncode == 1
        assert done.stderr == (
            b"dafka consume: cannot write to standard output: No space left on device\n"
        )

    @pytest.mark.parametrize(
        ("redirection", "code", "message"),
        [
            ("produce x <&-", 2, "dafka produce: standard input is closed: give a FILE"),
            ("consume x >&-", 1, "dafka consume: standard output is closed: there is no place"),
        ],
    )
    def test_closed_streams_are_said(self, server, redirection, code, message):
        command = f"'{sys.executable}' '{ROOT}/scripts/dafka' {redirection}"
        done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=30)
        assert done.returncode == code
        assert done.stderr.startswith(message)


class TestWithoutStore:
    def test_a_producer_says_what_it_waits_for_and_what_is_lost_when_interrupted(self):
        with (
            started("tower", "--port", "0", "--json") as tower,
            started("produce", "lonely", "--tower", at(tower)) as producer,
        ):
            producer.stdin.write(b"a\nb\n")
            producer.stdin.close()
            notice = producer.stderr.readline().decode()
            assert "waiting for a store to acknowledge 2 records of topic 'lonely'" in notice
            assert ended(producer, signal.SIGINT) == 1
            assert producer.stderr.read() == (
                b"dafka produce: topic 'lonely': 2 of 2 records not acknowledged by a store\n"
            )

    def test_a_producer_with_a_timeout_gives_up(self):
        done = call("produce", "lonely", "--timeout", "0.3", "--json", input=b"a\n")
        assert done.returncode == 1
        report = json.loads(done.stdout)
        assert (report["records"], report["acknowledged"]) == (1, 0)
        assert done.stderr.count(b"\n") == 1

    def test_the_c_nodes_way_not_to_wait(self):
        Path("c.zpl").write_text("producer\n    terminate_unacked = 1\n")
        done = call("-c", "c.zpl", "lonely", name="dafka_console_producer", input=b"a\n")
        assert done.returncode == 1
        assert b"1 of 1 record not acknowledged" in done.stderr


def test_the_programs_of_the_c_implementation_work_together():
    with started(
        "--sub", "tcp://127.0.0.1:*", "--pub", "tcp://127.0.0.1:*", name="dafka_towerd"
    ) as t:
        line = t.stdout.readline().decode()
        sub, pub = re.fullmatch(r"tower ([^,]+),(\S+): ready\n", line).groups()
        at = ["--sub", sub, "--pub", pub]
        with started(*at, name="dafka_stored") as store:
            assert store.stdout.readline() == b"store storedb: ready\n"
            done = call(*at, "hello", name="dafka_console_producer", input=b"a\nb\n")
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
            with started(
                "--from-beginning", *at, "hello", name="dafka_console_consumer"
            ) as consumer:
                lines = [consumer.stdout.readline().decode() for _ in range(2)]
                assert re.fullmatch(r"hello [0-9A-F]{32} a\n", lines[0])
                assert lines[1] == lines[0].replace(" a\n", " b\n")
                assert ended(consumer, signal.SIGINT) == 0
            assert ended(store) == 0
        assert ended(t) == 0
