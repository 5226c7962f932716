"""`dafka bench` as a person and a program use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.process

SMALL = ("--rounds", "2", "--seconds", "0.05")
ROW, CEILING = "raw/wire/100B/1-1/curve", "raw/wire/100B/1-1"


def start(*arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dafka.cli", "bench", *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        env=env,
    )


def bench(*arguments: str, code: int = 0, env: dict[str, str] | None = None) -> tuple[str, str]:
    with start(*arguments, env=env) as process:
        out, err = process.communicate(timeout=100)
    assert process.returncode == code, err
    return out, err


def test_a_program_gets_every_round_and_the_ratios(tmp_path):
    out, err = bench(ROW, *SMALL, "--dir", str(tmp_path), "--json", "-")
    assert err == ""
    found = json.loads(out)
    assert found["settings"] == {"rounds": 2, "seconds": 0.05, "rows": [ROW]}
    assert set(found["machine"]) >= {"processor", "cores", "python", "file system", "packages"}
    assert list(found["rows"]) == [ROW, CEILING]
    row, raw = found["rows"][ROW], found["rows"][CEILING]
    assert len(row["figures"]) == len(raw["figures"]) == 2
    assert (row["group"], row["unit"], row["durability"]) == ("live", "records/s", "-")
    ratios = [its / others for its, others in zip(row["figures"], raw["figures"], strict=True)]
    assert row["ratios"] == {CEILING: pytest.approx(sum(ratios) / 2)}
    assert list(tmp_path.iterdir()) == []


def test_a_person_gets_a_table_and_the_program_its_file(tmp_path):
    file = tmp_path / "result.json"
    out, err = bench("raw/commit/100B", *SMALL, "--json", str(file))
    assert err == ""
    lines = out.splitlines()
    assert "medians of 2 rounds of 0.05 s" in lines[0]
    assert lines[1].split()[:2] == ["row", "durability"]
    found = [line.split()[:2] for line in lines[2:]]
    assert found == [["raw/commit/100B/fsync", "fsync"], ["raw/commit/100B/os", "os"]]
    assert set(json.loads(file.read_text())["rows"]) == {name for name, _ in found}


def test_rows_are_listed():
    out, _ = bench("--list")
    assert "publish/100B/1p/1s/os" in out
    assert "raw/fdatasync/100B" in out
    few, _ = bench("--list", "--group", "replay")
    assert {line.split("/")[0] for line in few.splitlines()[1:]} == {"replay"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "there is no row 'nothing': 'dafka bench --list' names them"),
        (["publish/100B/1p/1s/fsync", "--durability", "os"], "no row is left to measure"),
        (["--dir", "/nowhere"], "'/nowhere' does not exist"),
        (["--seconds", "0"], "--seconds"),
        (["--plot", "a.pdf"], "--plot a.pdf: the name must end with .svg or .png"),
    ],
)
def test_a_wrong_request_is_one_sentence(arguments, said):
    out, err = bench(*arguments, code=2)
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_what_lacks_a_package_is_named_and_the_rest_is_measured(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'hdrh' else find(name, *more)\n"
    )
    with_it = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    lacking = (
        "not measured: latency: the Python package hdrhistogram is missing; "
        "install Dafka with its extra bench: pip install 'dafka[bench]'"
    )
    out, err = bench("latency/ack", "raw/fdatasync/100B", *SMALL, "--json", "-", env=with_it)
    assert err == f"{lacking}\n"
    found = json.loads(out)
    assert list(found["rows"]) == ["raw/fdatasync/100B"]
    assert found["absent"] == [lacking]
    out, err = bench("latency/ack", *SMALL, env=with_it, code=1)
    assert (out, err) == ("", f"dafka bench: {lacking}\n")


def test_peers_that_are_absent_are_named_and_no_error(tmp_path):
    nothing = {**os.environ, "PATH": str(tmp_path)}
    out, err = bench("publish/100B/c", "raw/fdatasync/100B", *SMALL, env=nothing)
    assert err == "c is absent: no dafka_perf_store of zeromq/dafka on PATH\n"
    assert "raw/fdatasync/100B" in out


def test_a_file_that_cannot_be_written_is_told():
    _, err = bench("raw/fdatasync/100B", *SMALL, "--json", "/nowhere/file", code=1)
    assert "cannot write /nowhere/file: No such file or directory" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_soon_and_leaves_nothing(tmp_path, number):
    process = start("live/100B/4c/runs", "--dir", str(tmp_path))
    until = time.monotonic() + 60
    while not list(tmp_path.glob("*/*")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(number)
    began = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 3
    assert (process.returncode, out, err) == (130, "", "dafka bench: interrupted\n")
    assert list(tmp_path.iterdir()) == []
