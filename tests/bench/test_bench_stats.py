"""What rounds come to, checked against figures known from elsewhere."""

from __future__ import annotations

import pytest

from dafka.bench import report
from dafka.bench.rounds import Result, Row, Trial
from dafka.bench.scene import Outcome
from dafka.bench.stats import ratio, summary
from dafka.bench.work import Work


def test_the_summary_of_known_figures():
    found = summary([7.0, 1.0, 3.0, 5.0, 9.0])
    assert (found.median, found.min, found.max, found.iqr) == (5.0, 1.0, 9.0, 4.0)


def test_the_middle_of_two_lies_between_them():
    assert summary([2.0, 1.0]).median == 1.5


@pytest.mark.parametrize("figures", [[4.0], [4.0, 6.0], [4.0, 5.0, 6.0]])
def test_few_figures_have_no_quartiles(figures):
    assert summary(figures).iqr == max(figures) - min(figures)


def test_the_ratio_is_that_of_each_round():
    # The machine was twice as slow in the second round, for both.
    assert ratio([50.0, 25.0, 60.0], [100.0, 50.0, 60.0]) == 0.5


def test_what_was_measured_once_stands_beside_the_median():
    assert ratio([30.0], [10.0, 20.0, 15.0]) == 2.0


def result() -> Result:
    trial = Trial("a", lambda scene, work: Outcome({"rate": 1.0}, 1.0), Work())
    row = Row("a", "publish", trial, durability="fsync", ceilings=("raw/b", "raw/c"))
    return Result(row, [40.0, 50.0], {"raw/b": [100.0, 100.0], "raw/c": [1000.0, 500.0]})


def test_a_row_tells_its_ratio_to_each_of_its_ceilings():
    assert report.lines(result()) == [
        ["a", "fsync", "45.0", "40.0", "50.0", "records/s", "0.45", "raw/b"],
        ["", "", "", "", "", "", "0.07", "raw/c"],
    ]


def test_a_document_gets_the_same_as_markdown():
    text = report.markdown(report.HEADINGS, report.NUMERIC, report.lines(result()))
    assert text.splitlines()[1:3] == [
        "| --- | --- | ---: | ---: | ---: | --- | ---: | --- |",
        "| a | fsync | 45.0 | 40.0 | 50.0 | records/s | 0.45 | raw/b |",
    ]


def test_a_program_gets_the_same_and_the_rounds():
    found = report.document([result()], {"cores": 2}, {"rounds": 2}, ["nats"])
    assert found["absent"] == ["nats"]
    row = found["rows"]["a"]
    assert row["figures"] == [40.0, 50.0]
    assert row["ratios"] == {"raw/b": pytest.approx(0.45), "raw/c": pytest.approx(0.07)}
    assert (row["median"], row["min"], row["max"], row["iqr"]) == (45.0, 40.0, 50.0, 10.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1126, "0.113"), (12.54, "12.5"), (301402.3, "301,402"), (3.0, "3.000"), (99.96, "100.0")],
)
def test_figures_are_short_but_not_too_short(value, text):
    assert report.quantity(value) == text
