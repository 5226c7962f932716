"""The thread in which nodes live: what it does for threads, tests/io/threads has."""

from __future__ import annotations

import subprocess
import sys

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
