"""ZPL is read as `zconfig_load` reads it; what that refuses gives a sentence with file and line."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dafka import zpl
from dafka.errors import ConfigError


def test_nested_names_become_paths():
    text = (
        "context\n"
        "    iothreads = 1\n"
        "    verbose = 1      #   Ask for a trace\n"
        "main\n"
        "    type = zqueue    #  ZMQ_DEVICE type\n"
        "    frontend\n"
        "        option\n"
        "            hwm = 1000\n"
        "            swap = 25000000     #  25MB\n"
        "        bind = 'inproc://addr1'\n"
        "        bind = 'ipc://addr2'\n"
        "    backend\n"
        "        bind = inproc://addr3\n"
    )
    assert zpl.loads(text, "f") == {
        "context/iothreads": "1",
        "context/verbose": "1",
        "main/type": "zqueue",
        "main/frontend/option/hwm": "1000",
        "main/frontend/option/swap": "25000000",
        "main/frontend/bind": "inproc://addr1",
        "main/backend/bind": "inproc://addr3",
    }


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("a = two words  ", "two words"),
        ("a=tight", "tight"),
        ("a = tcp://*:5556#comment", "tcp://*:5556"),
        ("a = 'kept # text '  # comment", "kept # text "),
        ('a = "it\'s"', "it's"),
        ("a =", ""),
        ("a = # only a comment", ""),
        ("a = ''", ""),
        ("a = b = c", "b = c"),
        ("a = value\r", "value"),
    ],
)
def test_values(line, value):
    assert zpl.loads(line, "f") == {"a": value}


def test_comments_and_blank_lines_are_nothing():
    assert zpl.loads("\n# a\n   # b\n\t\n\r\n", "f") == {}


def test_a_name_without_value_only_opens_a_section():
    assert zpl.loads("a\nb   # comment\n    c = 1\n", "f") == {"b/c": "1"}


def test_names_may_hold_a_path():
    assert zpl.loads("store/db = x\n", "f") == {"store/db": "x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n  b = 1", "f:2: indent by 4 spaces for each level, without tabs"),
        ("a\n\tb = 1", "f:2: indent by 4 spaces for each level, without tabs"),
        ("a\n        b = 1", "f:2: indented deeper than the section above allows"),
        ("    a = 1", "f:1: indented deeper than the section above allows"),
        ("a b", "f:1: 'a b' is neither 'name' nor 'name = value'"),
        ("a = 'open", "f:1: \"a = 'open\" is neither 'name' nor 'name = value'"),
        ("a = 'b' c", "f:1: \"a = 'b' c\" is neither 'name' nor 'name = value'"),
        ("= 1", "f:1: '= 1' is neither 'name' nor 'name = value'"),
        ("[tower]", "f:1: '[tower]' is neither 'name' nor 'name = value'"),
        ("/a = 1", "f:1: the name '/a' starts or ends with '/'"),
        ("a/ = 1", "f:1: the name 'a/' starts or ends with '/'"),
    ],
)
def test_what_is_malformed_is_said_with_its_place(text, message):
    with pytest.raises(ConfigError) as caught:
        zpl.loads(text, "f")
    assert str(caught.value) == message


@given(st.text())
def test_arbitrary_text_gives_values_or_a_config_error(text):
    values = {}
    with suppress(ConfigError):
        values = zpl.loads(text, "f")
    assert all(isinstance(value, str) for value in values.values())
