"""Ctrl-C and SIGTERM, and what happens when there is nobody to talk to."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
import tomllib
from functools import partial
from pathlib import Path
from subprocess import PIPE

import pytest

from dafka.core.run import Run
from dafka.io.log import Log
from tests.support.counting import counted, counting, lines, told
from tests.support.processes import LOOPBACK, ROOT, Cluster, dafka, eventually, script

pytestmark = pytest.mark.process

NOBODY = ("--tower", "tcp://127.0.0.1:1")
"""A tower's address where nobody listens."""

NO_TOWER = (
    r"\S+ \S+ WARNING dafka\.(producer|consumer|store): no tower answers at "
    r"tcp://127\.0\.0\.1:1,tcp://127\.0\.0\.1:2: waiting; start one with 'dafka tower' or "
    r"'dafka server', or name another with --tower"
)

NOBODY_THERE = "no tower answered at tcp://127.0.0.1:1"

STARTED = "started topic"

both = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
ending = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])

STANDING_STILL = "print('here', flush=True)\nimport time\ntime.sleep(60)\n"
"""What a process does that waits for a signal at a known place."""


@both
def test_every_node_ends_as_success(processes, number):
    tower, cluster = processes.tower()
    store = processes.store(cluster)
    server, _ = processes.server("--data", "other")
    consumer = processes.start(dafka("consume", "t", "--verbose", *cluster.at))
    lonely = processes.start(dafka("consume", "t", "--verbose", *NOBODY))
    for process in (consumer, lonely):
        eventually(lambda process=process: STARTED in process.complained(), "it runs")
    for process in (lonely, consumer, server, store, tower):
        assert process.end(number) == 0
    for process in (server, store, tower):
        assert process.complained() == ""


def test_so_do_the_programs_of_the_c_implementation(processes):
    tower = processes.start(script("dafka_towerd", *LOOPBACK))
    cluster = Cluster(*re.fullmatch(r"tower (\S+),(\S+): ready", tower.line()).groups())
    store = processes.start(script("dafka_stored", *cluster.c_flags))
    store.line()
    at = ("--verbose", *cluster.c_flags, "t")
    clients = [
        processes.start(script("dafka_console_producer", *at), stdin=PIPE),
        processes.start(script("dafka_console_consumer", *at)),
    ]
    for process in clients:
        eventually(lambda process=process: STARTED in process.complained(), "it runs")
    for process in (*clients, store, tower):
        assert process.end(signal.SIGINT) == 0


def test_hanging_up_ends_a_producer_with_a_report_unless_it_runs_under_nohup(processes):
    _, cluster = processes.server()
    command = dafka("produce", "t", "--json", *cluster.at)
    hung, kept = (
        processes.start(command, stdin=PIPE, preexec_fn=partial(signal.signal, signal.SIGHUP, how))
        for how in (signal.SIG_DFL, signal.SIG_IGN)
    )
    consumer = processes.consume(cluster, "t")
    for process in (hung, kept):
        process.tell(b"a\n")
    eventually(lambda: consumer.printed().count(b"\n") == 2, "both have begun")
    kept.send(signal.SIGHUP)
    assert hung.end(signal.SIGHUP) == 0
    assert json.loads(hung.printed())["acknowledged"] == 1
    kept.tell(b"b\n")
    kept.stdin.close()
    assert kept.wait() == 0
    assert json.loads(kept.printed())["acknowledged"] == 2


@both
def test_a_producer_has_what_it_accepted_acknowledged_first(processes, number):
    _, cluster = processes.server()
    producer = processes.start(dafka("produce", "t", "--json", *cluster.at), stdin=PIPE)
    processes.feed(producer, lines("n", 1_000_000, 200), 0.001)
    consumer = processes.consume(cluster, "t")
    eventually(consumer.printed, "records flow")
    assert producer.end(number) == 0
    report = json.loads(producer.printed())
    assert report["acknowledged"] == report["records"] > 0
    everything = rf"t \S+ n {report['records'] - 1}\n".encode()
    eventually(lambda: re.search(everything, consumer.printed()[-100:]), "the last record")


def test_a_file_that_was_not_read_to_its_end_is_a_failure(processes):
    _, cluster = processes.server()
    (processes.directory / "large").write_bytes(b"".join(lines("n", 2_000_000)))
    producer = processes.start(dafka("produce", "t", "large", *cluster.at))
    consumer = processes.consume(cluster, "t", "--count", "1")
    assert consumer.wait() == 0, consumer.complained()
    assert producer.end(signal.SIGINT) == 1
    match = re.fullmatch(
        r"(\d+) records acknowledged in .*\n"
        r"dafka produce: interrupted after (\d+) records, before the end of large\n",
        producer.complained(),
    )
    assert match
    assert match[1] == match[2]


def test_a_producer_without_a_store_says_what_is_lost(processes):
    producer = processes.start(dafka("produce", "t", *NOBODY), stdin=PIPE)
    producer.tell(b"a\nb\n")
    producer.stdin.close()
    eventually(producer.complained, "a notice")
    assert producer.end(signal.SIGTERM) == 1
    notice, verdict = producer.complained().splitlines()
    assert re.fullmatch(NO_TOWER, notice)
    assert verdict == (
        "dafka produce: topic 't': 2 of 2 records not acknowledged by a store, "
        f"since {NOBODY_THERE}"
    )


def test_who_waits_for_a_tower_says_so_in_one_line_and_only_once(processes):
    consumer = processes.start(dafka("consume", "t", "--timeout", "3", *NOBODY))
    store = processes.start(dafka("store", *NOBODY))
    assert consumer.wait() == 1
    assert store.end() == 0
    assert re.fullmatch(NO_TOWER + "\n", store.complained())
    verdict = f"dafka consume: {NOBODY_THERE} within 3 s"
    assert re.fullmatch(f"{NO_TOWER}\n{verdict}\n", consumer.complained())


def test_one_with_a_timeout_gives_up_and_tells_how_many(processes):
    command = dafka("produce", "t", "--timeout", "2.5", "--json", *NOBODY)
    began = time.monotonic()
    done = processes.run(command, code=1, given=b"a\n" * 1000)
    assert time.monotonic() - began >= 2.5
    report = json.loads(done.printed())
    assert (report["records"], report["acknowledged"]) == (1000, 0)
    notice, verdict = done.complained().splitlines()
    assert re.fullmatch(NO_TOWER, notice)
    assert verdict.endswith(
        f"topic 't': 1000 of 1000 records not acknowledged by a store, since {NOBODY_THERE}"
    )


def test_nothing_is_lost_if_a_server_appears_meanwhile(processes):
    tower, cluster = processes.tower()
    assert tower.end() == 0
    producer = processes.start(dafka("produce", "numbers", "--json", *cluster.at), stdin=PIPE)
    consumer = processes.consume(cluster, "numbers", "--count", "50000")
    producer.tell(lines("early", 50_000)[0])
    producer.stdin.close()
    eventually(producer.complained, "a notice")
    processes.start(dafka("server", *cluster.c_flags)).line()
    assert producer.wait() == 0, producer.complained()
    assert json.loads(producer.printed())["acknowledged"] == 50_000
    assert consumer.wait() == 0, consumer.complained()
    assert counted(consumer) == {"early": 50_000}


def test_a_store_that_is_asked_to_end_under_load_keeps_what_it_acknowledged(processes):
    processes.environment["DAFKA_BEACON_INTERVAL_S"] = "0.25"
    _, cluster = processes.tower()
    store = processes.store(cluster)
    producer = counting(processes, cluster, "n", 10_000_000, 100_000)
    eventually(lambda: told(producer) > 10_000, "acknowledgements")
    assert store.end() == 0
    assert store.complained() == ""
    time.sleep(0.1)
    acknowledged = told(producer)
    producer.kill()
    processes.store(cluster)
    late = processes.consume(cluster, "numbers", "--count", str(acknowledged))
    assert late.wait() == 0, late.complained()
    assert counted(late) == {"n": acknowledged}


@pytest.mark.alone
def test_a_second_ctrl_c_ends_a_producer_that_still_waits_for_a_store(processes):
    (processes.directory / "line").write_bytes(b"a\n")
    producer = processes.start(dafka("produce", "t", "line", "--verbose", *NOBODY))
    eventually(lambda: "producer started" in producer.complained(), "it runs")
    time.sleep(0.2)
    producer.send(signal.SIGINT)
    time.sleep(0.7)
    assert producer.end(signal.SIGINT, within=0.7) == 1


@pytest.mark.parametrize("library", ["greenlet", "zmq"])
def test_ctrl_c_while_python_still_loads_the_command_shows_no_traceback(processes, library):
    process = processes.start(script("dafka", "consume", "t", *NOBODY))
    loaded = Path(f"/proc/{process.popen.pid}/maps")
    eventually(lambda: library in loaded.read_text(), f"{library} is loaded")
    assert process.end(signal.SIGINT) in (0, 130)
    # On a busy machine the command has begun by then.
    assert process.complained() in ("", "dafka consume: interrupted\n")


def _installed() -> list[str]:
    """What pip makes of the entry point."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["dafka"].partition(":")
    return [sys.executable, "-c", f"import sys, {module} as start; sys.exit(start.{name}())"]


@ending
@pytest.mark.parametrize("library", ["click", "gevent"])
@pytest.mark.parametrize("command", [script("dafka"), _installed()], ids=["script", "installed"])
def test_a_signal_while_python_still_imports_ends_it_in_silence(
    processes, number, library, command
):
    slow = processes.directory / "slow"
    slow.mkdir()
    (slow / f"{library}.py").write_text(STANDING_STILL)
    processes.environment["PYTHONPATH"] = f"{slow}:{ROOT}"
    process = processes.start([*command, "consume", "t", *NOBODY])
    assert process.line() == "here"
    assert process.end(number) == 130
    assert process.complained() == ""


@ending
@pytest.mark.parametrize("begun", [False, True])
def test_a_signal_ends_a_check_as_ctrl_c_does(processes, number, begun):
    """With the command's module still to be imported, and while it reads a log."""
    with Log(processes.directory / "records") as log:
        log.append([Run("t", "A" * 32, 0, [b"a"])])
    where = "Log.check = lambda *_, **__: exec(STILL)" if begun else "exec(STILL)"
    (processes.directory / "held.py").write_text(
        f"STILL = {STANDING_STILL!r}\nfrom dafka.io.log import Log\n{where}\n"
        "from dafka.cli.check import check\n"
    )
    program = (
        "from dafka.cli import main\nmain.COMMANDS['check'] = ('held', 'check', '')\nmain.main()\n"
    )
    process = processes.start([sys.executable, "-c", program, "check", "records"])
    assert process.line() == "here"
    assert process.end(number) == 130
    assert process.complained() == ("dafka check: interrupted\n" if begun else "")


def test_a_signal_before_a_cluster_has_answered_is_told(restless):
    _, cluster = restless.server()
    restless.run(dafka("produce", "t", *cluster.at), given=b"a\n")
    restless.run(dafka("export", "old", *cluster.at))
    for command in ("export new", "import old", "topics", "describe t", "nodes"):
        process = restless.start(dafka(*command.split(), *NOBODY))
        eventually(lambda process=process: "no tower answers" in process.complained(), "a look")
        assert process.end(signal.SIGTERM) == 130
        name = command.split()[0]
        assert re.search(rf"\ndafka {name}: interrupted.*\n$", process.complained())
