"""What cannot be done is said in one sentence that names what is wrong, without a traceback.

Exit code 2: the command line, a topic or a setting; 1: everything else.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.support.processes import PATIENCE_S, Processes, dafka, script

pytestmark = pytest.mark.process

AT_ONCE = 3

FILES = {
    "file": "x",
    "foreign/photo.jpg": "x",
    "broken.toml": "[store\ndata = 1",
    "misspelt.toml": '[store]\ndta = "x"\n',
    "number.toml": "[store]\ndata = 5\n",
    "zero.toml": "[producer]\nmin_store_acks = 0\n",
    "indented.zpl": "store\n   db = x\n",
    "quoted.zpl": 'store\n    db = "x\n',
    "soon.zpl": "beacon\n    interval = soon\n",
}

LONG = "t" * 256
IN_USE = r"tcp://\S+ is in use by another program: stop it, or choose another port"

# Command, exit code, and a pattern of what follows its name on stderr.
CASES: dict[str, tuple[str, int, str]] = {
    "tower's sub port in use": ("tower --sub {sub} --pub tcp://127.0.0.1:*", 1, IN_USE),
    "tower's pub port in use": ("tower --sub tcp://127.0.0.1:* --pub {pub}", 1, IN_USE),
    "tower's port in use": ("tower --port {port}", 1, IN_USE),
    "server's port in use": ("server --sub {sub} --pub {pub} --data free", 1, IN_USE),
    "another machine's address": ("tower --sub tcp://192.0.2.1:5556", 1, "cannot listen on .*"),
    "data is a file": (
        "store --data file {at}",
        1,
        r"/.*/file cannot be used as data directory: there is a file in its place\. Give .*",
    ),
    "a name that no file can have": (
        f"store --data {LONG} {{at}}",
        1,
        r"/.*t cannot be used as data directory: File name too long\. Give .*",
    ),
    "no data directory": ("store --data '' {at}", 2, "--data: data is empty: give the directory.*"),
    "a tower's endpoints are the same": (
        "tower --sub tcp://*:7 --pub tcp://*:7",
        2,
        r"sub and pub are both tcp://\*:7: .*",
    ),
    "an interface that is not there": (
        "tower --sub tcp://no0:*",
        1,
        r"cannot listen on tcp://no0:\* \(sub\): this machine has no such interface or address",
    ),
    "data is foreign": ("store --data foreign {at}", 1, r"/.*/foreign holds other files.*"),
    "data is another database": ("store --data database {at}", 1, ".* not the database of .*"),
    "data is in use": ("store --data records {at}", 1, r"/.*/records is in use by process \d+:.*"),
    "dafka_stored's data is in use": ("dafka_stored --data records {at}", 1, ".* is in use by .*"),
    "produce to no topic": ("produce '' {at}", 2, "the topic is empty.*"),
    "consume no topic": ("consume '' {at}", 2, "the topic is empty.*"),
    "consume a long topic": (f"consume {LONG} {{at}}", 2, "topic 't+'… has 256 bytes .*"),
    "a C program's long topic": (f"dafka_console_consumer {LONG}", 2, "topic 't+'… has 256 .*"),
    "server's unknown flag": ("server --bogus", 2, "No such option '--bogus'.*"),
    "consume's unknown flag": ("consume t --bogus", 2, "No such option '--bogus'.*"),
    "dafka_towerd's unknown flag": ("dafka_towerd --bogus", 2, "No such option '--bogus'.*"),
    "a nearly known flag": (
        "dafka_console_consumer --frombeginning t",
        2,
        "No such option '--frombeginning'. Did you mean '--from-beginning'.*",
    ),
    "dafka_console_producer's surplus": (
        "dafka_console_producer a b",
        2,
        r"Got unexpected .* \(b\)\. Try .*",
    ),
    "an unknown command": ("nosuch", 2, "No such command 'nosuch'.*"),
    "no such tower": ("produce t --tower a:b", 2, "--tower: tower 'a:b' is not an address.*"),
    "missing configuration": ("server -c missing", 2, "cannot read missing: No such file.*"),
    "configuration is a directory": ("consume t -c foreign", 2, "cannot read foreign: Is a dir.*"),
    "broken TOML": ("store -c broken.toml", 2, r"broken\.toml:1: Expected '\]' at the end.*"),
    "misspelt TOML": (
        "store -c misspelt.toml",
        2,
        r"misspelt\.toml: .*'dta'.* mean data\?",
    ),
    "wrong type in TOML": ("store -c number.toml", 2, r"number\.toml: \[store\] data: 5 is not .*"),
    "wrong value in TOML": ("produce t -c zero.toml", 2, r"zero\.toml: .*min_store_acks is 0.*"),
    "broken ZPL": ("dafka_stored -c indented.zpl", 2, r"indented\.zpl:2: indent by 4 spaces .*"),
    "open quotes in ZPL": ("dafka_towerd -c quoted.zpl", 2, r"quoted\.zpl:2: .* is neither .*"),
    "wrong value in ZPL": ("produce t -c soon.zpl", 2, "soon.zpl: beacon/interval: 'soon' is .*"),
    "no such input": ("produce t missing {at}", 2, "cannot read missing: No such file .*"),
    "input is a directory": ("produce t foreign {at}", 2, "cannot read foreign: Is a directory"),
}


def command_line(shared: Processes, text: str) -> list[str]:
    """What a shell makes of a case's command."""
    name, *arguments = ["" if word == "''" else word for word in text.split()]
    return script(name, *arguments) if name.startswith("dafka_") else dafka(name, *arguments)


@pytest.fixture(scope="module")
def refusals(shared, server):
    """All cases have been run, a few at once: most of their time is Python's start."""
    for name, text in FILES.items():
        path = shared.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (shared.directory / "database").mkdir()
    with closing(sqlite3.connect(shared.directory / "database" / "cache.db")) as database:
        database.execute("CREATE TABLE other (name)")

    def run(text: str) -> subprocess.CompletedProcess[str]:
        filled = text.format(
            sub=server.sub,
            pub=server.pub,
            port=server.sub.rpartition(":")[2],
            at=f"--sub {server.sub} --pub {server.pub}",
        )
        return subprocess.run(
            command_line(shared, filled),
            cwd=shared.directory,
            env=shared.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE_S,
        )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(CASES, pool.map(run, (text for text, _, _ in CASES.values())), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_it_is_one_sentence(refusals, case):
    text, code, pattern = CASES[case]
    name = text.split()[0]
    if not name.startswith("dafka_"):
        name = "dafka" if name == "nosuch" else f"dafka {name}"
    done = refusals[case]
    assert (done.returncode, done.stdout) == (code, "")
    assert re.fullmatch(rf"{name}: {pattern}\n", done.stderr), done.stderr


def test_what_was_refused_was_left_as_it_was(refusals, shared):
    assert (shared.directory / "file").read_text() == "x"
    assert [path.name for path in (shared.directory / "foreign").iterdir()] == ["photo.jpg"]
    assert [path.name for path in (shared.directory / "database").iterdir()] == ["cache.db"]
    assert not (shared.directory / "free").exists()


@pytest.mark.parametrize("command", ["produce", "consume"])
def test_a_nul_in_a_topic_which_no_shell_can_type(shared, command):
    program = f"from dafka.cli.main import main; main(arguments=['{command}', 'a\\0b'])"
    done = shared.run([sys.executable, "-c", program], code=2)
    assert re.fullmatch(rf"dafka {command}: topic 'a\\x00b' contains .*\n", done.complained())


def test_a_closed_standard_input_is_a_wrong_use(shared, server):
    command = f"'{sys.executable}' -m dafka.cli produce t --json --tower {server.tower} <&-"
    done = shared.run(["sh", "-c", command], code=2)
    assert done.printed() == b""
    assert done.complained() == (
        "dafka produce: standard input is closed: give a FILE, or input to read\n"
    )


@pytest.mark.parametrize("limit", [20, 32])
@pytest.mark.parametrize("command", ["server --port 0", "produce t", "topics", "check ."])
def test_a_limit_of_open_files_that_is_too_low_is_said(shared, command, limit):
    line = f"ulimit -n {limit}; exec '{sys.executable}' -m dafka.cli {command}"
    done = shared.run(["sh", "-c", line], code=1)
    name = command.split()[0]
    assert done.complained() == (
        f"dafka {name}: only {limit} files may be open at once here, and 128 are needed at least: "
        "raise the limit, for example with 'ulimit -n 1024'\n"
    )


def test_a_soft_limit_of_open_files_is_raised(shared, server):
    line = f"ulimit -S -n 20; exec '{sys.executable}' -m dafka.cli produce t --tower {server.tower}"
    shared.run(["sh", "-c", line], given=b"a\n")


def test_a_timeout_that_is_no_number(shared, server):
    command = dafka("consume", "t", "--timeout", "nan", *server.at)
    assert shared.run(command, code=2, within=3.0).complained()
