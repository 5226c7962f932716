"""The thread in which nodes live."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import gevent
import pytest

from tests.beam.conftest import NEEDS_BEAM

pytest.importorskip("apache_beam", reason=NEEDS_BEAM, exc_type=ImportError)

from dafka.beam.hub import Hub
from dafka.errors import Closed

FORKED = """
import os
from dafka.beam.hub import hub
assert hub().call(lambda: 1) == 1
child = os.fork()
if not child:
    os._exit(hub().call(lambda: 7))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert hub().call(lambda: 2) == 2
print("done")
"""


@pytest.fixture
def hub():
    made = Hub()
    yield made
    made.end()


def test_many_threads_have_it_call_functions_which_wait_side_by_side(hub):
    met = threading.Barrier(8)

    def meet(number):
        met.wait(20)
        return hub.call(lambda: (gevent.sleep(0.01), threading.current_thread().name, number))

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(meet, range(8)))
    assert [number for _, _, number in results] == list(range(8))
    assert {name for _, name, _ in results} == {"dafka-beam"}


def test_errors_come_to_who_has_called(hub):
    with pytest.raises(ZeroDivisionError):
        hub.call(lambda: 1 / 0)
    assert hub.call(lambda: "goes on") == "goes on"


def test_its_end_is_told_to_who_waits_and_to_who_comes_later(hub):
    waits = threading.Event()

    def wait():
        def forever():
            waits.set()
            gevent.sleep(60)

        with pytest.raises(Closed):
            hub.call(forever)
        return True

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(wait)
        assert waits.wait(20)
        hub.end()
        assert waiting.result(20)
    with pytest.raises(Closed, match="has ended"):
        hub.call(lambda: 1)
    hub.end()


def test_a_forked_process_has_its_own_and_programs_end_without_a_word():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "Traceback" not in done.stderr
