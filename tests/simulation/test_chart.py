"""Message-sequence charts, as text and as pictures."""

from __future__ import annotations

from xml.etree import ElementTree

from simulation.chart import MOST_ROWS, as_svg, as_text, chart
from simulation.trace import Happened, Said

ENTRIES = [
    Happened(0.0, "", "publish (0.3 s)"),
    Said(0.1, "producer 1", ("store 1", "consumer 1"), "RECORD p1:0"),
    Said(0.15, "producer 1", (), "what nobody hears"),
    Happened(0.2, "store 1", "commits p1:0"),
    Said(0.3, "store 1", ("producer 1",), "ACK p1:0"),
]


def test_chart_is_drawn_as_text() -> None:
    assert as_text(chart(ENTRIES)).splitlines() == [
        "                 producer 1             store 1              consumer 1      ",
        "    0.000  --- publish (0.3 s) ----------------------------------------------",
        "    0.100            o-RECORD p1:0--------->--------------------->",
        "    0.200            |                     |* commits p1:0       |",
        "    0.300            <------------ACK p1:0-o                     |",
    ]


def test_chart_is_drawn_as_a_picture() -> None:
    svg = as_svg(chart(ENTRIES), "<what & why>")
    texts = [node.text for node in ElementTree.fromstring(svg).iter() if node.text]
    assert "<what & why>" in texts
    for text in ("producer 1", "store 1", "consumer 1", "RECORD p1:0", "commits p1:0", "ACK p1:0"):
        assert text in texts


def test_what_is_repeated_is_drawn_once_until_something_happens() -> None:
    head = Said(0.4, "producer 1", ("store 1",), "HEAD p1:0")
    assert chart([head, head, *ENTRIES, head, head]).rows == (
        head,
        *(entry for entry in ENTRIES if getattr(entry, "listeners", True)),
        head,
    )


def test_only_the_end_of_a_long_life_is_drawn() -> None:
    drawn = chart([Happened(float(at), "store 1", "commits") for at in range(MOST_ROWS + 5)])
    assert (len(drawn.rows), drawn.left_out) == (MOST_ROWS, 5)
    assert "the first 5 rows are left out" in as_text(drawn)
