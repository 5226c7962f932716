"""Any frames give a message or `ProtocolError`, soon; what was parsed can be built again."""

from __future__ import annotations

from time import perf_counter

from protocol import Message, RemoteProtocolError, build, parse
from protocol.fuzz import Fuzzer
from tests.fuzz.tally import Found, Tally

SLOW_S = 1.0
"""No single input may take so long; they have at most some thousand bytes."""


def fuzz_parse(inputs: int, seed: int) -> Tally:
    """Parse so many inputs; raises `Found`."""
    fuzzer, tally = Fuzzer(seed), Tally("parse")
    for number in tally.counted(inputs):
        frames = fuzzer.frames()
        began = perf_counter()
        try:
            message = _parse(frames)
        except Exception as error:
            told = f"parsing raised {type(error).__name__}: {error}"
            raise _found(frames, told, number, seed) from error
        if perf_counter() - began > SLOW_S:
            raise _found(frames, f"parsing took {perf_counter() - began:.1f} s", number, seed)
        tally.outcomes["messages" if message else "refused"] += 1
        if message is not None and parse(build(message)) != message:
            raise _found(frames, f"{message!r} is another message when built", number, seed)
    return tally


def _parse(frames: list[bytes]) -> Message | None:
    try:
        return parse(frames)
    except RemoteProtocolError:
        return None


def _found(frames: list[bytes], what: str, number: int, seed: int) -> Found:
    shown = " ".join(frame.hex() or "''" for frame in frames)
    return Found(
        f"{what}\n  the frames: python -m protocol {shown}\n"
        f"  again: scripts/fuzz parse --seed {seed} --inputs {number + 1}"
    )
