"""Decides where a node's settings come from: flag, then environment, then file, then default.

What files mean is decided in `dafka.settings_file`, which values are valid in `dafka.config`; here
values become what their field needs, and an error tells where the value was written.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, TypeVar, get_type_hints

from dafka.beginning import Start, read_time
from dafka.config import (
    LOCALHOST,
    ConsumerConfig,
    NodeConfig,
    ProducerConfig,
    StoreConfig,
    TowerAddress,
    TowerConfig,
    parse_tower,
)
from dafka.errors import ConfigError
from dafka.retention import Rules
from dafka.settings_file import SECTIONS, File, Given, bindable, connectable, read

logger = logging.getLogger("dafka.settings")

__all__ = ["File", "FILE_ONLY", "Kind", "load", "read", "variable", "verbose"]

Config = TypeVar("Config", TowerConfig, StoreConfig, ProducerConfig, ConsumerConfig)
Kind = type[TowerConfig] | type[NodeConfig]


def load(
    kind: type[Config],
    *,
    file: File | str | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] = os.environ,
    defaults: Mapping[str, object] | None = None,
) -> Config:
    """Return the configuration of one kind of node; `ConfigError` names value and source.

    `flags` are fields of `kind`; for nodes also `sub` and `pub`, the tower's two endpoints in the
    notation of the C nodes. A flag that is None or an empty tuple was not given. `defaults` replace
    the configuration's own.
    """
    source = read(file) if isinstance(file, str) else file
    towers = _Towers()
    values: dict[str, Any] = dict(defaults or {})
    for level in (
        () if source is None else source.givens(_section(kind)),
        _environment(kind, environ),
        _flags(flags or {}),
    ):
        for given in level:
            if issubclass(kind, NodeConfig) and given.field in _Towers.FIELDS:
                towers.add(given)
            else:
                values[given.field] = _checked(kind, given)
        towers.end_level()
    values.update(towers.values())
    return kind(**values)


def verbose(kind: Kind, file: File | None, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment (DAFKA_VERBOSE) or the file asks this kind of node for details."""
    text = environ.get(variable("verbose"), "")
    if text:
        return text.lower() not in ("0", "false", "no")
    return file is not None and file.verbose(_section(kind))


FILE_ONLY = ("retention",)
"""Settings that no text can say: a file has tables for them."""


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"DAFKA_{name.upper()}"


def _section(kind: Kind) -> str:
    return next(name for name, config in SECTIONS.items() if config is kind)


def _environment(kind: Kind, environ: Mapping[str, str]) -> Iterator[Given]:
    for name in dict.fromkeys([*(one.name for one in fields(kind)), "sub", "pub"]):
        value = environ.get(variable(name))
        if value:
            # DAFKA_SUB and DAFKA_PUB may be set once for a tower and the nodes beside it.
            adapt = name in ("sub", "pub") and kind is not TowerConfig
            yield Given(
                name,
                connectable(value) if adapt else value,
                f"environment variable {variable(name)}",
            )


def _flags(flags: Mapping[str, object]) -> Iterator[Given]:
    for name, value in flags.items():
        if value is not None and value != ():
            yield Given(name, value, f"--{name.replace('_', '-')}")


_ANY = "tcp://*:*"


def _checked(kind: Kind, given: Given) -> object:
    """Convert a value to its field's type, and let the configuration judge it on its own."""
    hint = get_type_hints(kind)[given.field]
    convert = _CONVERT.get(hint, _choice)
    try:
        value = convert(given.value)
        if kind is TowerConfig and given.field in ("sub", "pub"):
            value = bindable(str(value)) if "//localhost:" in str(value) else value
        # A tower's sub may be what its pub is by default, if that is given as well.
        beside: dict[str, Any] = {"sub": _ANY, "pub": _ANY} if kind is TowerConfig else {}
        kind(**(beside | {given.field: value}))
    except ConfigError as error:
        raise ConfigError(f"{given.source}: {error}") from error
    return value


def _integer(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value.strip()):
        return int(value)
    raise ConfigError(f"{value!r} is not a whole number")


def _number(value: object) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise ConfigError(f"{value!r} is not a number")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ConfigError(f"{value!r} is not a text")


def _switch(value: object) -> bool:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    switch = value if isinstance(value, bool) else known.get(str(value).lower())
    if switch is None:
        raise ConfigError(f"{value!r} is neither true nor false")
    return switch


def _rules(value: object) -> object:
    if isinstance(value, str):
        raise ConfigError("rules of retention stand in a configuration file only")
    return value


def _choice(value: object) -> object:
    """A word."""
    return value if isinstance(value, int) else _text(value)


def _start(value: object) -> object:
    """A word, an offset, a time, or a table of partitions and offsets."""
    if isinstance(value, Mapping):
        return {partition: _integer(offset) for partition, offset in value.items()}
    if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
        return _integer(value)
    if isinstance(value, datetime):
        return value
    text = _text(value)
    return read_time(text) if text[:1].isdigit() else text


_CONVERT: dict[Any, Callable[[object], object]] = {
    int: _integer,
    float: _number,
    str: _text,
    bool: _switch,
    Rules: _rules,
    Start: _start,
}
"""How a value becomes one of its field's type; of all other types it is a word."""


@dataclass(slots=True)
class _Towers:
    """The towers a node uses: `tower` of one level hides all of the levels below it, whereas `sub`
    and `pub` replace one endpoint each, as the C nodes' flags do."""

    FIELDS = ("tower", "sub", "pub")

    _level: dict[str, Given] = field(default_factory=dict)
    _towers: list[TowerAddress] = field(default_factory=list)
    _endpoints: dict[str, Given] = field(default_factory=dict)

    def add(self, given: Given) -> None:
        self._level[given.field] = given

    def end_level(self) -> None:
        level, self._level = self._level, {}
        tower = level.pop("tower", None)
        if tower is not None:
            if any(given.source.startswith("--") for given in level.values()):
                raise ConfigError("give either --tower, or --sub and --pub, not both")
            self._towers = [_located(tower, text) for text in _tower_texts(tower)]
            self._endpoints = {}
        else:
            self._endpoints.update(level)

    def values(self) -> dict[str, tuple[TowerAddress, ...]]:
        if self._endpoints:
            return {"tower": tuple(self._paired())}
        return {"tower": tuple(self._towers)} if self._towers else {}

    def _paired(self) -> Iterator[TowerAddress]:
        base = self._towers[0] if len(self._towers) == 1 else LOCALHOST
        # The C nodes take a list of endpoints, and a leading '>' for "connect".
        subs, pubs = (
            [one.strip().removeprefix(">") for one in str(given.value).split(",")]
            if (given := self._endpoints.get(name))
            else [getattr(base, name)]
            for name in ("sub", "pub")
        )
        given = next(iter(self._endpoints.values()))
        if len(self._endpoints) == 1 and not self._towers:
            logger.warning(
                "only one endpoint is given, by %s: the other one is the default", given.source
            )
        if len(subs) != len(pubs):
            raise ConfigError(
                f"{given.source}: {len(subs)} sub and {len(pubs)} pub endpoints are given: "
                "each tower has one of both"
            )
        for sub, pub in zip(subs, pubs, strict=True):
            yield _located(given, f"{sub},{pub}")


def _tower_texts(given: Given) -> list[str]:
    """One or several towers: a list, or separated by blanks."""
    values = given.value if isinstance(given.value, list | tuple) else [given.value]
    texts: list[str] = []
    for value in values:
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f"{given.source}: {value!r} is not a tower's address")
        texts += re.sub(r"\s*,\s*", ",", value).split()
    if not texts:
        raise ConfigError(f"{given.source}: no tower is given")
    return texts


def _located(given: Given, text: str) -> TowerAddress:
    try:
        return parse_tower(text)
    except ConfigError as error:
        raise ConfigError(f"{given.source}: {error}") from error
