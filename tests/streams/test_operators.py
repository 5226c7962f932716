"""What each operator makes of a list: an application in a test driver, without a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from dafka import ConfigError, streams
from dafka.streams import JSON, TEXT
from dafka.streams.testing import Driver


def driven(compose, *, codec=JSON, time=None, **settings):
    """A driver of an application with the source "in", whose rest `compose` adds to it."""
    app = streams.App("test", **settings)
    compose(app.source("in", codec, time=time))
    return Driver(app)


def results(compose, values, **settings):
    """What comes out of topic "out" for values into topic "in"."""
    driver = driven(lambda source: compose(source).to("out", JSON), **settings)
    driver.send("in", values)
    driver.finish()
    return driver.output("out")


def when(value):
    """The event time of most values here."""
    return value["t"]


def key(value):
    """The key of most values here."""
    return value["k"]


def events(*pairs):
    """Values with a time and a key."""
    return [{"t": t, "k": k} for t, k in pairs]


def test_map_changes_each_value():
    assert results(lambda s: s.map(lambda n: n * n), [1, 2, 3]) == [1, 4, 9]


def test_filter_keeps_what_is_true():
    assert results(lambda s: s.filter(lambda n: n % 2), [1, 2, 3, 0]) == [1, 3]


def test_flat_map_gives_any_number_of_values():
    assert results(lambda s: s.flat_map(str.split), ["a b", "", "c"]) == ["a", "b", "c"]


def test_operators_follow_each_other_with_the_right_records():
    def compose(source):
        return source.flat_map(range).filter(lambda n: n % 2).map(lambda n: -n)

    assert results(compose, [3, 0, 5]) == [-1, -1, -3]


def test_merge_gives_the_values_of_all():
    def compose(source):
        return source.map(lambda n: n + 10).merge(source.map(lambda n: n + 20), source)

    assert sorted(results(compose, [1, 2])) == [1, 2, 11, 12, 21, 22]


def test_branch_gives_each_value_to_the_first_that_wants_it():
    def compose(source):
        small, even, rest = source.branch(lambda n: n < 3, lambda n: n % 2 == 0)
        tagged = (part.map(lambda n, tag=tag: [tag, n]) for tag, part in enumerate([small, even]))
        return rest.map(lambda n: ["rest", n]).merge(*tagged)

    assert sorted(results(compose, [1, 2, 3, 4, 5, 6]), key=str) == [
        *(["rest", 3], ["rest", 5]),
        *([0, 1], [0, 2], [1, 4], [1, 6]),
    ]


def test_a_stream_can_be_used_several_times():
    app = streams.App("test")
    source = app.source("in")
    source.to("same", JSON)
    source.map(lambda n: n + 1).to("next", JSON)
    driver = Driver(app)
    driver.send("in", [1, 2])
    assert (driver.output("same"), driver.output("next")) == ([1, 2], [2, 3])


def test_a_source_reads_several_topics():
    app = streams.App("test")
    app.source(["a", "b"], TEXT).to("out", TEXT)
    driver = Driver(app)
    driver.send("a", ["1"])
    driver.send("b", ["2"])
    assert driver.output("out") == ["1", "2"]


def test_count_tells_how_many_each_key_has_had_so_far():
    driver = driven(lambda s: s.key_by(lambda n: n % 2).count().to("out", JSON))
    driver.send("in", [1, 2, 3])
    driver.send("in", [5])
    assert sorted(driver.output("out")[:2]) == [1, 2]
    assert driver.output("out")[2:] == [3]


def test_reduce_and_aggregate_fold_the_values_of_each_key():
    app = streams.App("test")
    keyed = app.source("in").key_by(lambda n: n % 3 == 0)
    largest = keyed.reduce(max)
    sums = keyed.aggregate(lambda: {"sum": 0}, lambda so_far, n: {"sum": so_far["sum"] + n})
    driver = Driver(app)
    driver.send("in", [3, 1, 4, 1, 5, 9])
    assert driver.items(largest) == {True: 9, False: 5}
    assert driver.items(sums) == {True: {"sum": 12}, False: {"sum": 11}}


def test_a_table_keeps_the_latest_value_by_event_time_whoever_comes_first():
    app = streams.App("test")
    table = app.source("in", time=when).key_by(key).table()
    driver = Driver(app)
    driver.send("in", [{"t": 5, "k": "a", "v": "new"}], partition="B")
    driver.send("in", [{"t": 3, "k": "a", "v": "old"}, {"t": 1, "k": "b", "v": 1}], partition="A")
    assert {k: v["v"] for k, v in driver.items(table).items()} == {"a": "new", "b": 1}


def test_a_table_without_event_times_keeps_what_came_last_and_none_deletes():
    app = streams.App("test")
    table = app.source("in").map(lambda pair: pair).key_by(lambda pair: pair and pair[0])
    values = table.map(lambda pair: pair[1]).table()
    driver = Driver(app)
    driver.send("in", [["a", 1], ["b", 2], ["a", 3], ["b", None]])
    assert driver.items(values) == {"a": 3}


def test_tumbling_windows_give_each_result_once_when_they_close():
    def compose(source):
        return source.key_by(key).window(streams.tumbling(10)).count()

    driver = driven(lambda s: compose(s).to("out", JSON), time=when)
    driver.send("in", events((1, "a"), (2, "b"), (9, "a")))
    assert driver.output("out") == []
    driver.send("in", events((10, "a")))
    assert driver.output("out") == [
        {"key": "a", "start": 0, "end": 10, "value": 2},
        {"key": "b", "start": 0, "end": 10, "value": 1},
    ]
    driver.finish()
    assert driver.output("out")[2:] == [{"key": "a", "start": 10, "end": 20, "value": 1}]


def test_hopping_windows_count_a_record_in_several():
    def compose(source):
        return source.key_by(key).window(streams.hopping(10, every=5)).count()

    told = results(compose, events((1, "a"), (6, "a")), time=when)
    assert [(r["start"], r["value"]) for r in told] == [(-5, 1), (0, 2), (5, 1)]


def test_session_windows_last_until_a_pause():
    def compose(source):
        return source.key_by(key).window(streams.session(5)).count()

    told = results(compose, events((1, "a"), (4, "a"), (9, "a"), (9, "b"), (20, "a")), time=when)
    assert [(r["key"], r["start"], r["end"], r["value"]) for r in told] == [
        *(("a", 1, 9, 2), ("a", 9, 14, 1), ("b", 9, 14, 1)),
        ("a", 20, 25, 1),
    ]


def test_a_record_between_two_sessions_joins_them():
    def compose(source):
        def add(so_far, value):
            return [*so_far, value["t"]]

        window = source.key_by(key).window(streams.session(5), lateness=100)
        return window.aggregate(list, add, merge=lambda a, b: a + b)

    (told,) = results(compose, events((1, "a"), (9, "a"), (5, "a")), time=when)
    assert (told["start"], told["end"], told["value"]) == (1, 14, [1, 9, 5])


def test_windows_give_their_result_at_each_update_if_they_shall():
    def compose(source):
        return source.key_by(key).window(streams.tumbling(10), emit="update").count()

    driver = driven(lambda s: compose(s).to("out", JSON), time=when)
    driver.send("in", events((1, "a")))
    driver.send("in", events((2, "a"), (3, "b")))
    driver.send("in", events((30, "a")))
    driver.finish()
    told = [(r["key"], r["start"], r["value"]) for r in driver.output("out")]
    assert told == [("a", 0, 1), ("a", 0, 2), ("b", 0, 1), ("a", 30, 1)]


def test_sessions_give_their_result_at_each_update_if_they_shall():
    def compose(source):
        return source.key_by(key).window(streams.session(5), emit="update").count()

    driver = driven(lambda s: compose(s).to("out", JSON), time=when)
    driver.send("in", events((1, "a")))
    driver.send("in", events((2, "a"), (30, "a")))
    driver.finish()
    told = [(r["start"], r["end"], r["value"]) for r in driver.output("out")]
    assert told == [(1, 6, 1), (1, 7, 2), (30, 35, 1)]


def test_what_is_late_is_left_out_and_counted_and_lateness_lets_it_in():
    def compose(source):
        keyed = source.key_by(key)
        keyed.window(streams.tumbling(10)).count(name="strict").to("strict", JSON)
        keyed.window(streams.tumbling(10), lateness=5).count(name="mild").to("mild", JSON)

    driver = driven(compose, time=when)
    driver.send("in", events((1, "a"), (12, "a"), (2, "a"), (20, "a"), (3, "a")))
    driver.finish()
    assert [r["value"] for r in driver.output("strict")] == [1, 1, 1]
    assert [r["value"] for r in driver.output("mild")] == [2, 1, 1]
    assert driver.metrics()["strict"]["late"] == 2
    assert driver.metrics()["mild"]["late"] == 1


def test_results_of_windows_are_in_time_for_larger_windows():
    def compose(source):
        minutes = source.key_by(key).window(streams.tumbling(60), lateness=30).count()
        hours = minutes.window(streams.tumbling(3600))
        return hours.aggregate(lambda: 0, lambda so_far, result: so_far + result.value)

    values = events(*((t, "a") for t in range(0, 10_000, 7)))
    told = results(compose, values, time=when)
    wanted = [sum(t // 3600 == hour for t in range(0, 10_000, 7)) for hour in range(3)]
    assert [r["value"] for r in told] == wanted


def test_event_times_may_be_datetimes_with_a_time_zone():
    def compose(source):
        return source.key_by(lambda _: 0).window(streams.tumbling(timedelta(hours=1))).count()

    moment = datetime(2013, 1, 1, 5, 30, tzinfo=UTC)
    (told,) = results(compose, ["2013-01-01T05:30:00+00:00"], time=datetime.fromisoformat)
    assert told["start"] == moment.replace(minute=0).timestamp()


def test_a_join_pairs_what_is_near_in_time():
    app = streams.App("test")
    left = app.source("left", time=when).key_by(key)
    right = app.source("right", time=when).key_by(key)
    left.join(right, lambda a, b: [a["t"], b["t"]], within=2).to("out", JSON)
    driver = Driver(app)
    driver.send("left", events((1, "a"), (5, "a"), (5, "b")))
    driver.send("right", events((3, "a"), (6, "a")))
    driver.finish()
    assert driver.output("out") == [[1, 3], [5, 3], [5, 6]]


@pytest.mark.parametrize(
    ("kind", "alone"), [("inner", []), ("left", [[1, None]]), ("outer", [[1, None], [None, 9]])]
)
def test_a_join_tells_what_found_nothing_if_it_shall(kind, alone):
    app = streams.App("test")
    left = app.source("left", time=when).key_by(key)
    right = app.source("right", time=when).key_by(key)

    def both(a, b):
        return [a and a["t"], b and b["t"]]

    left.join(right, both, within=2, kind=kind).to("out", JSON)
    driver = Driver(app)
    driver.send("left", events((1, "a"), (5, "a")))
    driver.send("right", events((5, "a"), (9, "a")))
    driver.finish()
    assert driver.output("out") == [[5, 5], *alone]


def test_a_join_with_a_table_sees_it_as_it_was_at_the_time_of_the_value():
    app = streams.App("test")
    orders = app.source("orders", time=when).key_by(key)
    prices = app.source("prices", time=when).key_by(key).table()
    orders.join(prices, lambda o, p: [o["t"], p and p["t"]], kind="left").to("out", JSON)
    driver = Driver(app)
    driver.know("prices", "A")
    driver.send("orders", events((1, "a"), (5, "a"), (5, "b"), (9, "a")))
    assert driver.output("out") == []
    driver.send("prices", events((2, "a"), (6, "a"), (8, "a")))
    assert driver.output("out") == [[1, None], [5, 2], [5, None]]
    driver.finish()
    assert driver.output("out")[3:] == [[9, 8]]


def test_a_join_with_a_table_without_event_times_sees_it_as_it_is():
    app = streams.App("test")
    users = app.source("users").key_by(lambda u: u["id"]).table()
    clicks = app.source("clicks").key_by(lambda c: c["user"])
    clicks.join(users, lambda c, u: [c["page"], u["name"]]).to("out", JSON)
    counts = clicks.count()
    clicks.join(counts, lambda c, n: [c["page"], n]).to("counted", JSON)
    driver = Driver(app)
    driver.send("clicks", [{"user": 1, "page": "lost"}])
    driver.send("users", [{"id": 1, "name": "Ada"}])
    driver.send("clicks", [{"user": 1, "page": "home"}])
    assert driver.output("out") == [["home", "Ada"]]
    assert driver.output("counted") == [["lost", 1], ["home", 2]]


def test_a_table_of_windows_can_be_asked():
    app = streams.App("test")
    windows = app.source("in", time=when).key_by(key).window(streams.tumbling(10)).count()
    table = windows.map(lambda result: result.value).table()
    driver = Driver(app)
    driver.send("in", events((1, "a"), (2, "a"), (11, "a"), (25, "a")))
    assert driver.items(table) == {"a": 1}


@dataclass
class Reading:
    """A value of the user's own."""

    t: float
    k: str


class Reading2(msgspec.Struct):
    """The same as a struct."""

    t: float
    k: str


@pytest.mark.parametrize("kind", [Reading, Reading2])
@pytest.mark.parametrize("codec", [streams.json, streams.msgpack])
def test_values_may_be_dataclasses_and_structs_also_in_state(kind, codec):
    app = streams.App("test")
    source = app.source("in", codec(kind), time=lambda r: r.t).key_by(lambda r: r.k)
    latest = source.table()
    source.join(source.filter(bool), lambda a, b: [a.t, b.t], within=1).to("out", JSON)
    driver = Driver(app)
    driver.send("in", [kind(1, "a"), kind(5, "b")])
    driver.restart()
    driver.send("in", [kind(6, "b")])
    assert driver.items(latest) == {"a": kind(1, "a"), "b": kind(6, "b")}
    assert sorted(driver.output("out")) == [[1, 1], [5, 5], [5, 6], [6, 5], [6, 6]]


def test_everything_goes_on_after_a_restart():
    app = streams.App("test")
    source = app.source("in", time=when).key_by(key)
    source.window(streams.tumbling(10)).count().to("count", JSON)
    source.window(streams.session(4)).count().to("session", JSON)
    source.count().to("running", JSON)
    source.join(source.table(), lambda a, b: [a["t"], b["t"]]).to("table", JSON)
    other = source.filter(lambda v: v["k"] == "a")
    source.join(other, lambda a, b: [a["t"], b["t"]], within=3).to("pairs", JSON)
    values = events(*((t, "ab"[t % 3 == 0]) for t in range(40)))

    def outputs(restarts):
        driver = Driver(app)
        for at in range(0, 40, 5):
            driver.send("in", values[at : at + 5])
            if restarts:
                driver.restart()
        driver.finish()
        names = ("count", "session", "running", "table", "pairs")
        return {name: driver.output(name) for name in names}

    assert outputs(restarts=True) == outputs(restarts=False)
    assert all(outputs(restarts=False).values())


@pytest.mark.parametrize(
    ("compose", "says"),
    [
        (lambda a: a.source([]), "at least one topic"),
        (lambda a: a.source(""), "the topic is empty"),
        (lambda a: (a.source("t"), a.source("t")), "read by a source already"),
        (lambda a: a.source("t", partitions=-1), "0 or more"),
        (lambda a: a.source("t").map(3), "takes a function"),
        (lambda a: a.source("t").map(str, name="x").map(str, name="x"), "operator 'x' already"),
        (lambda a: a.source("t", name="app"), "operator 'app' already"),
        (lambda a: a.source("t").to("", JSON), "the topic is empty"),
        (lambda a: a.source("t").key_by(str).window(streams.tumbling(1)), "source of t a function"),
        (lambda a: streams.tumbling(0), "more than 0"),
        (lambda a: streams.tumbling(float("nan")), "more than 0"),
        (lambda a: streams.tumbling("1h"), "more than 0"),
        (lambda a: streams.hopping(1, 2), "leave records out"),
        (lambda a: streams.session(-1), "more than 0"),
        (lambda a: timed(a).window(streams.tumbling(1), lateness=-1), "0 or more"),
        (lambda a: timed(a).window(streams.tumbling(1), emit="often"), "'close' or 'update'"),
        (
            lambda a: timed(a).window(streams.session(1)).aggregate(int, max),
            "session windows needs merge",
        ),
        (lambda a: timed(a).join(timed(a, "u"), max), "needs within"),
        (lambda a: timed(a).join(timed(a, "u").table(), max, within=1), "neither within"),
        (lambda a: timed(a).join(timed(a, "u"), max, within=1, kind="cross"), "'outer'"),
        (lambda a: timed(a).join(a.source("u"), max, within=1), "key_by"),
        (lambda a: timed(a).merge(a.source("u")), "key_by"),
        (lambda a: a.source("t", time=int).merge(a.source("u")), "have event times"),
        (lambda a: a.source("t").merge(streams.App("b").source("u")), "different applications"),
        (lambda a: a.describe("svg"), "text, graphviz, mermaid"),
        (lambda a: streams.App(""), "must be some text"),
        (lambda a: streams.App("x", towr="h"), "no setting 'towr'"),
        (lambda a: streams.App("x", tower="h:0"), "port"),
        (lambda a: streams.App("x", on_error="ignore"), "'stop', 'skip' or DeadLetter"),
        (lambda a: streams.App("x", durability="no"), '"fsync" or "os"'),
        (lambda a: streams.App("x", outbox_bytes=0), "number of bytes"),
        (lambda a: streams.App("x", idle=0), "more than 0"),
        (lambda a: streams.App("x").run(), "needs state="),
        (lambda a: streams.App("x", state="s").run(), "has no source"),
        (lambda a: timed(a).reduce(max, type=Reading | Reading2), "cannot be kept as state"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(compose, says):
    with pytest.raises(ConfigError, match=r".") as caught:
        compose(streams.App("test"))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def timed(app, topic="t"):
    """A stream with event times and keys."""
    return app.source(topic, time=when).key_by(key)


def test_filter_flat_map_branch_and_merge_keep_the_keys():
    app = streams.App("test")
    keyed = app.source("in").key_by(lambda n: n % 2)
    small, rest = keyed.branch(lambda n: n < 4)
    doubled = small.filter(lambda n: n != 1).flat_map(lambda n: [n, n])
    table = doubled.merge(rest).map(str).count()
    driver = Driver(app)
    driver.send("in", [1, 2, 3, 4, 5, 7])
    assert driver.items(table) == {0: 3, 1: 4}


def test_windows_can_be_reduced():
    app = streams.App("test")
    lists = app.source("in", time=lambda numbers: numbers[0]).key_by(lambda _: "k")
    lists.window(streams.tumbling(10)).reduce(lambda a, b: [*a, *b]).to("out", JSON)
    driver = Driver(app)
    driver.send("in", [[1], [2], [11]])
    driver.restart()
    driver.send("in", [[12], [30]])
    assert [r["value"] for r in driver.output("out")] == [[1, 2], [11, 12]]


def test_a_struct_may_get_a_field_with_a_default_but_no_other():
    def application(fields):
        kind = msgspec.defstruct("Value", [("k", str), *fields])
        app = streams.App("test")
        table = app.source("in", streams.json(kind)).key_by(lambda v: v.k).table()
        return app, table, kind

    app, _, kind = application([])
    driver = Driver(app)
    driver.send("in", [kind("a")])
    app, table, kind = application([("n", int, 7)])
    driver._app = app
    driver.restart()
    assert driver.items(table) == {"a": kind("a", 7)}
    driver._app, _, _ = application([("n", int)])
    with pytest.raises(streams.StreamError, match="operator table-1: its state cannot be read"):
        driver.restart()


def test_the_driver_refuses_topics_that_nobody_reads():
    app = streams.App("test")
    app.source("in").to("out", JSON)
    with pytest.raises(ConfigError, match="does not read topic 'on'"):
        Driver(app).send("on", [1])
