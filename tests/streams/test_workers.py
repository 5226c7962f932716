"""Several workers of one application: each has its partitions and its keys, and all know as much as
a single one would."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dafka import ConfigError, streams
from dafka.core.run import Run
from dafka.streams import JSON, StreamError
from dafka.streams.batch import Batch
from dafka.streams.exchange import Exchange
from dafka.streams.testing import Driver
from dafka.streams.watermark import Told
from dafka.streams.workers import Workers

NAMES = ("a", "b", "c")
WORKERS = Workers("app", NAMES)


def partitions(worker, topic="in", among=NAMES, count=2):
    """Partitions that a worker reads."""
    workers = Workers("test", tuple(sorted(among)))
    found = (f"{number}" for number in range(1000))
    return [name for name in found if workers.owner(topic, name) == worker][:count]


# Who reads what


def test_partitions_are_spread_evenly():
    owners = Counter(WORKERS.owner("in", f"{number:032X}") for number in range(3000))
    assert all(900 < owners[name] < 1100 for name in NAMES)


def test_a_partition_changes_hands_only_if_its_worker_goes_or_another_comes():
    fewer = Workers("app", ("a", "c"))
    for number in range(300):
        before = WORKERS.owner("in", f"{number}")
        if before != "b":
            assert fewer.owner("in", f"{number}") == before


def test_who_owns_what_stays_so_for_ever():
    """Later versions must not decide otherwise: two workers might read one partition."""
    owners = "".join(WORKERS.owner("in", f"{number:032X}") for number in range(20))
    assert owners == "abbacbcbaccbcbabbabb"
    places = [WORKERS.place(key) for key in ("x", b"x", 7, 7.5, None, ("x", 7))]
    assert places == [0, 1, 1, 1, 2, 2]


@given(st.one_of(st.integers(-5, 5), st.booleans(), st.just(-0.0), st.floats(width=16)))
def test_keys_that_are_equal_are_with_one_worker(key):
    for other in (key, float(key), (key,), (float(key),)):
        same = int(key) if key == key and key in (0, 1, 2, 3) else key
        if other == same:
            assert WORKERS.place(other) == WORKERS.place(same)


# What comes of it

EVENTS = st.tuples(st.integers(0, 40), st.sampled_from("pqrst"), st.integers(-9, 9))
TOPICS = st.fixed_dictionaries(
    {
        topic: st.lists(st.lists(EVENTS, max_size=15), min_size=1, max_size=4)
        for topic in ("left", "right")
    }
)


def everything(workers):
    """An application with every operator that keeps something."""
    app = streams.App("test", workers=workers)
    left, right = (
        app.source(topic, time=lambda v: v["t"]).key_by(lambda v: v["k"])
        for topic in ("left", "right")
    )
    windows = left.window(streams.hopping(10, 5), lateness=2)
    counts = windows.count()
    counts.to("windows", JSON)
    # Results that go on under another key.
    counts.key_by(lambda r: r.start).window(streams.tumbling(20)).reduce(
        lambda a, b: streams.Result(min(a.key, b.key), a.start, a.end, a.value + b.value)
    ).map(lambda r: (r.key, r.start, r.value.value)).to("rekeyed", JSON)
    right.window(streams.session(4)).aggregate(
        int, lambda so_far, v: so_far + v["n"], merge=lambda a, b: a + b
    ).to("sessions", JSON)
    left.join(right, lambda a, b: (a, b), within=3, kind="outer").to("pairs", JSON)
    table = right.table()
    left.join(table, lambda a, b: (a, b), kind="left").to("then", JSON)
    totals = left.merge(right).aggregate(lambda: [0], lambda so_far, v: [so_far[0] + v["n"]])
    return app, table, totals


def play(workers, topics, chance):
    """Send everything in some order, with restarts, and tell what came of it."""
    app, table, totals = everything(workers)
    driver = Driver(app, chance=chance.randrange)
    left = {}
    for topic, parts in topics.items():
        for number, rows in enumerate(parts):
            if rows:
                driver.know(topic, f"{topic}{number}")
                left[topic, f"{topic}{number}"] = [{"t": t, "k": k, "n": n} for t, k, n in rows]
    while left:
        topic, partition = chance.choice(sorted(left))
        rows = left.pop((topic, partition))
        count = chance.randint(1, 8)
        driver.send(topic, rows[:count], partition=partition)
        if rows[count:]:
            left[topic, partition] = rows[count:]
        if chance.random() < 0.1:
            driver.restart(chance.choice([None, *workers]))
    driver.finish()
    outputs = {
        topic: sorted(map(repr, driver.output(topic)))
        for topic in ("windows", "rekeyed", "sessions", "pairs", "then")
    }
    return outputs, driver.items(table), driver.items(totals)


@settings(max_examples=40)
@given(TOPICS, st.integers(1, 4), st.randoms(use_true_random=False))
def test_workers_together_do_what_one_alone_would_do(topics, count, chance):
    alone = play((), topics, chance)
    assert play([f"w{number}" for number in range(count)], topics, chance) == alone


def test_every_key_is_with_one_worker_and_every_partition_too():
    app, _, totals = everything(NAMES)
    driver = Driver(app)
    for number in range(30):
        driver.send("left", [{"t": 0, "k": k, "n": 1} for k in "pqrst"], partition=f"{number}")
    found = [life.engine.state(totals.node).keys() for life in driver._lives.values()]
    assert sum(map(len, found)) == 5
    read = [life.engine.metrics()["source-1"]["records_in"] for life in driver._lives.values()]
    assert sum(read) == 150
    assert min(read) > 0
    assert driver.items(totals) == {k: [30] for k in "pqrst"}


def test_what_has_no_keys_is_not_handed_over():
    app = streams.App("test", workers=NAMES)
    app.source("in").map(lambda v: v + 1).filter(bool).to("out", JSON)
    app.source("more").key_by(str).map(lambda v: -v).to("out", JSON)
    assert app.topology.exchanges == []


def test_records_of_a_key_that_are_together_stay_so():
    app = streams.App("test", workers=NAMES)
    keyed = app.source("in", time=float).key_by(str)
    counts = keyed.filter(bool).window(streams.tumbling(1)).count()
    keyed.filter(bool, name="again").count()
    counts.map(lambda r: r.value).table()
    assert [node.name for node in app.topology.exchanges] == ["filter-1-exchange", "again-exchange"]
    assert "filter-1-exchange: by key, 3 workers -> count-1" in app.describe()


# Event time


def counting(partitions=0):
    """Counts in windows of ten seconds, by three workers."""
    app = streams.App("test", workers=NAMES, idle=10)
    source = app.source("in", time=lambda v: v[0], partitions=partitions)
    source.key_by(lambda v: v[1]).window(streams.tumbling(10)).count(name="count").to("out", JSON)
    return Driver(app)


def closed(driver):
    """The windows that have been given out, and what they counted."""
    return sorted((r["start"], r["key"], r["value"]) for r in driver.output("out"))


def test_the_worker_that_is_furthest_behind_counts():
    driver = counting()
    (one,), (two,) = partitions("a", count=1), partitions("b", count=1)
    driver.advance(10)  # nobody has anything: all are idle
    driver.send("in", [[5, "k"], [35, "k"]], partition=one)
    assert closed(driver) == [(0, "k", 1)]
    driver.know("in", two)
    driver.send("in", [[41, "k"]], partition=one)
    assert closed(driver) == [(0, "k", 1)]
    driver.send("in", [[33, "m"]], partition=two)
    driver.send("in", [[44, "k"]], partition=two)
    assert closed(driver) == [(0, "k", 1), (30, "k", 1), (30, "m", 1)]


def test_a_worker_without_partitions_is_waited_for_until_it_is_idle():
    driver = counting()
    (one,) = partitions("a", count=1)
    driver.send("in", [[5, "k"], [35, "k"]], partition=one)
    driver.advance(9)
    driver.send("in", [[36, "k"]], partition=one)
    assert closed(driver) == []
    driver.advance(1)
    assert closed(driver) == [(0, "k", 1)]


def test_nobody_waits_for_a_worker_without_partitions_if_their_number_is_known():
    driver = counting(partitions=1)
    driver.send("in", [[5, "k"], [35, "k"]])
    assert closed(driver) == [(0, "k", 1)]


def test_what_is_late_is_what_its_own_partition_says():
    driver = counting(partitions=2)
    one, two = partitions("a")
    driver.know("in", one, two)
    driver.send("in", [[35, "k"]], partition=one)
    driver.restart()
    driver.send("in", [[5, "k"], [15, "k"], [4, "k"]], partition=two)
    driver.finish()
    assert driver.metrics()["count"]["late"] == 1


def test_who_has_told_all_may_tell_more_in_another_life():
    driver = counting()
    (one,), (two,) = partitions("a", count=1), partitions("b", count=1)
    driver.send("in", [[5, "k"]], partition=one)
    driver.finish()
    assert closed(driver) == [(0, "k", 1)]
    driver.restart()
    driver._hand_over()
    driver.know("in", one, two)
    driver.send("in", [[25, "k"]], partition=two)
    driver.send("in", [[26, "k"]], partition=one)
    assert closed(driver) == [(0, "k", 1)]
    driver.finish()
    assert closed(driver) == [(0, "k", 1), (20, "k", 2)]


# What cannot be


@dataclass
class Own:
    """A value of a class."""

    n: int


def test_values_are_handed_over_as_they_are_or_not_at_all():
    for kind, wanted in ((Own, {1: Own(5)}), (None, None)):
        app = streams.App("test", workers=NAMES)
        keyed = app.source("in").map(Own, type=kind).key_by(lambda own: 1)
        table = keyed.reduce(lambda a, b: Own(a.n + b.n), type=Own)
        driver = Driver(app)
        if wanted is None:
            with pytest.raises(StreamError, match=r"values cannot be handed over.*type=…"):
                driver.send("in", [2, 3])
        else:
            driver.send("in", [2, 3])
            assert driver.items(table) == wanted


def test_keys_and_results_that_are_tuples_stay_tuples():
    app = streams.App("test", workers=NAMES)
    keyed = app.source("in", time=float).key_by(lambda n: ("x", n % 2))
    counts = keyed.window(streams.tumbling(10)).aggregate(
        lambda: (), lambda so_far, n: (*so_far, n)
    )
    table = counts.key_by(lambda r: r.key).table()
    driver = Driver(app)
    driver.send("in", [1, 2, 3])
    driver.finish()
    driver.restart()
    found = driver.items(table)
    assert found[("x", 1)] == streams.Result(("x", 1), 0.0, 10.0, (1, 3))
    assert type(found["x", 1].key) is tuple


def test_a_failure_behind_an_exchange_names_the_record():
    app = streams.App("test", workers=NAMES, on_error="skip")
    app.source("in").key_by(lambda n: "k").reduce(lambda a, b: a / b, name="ratio")
    driver = Driver(app)
    driver.send("in", [1, 0], partition="P")
    (fault,) = driver.skipped
    assert str(fault) == (
        "operator ratio failed at topic in partition P offset 1: ZeroDivisionError: "
        "division by zero"
    )


def test_much_is_handed_over_in_portions_and_too_much_is_refused():
    app = streams.App("test", workers=NAMES)
    table = app.source("in", streams.TEXT).key_by(len).table()
    driver = Driver(app)
    driver.send("in", ["x" * (700_000 + n % 2) for n in range(8)])
    assert set(driver.items(table)) == {700_000, 700_001}
    assert max(len(one) for some in driver._handed.values() for one in some) < 1_500_000


def test_a_worker_that_begins_anew_alone_is_refused():
    driver = counting()
    driver.send("in", [[5, "k"]])
    engine = driver._lives["a"].engine
    (topic,) = engine.relayed
    workers = Workers("test", NAMES)
    with pytest.raises(StreamError, match="two partitions of worker 'b': it has begun anew"):
        engine.know([(topic, workers.sign("b", "1" * 32)), (topic, workers.sign("b", "2" * 32))])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"workers": ["a", "a"], "worker": "a"}, "two workers 'a'"),
        ({"workers": ["a", "b"], "worker": "c"}, "'c' is not one of the workers a, b"),
        ({"workers": ["a", ""]}, "a worker is called ''"),
        ({"worker": "a"}, "there is no list"),
        ({"workers": ["a\0"]}, "contains a NUL"),
    ],
)
def test_workers_that_cannot_be_are_refused(settings, text):
    with pytest.raises(ConfigError, match=text):
        streams.App("test", **settings)


def test_a_worker_has_to_know_which_it_is(tmp_path):
    app = streams.App("test", workers=NAMES, state=tmp_path)
    app.source("in").to("out", JSON)
    with pytest.raises(ConfigError, match="say which worker this is: worker=…, one of a, b, c"):
        app.run()


def test_that_a_worker_has_read_all_is_known_to_one_that_was_killed_after_it_had_heard():
    app = streams.App("test", workers=("a", "b"))
    source = app.source("in", time=lambda v: v["t"]).key_by(lambda v: v["k"])
    source.window(streams.tumbling(10)).count().map(lambda r: r.value).to("counts", JSON)
    driver = Driver(app)
    (first, second), workers = driver._lives.values(), app.topology.workers
    first.engine.finish()
    driver._look(first)
    (topic,), other = second.engine.relayed, workers.sign("a", "0" * 32)
    second.engine.process(Run(topic, other, 0, driver._left(second, topic, other)))
    driver._look(second)
    driver.restart("b")
    driver.finish()
    assert first.engine.finished
    assert second.engine.finished


def test_that_a_worker_has_read_all_counts_in_one_run_only():
    """In the next one it may be slow to begin, and have something for the others."""
    app = streams.App("test", workers=("a", "b"))
    source = app.source("in", time=lambda v: v["t"]).key_by(lambda v: v["k"])
    source.window(streams.tumbling(10)).count().map(lambda r: r.value).to("counts", JSON)
    driver = Driver(app)
    lives = list(driver._lives.values())
    driver.finish()
    assert all(life.engine.finished for life in lives)
    driver.restart()
    (life, _), workers = lives, app.topology.workers
    life.engine.finish()
    driver._look(life)
    (topic,), own = life.engine.relayed, workers.sign("a", "0" * 32)
    first = life.engine.positions(topic)[own]
    life.engine.process(Run(topic, own, first, driver._left(life, topic, own)))
    assert not life.engine.finished  # it has heard itself alone
    driver.finish()
    assert all(life.engine.finished for life in lives)


def test_what_is_final_is_told_once_and_again_after_whatever_else_was_said():
    """Who hears records believes that more may come; who has heard all may have ended."""
    out: list[bytes] = []
    exchange = Exchange("x", pytest.fail, Workers("test", ["a"]), [out], int, 1 << 20)

    def told(time: float, idle: bool, final: bool) -> list[object]:
        out.clear()
        exchange.tell(Told(time, idle, final))
        return [exchange.heard(content) for content in out]

    assert told(5.0, False, False) == [Told(5.0, False, False)]
    assert told(5.0, False, False) == []
    assert told(5.0, False, True) == [Told(5.0, False, True)]
    assert told(6.0, True, True) == []
    exchange.take(Batch([1], ["k"]), 0)
    assert told(6.0, False, True) == [Told(6.0, False, True)]
    assert told(6.0, False, False) == [Told(6.0, False, False)]
    assert told(6.0, False, True) == [Told(6.0, False, True)]
