"""Standard output that is closed or on a full disk: one sentence, once the work is done."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.support.processes import LOOPBACK, Process, Processes, dafka, eventually

pytestmark = pytest.mark.process

WAYS = pytest.mark.parametrize(
    ("redirection", "why"),
    [
        (">/dev/full", "cannot write to standard output: No space left on device"),
        (">&-", "standard output is closed: there is no place to print to"),
    ],
    ids=["full", "closed"],
)


def start(processes: Processes, redirection: str, *arguments: str) -> Process:
    command = shlex.join(dafka(*arguments))
    return processes.start(["sh", "-c", f"exec {command} {redirection}"])


def check(processes: Processes, redirection: str, said: dict[tuple[str, ...], str]) -> None:
    """Run commands side by side, each of which has to fail with what it is to say."""
    started = {
        sentence: start(processes, redirection, *command) for command, sentence in said.items()
    }
    for sentence, process in started.items():
        assert process.wait() == 1, process.command
        assert re.fullmatch(sentence + "\n", process.complained())


@WAYS
def test_what_exists_to_print_fails(restless, redirection, why):
    processes = restless
    _, cluster = processes.server()
    processes.run(dafka("produce", "t", *cluster.at), given=b"a\n")
    assert processes.store(cluster, "other").end() == 0
    check(
        processes,
        redirection,
        {
            ("--help",): f"dafka: {why}",
            ("--version",): f"dafka: {why}",
            ("topics", *cluster.at): f"dafka topics: {why}",
            ("topics", "list", "--json", *cluster.at): f"dafka topics list: {why}",
            ("describe", "t", *cluster.at): f"dafka describe: {why}",
            ("nodes", *cluster.at): f"dafka nodes: {why}",
            ("check", "other"): f"dafka check: {why}",
        },
    )


@pytest.mark.alone
@WAYS
def test_what_has_done_its_work_says_so(restless, redirection, why):
    processes = restless
    _, cluster = processes.server()
    for topic in ("gone", "kept"):
        processes.run(dafka("produce", topic, *cluster.at), given=b"a\n")
    processes.run(dafka("export", "old.avro", "--topic", "kept", *cluster.at))
    for command, said in {
        ("produce", "t", "--json"): "0 records acknowledged",
        ("export", "new.avro", "--topic", "kept", "--json"): r"exported 1 record into new\.avro",
        ("import", "old.avro", "--json"): r"imported 1 record of old\.avro",
        ("topics", "delete", "gone", "--yes"): "topic 'gone' was deleted at 1 store",
    }.items():
        name = "topics delete" if command[1] == "delete" else command[0]
        sentence = f"dafka {name}: {said}, but {why}"
        check(processes, redirection, {(*command, *cluster.at): sentence})


@WAYS
@pytest.mark.parametrize("node", ["tower", "store", "server"])
def test_a_node_that_cannot_say_that_it_is_ready_runs_all_the_same(
    processes, redirection, why, node
):
    where = ("--tower", "tcp://127.0.0.1:1") if node == "store" else LOOPBACK
    data = () if node == "tower" else ("--data", "records")
    process = start(processes, redirection, node, "--verbose", *where, *data)
    ready = "tower started" if node == "tower" else "store started"
    eventually(lambda: ready in process.complained(), "it runs")
    warning = f"dafka {node}: {why}; it runs all the same\n"
    if redirection != ">&-":
        eventually(lambda: warning in process.complained(), "a warning")
    assert process.end() == 0
    assert (warning in process.complained()) == (redirection != ">&-")
    assert "Traceback" not in process.complained()
