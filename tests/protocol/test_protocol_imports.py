"""`protocol` is useful alone: it needs construct and the standard library, nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import protocol

_MODULES = sorted(Path(protocol.__file__).parent.glob("*.py"))


def test_importing_it_loads_neither_sockets_nor_disks() -> None:
    program = (
        "import protocol, sys\n"
        "unwanted = {'gevent', 'zmq', 'diskcache', 'hypothesis', 'dafka'} & set(sys.modules)\n"
        "sys.exit(', '.join(unwanted) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", _MODULES, ids=lambda module: module.stem)
def test_module_imports_only_construct_and_the_standard_library(module: Path) -> None:
    allowed = {*sys.stdlib_module_names, "construct", "protocol"}
    if module.stem == "strategies":
        allowed.add("hypothesis")
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert (node.module or "").split(".")[0] in allowed


def test_exported_names_are_sorted_and_exist() -> None:
    assert sorted(protocol.__all__) == protocol.__all__
    for name in protocol.__all__:
        assert hasattr(protocol, name)


def test_every_message_type_is_exported() -> None:
    for message_type in protocol.Message.__args__:
        assert getattr(protocol, message_type.__name__) is message_type
        assert message_type.__name__ in protocol.__all__
