"""Bytes that are no UTF-8 are shown as bytes, and never make an output that is none."""

from __future__ import annotations

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dafka.cli import logs, tables
from dafka.cli.texts import document, print_anything, visible

names = st.binary(max_size=20).map(lambda data: data.decode(errors="surrogateescape"))


def test_a_byte_is_shown_as_a_byte():
    assert visible("caf\udce9 ü \ud83d") == r"caf\xe9 ü " + "\ud83d"
    assert visible(f"topic {chr(0xDCFF)!r}") == r"topic '\xff'"
    assert tables.text("caf\udce9\n", 20) == r"caf\xe9\n"


@given(names)
def test_whatever_is_printed_is_utf_8(name):
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
    print_anything(stream, None)
    stream.write(name)
    stream.flush()
    assert stream.buffer.getvalue().decode() == visible(name)


def test_a_terminal_with_few_characters_takes_everything():
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    print_anything(stream)
    stream.write("ü \udcff \ud83d")
    stream.flush()
    assert stream.buffer.getvalue() == rb"\xfc \xff \ud83d"


@given(st.recursive(names, lambda inner: st.lists(inner) | st.dictionaries(st.just("n"), inner)))
def test_json_has_no_half_of_a_pair(value):
    def texts(found):
        if isinstance(found, str):
            yield found
        else:
            for inner in found.values() if isinstance(found, dict) else found:
                yield from texts(inner)

    for text in texts(json.loads(document(value))):
        text.encode()


def test_json_has_the_bytes():
    value = {"topics": ({"topic": "caf\udce9", "n": 1}, {"topic": "café"}), "none": None}
    assert json.loads(document(value)) == {
        "topics": [{"topic_base64": "Y2Fm6Q==", "n": 1}, {"topic": "café"}],
        "none": None,
    }


@pytest.fixture
def log():
    logger = logging.getLogger("dafka")
    before = (logger.level, logger.propagate, list(logger.handlers))
    yield logs
    logger.level, logger.propagate, logger.handlers = before


def test_the_log_shows_bytes_too(capfd, log):
    log.start(verbose=False)
    logging.getLogger("dafka.store").warning("topic %s, %r", "caf\udce9", "\udcff")
    assert capfd.readouterr().err.endswith("topic caf\\xe9, '\\xff'\n")
