"""The state of an application on disk: all or nothing, and nobody else's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import diskcache
import msgspec
import pytest

from dafka import ConfigError, StoreError, streams
from dafka.io.log import Log
from dafka.streams import JSON, StreamError
from dafka.streams.engine import Changes, Engine
from dafka.streams.layout import numbers
from dafka.streams.state import State


def topology(window=10):
    """A topology with one operator that keeps something."""
    app = streams.App("test")
    keyed = app.source("in", time=float).key_by(str)
    keyed.window(streams.tumbling(window)).count(name="count").to("out", JSON)
    return app.topology


@pytest.fixture
def opened(tmp_path):
    """Opens states in the test's directory, one after the other."""
    states = []

    def open_(*, name="app", directory=tmp_path / "state", window=10, topics=("out",), place=()):
        for state in states:
            state.close()
        states.append(State(str(directory), name, "os", iter("PQRS").__next__, place))
        states[-1].open(topology(window), list(topics))
        return states[-1]

    yield open_
    for state in states:
        state.close()


def changes(rows=(), **outputs):
    """Something to write down."""
    return Changes(list(rows), outputs)


def test_rows_and_output_are_there_again(opened):
    state = opened()
    state.commit(changes([(b"i1", b"one"), (b"s2", b"two"), (b"wx", b"x")], out=[b"a", b"b"]), {})
    state.commit(changes([(b"i1", b"uno"), (b"s2", None)], out=[b"c"]), {})
    state = opened()
    assert list(state.rows()) == [(b"i1", b"uno"), (b"wx", b"x")]
    out = state.outgoing["out"]
    assert (out.partition, out.next, list(out.waiting)) == (
        "P",
        3,
        [(0, [b"a", b"b"]), (2, [b"c"])],
    )


def test_output_that_is_acknowledged_is_removed_and_offsets_go_on(opened):
    state = opened()
    state.commit(changes(out=[b"a", b"b"]), {})
    state.commit(changes(out=[b"c", b"d"]), {"out": 3})
    assert list(opened().outgoing["out"].waiting) == [(2, [b"c", b"d"])]
    state = opened()
    state.commit(changes(), {"out": 4})
    out = opened().outgoing["out"]
    assert (list(out.waiting), out.next) == ([], 4)


def test_much_output_is_written_in_portions(opened):
    contents = [bytes([n % 251]) * 1000 for n in range(5000)]
    opened().commit(changes(out=contents), {})
    waiting = opened().outgoing["out"].waiting
    assert [content for _, some in waiting for content in some] == contents
    assert [first for first, _ in waiting] == [
        sum(len(some) for _, some in list(waiting)[:number]) for number in range(len(waiting))
    ]
    assert max(sum(map(len, some)) for _, some in waiting) <= 1 << 20


def test_a_commit_that_fails_changes_nothing(opened):
    state = opened()
    state.commit(changes([(b"i1", b"one")], out=[b"a"]), {})
    with pytest.raises(StoreError, match="cannot be written"):
        state.commit(changes([(b"i1", b"two"), (b"i2", object())], out=[b"b"]), {"out": 1})
    state = opened()
    assert list(state.rows()) == [(b"i1", b"one")]
    assert list(state.outgoing["out"].waiting) == [(0, [b"a"])]


def test_another_sink_gets_a_partition_and_one_that_is_gone_keeps_its_own(opened):
    opened().commit(changes(out=[b"a"]), {})
    state = opened(topics=("more",))
    assert state.outgoing["out"].partition == "P"
    assert state.outgoing["out"].next == 1
    state.commit(changes(more=[b"x"]), {})
    state = opened(topics=("out", "more"))
    assert [len(state.outgoing[topic].waiting) for topic in ("out", "more")] == [1, 1]
    assert state.outgoing["more"].number != state.outgoing["out"].number


def test_one_process_uses_a_directory(opened, tmp_path):
    opened()
    other = State(str(tmp_path / "state"), "app", "os", str)
    with pytest.raises(StoreError, match="in use by process"):
        other.open(topology(), [])


def test_state_of_another_application_is_refused(opened):
    opened()
    with pytest.raises(ConfigError, match="is the state of application 'app', not 'other'"):
        opened(name="other")


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ((), "not of an application alone"),
        (("b", "a", "b"), "not of worker 'b' of a, b"),
        (("a", "a", "b", "c"), "not of worker 'a' of a, b, c: .*another list of workers new ones"),
    ],
)
def test_state_of_another_worker_or_another_list_is_refused(opened, place, text):
    opened(place=("a", "a", "b"))
    with pytest.raises(ConfigError, match=f"is the state of worker 'a' of a, b, {text}"):
        opened(place=place)


def test_state_of_another_topology_is_refused(opened):
    opened()
    with pytest.raises(StreamError, match=r"'count' \(count, tumbling\(10 s\)\), which is now"):
        opened(window=20)


def test_a_directory_with_other_things_is_left_alone(opened, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "letter.txt").write_text("Dear")
    with pytest.raises(StoreError, match=r"holds other files, such as 'letter.txt'"):
        opened()
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["letter.txt"]


def test_a_store_and_an_application_keep_out_of_each_others_directories(opened, tmp_path):
    with Log(tmp_path / "log"):
        pass
    with pytest.raises(StoreError, match="holds the records of a store"):
        opened(directory=tmp_path / "log")
    opened().close()
    with pytest.raises(StoreError):
        Log(tmp_path / "state").open()


def test_a_database_of_something_else_is_refused(opened, tmp_path):
    with diskcache.Cache(str(tmp_path / "state")) as cache:
        cache["key"] = "value"
    with pytest.raises(StoreError, match="has another program's data"):
        opened()


@pytest.mark.parametrize("form", [2, 4])  # 2: marks could not be final
def test_state_of_another_format_is_refused(opened, form):
    opened()._write([(b"a", msgspec.msgpack.encode((form, "app")))], [])
    with pytest.raises(StoreError, match=f"has the unknown format {form}"):
        opened()


def test_a_topic_that_is_not_read_any_more_is_forgotten(opened):
    state = opened()
    position = b"i" + msgspec.msgpack.encode(("gone", "P"))
    state.commit(changes([(position, msgspec.msgpack.encode((5, 1.0, False)))]), {})
    engine = Engine(topology(), streams.App("x").settings)
    engine.restore(list(opened().rows()), numbers(opened().known))
    assert engine.positions("in") == {}


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_cannot_be_a_directory_is_told(opened, tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        opened(directory=tmp_path / place)


def test_without_msgspec_it_says_what_to_install():
    code = "import sys; sys.modules['msgspec'] = None; import dafka; import dafka.streams"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "ImportError: dafka.streams needs msgspec: pip install 'dafka[streams]'" in done.stderr
