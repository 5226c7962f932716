"""An export and an import that are killed or interrupted, and go on where they were."""

from __future__ import annotations

import json
import random
import signal

import pytest

from dafka.core.run import Run
from dafka.io.archive import ArchiveReader
from dafka.io.log import Log
from tests.support.processes import LOOPBACK, dafka, eventually

pytestmark = pytest.mark.process

PARTITIONS = [f"{n:032X}" for n in range(5)]
RECORDS = 60
RECORD_BYTES = 100_000


@pytest.fixture
def source(restless):
    """A server with 30 MB in five partitions."""
    rng = random.Random(7)
    with Log(restless.directory / "records", durability="os") as log:
        for partition in PARTITIONS:
            contents = [rng.randbytes(RECORD_BYTES) for _ in range(RECORDS)]
            log.append([Run("t", partition, 0, contents)])
        digests = digests_of(log)
    return restless.server()[1], digests


def digests_of(log):
    return {(e.topic, e.partition): log.digest(e.topic, e.partition) for e in log.partitions()}


def size(path):
    return path.stat().st_size if path.exists() else 0


def test_export_and_import_survive_kill_9(restless, source):
    cluster, digests = source
    file = restless.directory / "backup.avro"
    export = ["export", "backup.avro", *cluster.at]
    process = restless.start(dafka(*export))
    eventually(lambda: size(file) > 2_000_000, "the first blocks")
    process.kill()
    for share in (0.3, 0.6):
        process = restless.start(dafka(*export, "--resume"))
        goal = share * len(PARTITIONS) * RECORDS * RECORD_BYTES
        eventually(lambda goal=goal: size(file) > goal, "more blocks")
        process.kill()
    restless.run(dafka(*export, "--resume"))
    with ArchiveReader(file) as reader:
        assert sum(map(len, reader.runs())) == len(PARTITIONS) * RECORDS

    target = restless.directory / "target"
    target.mkdir()
    server = restless.start(dafka("server", *LOOPBACK, "--data", "target/data", "--json"))
    at = ("--tower", "{sub},{pub}".format(**json.loads(server.line())["tower"]))
    database = target / "data" / "cache.db"
    wal = target / "data" / "cache.db-wal"
    process = restless.start(dafka("import", "backup.avro", *at))
    eventually(lambda: size(database) + size(wal) > 3_000_000, "the first records")
    process.kill()
    process = restless.run(dafka("import", "backup.avro", *at, "--json"))
    assert json.loads(process.printed())["records"] == len(PARTITIONS) * RECORDS
    assert server.end() == 0
    with Log(target / "data") as log:
        assert list(log.check()) == []
        assert digests_of(log) == digests
    compared = restless.run(dafka("check", "target/data", "--json"))
    assert json.loads(compared.printed())["directories"][0]["damage"] == []


def test_ctrl_c_says_how_to_go_on(restless, source):
    cluster, _ = source
    file = restless.directory / "backup.avro"
    process = restless.start(dafka("export", "backup.avro", *cluster.at))
    eventually(lambda: size(file) > 1_000_000, "the first blocks")
    process.suspend()
    process.send(signal.SIGINT)
    process.resume()
    code = process.wait()
    if code == 0:
        pytest.skip("it was done before it was interrupted")
    assert code == 1
    said = process.complained()
    assert said.startswith("dafka export: interrupted: ")
    assert said.endswith(" of 300 records into backup.avro so far; go on with --resume\n")
    assert said.count("\n") == 1
    restless.run(dafka("export", "backup.avro", *cluster.at, "--resume"))
