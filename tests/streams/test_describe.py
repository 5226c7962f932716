"""How a topology is told: as text, Graphviz and Mermaid."""

from __future__ import annotations

import doctest

import pytest

from dafka import streams
from dafka.streams import JSON, TEXT, testing


def composed():
    """An application with some of everything."""
    app = streams.App("test")
    source = app.source(["a", "b"], TEXT, time=len, name='the "source"')
    short, rest = source.branch(lambda v: len(v) < 3)
    counts = short.key_by(str.lower).window(streams.tumbling(60), lateness=5).count()
    counts.to("counts", JSON)
    rest.map(str.upper, name="shout").to("loud", TEXT)
    return app


def test_text_tells_who_gives_to_whom():
    assert composed().describe() == (
        'the "source": a, b (text) -> branch-1\n'
        "branch-1: 2 ways -> key_by-1 (way 1), shout (way 2)\n"
        "key_by-1: str.lower -> count-1\n"
        "count-1: tumbling(60 s), lateness 5 s, keeps state -> to-1\n"
        "to-1: counts (json)\n"
        "shout: str.upper -> to-2\n"
        "to-2: loud (text)"
    )


def test_graphviz_quotes_names_and_shows_state():
    told = composed().describe("graphviz").splitlines()
    assert told[0] == "digraph topology {"
    assert told[-1] == "}"
    assert r'  n0 [label="the \"source\"\na, b (text)"];' in told
    assert '  n1 -> n2 [label="1"];' in told
    assert any(line.startswith("  n3 [") and "cylinder" in line for line in told)


def test_mermaid_quotes_names_and_shows_state():
    told = composed().describe("mermaid").splitlines()
    assert told[0] == "flowchart LR"
    assert '  n0["the #quot;source#quot;<br/>a, b (text)"]' in told
    assert '  n3[("count-1<br/>tumbling(60 s), lateness 5 s")]' in told
    assert "  n1 -- 2 --> n5" in told
    assert "  n0 --> n1" in told


@pytest.mark.parametrize("module", [streams, testing])
def test_the_examples_of_the_package_are_true(module):
    failed, tried = doctest.testmod(module)
    assert failed == 0
    assert tried >= 3
