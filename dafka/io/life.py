"""A node's life from `start` to `stop`, its settings and its name: the same for every kind."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from difflib import get_close_matches
from time import monotonic
from typing import Any, TypeVar
from uuid import uuid4

from dafka.config import NodeConfig, TowerConfig
from dafka.errors import Closed, ConfigError
from dafka.io.driver import Driver
from dafka.io.shell import Shell
from dafka.validity import check_timeout


def node_logger(role: str) -> logging.Logger:
    """The logger of a role's shell."""
    return logging.getLogger(f"dafka.{role}")


def new_address() -> str:
    """A node's identity: 32 upper-case hex digits, as the C nodes make them (a UUID)."""
    return uuid4().hex.upper()


Config = TypeVar("Config", bound=NodeConfig | TowerConfig)


def configured(kind: type[Config], config: Config | None, settings: dict[str, Any]) -> Config:
    """`config` (or the defaults) with single settings changed; `ConfigError` for unknown ones."""
    if not isinstance(config, kind | None):
        raise ConfigError(f"config is a {kind.__name__}, not {type(config).__name__}")
    known = {field.name for field in fields(kind)}
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, 1) or sorted(known)
            hint = f": did you mean {' or '.join(near)}?"
            raise ConfigError(f"there is no setting {name!r} for this node{hint}")
    return replace(config or kind(), **settings)


_INTERRUPTED_S = 1.5
"""Time to end for all nodes of a program that was told to end: it takes two seconds at most."""
_UNTIL = "_dafka_nodes_end_until"


def time_to_end(error: BaseException | None) -> float | None:
    """How long the end of a `with` may wait, which is left by this error, or by none.

    None: as long as the node's settings say. If the program was told to end, by Ctrl-C,
    `SystemExit` and the like, all that the same interruption ends have one time together.
    """
    if error is None or isinstance(error, Exception | GeneratorExit):
        return None
    until: float = error.__dict__.setdefault(_UNTIL, monotonic() + _INTERRUPTED_S)
    return max(0.0, until - monotonic())


class Life:
    """What is the same for every public node, whichever shell runs it."""

    drivers: tuple[Driver, ...] = ()
    """The loops of a started node."""
    _shell: Shell
    _entered_by = "a `with`"
    _begun = False
    """Whether a start is under way."""

    def check_alive(self) -> bool:
        """Raise the exception that ended the node, if one did; True if it has ended."""
        ended = [driver.failed for driver in self.drivers if driver.failed.ready()]
        for outcome in ended:
            outcome.check()
        return bool(ended)

    @property
    def driver(self) -> Driver:
        """The main loop; `Closed` if the node was never started."""
        if not self.drivers:
            raise Closed(
                f"this {type(self).__name__} has not been started: use it in {self._entered_by}"
            )
        return self.drivers[0]

    @property
    def started(self) -> bool:
        """Whether `start` has been called."""
        return bool(self.drivers)

    @contextmanager
    def _starting(self, kind: str) -> Iterator[None]:
        """The start of a node: `Closed` if it has been started, or if somebody is starting it.

        `kind` has its article: "a store".
        """
        if self.started or self._begun:
            raise Closed(f"{kind} can be started once")
        self._begun = True
        try:
            yield
        finally:
            self._begun = False

    @property
    def introduced(self) -> bool:
        """Whether a tower has answered this node since its start."""
        return any(driver.introduced for driver in self.drivers)

    async def _wait_for_end(self, timeout: float | None) -> bool:
        self.driver.check_thread()
        timeout = check_timeout(timeout)
        ended = self._shell.signal()
        outcomes = [driver.failed for driver in self.drivers]
        for outcome in outcomes:
            outcome.link(ended.set)
        try:
            await ended.wait(timeout)
        finally:
            for outcome in outcomes:
                outcome.unlink(ended.set)
        return self.check_alive()

    def _leave(self, kind: type[BaseException] | None) -> None:
        """The user leaves the `with`, by an error of this kind if it is one."""
