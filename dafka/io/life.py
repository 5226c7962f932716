"""A node's life from `start` to `stop`, its settings and its name: the same for every kind."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from difflib import get_close_matches
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

import gevent

from dafka.config import NodeConfig, TowerConfig
from dafka.errors import Closed, ConfigError
from dafka.io.driver import Driver


def node_logger(role: str) -> logging.Logger:
    """The logger of a role's shell."""
    return logging.getLogger(f"dafka.{role}")


def new_address() -> str:
    """A node's identity: 32 upper-case hex digits, as the C nodes make them (a UUID)."""
    return uuid4().hex.upper()


Config = TypeVar("Config", bound=NodeConfig | TowerConfig)


def configured(kind: type[Config], config: Config | None, settings: dict[str, Any]) -> Config:
    """`config` (or the defaults) with single settings changed; `ConfigError` for unknown ones."""
    known = {field.name for field in fields(kind)}
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, 1) or sorted(known)
            hint = f": did you mean {' or '.join(near)}?"
            raise ConfigError(f"there is no setting {name!r} for this node{hint}")
    return replace(config or kind(), **settings)


class Life:
    """`start`, `stop`, `wait` and the context manager, the same for every public node."""

    drivers: tuple[Driver, ...] = ()
    """The loops of a started node."""

    def start(self) -> Self:
        """Open sockets and begin to work; returns at once, whether or not a tower is there."""
        raise NotImplementedError

    def stop(self, timeout: float | None = None) -> Any:
        """End the node; what was accepted is handed on first, within `timeout` seconds."""
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the node has ended, and raise what ended it; False after `timeout` (s)."""
        self.driver.check_thread()
        gevent.wait([driver.failed for driver in self.drivers], timeout, 1)
        return self.check_alive()

    def check_alive(self) -> bool:
        """Raise the exception that ended the node, if one did; True if it has ended."""
        ended = [driver.failed for driver in self.drivers if driver.failed.ready()]
        for result in ended:
            result.get(block=False)
        return bool(ended)

    @property
    def driver(self) -> Driver:
        """The main loop; `Closed` if the node was never started."""
        if not self.drivers:
            raise Closed(f"this {type(self).__name__} has not been started: use it in a `with`")
        return self.drivers[0]

    @property
    def started(self) -> bool:
        """Whether `start` has been called."""
        return bool(self.drivers)

    @property
    def introduced(self) -> bool:
        """Whether a tower has answered this node since its start."""
        return any(driver.introduced for driver in self.drivers)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
