"""The scripts run from a checkout, with the environment of its own if need be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [
    "dafka",
    "dafka_towerd",
    "dafka_stored",
    "dafka_console_producer",
    "dafka_console_consumer",
]

pytestmark = pytest.mark.process


def call(*command: str, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=30, **options)


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_is_executable_and_explains_itself(name, tmp_path):
    path = ROOT / "scripts" / name
    assert os.access(path, os.X_OK)
    done = call(sys.executable, str(path), "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: {name}")


def test_the_module_is_the_command():
    done = call(sys.executable, "-m", "dafka.cli", "--version", cwd=ROOT)
    assert done.stdout.startswith("dafka ")


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "scripts").mkdir()
    for name in ("_bootstrap.py", "dafka"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    for name in ("dafka", "protocol"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def without_dependencies(checkout):
    """Call the script with a Python that has no packages but its own."""
    return call(sys.executable, "-S", str(checkout / "scripts" / "dafka"), "topics", "x")


def test_missing_dependencies_are_said_in_one_sentence(checkout):
    done = without_dependencies(checkout)
    assert done.returncode == 1
    assert done.stderr.startswith("dafka: the Python package '")
    assert "run scripts/demo once, or 'pip install .'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_checkouts_own_environment_is_used_if_there_is_one(checkout):
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "in its place: $2 $3"\n')
    python.chmod(0o755)
    done = without_dependencies(checkout)
    assert (done.returncode, done.stdout) == (0, "in its place: topics x\n")
