"""What the cookbook's page says: links, programs and their commands exist."""

from __future__ import annotations

import re
import shlex
import sys

import pytest

from tests.support.processes import ROOT

COOKBOOK = ROOT / "docs" / "cookbook"
TEXT = (COOKBOOK / "README.md").read_text()
PROGRAMS = sorted(path.name for path in COOKBOOK.glob("*.py"))
COMMANDS = [
    shlex.split(line, comments=True)[1:] for line in re.findall(r"^    (python .*)$", TEXT, re.M)
]


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_every_link_leads_somewhere(link):
    assert (COOKBOOK / link).exists()


def test_every_program_is_listed_and_used():
    assert sorted(re.findall(r"^\| \[(\w+\.py)\]", TEXT, re.M)) == PROGRAMS
    assert sorted({command[0] for command in COMMANDS}) == PROGRAMS


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_knows_its_arguments(command, program, monkeypatch, capsys):
    at = command.index("--") if "--" in command else len(command)
    monkeypatch.setattr(sys, "argv", [*command[:at], "--help"])
    with pytest.raises(SystemExit) as ended:
        program(command[0].removesuffix(".py")).main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "--tower" in said or "usage: " + " ".join(command[:2]) in said
    assert all(word in said for word in command[1:at] if word.startswith("--"))
