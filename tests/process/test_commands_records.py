"""`dafka produce` and `dafka consume`, from bytes on one side to bytes on the other."""

from __future__ import annotations

import json
import re
from itertools import count
from subprocess import PIPE

import pytest

from tests.support.processes import dafka, eventually

pytestmark = pytest.mark.process

_topics = (f"topic-{number}" for number in count())


@pytest.fixture
def topic():
    """A topic that no other test uses."""
    return next(_topics)


def raw(shared, server, topic, number):
    """The contents of a topic's first records, each with a newline."""
    flags = ("--from", "earliest", "--count", str(number), "--format", "raw")
    return shared.run(dafka("consume", topic, *flags, *server.at)).printed()


@pytest.mark.parametrize(
    ("given", "contents"),
    [
        (b"one\ntwo\n", [b"one", b"two"]),
        (b"one\ntwo", [b"one", b"two"]),
        (b"\n\n\n", [b"", b"", b""]),
        (b"\r\none\r\n\rtwo\r\r\n", [b"", b"one", b"\rtwo"]),
        (bytes(range(256)), [bytes(range(10)), bytes(range(11, 256))]),
        (b"x" * 300_000 + b"\n" + b"y" * 70_000, [b"x" * 300_000, b"y" * 70_000]),
    ],
    ids=["lines", "no newline at the end", "empty lines", "carriage returns", "bytes", "large"],
)
def test_what_goes_in_comes_out(shared, server, topic, given, contents):
    done = shared.run(dafka("produce", topic, *server.at), given=given)
    number = len(contents)
    assert re.fullmatch(
        rf"{number} records acknowledged in \d+\.\d{{3}} s \([\d,]+ records/s\)\n",
        done.complained(),
    )
    assert done.printed() == b""
    assert raw(shared, server, topic, number) == b"".join(text + b"\n" for text in contents)


def test_nothing_in_is_nothing_out_and_a_success(shared, server, topic):
    report = json.loads(shared.run(dafka("produce", topic, "--json", *server.at)).printed())
    assert (report["records"], report["acknowledged"]) == (0, 0)


def test_a_file_its_report_and_all_formats_of_its_records(shared, server, topic):
    file = shared.directory / "some words.txt"
    file.write_bytes("grün\nplain\n".encode() + b"\xff\xfe\n")
    done = shared.run(dafka("produce", topic, file, "--json", *server.at))
    report = json.loads(done.printed())
    assert (report["topic"], report["records"], report["acknowledged"]) == (topic, 3, 3)
    assert done.complained() == ""

    flags = (topic, "--from", "earliest", "--count", "3", *server.at)
    partition = report["partition"]
    text = shared.run(dafka("consume", *flags)).printed()
    prefix = f"{topic} {partition} ".encode()
    assert text == b"".join(prefix + line + b"\n" for line in file.read_bytes().splitlines())
    objects = shared.run(dafka("consume", *flags, "--format", "json")).printed()
    common = {"topic": topic, "partition": partition}
    assert [json.loads(line) for line in objects.splitlines()] == [
        common | {"offset": 0, "content": "grün"},
        common | {"offset": 1, "content": "plain"},
        common | {"offset": 2, "content_base64": "//4="},
    ]


def test_an_offset_counts_for_every_partition_and_count_ends_in_the_middle_of_a_run(
    shared, server, topic
):
    for name in ("a", "b"):
        given = b"".join(f"{name}{number}\n".encode() for number in range(100))
        shared.run(dafka("produce", topic, *server.at), given=given)
    flags = ("--from", "90", "--count", "20", "--format", "raw")
    lines = shared.run(dafka("consume", topic, *flags, *server.at)).printed().decode().split()
    assert sorted(lines) == [f"{name}{number}" for name in ("a", "b") for number in range(90, 100)]
    lines = raw(shared, server, topic, 7).split()
    assert len(lines) == 7


def test_from_latest_gives_what_is_published_from_now_on_and_nothing_older(shared, server, topic):
    shared.run(dafka("produce", topic, *server.at), given=b"old\n")
    flags = ("--from", "latest", "--format", "raw", "--count", "3")
    latest = shared.start(dafka("consume", topic, *flags, "--verbose", *server.at))
    eventually(lambda: "consumer started" in latest.complained(), "it is subscribed")
    producer = shared.start(dafka("produce", topic, *server.at), stdin=PIPE)
    for line in (b"new 0\n", b"new 1\n", b"new 2\n"):
        producer.tell(line)
        eventually(lambda line=line: line in latest.printed(), "it is printed at once")
    assert latest.wait() == 0
    assert latest.printed() == b"new 0\nnew 1\nnew 2\n"
    producer.stdin.close()
    assert producer.wait() == 0, producer.complained()


def test_silence_is_a_failure_if_records_are_missing(shared, server, topic):
    shared.run(dafka("produce", topic, *server.at), given=b"a\nb\n")
    flags = ("--from", "earliest", "--timeout", "1", "--format", "raw", "--count", "5", *server.at)
    done = shared.run(dafka("consume", topic, *flags), code=1)
    assert done.printed() == b"a\nb\n"
    assert done.complained() == "dafka consume: 3 records are missing after 1 s of silence\n"


def test_a_pipe_that_is_closed_ends_a_consumer_as_success(shared, server, topic):
    shared.run(dafka("produce", topic, *server.at), given=b"line\n" * 100_000)
    flags = (topic, "--from", "earliest", "--format", "raw", *server.at)
    consumer = shared.start(dafka("consume", *flags), stdout=PIPE)
    head = shared.start(["head", "-1"], stdin=consumer.popen.stdout)
    consumer.popen.stdout.close()
    assert head.wait() == 0
    assert head.printed() == b"line\n"
    assert consumer.wait(within=5.0) == 0
    assert consumer.complained() == ""


def test_as_many_stores_as_asked_for_must_acknowledge(processes):
    _, cluster = processes.server()
    command = dafka("produce", "t", "--acks", "2", "--timeout", "0.5", *cluster.at)
    done = processes.run(command, code=1, given=b"one\n")
    assert done.complained() == (
        "dafka produce: topic 't': 1 of 1 record not acknowledged by 2 stores\n"
    )
    processes.store(cluster, data="more records")
    processes.run(dafka("produce", "t", "--acks", "2", *cluster.at), given=b"two\n")
