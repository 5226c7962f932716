"""What docs/protocol.md says is so: its examples run, and its grammar is the code's."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest

import protocol
from protocol.__main__ import main
from protocol.grammar import KINDS, Kind

_ROOT = Path(protocol.__file__).parents[1]
_DOCUMENT = (_ROOT / "docs" / "protocol.md").read_text("utf-8")


def _blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", _DOCUMENT, re.M | re.S)
    assert found
    return found


def _assert_examples_work(text: str) -> None:
    test = doctest.DocTestParser().get_doctest(text, {}, "protocol.md", None, 0)
    assert test.examples
    output: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=output.append)
    assert not output, "".join(output)


def test_python_examples_work() -> None:
    _assert_examples_work("\n".join(_blocks("python")))


def test_examples_of_the_package_work() -> None:
    _assert_examples_work(protocol.__doc__ or "")


def test_commands_print_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for block in _blocks("console"):
        for command, output in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.M):
            words = shlex.split(command)
            assert words[:3] == ["python", "-m", "protocol"]
            main(words[3:])
            captured = capsys.readouterr()
            assert captured.out + captured.err == output


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_headings_tell_from_whom_to_whom_as_the_code_does(kind: Kind) -> None:
    assert f"\n### {kind.name}: {kind.route}\n" in _DOCUMENT


def _rules(text: str) -> set[str]:
    """Return the ABNF rules of `text` with single spaces, without comments."""
    lines = (re.sub(r"\s*;.*", "", line.removeprefix("# ")) for line in text.splitlines())
    return {" ".join(line.split()) for line in lines if re.match(r"[a-z][a-z0-9-]* += ", line)}


@pytest.mark.parametrize("module", ["primitives", "contents", "grammar", "beacon", "extensions"])
def test_grammar_of_the_code_and_of_the_document_are_the_same(module: str) -> None:
    source = (_ROOT / "protocol" / f"{module}.py").read_text("utf-8")
    comments = "\n".join(line for line in source.splitlines() if line.startswith("# "))
    assert _rules(comments)
    assert _rules(comments) <= _rules("\n".join(_blocks("abnf")))
