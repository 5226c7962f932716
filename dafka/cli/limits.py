"""How many files and connections this process may have open at once: as many as the system allows.

libzmq ends the process, without a word to Python, if it cannot open what it needs for itself. So a
limit that is too low has to be noticed before.
"""

from __future__ import annotations

import resource
from contextlib import suppress

from dafka.errors import DafkaError

FEWEST = 128
"""For a tower and a store with a few peers."""

ENOUGH = 65_536
"""For thousands of peers."""


def allow_many_files() -> None:
    """Raise the soft limit towards the hard one; `DafkaError` if that is too low."""
    if _soft_limit() < ENOUGH:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
        # A system may have yet another bound: then what there is has to do.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if _soft_limit() < FEWEST:
        raise DafkaError(
            f"only {_soft_limit()} files may be open at once here, and {FEWEST} are needed at "
            "least: raise the limit, for example with 'ulimit -n 1024'"
        )


def _soft_limit() -> float:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if soft == resource.RLIM_INFINITY else soft
