"""ACKs that are put together and taken apart without the grammar are what the grammar makes."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from dafka.io.headers import Acks
from dafka.io.joiner import Joiner
from protocol import Ack, ProtocolError, around_sequence, build, parse

A, B = "A" * 32, "B" * 32

acks = st.builds(
    Ack,
    st.sampled_from([A, B, "", "ü"]),
    st.sampled_from(["t", "topic", "", "x" * 200]),
    st.one_of(st.integers(0, 9), st.integers(0, 2**64 - 1)),
    st.sampled_from([None, A, B]),
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """An ACK as it was built, cut short, longer, or with other bytes somewhere."""
    (frame,) = build(draw(acks))
    kind = draw(st.sampled_from(["whole", "whole", "whole", "cut", "longer", "changed"]))
    at = draw(st.integers(0, len(frame) - 1))
    match kind:
        case "cut":
            return frame[:at]
        case "longer":
            return frame + draw(st.binary(min_size=1, max_size=9))
        case "changed":
            return frame[:at] + draw(st.binary(min_size=1, max_size=1)) + frame[at + 1 :]
    return frame


@given(st.lists(acks, max_size=20))
def test_acks_are_built_as_the_grammar_builds_them(many):
    made = Acks()
    assert [made.build(ack) for ack in many] == [build(ack) for ack in many]


@given(st.lists(frames(), max_size=30))
def test_acks_are_read_as_the_grammar_reads_them(many):
    joiner, expected = Joiner(), []
    for frame in many:
        joiner.message([frame])
        with suppress(ProtocolError):
            expected.append(parse([frame]))
    drained = joiner.finish()
    assert drained.messages == expected
    assert len(drained.errors) == len(many) - len(expected)


@given(acks, st.integers(0, 2**64 - 1))
def test_what_is_around_the_sequence_stays_when_it_changes(ack, sequence):
    before, after = around_sequence(ack)
    frame = before + sequence.to_bytes(8, "big") + after
    assert [frame] == build(Ack(ack.topic, ack.subject, sequence, ack.store))


def test_an_ack_like_the_last_one_is_not_parsed(monkeypatch):
    joiner = Joiner()
    joiner.message(build(Ack(A, "t", 1, B)))
    monkeypatch.setattr("dafka.io.joiner.parse", None)
    joiner.message(build(Ack(A, "t", 2, B)))
    assert [message.sequence for message in joiner.finish().messages] == [1, 2]


def test_however_many_kinds_there_are_a_bounded_number_is_remembered():
    made = Acks()
    for number in range(5000):
        ack = Ack(A, f"{number:05}", number)
        (frame,) = made.build(ack)
        made.learn(frame, ack)
    assert len(made._built) == len(made._known) == 4096
