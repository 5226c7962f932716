"""Decides how the log looks: to stderr, one line each, warnings only unless asked for more."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from dafka.cli.texts import visible

NAME = "dafka.cli"
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def start(verbose: bool) -> None:
    """Write the log of Dafka to stderr; may be called again to change its detail."""
    logger = logging.getLogger("dafka")
    handler = logging.StreamHandler()
    handler.set_name(NAME)
    handler.setFormatter(_Formatter(FORMAT))
    logger.handlers = [other for other in logger.handlers if other.get_name() != NAME]
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)


@contextmanager
def without_warnings(name: str) -> Iterator[None]:
    """Keep a logger from warning of what the command itself tells; --verbose still shows it."""
    logger = logging.getLogger(name)
    level = logger.level
    if logger.getEffectiveLevel() >= logging.WARNING:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
