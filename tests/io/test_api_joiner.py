"""Joining records into runs gives what parsing them one by one gives, whatever comes.

The model parses every frame by the grammar; the socket's own loop is driven with a socket that
hands out frames from a list.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from dafka.core.packed import Packed
from dafka.core.run import Origin, Run
from dafka.io import sockets
from dafka.io.headers import SEQUENCE, direct_header, record_header
from dafka.io.joiner import Drained, Joiner
from protocol import (
    DirectRecord,
    DirectRecords,
    Head,
    ProtocolError,
    Record,
    Records,
    build,
    parse,
)

A, B = "A" * 32, "B" * 32
LAST = (1 << 64) - 1

sequences = st.one_of(
    st.integers(0, 6), st.sampled_from([255, 256, 65535, LAST - 2, LAST - 1, LAST])
)
contents = st.binary(max_size=4)


@st.composite
def records(draw) -> list[list[bytes]]:
    """A few records of one partition in a row, or a lone one; RECORDs or DIRECT-RECORDs."""
    topic = draw(st.sampled_from(["t", "t2", "", "ü"]))
    partition = draw(st.sampled_from([A, B, ""]))
    first = draw(sequences)
    made = []
    for at in range(first, min(first + draw(st.integers(1, 5)), LAST + 1)):
        if draw(st.booleans()) or not made or isinstance(made[-1], Record):
            made.append(Record(topic, partition, topic, at, draw(contents)))
        else:
            made.append(DirectRecord("R" * 32, partition, topic, at, draw(contents)))
    return [build(message) for message in made]


@st.composite
def runs(draw) -> list[list[bytes]]:
    """A few messages of one partition in a row, each with several records."""
    topic = draw(st.sampled_from(["t", "t2", "", "ü"]))
    partition = draw(st.sampled_from([A, B, ""]))
    direct, at, made = draw(st.booleans()), draw(sequences), []
    for _ in range(draw(st.integers(1, 3))):
        some = tuple(draw(st.lists(contents, min_size=1, max_size=4)))
        if at + len(some) > LAST + 1:
            break
        kind = DirectRecords if direct else Records
        made.append(kind("R" * 32 if direct else topic, partition, topic, at, some))
        at += len(some)
    return [build(message) for message in made]


@st.composite
def oddities(draw) -> list[list[bytes]]:
    """What is no plain record: other messages, surplus and missing frames, trailing bytes."""
    header, content = draw(records())[0]
    several, frame = build(Records("t", A, "t", draw(sequences) // 2, (b"ab", b"", b"c")))
    odd = draw(
        st.sampled_from(
            [
                [header],
                [header, content, b"surplus"],
                [header + b"trailing", content],
                [header + SEQUENCE.pack(draw(sequences)), content],
                [header[:-1], content],
                [header[:8], content],
                [b""],
                [header[-8:], content],
                [several],
                [several, frame, b"surplus"],
                [several + b"trailing", frame],
                [several, frame[:-1]],
                [several, frame + b"x"],
                [several, b"\0\0\0\0"],
                [several, draw(st.binary(max_size=20))],
                [several[:-8] + SEQUENCE.pack(LAST - 1), frame],
                build(Head("t", A, "t", 4)),
                [*build(Head("t", A, "t", 4)), content],
                # Not empty: see the test of an empty header.
                [draw(st.binary(min_size=1, max_size=60)), content],
                [draw(st.binary(max_size=60))],
            ]
        )
    )
    return [odd]


streams = st.lists(st.one_of(records(), runs(), records(), oddities()), max_size=12).map(
    lambda parts: [frames for part in parts for frames in part]
)


def model(stream: list[list[bytes]]) -> tuple[dict, list, int]:
    """By partition and kind every (sequence, content) in order; other messages; errors."""
    partitions = defaultdict(list)
    others, errors = [], 0
    for frames in stream:
        try:
            message = parse(frames)
        except ProtocolError:
            errors += 1
            continue
        if isinstance(message, Record | DirectRecord):
            key = (type(message), message.subject, message.address)
            partitions[key].append((message.sequence, message.content))
        elif isinstance(message, Records | DirectRecords):
            kind = Record if isinstance(message, Records) else DirectRecord
            key = (kind, message.subject, message.address)
            partitions[key] += enumerate(message.contents, message.sequence)
        else:
            others.append(message)
    return partitions, others, errors


def joined(drained: Drained) -> tuple[dict, list, int]:
    """The same of what was drained. Records among the messages had surplus frames, perhaps."""
    partitions = defaultdict(list)
    for kind, runs in ((Record, drained.runs), (DirectRecord, drained.direct)):
        for run in runs:
            assert run.contents, "an empty run"
            partitions[kind, run.topic, run.partition] += enumerate(run.contents, run.first)
    others = []
    for message in drained.messages:
        if isinstance(message, Record | DirectRecord):
            key = (type(message), message.subject, message.address)
            partitions[key].append((message.sequence, message.content))
        else:
            others.append(message)
    return partitions, others, len(drained.errors)


class ListSocket:
    """Hands out frames from a list the way a ZeroMQ socket does."""

    def __init__(self, stream: list[list[bytes]]) -> None:
        self._frames = [
            SimpleNamespace(bytes=frame, more=at + 1 < len(frames))
            for frames in stream
            for at, frame in enumerate(frames)
        ]
        self._frames.reverse()

    def take(self, *_):
        if not self._frames:
            raise zmq.Again
        return self._frames.pop()


def drain(stream: list[list[bytes]], known: Joiner | None = None) -> Drained:
    """What a subscriber makes of a stream in one drain."""
    subscriber = object.__new__(sockets.Subscriber)
    subscriber.origin = Origin.LIVE
    subscriber.socket = ListSocket(stream)
    subscriber._joiner = known or Joiner()
    subscriber._gauge = SimpleNamespace(saw=lambda *_: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sockets, "_recv", ListSocket.take)
        return subscriber.drain()


@pytest.mark.no_cover
@settings(max_examples=200)
@given(streams)
def test_any_stream_gives_what_the_grammar_gives_frame_by_frame(stream):
    drained = drain(stream)
    assert drained.count == len(stream)
    expected, got = model(stream), joined(drained)
    assert got[1:] == expected[1:]
    # A record in a run comes before one with trailing bytes or a repeated sequence of its drain:
    # between runs of a partition, order is the machine's business.
    assert {key: sorted(value) for key, value in got[0].items()} == {
        key: sorted(value) for key, value in expected[0].items()
    }


@pytest.mark.no_cover
@settings(max_examples=80)
@given(st.lists(streams, max_size=4))
def test_what_a_joiner_remembers_changes_nothing_in_the_next_drain(drains):
    remembering = Joiner()
    for stream in drains:
        assert joined(drain(stream, remembering)) == joined(drain(stream))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), contents), min_size=1, max_size=60),
    st.lists(sequences, min_size=4, max_size=4),
)
def test_interleaved_partitions_without_gaps_give_one_run_each(steps, firsts):
    following, stream = {}, []
    for which, direct, content in steps:
        partition = f"{which:032X}"
        at = following.get((partition, direct), firsts[which])
        if at > LAST:
            continue
        following[partition, direct] = at + 1
        kind = DirectRecord if direct else Record
        stream.append(build(kind("R" * 32 if direct else "t", partition, "t", at, content)))
    drained = drain(stream)
    assert len(drained.runs) + len(drained.direct) == len(following)
    for direct, runs in ((False, drained.runs), (True, drained.direct)):
        for run in runs:
            assert run.next == following[run.partition, direct]
    assert joined(drained)[0] == model(stream)[0]
    assert drained.messages == drained.errors == []


def record(sequence: int, content: bytes = b"x", topic: str = "t") -> list[bytes]:
    return build(Record(topic, A, topic, sequence, content))


def test_the_last_sequence_there_is_ends_its_run():
    drained = drain([record(LAST - 1, b"a"), record(LAST, b"b"), record(0, b"c")])
    assert drained.runs == [Run("t", A, LAST - 1, [b"a", b"b"]), Run("t", A, 0, [b"c"])]


def test_the_last_sequence_may_come_again_and_again():
    drained = drain([record(LAST, b"%d" % n) for n in range(3)])
    assert [run.contents for run in drained.runs] == [[b"0"], [b"1"], [b"2"]]
    assert {run.first for run in drained.runs} == {LAST}


def test_an_empty_header_after_the_last_sequence_continues_nothing():
    drained = drain([record(LAST - 1), record(LAST), [b"", b"foreign"]])
    assert drained.runs == [Run("t", A, LAST - 1, [b"x", b"x"])]
    assert len(drained.errors) == 1


@pytest.mark.parametrize("order", [(0, 0), (0, 2), (5, 4), (3, 3)])
def test_a_sequence_that_does_not_follow_begins_a_new_run(order):
    drained = drain([record(sequence) for sequence in order])
    assert [run.first for run in drained.runs] == list(order)


def test_trailing_bytes_that_look_like_the_next_sequence_are_no_sequence():
    header, content = record(0)
    trailing = [header + SEQUENCE.pack(1), b"odd"]
    drained = drain([[header, content], trailing, record(1, b"y"), trailing])
    assert joined(drained) == joined(
        drain([trailing, trailing, [header, content], record(1, b"y")])
    )
    assert [(run.first, run.contents) for run in drained.runs if run.contents == [b"odd"]] == [
        (0, [b"odd"]),
        (0, [b"odd"]),
    ]


def test_a_record_with_a_surplus_frame_is_as_the_grammar_says_and_ends_no_run():
    odd = [*record(1), b"surplus"]
    drained = drain([record(0), odd, record(1)])
    assert drained.runs == [Run("t", A, 0, [b"x", b"x"])]
    assert len(drained.messages) + len(drained.errors) == 1


def several(sequence: int, *some: bytes) -> list[bytes]:
    return build(Records("t", A, "t", sequence, some))


def test_messages_that_follow_each_other_are_one_run_that_was_never_taken_apart():
    drained = drain([several(3, b"a", b"b"), several(5, b"c"), several(6, b"", b"dd")])
    assert drained.runs == [Run("t", A, 3, [b"a", b"b", b"c", b"", b"dd"])]
    assert isinstance(drained.runs[0].contents, Packed)
    assert drained.count == 3


def test_records_one_by_one_and_several_together_make_runs_of_their_own():
    drained = drain([record(0), several(1, b"a", b"b"), record(1), several(4, b"c")])
    assert sorted((run.first, len(run)) for run in drained.runs) == [(0, 2), (1, 2), (4, 1)]
    assert drained.errors == []


def test_frames_that_lie_about_their_contents_are_dropped_and_the_others_are_not():
    good, bad = several(2, b"a", b"b"), several(4, b"c")
    bad[1] += b"surplus"
    drained = drain([good, bad, several(5, b"d"), bad])
    assert [(run.first, len(run)) for run in drained.runs] == [(2, 2), (5, 1)]
    assert len(drained.errors) == 2


def test_records_end_with_the_last_sequence_there_is():
    last, beyond = several(LAST - 1, b"a", b"b"), several(LAST, b"x")
    beyond[1] = last[1]
    drained = drain([last, beyond, several(0, b"e")])
    assert drained.runs == [Run("t", A, LAST - 1, [b"a", b"b"]), Run("t", A, 0, [b"e"])]
    assert len(drained.errors) == 1


def test_a_malformed_frame_between_two_records_does_not_part_them():
    drained = drain([record(0), [b"", b"x"], [b"M"], record(1)])
    assert drained.runs == [Run("t", A, 0, [b"x", b"x"])]
    assert len(drained.errors) == 2


def test_many_partitions_are_forgotten_and_learned_again():
    joiner = Joiner()
    for _ in range(2):
        stream = [build(Record("t", f"{n:032X}", "t", 0, b"x")) for n in range(5000)]
        for half in (stream[:2500], stream[2500:]):
            drained = drain(half, joiner)
            assert len(drained.runs) == len(half)
    assert len(joiner._known) <= 4096


def test_prefixes_are_the_headers_of_the_grammar_without_their_sequence():
    run = Run("t", A, 7, [b"x"])
    assert record_header(run) + SEQUENCE.pack(7) == build(Record("t", A, "t", 7, b"x"))[0]
    direct = build(DirectRecord(B, A, "t", 7, b"x"))[0]
    assert direct_header(B, run) + SEQUENCE.pack(7) == direct
    several = build(Records("t", A, "t", 7, (b"x",)))[0]
    assert record_header(run, runs=True) + SEQUENCE.pack(7) == several
    direct_several = build(DirectRecords(B, A, "t", 7, (b"x",)))[0]
    assert direct_header(B, run, runs=True) + SEQUENCE.pack(7) == direct_several


def test_one_drain_is_bounded_in_messages_and_in_bytes():
    assert drain([record(n) for n in range(5000)]).count == sockets.DRAIN_MESSAGES
    large = [record(n, bytes(1024 * 1024)) for n in range(20)]
    assert drain(large).count == sockets.DRAIN_BYTES // (1024 * 1024)
