"""Hypothesis strategies for the wire: for the tests of whoever reads or writes these frames.

Needs hypothesis (the extra `test`), which nothing else of this package imports.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from protocol.beacon import BEACON_ID, WELCOME_ID
from protocol.codec import build
from protocol.grammar import KINDS
from protocol.messages import (
    Ack,
    ConsumerHello,
    DeleteTopic,
    DirectHead,
    DirectOffset,
    DirectRecord,
    DirectRecords,
    Fetch,
    GetHeads,
    GetOffset,
    Head,
    Message,
    NodeBeacon,
    Record,
    Records,
    StoreHello,
    TopicDeleted,
    TowerBeacon,
    Welcome,
)
from protocol.primitives import MAX_STRING_BYTES, decode_text

__all__ = [
    "addresses",
    "arbitrary_frames",
    "frames",
    "messages",
    "mutated_frames",
    "records",
    "runs",
    "topics",
]

_NUMBERS_8 = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 255, 2**32, 2**63, 2**64 - 1])
_NUMBERS_4 = st.integers(0, 2**32 - 1)
_IDS = [kind.id for kind in KINDS] + [BEACON_ID, WELCOME_ID]


def _texts(min_size: int = 0, max_size: int = MAX_STRING_BYTES) -> st.SearchStrategy[str]:
    """Texts of any bytes, so also those that are no UTF-8 and need surrogates."""
    return st.binary(min_size=min_size, max_size=max_size).map(decode_text)


def addresses() -> st.SearchStrategy[str]:
    """Addresses as nodes choose them: 32 upper-case hex digits."""
    return st.integers(0, 2**128 - 1).map("{:032X}".format)


def topics(max_size: int = 300) -> st.SearchStrategy[str]:
    """Inline topics of up to `max_size` bytes; a subject holds 255."""
    names = st.sampled_from(["", "hello", "metrics", "metrics2", "größe"])
    return names | _plain(max_size)


def _plain(max_size: int = MAX_STRING_BYTES) -> st.SearchStrategy[str]:
    """Texts of any bytes but NUL, which ends such a text on the wire."""
    return _texts(max_size=max_size).map(lambda text: text.replace("\0", "-"))


def _subjects() -> st.SearchStrategy[str]:
    return topics(MAX_STRING_BYTES)


def _anyone() -> st.SearchStrategy[str]:
    """What stands in an address field: usually an address, but nobody checks."""
    return addresses() | _plain()


def records() -> st.SearchStrategy[Record | DirectRecord]:
    """Records, whether published or fetched."""
    kinds: st.SearchStrategy[Any] = st.sampled_from([Record, DirectRecord])
    values = (topics(), _anyone(), _subjects(), _NUMBERS_8, st.binary(max_size=300))
    return st.builds(lambda kind, *args: kind(*args), kinds, *values)


def runs() -> st.SearchStrategy[Records | DirectRecords]:
    """Records in a row, whether published or fetched."""
    kinds: st.SearchStrategy[Any] = st.sampled_from([Records, DirectRecords])
    contents = st.lists(st.binary(max_size=30), min_size=1, max_size=8)
    alike = st.builds(lambda one, n: [one] * n, st.binary(max_size=30), st.integers(1, 8))
    values = (topics(), _anyone(), _subjects(), _NUMBERS_8, contents | alike)
    return st.builds(lambda kind, *args: _run(kind, *args), kinds, *values)


def _run(kind: Any, to: str, who: str, about: str, number: int, contents: list[bytes]) -> Any:
    """The last of the records has a sequence, too."""
    return kind(to, who, about, min(number, 2**64 - len(contents)), tuple(contents))


def _beacons() -> st.SearchStrategy[Message]:
    extension = st.none() | _texts(min_size=1)
    host = _texts().filter(lambda text: "://" not in text)
    endpoint = st.builds("{}://{}".format, _texts(max_size=20), _texts())
    ports = st.integers(0, 65535).map(str) | _texts()
    ages, runs_ports = st.none() | st.integers(0, 10**20 - 1), st.none() | st.integers(1, 65535)
    told = (extension, extension, ages, runs_ports)
    return st.one_of(
        st.builds(NodeBeacon, _anyone(), host, ports, *told),
        st.builds(TowerBeacon, _anyone(), endpoint, *told),
        st.builds(Welcome),
    )


def messages() -> st.SearchStrategy[Message]:
    """Every message that can be built, with and without extensions, in unlikely forms too."""
    to, who, about, number = topics(), _anyone(), _subjects(), _NUMBERS_8
    store, maybe = st.none() | addresses(), st.none() | _NUMBERS_8
    return st.one_of(
        records(),
        runs(),
        st.builds(Fetch, to, who, about, number, _NUMBERS_4, store, maybe),
        st.builds(Ack, to, about, number, store),
        st.builds(Head, to, who, about, number, maybe, maybe, maybe),
        st.builds(DirectHead, to, who, about, number, maybe, store, maybe, maybe, maybe),
        st.builds(GetHeads, to, who),
        st.builds(ConsumerHello, to, who, st.lists(topics(), max_size=5).map(tuple)),
        st.builds(StoreHello, to, who),
        st.builds(DeleteTopic, to, who),
        st.builds(TopicDeleted, to, who, about, number),
        st.builds(GetOffset, to, who, about, number),
        st.builds(DirectOffset, to, who, about, number, number, store),
        _beacons(),
    )


def frames() -> st.SearchStrategy[list[bytes]]:
    """The frames of every message that can be built."""
    return messages().map(build)


@st.composite
def mutated_frames(draw: st.DrawFn) -> list[bytes]:
    """Frames that were valid until a few bytes or frames were lost, added or changed."""
    mutated = draw(frames())
    for _ in range(draw(st.integers(1, 3))):
        index = draw(st.integers(0, len(mutated)))
        whole = draw(st.integers(0, 4)) == 0 or index == len(mutated)
        mutated = _mutate_list(draw, mutated, index) if whole else _mutate_one(draw, mutated, index)
    return mutated


def _mutate_list(draw: st.DrawFn, whole: list[bytes], index: int) -> list[bytes]:
    """Lose the frame at `index`, or send one more before it."""
    if draw(st.booleans()):
        return whole[:index] + whole[index + 1 :]
    extra = st.binary(max_size=20) | st.sampled_from(whole or [b""])
    return [*whole[:index], draw(extra), *whole[index:]]


def _mutate_one(draw: st.DrawFn, whole: list[bytes], index: int) -> list[bytes]:
    """Put up to four other bytes in the place of up to four bytes of one frame, or cut it."""
    frame = whole[index]
    start = draw(st.integers(0, len(frame)))
    end = draw(st.integers(start, min(start + 4, len(frame))) | st.just(len(frame)))
    return [
        *whole[:index],
        frame[:start] + draw(st.binary(max_size=4)) + frame[end:],
        *whole[index + 1 :],
    ]


def arbitrary_frames() -> st.SearchStrategy[list[bytes]]:
    """Any frames, of which many begin like a message, so that parsing gets somewhere."""
    anything = st.binary(max_size=400)
    header = st.builds(
        lambda id_, topic, rest: id_ + topic.replace(b"\0", b"") + b"\0\x01" + rest,
        st.sampled_from(_IDS),
        st.binary(max_size=40),
        anything,
    )
    first = st.sampled_from(_IDS) | anything | header
    return st.builds(
        lambda head, tail: head + tail, st.lists(first, max_size=1), st.lists(anything)
    )
