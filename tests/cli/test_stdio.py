"""Lines are cut as the C console producer cuts them, in whatever chunks they arrive."""

from __future__ import annotations

import os
from itertools import pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dafka.cli.options import Fault
from dafka.cli.stdio import open_input, read_lines, split_lines
from dafka.errors import ConfigError

LONG = 1_000_000


def lines_of(*chunks: bytes) -> list[bytes]:
    return [line for lines in split_lines(chunks, LONG) for line in lines]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"", []),
        (b"a\n", [b"a"]),
        (b"a\nb", [b"a", b"b"]),
        (b"\n\n", [b"", b""]),
        (b"a\r\nb\r\r\n", [b"a", b"b"]),
        (b"a\rb\n", [b"a\rb"]),
        (b" a \t\n\xff\0\n", [b" a \t", b"\xff\0"]),
        (b"\r", [b""]),
    ],
)
def test_lines(text, lines):
    assert lines_of(text) == lines


@given(st.binary(max_size=60), st.lists(st.integers(0, 60)))
def test_where_chunks_end_does_not_matter(text, cuts):
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    chunks = [text[start:end] for start, end in pairwise(places)]
    assert lines_of(*chunks) == lines_of(text)


def test_a_line_is_handed_on_as_soon_as_it_is_complete():
    chunks = iter([b"a\nb\nc", b"d\n"])
    lines = split_lines(chunks, LONG)
    assert next(lines) == [b"a", b"b"]
    assert next(lines) == [b"cd"]


@given(st.text("ab\r\n", max_size=40), st.lists(st.integers(0, 40)), st.integers(0, 6))
def test_lines_before_one_that_is_too_long_come_and_it_is_named(given_text, cuts, longest):
    text = given_text.encode()
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    wanted = list(takewhile(lambda line: len(line) <= longest, text.split(b"\n")))
    complete = len(wanted) == text.count(b"\n") + 1
    came = []

    def take():
        for lines in split_lines((text[a:b] for a, b in pairwise(places)), longest):
            came.extend(lines)

    if complete:
        take()
        wanted = wanted if wanted[-1] else wanted[:-1]
    else:
        with pytest.raises(ConfigError, match=rf"line {len(wanted) + 1} is longer than {longest}"):
            take()
    assert came == [line.rstrip(b"\r") for line in wanted]


def test_a_line_without_end_is_refused_before_it_fills_the_memory():
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 100

    with pytest.raises(
        ConfigError, match=r"line 1 is longer than 1000 bytes, .* raise that .DAFKA_BUFFER_BYTES,"
    ):
        next(split_lines(endless(), 1000))
    assert taken == 11


def test_a_file_is_read(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"x" * 200_000 + b"\nb")
    descriptor = open_input(str(path))
    assert [len(line) for lines in read_lines(descriptor, LONG) for line in lines] == [200_000, 1]
    os.close(descriptor)


def test_a_minus_is_stdin():
    assert open_input("-") == open_input(None) == 0


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(Fault, match=r"cannot read .*: No such file or directory") as caught:
        open_input(str(tmp_path / "missing"))
    assert caught.value.code == 2
    with pytest.raises(Fault, match=r"cannot read the input: Bad file descriptor"):
        next(read_lines(1_000_000, LONG))
