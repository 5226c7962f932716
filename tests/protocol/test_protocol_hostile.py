"""What a peer says about sizes costs no more than what it really sends."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest

import protocol
from protocol.primitives import MAX_SUBJECTS

HELLO = b"WS\0\1\1C"
RECORD = b"Mt\0\1\1P\1t" + bytes(8)
HUGE = bytes(32 << 20)


def _refuse(frames: list[bytes]) -> None:
    with pytest.raises(protocol.RemoteProtocolError):
        protocol.parse(frames)


def _cost(work: Callable[[], object]) -> tuple[float, int]:
    """Return the seconds and the bytes that `work` needs at most."""
    started = time.process_time()
    work()
    seconds = time.process_time() - started
    tracemalloc.start()
    try:
        work()
        return seconds, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(HELLO + b"\xff" * 4, id="2^32-1 topics announced, none sent"),
        pytest.param(HELLO + b"\xff" * 4 + HUGE, id="2^32-1 topics announced, millions sent"),
        pytest.param(HELLO + b"\0\0\xff\xff" + b"\xff" * 64, id="a topic of 4 GiB announced"),
        pytest.param(HELLO + b"\0\0\0\1\x01\0\0\0" + HUGE, id="a topic of 16 MiB sent"),
        pytest.param(b"K" + b"A" * len(HUGE), id="a topic that never ends"),
    ],
)
def test_announced_sizes_cost_nothing(frame: bytes) -> None:
    seconds, peak = _cost(lambda: _refuse([frame]))
    assert seconds < 0.5
    assert peak < 500_000


def test_longest_hello_is_read_in_bounded_time_and_memory() -> None:
    frame = HELLO + MAX_SUBJECTS.to_bytes(4, "big") + bytes(4 * MAX_SUBJECTS)
    seconds, peak = _cost(lambda: protocol.parse([frame]))
    assert seconds < 2
    assert peak < 20 * len(frame)
    _refuse([HELLO + (MAX_SUBJECTS + 1).to_bytes(4, "big") + bytes(4 * MAX_SUBJECTS + 4)])


@pytest.mark.parametrize("magic", [b"", b"\xda\xfc\xa0\x01"])
def test_huge_frames_are_not_looked_through(magic: bytes) -> None:
    frames = [RECORD + magic + HUGE, HUGE]
    seconds, peak = _cost(lambda: protocol.parse(frames))
    assert seconds < 0.5
    assert peak < 500_000


def test_largest_block_is_read_in_bounded_time() -> None:
    header = b"Kt\0\1\1t" + bytes(8) + b"\xda\xfc\xa0\x01" + b"\xee\0" * 510
    seconds, _ = _cost(lambda: protocol.parse([header]))
    assert seconds < 0.5


def test_beacon_of_many_frames_is_read_by_its_first() -> None:
    frames = [b"B", b"A", b"tcp://h:1", *([b"x"] * 1_000_000)]
    seconds, peak = _cost(lambda: protocol.parse(frames))
    assert seconds < 0.5
    assert peak < 20_000_000


@pytest.mark.parametrize("count", [b"\0\4\0\0", b"\xff" * 4])
def test_announced_records_cost_nothing(count: bytes) -> None:
    frames = [b"R" + RECORD[1:], count + b"\xff" * 1000]
    seconds, peak = _cost(lambda: _refuse(frames))
    assert seconds < 0.5
    assert peak < 500_000


def test_most_records_of_one_message_are_read_in_bounded_time_and_memory() -> None:
    frames = [b"J" + RECORD[1:], (1 << 18).to_bytes(4, "big") + bytes(4 << 18)]
    seconds, peak = _cost(lambda: protocol.parse(frames))
    assert seconds < 1
    assert peak < 12 * len(frames[1])
