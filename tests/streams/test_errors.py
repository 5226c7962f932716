"""What happens where the user's code fails: stop, skip, or a dead letter."""

from __future__ import annotations

import base64
from collections import namedtuple

import pytest

from dafka import DafkaError, streams
from dafka.streams import BYTES, JSON, TEXT, DeadLetter, StreamError
from dafka.streams.batch import each
from dafka.streams.testing import Driver


def inverse(number):
    """Fails at 0."""
    return 1 / number


def inverting(on_error):
    """A driver of an application that fails at some values."""
    app = streams.App("test", on_error=on_error)
    app.source("in", JSON).map(inverse, name="invert").to("out", JSON)
    return Driver(app)


def test_an_application_stops_and_says_where():
    driver = inverting("stop")
    with pytest.raises(StreamError) as caught:
        driver.send("in", [1, 2, 0, 4], partition="P")
    assert str(caught.value).startswith(
        "operator invert failed at topic in partition P offset 2: ZeroDivisionError: division by "
        "zero. "
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert isinstance(caught.value, DafkaError)


def test_a_record_is_skipped_and_counted():
    driver = inverting("skip")
    driver.send("in", [1, 0, 2, 0, 4])
    assert driver.output("out") == [1, 0.5, 0.25]
    assert driver.metrics()["invert"]["errors"] == 2
    assert [fault.offset for fault in driver.skipped] == [1, 3]


def test_a_record_becomes_a_dead_letter():
    driver = inverting(DeadLetter("dead"))
    driver.send("in", [1, 0], partition="P")
    driver.send_contents("in", [b"\xff"], partition="P")
    assert driver.output("out") == [1]
    first, second = driver.output("dead")
    assert first == {
        "operator": "invert",
        "error": "ZeroDivisionError: division by zero",
        "topic": "in",
        "partition": "P",
        "offset": 1,
        "text": "0",
    }
    assert base64.b64decode(second["base64"]) == b"\xff"
    assert (second["operator"], second["offset"]) == ("source-1", 2)


def fail_at(value):
    """A function that fails at one value."""

    def function(other, *_):
        if other == value or (isinstance(other, list) and value in other):
            raise ValueError("no")
        return other

    return function


@pytest.mark.parametrize(
    "compose",
    [
        lambda s: s.map(fail_at(3)),
        lambda s: s.filter(fail_at(3)),
        lambda s: s.flat_map(lambda v: [fail_at(3)(v)]),
        lambda s: s.flat_map(lambda v: v if v == 3 else [v]),
        lambda s: s.key_by(fail_at(3)),
        lambda s: s.key_by(lambda v: [] if v == 3 else (v, "x")),
        lambda s: s.key_by(lambda v: ((), {1}) if v == 3 else v),
        lambda s: s.branch(fail_at(3), lambda v: True)[0],
        lambda s: s.filter(lambda v: Untold() if v == 3 else True),
        lambda s: s.map(lambda v: next(iter(())) if v == 3 else v),
    ],
)
def test_only_the_record_that_fails_is_left_out(compose):
    app = streams.App("test", on_error="skip")
    compose(app.source("in").filter(lambda v: v != 2)).to("out", JSON)
    driver = Driver(app)
    driver.send("in", [1, 2, 3, 4])
    assert driver.output("out") == [1, 4]
    assert [fault.offset for fault in driver.skipped] == [2]


class Untold:
    """Neither true nor false."""

    def __bool__(self):
        raise ValueError("neither")


def test_time_codec_fold_and_combine_may_fail_as_well():
    app = streams.App("test", on_error="skip")
    source = app.source("in", time=lambda v: v["t"]).key_by(lambda v: "k")

    def add(so_far, value):
        return so_far + value["n"]

    source.window(streams.tumbling(10)).aggregate(int, add, name="window").to("window", JSON)
    source.window(streams.session(10)).aggregate(
        int, add, merge=lambda a, b: a + b, name="session"
    ).to("session", JSON)
    source.aggregate(int, add, name="running").to("running", JSON)
    source.join(source, lambda a, b: a["n"] + b["n"], within=0, name="join").to("join", JSON)
    source.map(lambda v: v["n"]).to("text", TEXT, name="text")
    driver = Driver(app)
    driver.send(
        "in",
        [{"t": 1, "n": 1}, {"t": 2, "n": "two"}, {"t": None, "n": 3}, {"n": 4}, {"t": 5, "n": 5}],
    )
    driver.finish()
    errors = {name: counts["errors"] for name, counts in driver.metrics().items()}
    assert errors.pop("source-1") == 2
    assert errors.pop("text") == 2
    assert {name for name, count in errors.items() if count == 1} == {
        *("window", "session", "running")
    }
    assert [r["value"] for r in driver.output("window")] == [6]
    assert [r["value"] for r in driver.output("session")] == [6]
    assert driver.output("running") == [6]
    assert driver.output("join") == [2, "twotwo", 10]
    assert driver.output("text") == ["two"]


@pytest.mark.parametrize("time", [None, "now", float("nan"), float("inf"), True])
def test_what_is_no_event_time_is_an_error_of_the_source(time):
    app = streams.App("test", on_error="skip")
    app.source("in", BYTES, time=lambda v: time if v == b"bad" else 7).to("out", BYTES)
    driver = Driver(app)
    driver.send("in", [b"good", b"bad", b"good"])
    assert driver.output("out") == [b"good", b"good"]
    assert "event time" in str(driver.skipped[0])


def test_a_result_that_fails_has_no_record_to_name():
    app = streams.App("test")
    counts = app.source("in", time=float).key_by(str).window(streams.tumbling(1)).count()
    counts.map(lambda r: r.nothing, name="read")
    driver = Driver(app)
    with pytest.raises(StreamError, match="operator read failed at a result of earlier operators"):
        driver.send("in", [1, 5])


def test_a_content_that_never_fits_is_the_sinks_error():
    app = streams.App("test", on_error="skip")
    app.source("in", BYTES).map(lambda v: v * (64 << 20)).to("out", BYTES, name="sink")
    driver = Driver(app)
    driver.send("in", [b"xx", b""])
    assert driver.contents("out") == [b""]
    assert "at most" in str(driver.skipped[0])


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize("value", [Point(1, 2), {"a": (1, 2)}, {1, 2}, 1 << 70, print])
def test_state_that_would_come_back_as_something_else_is_refused(value):
    app = streams.App("test")
    app.source("in").key_by(str).aggregate(lambda: 0, lambda *_: value, name="odd")
    with pytest.raises(StreamError, match=r"operator odd: its state cannot be saved: .*type="):
        Driver(app).send("in", [1])


@pytest.mark.parametrize("initial", [set, tuple, frozenset, lambda: Point(0, 0)])
def test_state_may_be_what_it_begins_with(initial):
    app = streams.App("test")
    table = app.source("in").key_by(str).aggregate(initial, lambda so_far, _: so_far)
    driver = Driver(app)
    driver.send("in", [1])
    driver.restart()
    assert driver.items(table) == {"1": initial()}
    assert type(driver.items(table)["1"]) is type(initial())


def test_keys_that_are_equal_are_one_key_and_come_back_as_they_were():
    app = streams.App("test")
    table = app.source("in").key_by(lambda v: v if v is not None else (1, (b"", "x"))).count()
    driver = Driver(app)
    driver.send("in", [1, 2.5, None, "1"])
    driver.restart()
    driver.send("in", [1.0, 2.5, True, None])
    driver.restart()
    assert driver.items(table) == {1: 3, 2.5: 2, (1, (b"", "x")): 2, "1": 1}


def test_each_calls_a_function_once_for_each_and_in_order():
    called = []

    def function(n):
        called.append(n)
        if n % 3 == 0:
            raise StopIteration if n % 2 else ValueError
        return -n

    told = []
    results, bad = each(function, range(10), lambda at, error: told.append((at, type(error))))
    assert called == list(range(10))
    assert results == [-1, -2, -4, -5, -7, -8]
    assert bad == [0, 3, 6, 9]
    assert told == [(at, RuntimeError if at % 2 else ValueError) for at in bad]
