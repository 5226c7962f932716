"""Processes of a round: whatever becomes of them is told, and none is left."""

from __future__ import annotations

import sys

import pytest

from dafka.bench.process import Process, Processes, Unmeasured
from dafka.bench.work import Work

pytestmark = pytest.mark.process


def python(processes: Processes, code: str) -> Process:
    return processes.program("thing", [sys.executable, "-c", code])


def test_one_that_ends_early_is_told_with_its_last_words():
    code = "import sys; sys.exit('first\\nno disk is left\\n')"
    with Processes() as processes:
        process = python(processes, code)
        with pytest.raises(Unmeasured, match=r"^the thing ended early: no disk is left$"):
            process.ready()


def test_one_that_says_nothing_does_not_hold_up_anybody():
    processes = Processes()
    process = python(processes, "import time; time.sleep(1000)")
    with pytest.raises(Unmeasured, match=r"^the thing has said nothing for 0.2 s$"), processes:
        process.hear(patience_s=0.2)
    assert not process.running


def test_one_that_says_what_it_should_not():
    with Processes() as processes:
        process = python(processes, "print('hello')")
        with pytest.raises(Unmeasured, match="said b'hello', which is no result"):
            process.hear()


def test_one_that_does_not_want_to_end_is_killed():
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('{}', flush=True)\n"
    with Processes() as processes:
        process = python(processes, code + "time.sleep(1000)")
        process.hear()
        process.end(within_s=0.2)
        assert not process.running


def test_a_worker_is_told_everything():
    work = Work(records=3, size=7, endpoints=("tcp://a:1", "tcp://b:2"), rate=2.5)
    assert Work.read(work.text) == work


def test_a_worker_that_is_told_to_end_before_it_began_ends(tmp_path):
    with Processes() as processes:
        worker = processes.start("sync", Work(data=str(tmp_path), chunk=10))
        worker.ready()
        worker.end()
        assert not worker.running
    assert (tmp_path / "raw").read_bytes() == b""
