"""Decides what a configuration file means: our TOML, or the ZPL of the C nodes.

Neither converts nor validates a value: each is handed on with the place where it was written.
"""

from __future__ import annotations

import difflib
import ipaddress
import logging
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

from dafka import zpl
from dafka.config import (
    ConsumerConfig,
    NodeConfig,
    ProducerConfig,
    StoreConfig,
    TowerConfig,
    parse_tower,
)
from dafka.errors import ConfigError

logger = logging.getLogger("dafka.settings")

SECTIONS: dict[str, type[TowerConfig] | type[NodeConfig]] = {
    "node": NodeConfig,
    "tower": TowerConfig,
    "store": StoreConfig,
    "producer": ProducerConfig,
    "consumer": ConsumerConfig,
}
"""The tables of a TOML file, and what their keys are. All nodes but towers share `node`."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was found, and where."""

    field: str
    value: object
    source: str


class File(Protocol):
    """What a configuration file says, whatever its format."""

    def givens(self, section: str) -> Iterator[Given]:
        """The settings of one kind of node, the strongest last."""

    def verbose(self, section: str) -> bool:
        """Whether the file asks this kind of node to log details."""


def read(path: str) -> File:
    """Read a configuration file: TOML if it is named or parses so, else ZPL."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {path}: it is not UTF-8 text") from error
    if path.endswith(".zpl"):
        return ZplFile(path, zpl.loads(text, path))
    try:
        return TomlFile(path, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        # A line in brackets cannot be ZPL, so the TOML message is the helpful one.
        if path.endswith(".toml") or re.search(r"^\[", text, re.MULTILINE):
            raise ConfigError(_toml_sentence(path, text, str(error))) from error
        return ZplFile(path, zpl.loads(text, path))


def _toml_sentence(path: str, text: str, message: str) -> str:
    place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    if place is None:
        return f"{path}: {message}"
    line = place[1] or text.rstrip().count("\n") + 1
    return f"{path}:{line}: {message[: place.start()]}"


def connectable(endpoint: str) -> str:
    """The endpoint that a node on the same machine connects to when a tower binds this one."""
    return re.sub(r"^tcp://(\*|0\.0\.0\.0|\[::\]):", "tcp://127.0.0.1:", endpoint)


def _is_certain(endpoint: str) -> bool:
    """Whether an endpoint is given whose port is not left to the system."""
    return endpoint != "" and not endpoint.endswith(":*")


def bindable(endpoint: str) -> str:
    """The endpoint that a tower binds when nodes connect to this one.

    ZeroMQ binds addresses, not host names; for a name all interfaces are taken, as in C.
    """
    match = re.fullmatch(r"tcp://([^\[\]:*]+):(\S+)", endpoint)
    if match is None:
        return endpoint
    host, port = match.groups()
    if host == "localhost":
        return f"tcp://127.0.0.1:{port}"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return f"tcp://*:{port}"
    return endpoint


class TomlFile:
    """A TOML file; an unknown key is an error, since it is probably misspelt."""

    def __init__(self, path: str, document: Mapping[str, object]) -> None:
        self._path = path
        self._tables: dict[str, dict[str, object]] = {name: {} for name in SECTIONS}
        for name, table in document.items():
            if name in SECTIONS and isinstance(table, dict):
                self._tables[name] = self._known(name, table)
            elif isinstance(table, dict):
                raise ConfigError(f"{path}: table [{name}] is unknown{_nearest(name, SECTIONS)}")
            else:
                tables = ", ".join(f"[{section}]" for section in SECTIONS)
                raise ConfigError(f"{path}: {name!r} must stand in one of the tables {tables}")

    def _known(self, name: str, table: dict[str, object]) -> dict[str, object]:
        known = [*(field.name for field in fields(SECTIONS[name])), "verbose"]
        for key in table:
            if key not in known:
                raise ConfigError(
                    f"{self._path}: key {key!r} in [{name}] is unknown{_nearest(key, known)}"
                )
        if not isinstance(table.get("verbose", False), bool):
            raise ConfigError(f"{self._path}: [{name}] verbose is neither true nor false")
        return table

    def givens(self, section: str) -> Iterator[Given]:
        """The settings of one kind of node, the strongest last."""
        yield from self._other_side(section)
        for name in ["tower"] if section == "tower" else ["node", section]:
            for key, value in self._tables[name].items():
                if key != "verbose":
                    yield Given(key, value, f"{self._path}: [{name}] {key}")

    def _other_side(self, section: str) -> Iterator[Given]:
        """One file may serve tower and nodes though only one of them names the endpoints."""
        if section != "tower":
            for key in ("sub", "pub"):
                endpoint = connectable(str(self._tables["tower"].get(key, "")))
                if _is_certain(endpoint):
                    yield Given(key, endpoint, f"{self._path}: [tower] {key}")
            return
        tower = self._tables["node"].get("tower")
        if isinstance(tower, str):
            source = f"{self._path}: [node] tower"
            try:
                address = parse_tower(tower)
            except ConfigError as error:
                raise ConfigError(f"{source}: {error}") from error
            yield Given("sub", bindable(address.sub), source)
            yield Given("pub", bindable(address.pub), source)

    def verbose(self, section: str) -> bool:
        """Whether the file asks this kind of node to log details."""
        return any(self._tables[name].get("verbose") is True for name in ("node", section))


def _nearest(name: str, known: Mapping[str, object] | list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(known)}"


UNLIMITED = 2**31 - 1
"""What the C nodes' high_watermark 0 means; ZeroMQ counts in an int."""

_ZPL_FIELDS = {
    "beacon/interval": ("beacon_interval_s", "node"),
    "beacon/timeout": ("peer_timeout_s", "node", "tower"),
    "producer/head_interval": ("head_interval_s", "producer"),
    "producer/high_watermark": ("high_water_mark", "producer"),
    "producer/terminate_unacked": ("stop_timeout_s", "producer"),
    "consumer/high_watermark": ("high_water_mark", "consumer"),
    "consumer/offset/reset": ("start", "consumer"),
    "store/high_watermark": ("high_water_mark", "store"),
    "store/db": ("data", "store"),
}
"""The C nodes' keys: our field, and which nodes it is for."""

_ZPL_ENDPOINTS = [f"{name}/{end}_address" for name in ("beacon", "tower") for end in ("sub", "pub")]
"""Two names for the same two endpoints, both from the tower's side."""

_ZPL_VERBOSE = [f"{name}/verbose" for name in ("beacon", "tower", "store", "producer", "consumer")]


class ZplFile:
    """A configuration file of the C nodes; as there, unknown keys are not an error."""

    def __init__(self, path: str, values: Mapping[str, str]) -> None:
        self._path = path
        self._values = values
        known = {*_ZPL_FIELDS, *_ZPL_ENDPOINTS, *_ZPL_VERBOSE}
        self.warnings = [f"{path}: {key} is ignored" for key in values if key not in known]
        for warning in self.warnings:
            logger.warning(warning)

    def givens(self, section: str) -> Iterator[Given]:
        """The settings of one kind of node, the strongest last."""
        wanted = {section} if section == "tower" else {section, "node"}
        for key, (field, *sections) in _ZPL_FIELDS.items():
            if key in self._values and wanted.intersection(sections):
                source = f"{self._path}: {key}"
                yield from self._given(field, self._values[key], source)
        yield from self._endpoints(section)

    def _endpoints(self, section: str) -> Iterator[Given]:
        own, other, adapt = "beacon", "tower", connectable
        if section == "tower":
            own, other, adapt = "tower", "beacon", bindable
        for name in ("sub", "pub"):
            key = f"{other}/{name}_address"
            shared = adapt(self._values.get(key, ""))
            if _is_certain(shared):
                yield Given(name, shared, f"{self._path}: {key}")
            key = f"{own}/{name}_address"
            if self._values.get(key):
                yield Given(name, self._values[key], f"{self._path}: {key}")

    def _given(self, field: str, text: str, source: str) -> Iterator[Given]:
        if field == "stop_timeout_s":
            if _is_true(text):
                yield Given(field, 0.0, source)
        elif field.endswith("_s"):
            if not re.fullmatch("[0-9]{1,15}", text):
                raise ConfigError(f"{source}: {text!r} is not a whole number of milliseconds")
            yield Given(field, int(text) / 1000, source)
        elif field == "high_water_mark" and text == "0":
            yield Given(field, UNLIMITED, source)
        else:
            yield Given(field, text, source)

    def verbose(self, section: str) -> bool:
        """Whether the file asks this kind of node to log details."""
        keys = ["tower/verbose"] if section == "tower" else ["beacon/verbose", f"{section}/verbose"]
        return any(_is_true(self._values.get(key, "")) for key in keys)


def _is_true(text: str) -> bool:
    """As C's atoi() sees it: a number that is not zero."""
    number = re.match(r"\s*[+-]?\d+", text)
    return number is not None and int(number[0]) != 0
