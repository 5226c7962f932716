"""Windows and joins against a few plain lines, for any records, partitions, order and restarts.

What counts is decided by each partition's own order. So whatever is read first, and however often
the application begins anew, the results are those of the reference.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dafka import streams
from dafka.streams import JSON
from dafka.streams.testing import Driver

EVENTS = st.tuples(st.integers(0, 40), st.sampled_from("abc"), st.integers(-9, 9))
PARTITIONS = st.lists(st.lists(EVENTS, max_size=25), min_size=1, max_size=3)
LATENESS = st.sampled_from([0, 3, 15])
ORDER = st.randoms(use_true_random=False)


def event(at, of, number):
    """A value of an application here."""
    return {"t": at, "k": of, "n": number}


def sources(app, *topics):
    """Streams with times and keys."""
    return [app.source(t, time=lambda v: v["t"]).key_by(lambda v: v["k"]) for t in topics]


def play(app, topics, chance):
    """Send partitions of topics in any order and portions, with restarts; the outputs."""
    driver = Driver(app)
    parts = {}
    for topic, partitions in topics.items():
        for number, rows in enumerate(partitions):
            if rows:  # a partition without records would be waited for, for ever
                driver.know(topic, str(number))
                parts[topic, str(number)] = [event(*row) for row in rows]
    while parts:
        topic, partition = chance.choice(sorted(parts))
        rows = parts[topic, partition]
        count = chance.randint(1, 8)
        driver.send(topic, rows[:count], partition=partition)
        parts[topic, partition] = rows[count:]
        if not parts[topic, partition]:
            del parts[topic, partition]
        if chance.random() < 0.1:
            driver.restart()
            for other, name in parts:
                driver.know(other, name)
    driver.finish()
    return driver


def in_time(partitions, ends, tolerance):
    """Rows with each of their windows that had to be open, as far as their partition told."""
    for rows in partitions:
        greatest = float("-inf")
        for at, of, number in rows:
            greatest = max(greatest, at)
            for start, end in ends(at):
                if end + tolerance > greatest:
                    yield start, (at, of, number)


@given(PARTITIONS, LATENESS, st.sampled_from([(10, 10), (10, 5), (10, 4), (7, 1)]), ORDER)
def test_windows_hold_what_is_in_time(partitions, lateness, shape, chance):
    size, every = shape
    app = streams.App("test")
    (keyed,) = sources(app, "in")
    window = keyed.window(streams.hopping(size, every), lateness=lateness)
    window.count().to("count", JSON)
    window.aggregate(int, lambda so_far, v: so_far + v["n"]).to("sum", JSON)
    if size == every:
        keyed.window(streams.tumbling(size), lateness=lateness).count().to("tumbling", JSON)
    driver = play(app, {"in": partitions}, chance)

    def windows(at):
        return [(s, s + size) for s in range(-size * every, 41, every) if s <= at < s + size]

    counts, sums = defaultdict(int), defaultdict(int)
    for start, (_, of, number) in in_time(partitions, windows, lateness):
        counts[start, of] += 1
        sums[start, of] += number
    assert told(driver, "count") == counts
    assert told(driver, "sum") == sums
    if size == every:
        assert told(driver, "tumbling") == counts
    starts = [r["start"] for r in driver.output("count")]
    assert starts == sorted(starts)


def told(driver, topic):
    """The results of windows by start and key; each may be told only once."""
    results = driver.output(topic)
    found = {(r["start"], r["key"]): r["value"] for r in results}
    assert len(found) == len(results)
    return found


@given(PARTITIONS, LATENESS, st.integers(1, 8), ORDER)
def test_sessions_hold_what_is_in_time(partitions, lateness, gap, chance):
    app = streams.App("test")
    (keyed,) = sources(app, "in")
    window = keyed.window(streams.session(gap), lateness=lateness)
    window.aggregate(list, lambda so_far, v: [*so_far, v["t"]], merge=lambda a, b: a + b).to(
        "times", JSON
    )
    driver = play(app, {"in": partitions}, chance)

    times = defaultdict(list)
    for _, (at, of, _) in in_time(partitions, lambda at: [(at, at + gap)], lateness):
        times[of].append(at)
    wanted = []
    for of, found in times.items():
        found.sort()
        cuts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(found)) if b - a >= gap)]
        wanted += [
            (of, found[i], found[j - 1] + gap, found[i:j]) for i, j in pairwise([*cuts, len(found)])
        ]
    results = driver.output("times")
    assert sorted((r["key"], r["start"], r["end"], sorted(r["value"])) for r in results) == sorted(
        wanted
    )


@given(PARTITIONS, PARTITIONS, LATENESS, st.integers(0, 6), ORDER)
def test_joins_pair_what_is_in_time(left, right, lateness, within, chance):
    app = streams.App("test")
    a, b = sources(app, "left", "right")

    def both(one, other):
        return [one and [one["t"], one["k"], one["n"]], other and [other["t"], other["n"]]]

    a.join(b, both, within=within, lateness=lateness, kind="outer").to("pairs", JSON)
    driver = play(app, {"left": left, "right": right}, chance)

    ones = [row for _, row in in_time(left, lambda at: [(at, at + 0.5)], lateness)]
    others = [row for _, row in in_time(right, lambda at: [(at, at + 0.5)], lateness)]
    wanted, met = [], set()
    for at, of, number in ones:
        found = [
            (j, row) for j, row in enumerate(others) if row[1] == of and abs(row[0] - at) <= within
        ]
        met.update(j for j, _ in found)
        wanted += [[[at, of, number], [row[0], row[2]]] for _, row in found]
        wanted += [] if found else [[[at, of, number], None]]
    wanted += [[None, [row[0], row[2]]] for j, row in enumerate(others) if j not in met]
    assert sorted(driver.output("pairs"), key=str) == sorted(wanted, key=str)


@given(PARTITIONS, PARTITIONS, LATENESS, ORDER)
def test_a_table_is_seen_as_it_was(stream, changes, lateness, chance):
    changes = [sorted(rows, key=lambda row: row[0]) for rows in changes]
    app = streams.App("test")
    a, b = sources(app, "stream", "table")

    def both(one, other):
        return [one["t"], one["k"], one["n"], other and [other["t"], other["n"]]]

    a.join(b.table(), both, lateness=lateness, kind="left").to("seen", JSON)
    driver = play(app, {"stream": stream, "table": changes}, chance)

    versions = sorted(
        (at, str(part), offset, of, number)
        for part, rows in enumerate(changes)
        for offset, (at, of, number) in enumerate(rows)
    )
    wanted = []
    for _, (at, of, number) in in_time(stream, lambda at: [(at, at + 0.5)], lateness):
        known = [[v[0], v[4]] for v in versions if v[0] <= at and v[3] == of]
        wanted.append([at, of, number, known[-1] if known else None])
    assert sorted(driver.output("seen"), key=str) == sorted(wanted, key=str)


@given(PARTITIONS, PARTITIONS, LATENESS, ORDER)
def test_results_are_never_late_for_what_comes_behind(left, right, lateness, chance):
    app = streams.App("test")
    a, b = sources(app, "left", "right")
    pairs = a.join(b, lambda one, other: [one, other], within=2, lateness=lateness, kind="left")
    small = pairs.window(streams.tumbling(5), lateness=1).count()
    large = small.window(streams.tumbling(20)).aggregate(int, lambda n, r: n + r.value)
    large.to("large", JSON)
    pairs.to("pairs", JSON)
    driver = play(app, {"left": left, "right": right}, chance)
    assert sum(r["value"] for r in driver.output("large")) == len(driver.output("pairs"))
    assert driver.metrics()["count-1"]["late"] == driver.metrics()["aggregate-1"]["late"] == 0


@given(PARTITIONS, PARTITIONS, LATENESS, ORDER, ORDER)
def test_a_table_is_seen_alike_whatever_is_read_first_though_changes_be_late(
    stream, changes, lateness, chance, other
):
    def seen(chance):
        app = streams.App("test")
        a, b = sources(app, "stream", "table")
        a.join(b.table(), lambda one, two: [one, two], lateness=lateness, kind="left").to(
            "seen", JSON
        )
        return sorted(
            play(app, {"stream": stream, "table": changes}, chance).output("seen"), key=str
        )

    assert seen(chance) == seen(other)
