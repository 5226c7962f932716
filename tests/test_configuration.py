"""What docs/configuration.md and --help say of settings is complete, and it is true."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest

from dafka.cli import c_names
from dafka.cli.main import COMMANDS, run
from dafka.cli.main import dafka as command_line
from dafka.config import ConsumerConfig, NodeConfig, ProducerConfig, StoreConfig, TowerConfig
from dafka.retention import Retention
from dafka.settings import FILE_ONLY, load, read, variable
from dafka.settings_file import SECTIONS, ZplFile

DOCUMENT = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()
(EXAMPLE,) = re.findall(r"^```toml\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)

NODES = {
    "server": (TowerConfig, StoreConfig),
    "tower": (TowerConfig,),
    "store": (StoreConfig,),
    "produce": (ProducerConfig,),
    "consume": (ConsumerConfig,),
}
C_PROGRAMS = {
    c_names.towerd: TowerConfig,
    c_names.stored: StoreConfig,
    c_names.console_producer: ProducerConfig,
    c_names.console_consumer: ConsumerConfig,
}


def names(kind) -> set[str]:
    return {field.name for field in fields(kind)}


@pytest.mark.parametrize("section", SECTIONS)
def test_the_example_has_every_setting(section):
    inherited = set() if section in ("node", "tower") else names(NodeConfig)
    assert set(tomllib.loads(EXAMPLE)[section]) == names(SECTIONS[section]) - inherited | {
        "verbose"
    }


@pytest.mark.parametrize("kind", [TowerConfig, StoreConfig, ProducerConfig, ConsumerConfig])
def test_its_values_are_the_defaults(kind, tmp_path):
    (tmp_path / "example.toml").write_text(EXAMPLE)
    config = load(kind, file=read(str(tmp_path / "example.toml")), environ={})
    if kind is StoreConfig:
        (rule,) = config.rules
        assert None not in [getattr(rule, name) for name in names(Retention)]
        config = replace(config, retention=())
    if kind is not TowerConfig:
        assert config.towers == kind().towers
        config = replace(config, tower=kind().tower)
    assert config == kind()


def test_the_example_names_what_a_rule_of_retention_has():
    assert set(tomllib.loads(EXAMPLE)["store"]["retention"][0]) == names(Retention)


def test_every_key_of_the_c_nodes_is_in_the_table():
    listed = set(re.findall(r"`([a-z]+(?:/[a-z_]+)+)`", DOCUMENT))
    assert ZplFile("x", dict.fromkeys(listed, "")).warnings == []
    for key in ("beacon/interval", "store/db", "consumer/offset/reset", "tower/pub_address"):
        assert key in listed
    assert len(listed) == 18


def variables(text: str) -> list[str]:
    return re.findall(r"\bDAFKA_[A-Z_]+[A-Z]", text)


def shown(capsys, *arguments, command=command_line, name="dafka") -> str:
    assert run(command, name, [*arguments, "--help"]) == 0
    return re.sub(r"\s+", " ", capsys.readouterr().out)


def expected(*kinds) -> set[str]:
    known = {name for kind in kinds for name in names(kind)} - set(FILE_ONLY)
    if TowerConfig in kinds:
        known -= {"tower"}
    return {variable(name) for name in {*known, "sub", "pub", "verbose"}}


@pytest.mark.parametrize("command", NODES)
def test_the_help_of_a_node_names_every_variable_once(capsys, command):
    found = variables(shown(capsys, command))
    assert sorted(found) == sorted(expected(*NODES[command]))


@pytest.mark.parametrize("command", C_PROGRAMS, ids=lambda command: command.name)
def test_so_does_that_of_the_c_programs(capsys, command):
    found = variables(shown(capsys, command=command, name=command.name))
    assert set(found) == expected(C_PROGRAMS[command])


@pytest.mark.parametrize(
    ("command", "option", "name"),
    [
        ("produce", "--acks", "min_store_acks"),
        ("produce", "--outbox", "outbox"),
        ("produce", "--tower", "tower"),
        ("consume", "--from", "start"),
        ("store", "--data", "data"),
        ("tower", "--verbose", "verbose"),
        ("topics", "--sub", "sub"),
        ("import", "--acks", "min_store_acks"),
        ("export", "--pub", "pub"),
    ],
)
def test_an_option_names_its_variable(capsys, command, option, name):
    options = shown(capsys, command).partition(" Options: ")[2]
    (told,) = re.findall(rf" {option} .*?\[env var: (\w+)\]", options)
    assert told == variable(name)


@pytest.mark.parametrize("command", COMMANDS)
def test_whoever_takes_a_file_says_where_its_keys_are_explained(capsys, command):
    text = shown(capsys, command)
    assert ("--config" in text) == ("see docs/configuration.md" in text)
