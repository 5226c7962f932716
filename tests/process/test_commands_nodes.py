"""Nodes that stand alone, the programs of the C implementation, and the grammar's own command."""

from __future__ import annotations

import json
import re
import sys
from subprocess import PIPE

import pytest

from tests.support.processes import LOOPBACK, Cluster, dafka, eventually, script

pytestmark = pytest.mark.process


def test_a_tower_and_a_store_say_where_they_are_and_work_together(processes):
    tower = processes.start(dafka("tower", "--port", "0"))
    match = re.fullmatch(r"tower (tcp://127\.0\.0\.1:\d+(?:,tcp://\S+)?): ready", tower.line())
    assert match
    store = processes.start(dafka("store", "--data", "a b", "--json", "--tower", match[1]))
    ready = json.loads(store.line())["store"]
    assert ready["data"] == "a b"
    assert re.fullmatch(r"tcp://.+:\d+", ready["endpoint"])
    done = processes.run(dafka("produce", "t", "--tower", match[1]), given=b"x\n")
    assert done.complained().startswith("1 record acknowledged")
    for process in (store, tower):
        assert process.end() == 0
        assert process.complained() == ""
    assert (processes.directory / "a b" / "cache.db").stat().st_size > 0


def test_a_server_keeps_what_was_published_when_it_is_started_again(processes):
    first, cluster = processes.server()
    processes.run(dafka("produce", "t", *cluster.at), given=b"x\ny\n")
    assert first.end() == 0
    second = processes.start(dafka("server", *cluster.c_flags, "--data", "records"))
    assert second.line() == f"tower {cluster.tower}  store records: ready"
    consumer = processes.consume(cluster, "t", "--count", "2", "--format", "raw")
    assert consumer.wait() == 0, consumer.complained()
    assert consumer.printed() == b"x\ny\n"


C_FILE = """\
#   As the C nodes read it
beacon
    interval = 250
    timeout = 4000
    verbose = 0
    sub_address = {sub}
    pub_address = {pub}
tower
    verbose = 0
    sub_address = {sub}
    pub_address = {pub}
store
    db = "the records"
    high_watermark = 1000000
producer
    head_interval = 500
consumer
    high_watermark = 1000000
    offset
        reset = earliest
"""


@pytest.mark.parametrize("way", ["flags", "file"])
def test_the_programs_of_the_c_implementation(processes, way):
    tower = processes.start(script("dafka_towerd", *LOOPBACK))
    line = re.fullmatch(r"tower ([^,]+),([^,]+): ready", tower.line())
    assert line
    cluster = Cluster(*line.groups())
    if way == "flags":
        at, data = cluster.c_flags, "storedb"
    else:
        text = C_FILE.format(sub=cluster.sub, pub=cluster.pub)
        (processes.directory / "dafka.cfg").write_text(text)
        at, data = ("-c", "dafka.cfg"), "the records"
        assert tower.end() == 0
        tower = processes.start(script("dafka_towerd", *at))
        assert tower.line() == f"tower {cluster.tower}: ready"
    store = processes.start(script("dafka_stored", *at))
    assert store.line() == f"store {data}: ready"

    done = processes.run(script("dafka_console_producer", *at, "hello"), given=b"a b\n\n\xff\0!")
    assert (done.printed(), done.complained()) == (b"", "")
    beginning = ["--from-beginning"] if way == "flags" else []
    consumer = processes.start(script("dafka_console_consumer", *beginning, *at, "hello"))
    eventually(lambda: consumer.printed().count(b"\n") == 3, "three lines")
    match = re.fullmatch(
        rb"hello ([0-9A-F]{32}) a b\nhello \1 \nhello \1 \xff\0!\n", consumer.printed()
    )
    assert match
    for process in (consumer, store, tower):
        assert process.end() == 0
        assert process.complained() == ""


def test_a_console_producer_waits_for_a_store_then_ends_as_success(processes):
    _, cluster = processes.tower()
    command = script("dafka_console_producer", *cluster.c_flags, "hello")
    producer = processes.start(command, stdin=PIPE)
    producer.tell(b"early\n")
    producer.stdin.close()
    eventually(producer.complained, "a notice")
    assert producer.complained() == (
        "dafka_console_producer: waiting for a store to acknowledge 1 record of topic 'hello': is "
        "a store running at this tower? 'dafka server' starts one (Ctrl-C gives up)\n"
    )
    assert producer.popen.poll() is None
    processes.store(cluster)
    assert producer.wait() == 0, producer.complained()
    consumer = processes.consume(cluster, "hello", "--count", "1", "--format", "raw")
    assert consumer.wait() == 0, consumer.complained()
    assert consumer.printed() == b"early\n"


def test_a_toml_file_serves_every_command(processes):
    processes.directory.joinpath("dafka.toml").write_text(
        '[tower]\nsub = "tcp://127.0.0.1:*"\npub = "tcp://127.0.0.1:*"\n'
        '[store]\ndata = "from toml"\n[node]\nbeacon_interval_s = 0.25\n'
        '[consumer]\nstart = "earliest"\n'
    )
    config = ("-c", "dafka.toml")
    server = processes.start(dafka("server", *config, "--json"))
    ready = json.loads(server.line())
    assert ready["store"] == {"data": "from toml"}
    cluster = Cluster(**ready["tower"])
    processes.run(dafka("produce", "t", *config, *cluster.at), given=b"x\n")
    done = processes.run(dafka("consume", "t", *config, "--count", "1", *cluster.at))
    assert done.printed().endswith(b" x\n")
    assert (processes.directory / "from toml").is_dir()


class TestGrammar:
    ACK = "4b50524f445543455200010568656c6c6f0000000000000004"

    def explain(self, processes, *arguments, **options):
        return processes.run([sys.executable, "-m", "protocol", *arguments], **options)

    def test_a_message_is_explained(self, processes):
        text = self.explain(processes, self.ACK).printed().decode()
        assert text.startswith("ACK, from store")
        assert "'hello'" in text
        assert "4  (offset in the partition)" in text

    def test_messages_come_from_standard_input_too(self, processes):
        given = f"{self.ACK}\n\nzz\n57\n".encode()
        done = self.explain(processes, "-", given=given, code=1)
        assert done.printed().startswith(b"ACK")
        assert b"WELCOME" in done.printed()
        assert done.complained().startswith("line 3: not a message: ")

    @pytest.mark.parametrize(("frames", "code"), [(["00"], 1), (["xyz"], 1), ([], 2), (["-x"], 2)])
    def test_what_is_no_message_is_said_without_a_traceback(self, processes, frames, code):
        done = self.explain(processes, *frames, code=code)
        assert done.printed() == b""
        assert done.complained()
        assert "Traceback" not in done.complained()
