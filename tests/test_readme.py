"""What README.md says is executed, and what it names exists."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

import dafka
from dafka import threads
from tests.support.shells import GeventShell, ShellNodes

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CODE = [text for fence, text in re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL) if fence]
INLINE = re.findall(r"`([^`\n]+)`", README.replace("```", ""))


def commands() -> list[str]:
    """Indented lines of shell, without comments, and inline code."""
    indented = re.findall(r"^    (\S.*)$", README, re.MULTILINE)
    return [line.split("   #")[0].strip() for line in indented] + INLINE


def named_scripts() -> list[str]:
    """Every file in scripts/ that is named."""
    return sorted(set(re.findall(r"(?<![\w/])scripts/\w+", README)))


def named_commands() -> list[str]:
    """Every subcommand of dafka that is named in code."""
    words = (re.findall(r"(?:^|[|`] ?)dafka ([a-z]+)\b", line) for line in commands())
    return sorted({word for found in words for word in found})


def run(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in another directory with this checkout's packages; warnings are errors."""
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.io
def test_the_quickstart_prints_three_records(tmp_path):
    (quickstart,) = [code for code in CODE if "import dafka\n" in code]
    done = run("-c", quickstart, directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "0 first\n1 second\n2 third\n"


@pytest.mark.io
def test_the_example_of_threads_prints_what_they_have_done(tmp_path):
    (example,) = [code for code in CODE if "import threads" in code]
    done = run("-c", example, directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split()) == sorted(str(number * number) for number in range(100))


@pytest.mark.io
def test_the_example_for_asyncio_prints_its_record(tmp_path):
    (example,) = [code for code in CODE if "dafka.aio" in code]
    assert example.count('"localhost"') == 1
    nodes = ShellNodes(tmp_path, GeventShell())
    try:
        nodes.cluster()
        example = example.replace('"localhost"', repr(str(nodes.tower)))
        done = run("-c", example, directory=tmp_path)
    finally:
        nodes.end()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "0 A first event\n"


@pytest.mark.io
def test_the_examples_of_the_package_are_true(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for module in (dafka, threads):
        failed, tried = doctest.testmod(module)
        assert failed == 0
        assert tried >= 2


def test_the_examples_of_the_readme_are_true():
    failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert failed == 0
    assert tried >= 2


@pytest.mark.parametrize(
    "link", sorted(set(re.findall(r"\]\((?!https?:|#)([^)#\s]+)", README))) or [None]
)
def test_every_relative_link_leads_somewhere(link):
    assert link is not None
    assert (ROOT / link).exists()


@pytest.mark.parametrize("name", named_scripts())
def test_every_script_exists_and_is_executable(name):
    assert (ROOT / name).is_file()
    assert os.access(ROOT / name, os.X_OK)


@pytest.mark.parametrize(
    "name",
    ["dafka_towerd", "dafka_stored", "dafka_console_producer", "dafka_console_consumer"],
)
def test_every_node_script_exists_and_explains_itself(name, tmp_path):
    assert name in README
    done = run(str(ROOT / "scripts" / name), "--help", directory=tmp_path)
    assert done.returncode == 0
    assert "--verbose" in done.stdout


@pytest.mark.parametrize("name", named_commands())
def test_every_command_exists_and_explains_itself(name, tmp_path):
    done = run("-m", "dafka.cli", name, "--help", directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"dafka {name}" in done.stdout


def test_commands_and_scripts_were_found_in_the_readme():
    assert {"server", "produce", "consume"} <= set(named_commands())
    assert {"scripts/demo", "scripts/test"} <= set(named_scripts())


@pytest.mark.parametrize(
    "name", sorted({n for n in INLINE if re.fullmatch(r"(protocol|dafka)/[\w/]+\.py", n)})
)
def test_every_file_to_read_exists(name):
    assert (ROOT / name).is_file()


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([\w.]+)", README))))
def test_every_module_to_run_runs(module, tmp_path):
    assert run("-m", module, "--help", directory=tmp_path).returncode == 0


def test_names_in_code_are_part_of_the_public_api():
    called = set(re.findall(r"\bdafka\.([A-Z]\w+)", README))
    assert called
    assert called <= set(dafka.__all__)


def test_defaults_that_the_readme_tells_are_the_defaults():
    assert dafka.StoreConfig().durability == "fsync"
    assert dafka.ProducerConfig().min_store_acks == 1
    assert dafka.ProducerConfig().buffer_bytes == 64 * 1024 * 1024
    assert dafka.ConsumerConfig().start == "latest"
    for told in ('durability="fsync"', "(default 1)", "(64 MiB)"):
        assert told in README


def test_the_python_and_the_licence_it_names_are_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=" + re.search(r"Python (3\.\d+)", README)[1]
    assert "MPL-2.0" in project["license"]
    assert "[MPL-2.0](LICENSE)" in README
    extras = set(re.findall(r"`(\w+)`\s+extra", README))
    assert extras <= set(project["optional-dependencies"])
