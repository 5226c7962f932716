"""Who may import whom: protocol <- dafka.core <- dafka.io <- dafka <- all the rest."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PACKAGES = ("protocol", "dafka")

COOKBOOK = ROOT / "docs" / "cookbook"
"""Programs of users: modules of the name `cookbook` here, in no package."""

ROLES = ("tower", "beacon", "producer", "consumer", "store_writer", "store_reader", "inspector")

NODES = ("tower", "producer", "consumer", "store", "inspector")

OUTSIDE_WORLD = (
    *("datetime", "random", "secrets", "time", "uuid"),
    *("asyncio", "multiprocessing", "queue", "select", "selectors", "signal", "threading"),
    *("io", "logging", "os", "pathlib", "shutil", "socket", "sqlite3", "ssl", "subprocess"),
    *("sys", "tempfile"),
)
"""What would make a decision depend on more than its arguments."""


GREEN = ("green", "threads", "committer", "tower", "store", "inspector", "producer", "consumer")
"""Modules of dafka.io that gevent runs; the others are shared by all shells."""

STREAMS_SHELL = ("app", "runner", "feed", "publisher", "signals", "state")
"""Modules of dafka.streams that act; the others decide, and `app` imports those that act late."""

BEAM_SHELL = ("hub", "nodes")
"""Modules of dafka.beam that live in gevent; what Beam calls runs in ordinary threads."""

BEAM_PURE = ("arrivals", "records", "source", "spans")
"""Modules of dafka.beam that decide."""


def inside(module: str, *packages: str) -> bool:
    """Whether a module is one of these, or below one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def standard(module: str) -> bool:
    """Whether a module belongs to Python."""
    return module.partition(".")[0] in sys.stdlib_module_names


@dataclass(frozen=True)
class Rule:
    """Modules that match `who` import nothing that `forbids`."""

    who: str
    forbids: Callable[[str, str], bool]
    """Called with the importing and the imported module."""
    text: str


def only(*packages: str, python: bool = True) -> Callable[[str, str], bool]:
    """Forbid everything but these packages and (with `python`) the standard library."""
    return lambda _, imported: not (inside(imported, *packages) or (python and standard(imported)))


def none_of(*packages: str) -> Callable[[str, str], bool]:
    """Forbid these packages."""
    return lambda _, imported: inside(imported, *packages)


def other(package: str, names: tuple[str, ...]) -> Callable[[str, str], bool]:
    """Forbid modules of these names in a package, but for the importing module itself."""
    modules = {f"{package}.{name}" for name in names}
    return lambda importing, imported: imported in modules - {importing}


RULES = [
    Rule(
        r"protocol(\.(?!strategies$).*)?",
        only("protocol", "construct"),
        "protocol imports only construct and the standard library",
    ),
    Rule(
        r"protocol\.strategies",
        only("protocol", "construct", "hypothesis"),
        "protocol.strategies imports only construct, hypothesis and the standard library",
    ),
    Rule(
        r"dafka\.(beginning|errors|names|config|retention|validity|version)",
        only(
            *("protocol.errors", "dafka.errors", "dafka.names", "dafka.config"),
            *("dafka.beginning", "dafka.retention", "dafka.validity", "dafka.version"),
        ),
        "errors, names, config and version import only each other, protocol.errors and Python",
    ),
    Rule(
        r"dafka\.core(\..*)?",
        only(
            *("protocol", "dafka.core", "dafka.errors"),
            *("dafka.beginning", "dafka.config", "dafka.names", "dafka.retention"),
        ),
        "dafka.core imports only protocol, itself, Python, and dafka's modules of plain values",
    ),
    Rule(
        r"dafka\.core(\..*)?",
        none_of(*OUTSIDE_WORLD),
        "dafka.core knows no clock, chance, system, thread, socket or log",
    ),
    Rule(
        rf"dafka\.core\.({'|'.join(ROLES)})",
        other("dafka.core", ROLES),
        "no role imports another role",
    ),
    Rule(
        rf"dafka\.io\.({'|'.join(NODES)})",
        other("dafka.io", NODES),
        "no node imports another node",
    ),
    Rule(
        rf"dafka\.io\.(?!({'|'.join(GREEN)})$).*",
        # `sockets` fetches zmq.green when a node of gevent's opens its own.
        none_of("gevent", *(f"dafka.io.{name}" for name in GREEN)),
        "what all shells share in dafka.io does not know gevent",
    ),
    Rule(
        r"dafka\.aio(\..*)?",
        none_of("gevent", "zmq", *(f"dafka.io.{name}" for name in GREEN)),
        "dafka.aio knows neither gevent, nor what is gevent's in dafka.io, nor ZeroMQ",
    ),
    Rule(
        # The benchmark measures others, whose clients are for asyncio.
        r"(?!dafka\.(aio|bench)(\.|$)).*",
        none_of("dafka.aio", "asyncio"),
        "only dafka.aio and the benchmark import asyncio",
    ),
    Rule(
        r"(?!dafka\.cli(\.|$)).*",
        none_of("dafka.cli"),
        "nothing imports the command line but the command line",
    ),
    Rule(
        r"(?!dafka\.(cli|bench)(\.|$)).*",
        none_of("dafka.bench"),
        "only the command line imports the benchmark",
    ),
    Rule(
        r"dafka\.bench(\..*)?",
        none_of("dafka.io", "dafka.core"),
        "the benchmark uses nodes by the public API",
    ),
    Rule(
        r"(?!dafka\.threads(\.|$)|dafka\.beam\.hub$).*",
        none_of("dafka.threads"),
        "dafka.threads is for users: nothing imports it but the thread of dafka.beam",
    ),
    Rule(
        r"dafka\.threads(\.(?!background$|shell$).*)?",
        none_of("gevent"),
        "of dafka.threads, only what runs and wakes the thread imports gevent",
    ),
    Rule(
        r"dafka\.threads\.hands",
        none_of(*OUTSIDE_WORLD, "dafka.io", "gevent"),
        "what threads have in hand is decided without a clock, thread or lock",
    ),
    Rule(
        # The bench measures what raw sockets can do, beside what Dafka makes of them.
        r"(?!dafka\.io\.sockets$|dafka\.bench\.roles\.raw\w*$).*",
        none_of("zmq"),
        "only dafka.io.sockets imports zmq",
    ),
    Rule(
        # A record log takes runs. The state of a stream application is rows of many kinds, which
        # change together in one transaction, so it has a database of its own.
        r"(?!dafka\.io\.log$|dafka\.streams\.state$).*",
        none_of("diskcache"),
        "only dafka.io.log and dafka.streams.state import diskcache",
    ),
    Rule(
        r"(?!dafka\.io\.archive$).*",
        none_of("fastavro"),
        "only dafka.io.archive imports fastavro",
    ),
    Rule(
        r"(?!(dafka\.(cli|streams)|cookbook)(\.|$)|dafka\.bench\.roles\.streams$).*",
        none_of("dafka.streams", "msgspec"),
        "only dafka.streams and the command line import dafka.streams and msgspec, and one role",
    ),
    Rule(
        r"cookbook\..*",
        lambda _, imported: (
            inside(imported, "protocol", "dafka") and imported not in ("dafka", "dafka.streams")
        ),
        "the cookbook uses the public API",
    ),
    Rule(
        r"cookbook\..*",
        only("dafka", "gevent", "msgspec", "pandas"),
        "the cookbook imports Python, what Dafka brings along, and pandas",
    ),
    Rule(
        rf"dafka\.streams(\.(?!({'|'.join(STREAMS_SHELL)})$).*)",
        only(
            *("dafka.streams", "dafka.core.run", "msgspec"),
            *("dafka.errors", "dafka.names", "dafka.config"),
        ),
        "what decides in dafka.streams imports itself, msgspec, Python and dafka's plain modules",
    ),
    Rule(
        rf"dafka\.streams(\.(?!({'|'.join(STREAMS_SHELL)})$).*)",
        # Event times and durations are values here, so `datetime` is one of its words.
        none_of(*OUTSIDE_WORLD[1:], *(f"dafka.streams.{name}" for name in STREAMS_SHELL[1:])),
        "what decides in dafka.streams knows no clock, chance, system, thread, socket or log",
    ),
    Rule(
        r"(?!dafka\.beam(\.|$)).*",
        none_of("dafka.beam", "apache_beam"),
        "only dafka.beam imports dafka.beam and apache_beam",
    ),
    Rule(
        rf"dafka\.beam(\.(?!({'|'.join(BEAM_SHELL)})$).*)?",
        none_of("gevent", "dafka.io", "dafka.streams"),
        "in dafka.beam, only what lives in the hub imports gevent and dafka.io",
    ),
    Rule(
        rf"dafka\.beam\.({'|'.join(BEAM_PURE)})",
        none_of(*OUTSIDE_WORLD, "dafka.beam.hub", "dafka.beam.nodes"),
        "what decides in dafka.beam knows no clock, chance, system, thread, socket or log",
    ),
    Rule(
        r"(?!dafka\.cli(\.|$)).*",
        none_of("click", "tqdm"),
        "only the command line imports click and tqdm",
    ),
    Rule(
        r"(?!dafka\.cli\.main$).*",
        none_of("gevent.monkey"),
        "only the entry point of the command line may patch modules",
    ),
]


def imports(tree: ast.Module, modules: Set[str]) -> Iterator[tuple[int, str]]:
    """Every module a tree imports anywhere, with its line; `modules` are those of this project."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom(module=module, level=0) if module:
                for alias in node.names:
                    name = f"{module}.{alias.name}"
                    # `from gevent import monkey` names a module as well.
                    is_module = name in modules or name == "gevent.monkey"
                    yield node.lineno, name if is_module else module
            case ast.ImportFrom():
                yield node.lineno, "." * node.level + (node.module or "")
            case ast.Attribute(value=ast.Name("gevent"), attr="monkey"):
                yield node.lineno, "gevent.monkey"


def violations(module: str, source: str, place: str, modules: Set[str]) -> list[str]:
    """What a module imports against the rules, a line each: file, line, import, rule."""
    found = []
    rules = [rule for rule in RULES if re.fullmatch(rule.who, module)]
    for line, imported in imports(ast.parse(source), modules):
        if imported.startswith("."):
            found.append(f"{place}:{line}: relative import: modules are named in full")
        broken = [rule for rule in rules if rule.forbids(module, imported)]
        found += [f"{place}:{line}: imports {imported}: {rule.text}" for rule in broken]
    return found


def _modules() -> dict[str, Path]:
    named = {f"cookbook.{path.stem}": path for path in COOKBOOK.glob("*.py")}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


MODULES = _modules()


@pytest.mark.parametrize("module", MODULES)
def test_module_keeps_to_its_layer(module: str) -> None:
    path = MODULES[module]
    place = str(path.relative_to(ROOT))
    assert violations(module, path.read_text("utf-8"), place, MODULES.keys()) == []


def test_every_layer_is_looked_at() -> None:
    for layer in (
        "protocol",
        "dafka.core",
        "dafka.io",
        "dafka.bench",
        "dafka.cli",
        "dafka.streams",
        "dafka.threads",
        "dafka.aio",
        "dafka.beam",
    ):
        assert sum(inside(module, layer) for module in MODULES) > 5
    assert sum(inside(module, "cookbook") for module in MODULES) == 5
    for module in (*(f"dafka.core.{r}" for r in ROLES), *(f"dafka.io.{n}" for n in NODES)):
        assert module in MODULES
    for name in STREAMS_SHELL:
        assert f"dafka.streams.{name}" in MODULES
    for name in BEAM_SHELL + BEAM_PURE:
        assert f"dafka.beam.{name}" in MODULES


@pytest.mark.parametrize(
    ("module", "source", "rule"),
    [
        ("protocol.codec", "import gevent", "protocol imports only"),
        ("protocol.codec", "import hypothesis", "protocol imports only"),
        ("protocol", "from dafka import names", "protocol imports only"),
        ("protocol.strategies", "import pytest", "protocol.strategies imports only"),
        ("dafka.errors", "from protocol import parse", "errors, names, config"),
        ("dafka.config", "import construct", "errors, names, config"),
        ("dafka.core.tower", "import time", "knows no clock"),
        ("dafka.core.tower", "from os import path", "knows no clock"),
        ("dafka.core.tower", "import gevent", "dafka.core imports only"),
        ("dafka.core.tower", "from dafka.io import node", "dafka.core imports only"),
        ("dafka.core.tower", "from dafka import settings", "dafka.core imports only"),
        ("dafka.core.tower", "from dafka.core import producer", "no role imports"),
        ("dafka.core.tower", "from dafka.core.producer import Producer", "no role imports"),
        ("dafka.io.tower", "from dafka.io.store import Store", "no node imports"),
        ("dafka.io.node", "from dafka.cli import main", "nothing imports the command line"),
        ("dafka.io.node", "import zmq.green as zmq", "only dafka.io.sockets"),
        ("dafka.io.outbox", "import gevent", "does not know gevent"),
        ("dafka.io.taking", "from dafka.io.green import GREEN", "does not know gevent"),
        ("dafka.io.publishing", "import asyncio", "only dafka.aio and the benchmark"),
        ("dafka.streams.feed", "from dafka.aio import AsyncConsumer", "only dafka.aio and"),
        ("dafka.aio.shell", "import gevent", "dafka.aio knows neither gevent"),
        ("dafka.aio.producer", "from dafka.io.producer import Producer", "dafka.aio knows neither"),
        ("dafka.aio.shell", "import zmq", "dafka.aio knows neither"),
        ("dafka.io.node", "from dafka.bench import rows", "only the command line"),
        ("dafka.bench.rows", "from dafka.cli import main", "nothing imports the command line"),
        ("dafka.bench.roles.nodes", "from dafka.io.store import Store", "by the public API"),
        ("dafka.bench.roles.nodes", "import zmq", "only dafka.io.sockets"),
        ("dafka.cli.demo", "import zmq", "only dafka.io.sockets"),
        ("dafka.io.log_index", "import diskcache", "only dafka.io.log"),
        ("dafka.cli.export", "import fastavro", "only dafka.io.archive"),
        ("dafka.io.node", "def f():\n    import tqdm", "only the command line"),
        ("dafka.io.node", "from dafka import streams", "only dafka.streams and"),
        ("dafka.io.log", "import msgspec", "only dafka.streams and"),
        ("dafka.bench.rows", "from dafka import streams", "only dafka.streams and"),
        ("dafka.streams.feed", "import diskcache", "only dafka.io.log"),
        ("dafka.streams.engine", "import gevent", "what decides in dafka.streams imports"),
        ("dafka.streams.engine", "import dafka.io.node", "in dafka.streams imports itself"),
        ("dafka.streams.engine", "import time", "what decides in dafka.streams knows"),
        ("dafka.streams.joins", "from dafka.streams.state import State", "in dafka.streams knows"),
        ("dafka.cli.nodes", "from dafka.threads import Producer", "nothing imports it"),
        ("dafka.threads.consumer", "from gevent.event import Event", "only what runs and wakes"),
        ("dafka.threads.hands", "import threading", "without a clock"),
        ("dafka.streams.app", "import apache_beam", "only dafka.beam imports"),
        ("dafka.cli.main", "from dafka.beam import ReadFromDafka", "only dafka.beam imports"),
        ("dafka.beam.reading", "import gevent", "only what lives in the hub"),
        ("dafka.beam.write", "from dafka.io.producer import Producer", "lives in the hub"),
        ("dafka.beam.spans", "import time", "what decides in dafka.beam knows"),
        ("dafka.beam.source", "from dafka.beam.nodes import Reader", "in dafka.beam knows"),
        ("dafka.io.node", "from gevent import monkey", "may patch"),
        ("dafka.io.node", "import gevent.monkey", "may patch"),
        ("dafka.cli.nodes", "import gevent\ngevent.monkey.patch_all()", "may patch"),
        ("cookbook.jobs", "from dafka.io import node", "the cookbook uses the public API"),
        ("cookbook.jobs", "from dafka.io.consumer import Consumer", "uses the public API"),
        ("cookbook.jobs", "import protocol", "the cookbook uses the public API"),
        ("cookbook.jobs", "import requests", "what Dafka brings along"),
        ("dafka.io.node", "from . import driver", "relative import"),
        ("dafka.io.node", "from .driver import Driver", "relative import"),
    ],
)
def test_checker_finds(module: str, source: str, rule: str) -> None:
    found = violations(module, source, "some/file.py", MODULES.keys())
    assert any(rule in text for text in found)
    assert all(re.match(r"some/file\.py:[12]: ", text) for text in found)


def test_checker_tells_file_line_and_rule() -> None:
    source = '"""A role."""\n\nimport time\n'
    assert violations("dafka.core.tower", source, "dafka/core/tower.py", MODULES.keys()) == [
        "dafka/core/tower.py:3: imports time: "
        "dafka.core knows no clock, chance, system, thread, socket or log"
    ]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("protocol.codec", "import struct\nfrom construct import Struct\nimport protocol.errors"),
        ("protocol.strategies", "from hypothesis import strategies"),
        ("dafka.errors", "from protocol.errors import ProtocolError"),
        ("dafka.core.tower", "from dafka.core import actions\nfrom protocol import parse"),
        ("dafka.threads.shell", "import threading\nfrom gevent.event import AsyncResult"),
        ("dafka.io.tower", "import time\nimport gevent\nfrom dafka.core import tower"),
        ("dafka.io.sockets", "import zmq.green"),
        ("dafka.io.committer", "import gevent\nfrom dafka.io.threads import Threads"),
        ("dafka.aio.shell", "import asyncio\nfrom dafka.io.shell import Work"),
        ("dafka.aio.producer", "from dafka.io.publishing import Publishing"),
        ("dafka.bench.roles.raw", "import dafka, zmq\nfrom dafka.bench.work import Work"),
        ("dafka.cli.main", "from gevent import monkey\nimport click, dafka.io.store"),
        ("cookbook.sensors", "import dafka\nfrom dafka import streams\nimport gevent"),
        ("dafka.streams.state", "import diskcache, os\nfrom dafka.streams import engine"),
        ("dafka.streams.engine", "import msgspec\nfrom dafka.core.run import Run"),
        ("dafka.beam.nodes", "import gevent, dafka\nfrom dafka.io.inspector import Inspector"),
        ("dafka.beam.reading", "import apache_beam, time\nfrom dafka.beam.nodes import Reader"),
        ("dafka.streams.runner", "import gevent, time\nfrom dafka.io.threads import Threads"),
    ],
)
def test_checker_allows(module: str, source: str) -> None:
    assert violations(module, source, "some/file.py", MODULES.keys()) == []
