"""Sizes, documentation and annotations of the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MODULE_LINES = 300
FUNCTION_LINES = 50

LONG_MODULES: dict[str, str] = {
    "dafka/io/log.py": "the only module that knows diskcache",
    "dafka/io/sockets.py": "the only module that knows ZeroMQ: each of its sockets once",
}
"""Modules that are longer, with the reason."""

SOURCES = sorted(
    str(path.relative_to(ROOT))
    for package in ("dafka", "protocol", "docs/cookbook")
    for path in (ROOT / package).rglob("*.py")
)

OTHERS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("scripts", "tests")
    for path in (ROOT / folder).rglob("*.py")
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def faults(source: str) -> list[str]:
    """What is wrong with the functions and classes of a module, a line each."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, Function):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                found.append(f"{node.lineno}: {node.name} has {lines} lines")
            found += [f"{node.lineno}: {node.name}: {text}" for text in _unannotated(node)]
    for name, definition in _public(tree):
        if ast.get_docstring(definition) is None:
            found.append(f"{definition.lineno}: {name} has no docstring")
    return found


def _unannotated(function: Function) -> Iterator[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named += [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    for argument in named:
        if argument.annotation is None and argument.arg not in ("self", "cls"):
            yield f"{argument.arg} has no annotation"
    if function.returns is None:
        yield "the result has no annotation"


def _public(
    tree: ast.Module | ast.ClassDef, prefix: str = ""
) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Public definitions of a module, and those of its public classes."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from _public(node, f"{node.name}.")


def lines_of(module: str) -> int:
    """The length of a module."""
    return len((ROOT / module).read_text("utf-8").splitlines())


@pytest.mark.parametrize("module", [*SOURCES, *OTHERS])
def test_module_has_a_docstring(module: str) -> None:
    assert ast.get_docstring(ast.parse((ROOT / module).read_text("utf-8")))


@pytest.mark.parametrize("module", SOURCES)
def test_module_is_short(module: str) -> None:
    if module not in LONG_MODULES:
        assert lines_of(module) <= MODULE_LINES


@pytest.mark.parametrize("module", LONG_MODULES)
def test_exception_is_needed(module: str) -> None:
    assert lines_of(module) > MODULE_LINES


@pytest.mark.parametrize("module", SOURCES)
def test_functions_are_short_documented_and_annotated(module: str) -> None:
    assert faults((ROOT / module).read_text("utf-8")) == []


def test_checker_finds_each_fault() -> None:
    long = "\n".join(["def long() -> None:", '    """Is long."""', *["    long()"] * 49])
    source = f"""
{long}

def bare(first, *rest: int):
    pass

class Public:
    def method(self) -> None:
        pass

class _Private:
    def method(self) -> None:
        pass

async def _later(x: int, /, *, y) -> int:
    return x
"""
    assert [text.partition(": ")[2] for text in faults(source)] == [
        "long has 51 lines",
        "bare: first has no annotation",
        "bare: the result has no annotation",
        "_later: y has no annotation",
        "bare has no docstring",
        "Public has no docstring",
        "Public.method has no docstring",
    ]
