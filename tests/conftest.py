"""What holds for all tests: the same examples in every run, and signals that arrive."""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("dafka", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("dafka")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every process that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
