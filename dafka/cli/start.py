"""Where the `dafka` program begins: signals end it in silence while Python still imports the rest.

Imports nothing but the standard library; that is why `dafka` itself imports only what is asked for.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the `dafka` command."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup has a process ignore SIGHUP; SIGINT counts also where a shell has it ignored.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(INTERRUPTED))
    from dafka.cli.main import main as run

    run()
