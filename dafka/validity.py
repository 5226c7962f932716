"""Decides what the value of a single setting may be, whichever node's it is."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from inspect import iscoroutinefunction
from numbers import Real
from typing import Any

from dafka.errors import ConfigError

SHORTEST_S = 0.001
"""Less would keep a processor busy with nothing else."""

LONGEST_S = 86_400.0
"""A day. Who waits for longer waits for nothing, such as for a peer that has long been gone."""

_RARE = {"scrub_interval_s": 3660 * LONGEST_S}
"""Ten years, for what is not done every day."""

_LONGEST_WAIT_S = 366 * LONGEST_S
"""For ever, nearly: timers of the system and of the event loops refuse infinite times."""

_MAY_BE_ZERO = {"scrub_interval_s", "stop_timeout_s"}

_BINDABLE = re.compile(r"tcp://\S+:((?P<port>\d{1,5})|\*)|(inproc|ipc)://\S+")
_MAX_PORT = 65_535

_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "a text"),
    "bool": ((bool,), "true or false"),
}


def check_settings(config: Any, *positive: str) -> None:
    """Check the types of all fields, those that are times, and that others are `positive`."""
    _check_types(config)
    for field in fields(config):
        if field.name.endswith("_s"):
            _check_time(field.name, getattr(config, field.name))
    for name in positive:
        value = getattr(config, name)
        if value <= 0:
            raise ConfigError(f"{name} is {value!r}: it must be greater than zero")


def _check_types(config: Any) -> None:
    for field in fields(config):
        types, wanted = _KINDS.get(str(field.type), ((object,), ""))
        value = getattr(config, field.name)
        infinite = isinstance(value, float) and not math.isfinite(value)
        switched = isinstance(value, bool) and bool not in types
        if not isinstance(value, types) or (switched and wanted) or infinite:
            raise ConfigError(f"{field.name} is {value!r}: it must be {wanted or 'finite'}")


def _check_time(name: str, value: float) -> None:
    if value == 0 and name in _MAY_BE_ZERO:
        return
    longest = _RARE.get(name, LONGEST_S)
    if not SHORTEST_S <= value <= longest:
        zero = "0, or " if name in _MAY_BE_ZERO else ""
        bounds = f"{zero}between {SHORTEST_S:g} and {longest:.0f} seconds"
        raise ConfigError(f"{name} is {value!r}: it must be {bounds}")


def check_timeout(timeout: float | None) -> float | None:
    """Return `timeout` if one can wait so long (seconds; None: for ever), else `ConfigError`."""
    if timeout is None:
        return None
    kind = type(timeout)
    if kind is bool or not isinstance(timeout, Real) or math.isnan(timeout):
        raise ConfigError(f"timeout is {timeout!r}: give seconds, or None to wait for ever")
    return min(float(timeout), _LONGEST_WAIT_S)


def check_callable(name: str, function: object) -> None:
    """Something to call, or None; else `ConfigError`."""
    if function is not None and not callable(function):
        raise ConfigError(f"{name} is {function!r}: it must be a function")
    if iscoroutinefunction(function):
        raise ConfigError(
            f"{name} is a coroutine function: it is called, not awaited, so give a function"
        )


def check_bindable(name: str, endpoint: str) -> None:
    """An endpoint to listen on, or `ConfigError`."""
    match = _BINDABLE.fullmatch(endpoint)
    if match is None or int(match["port"] or 0) > _MAX_PORT:
        raise ConfigError(
            f"{name} {endpoint!r} is not an endpoint to listen on, such as tcp://*:5556 or tcp://*:*"
        )


def check_durable(name: str, value: object) -> None:
    """One of the two durabilities, or `ConfigError`."""
    if value not in ("fsync", "os"):
        raise ConfigError(f"{name} {value!r} is neither 'fsync' nor 'os'")
