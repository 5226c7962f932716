"""Random frames from a seed: valid, damaged and arbitrary ones, many thousands a second.

For whoever tries an implementation of this wire with more inputs than Hypothesis makes, or without
it. The same seed gives the same frames. `protocol.strategies` has the same for property tests,
which find the smallest frames that fail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any

from protocol.beacon import BEACON_ID, WELCOME_ID
from protocol.codec import build
from protocol.extensions import MAGIC
from protocol.grammar import KINDS
from protocol.messages import (
    DeleteTopic,
    GetHeads,
    Head,
    Message,
    NodeBeacon,
    Record,
    Records,
    TowerBeacon,
    Welcome,
)
from protocol.primitives import MAX_STRING_BYTES, decode_text

_IDS = [*(kind.id for kind in KINDS), BEACON_ID, WELCOME_ID, b"", b"\0", b"\1"]
_TO_A_TOPIC = (Record, Records, Head, GetHeads, DeleteTopic)
_NUMBERS = (0, 1, 2, 255, 256, 100_000, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
_KEPT = 50
"""Valid frames remembered to be damaged."""


class Fuzzer:
    """Makes frames by chance."""

    def __init__(
        self, seed: int, *, addresses: Sequence[str] = (), topics: Sequence[str] = ("hello",)
    ) -> None:
        """`addresses` and `topics` occur often: name those that the implementation knows."""
        self.random = Random(seed)
        made = [f"{self.random.getrandbits(128):032X}" for _ in range(4)]
        self._addresses = [*addresses, *made]
        self._topics = list(topics)
        self._recent: deque[list[bytes]] = deque([[b"W"]], _KEPT)

    def frames(self) -> list[bytes]:
        """Frames of any kind: valid, damaged or arbitrary, each as often as the others."""
        return self.random.choice((self.valid, self.mutated, self.arbitrary))()

    def valid(self) -> list[bytes]:
        """The frames of a message."""
        frames = build(self.message())
        self._recent.append(frames)
        return list(frames)

    def mutated(self) -> list[bytes]:
        """Frames that were valid until a few bytes or frames were lost, added or changed."""
        if self.random.random() < 0.2:
            self.valid()
        frames = list(self.random.choice(self._recent))
        for _ in range(self.random.choice((1, 1, 2, 5))):
            self._damage(frames)
        return frames

    def arbitrary(self) -> list[bytes]:
        """Any frames; many begin as messages do, so that parsing gets somewhere."""
        chance = self.random
        first = chance.choice(_IDS) + self._bytes()
        if chance.random() < 0.5:
            name = chance.choice((*self._addresses, *self._topics)).encode("utf-8", "replace")
            first = chance.choice(_IDS) + name + b"\0\1" + self._bytes()
        return [first, *(self._bytes() for _ in range(chance.choice((0, 0, 1, 1, 2, 7))))]

    # Messages

    def message(self) -> Message:
        """A message that can be built, perhaps an unlikely one."""
        chance = self.random
        if chance.random() < 0.1:
            return self._beacon()
        kind = chance.choice(KINDS)
        values: dict[str, Any] = {name: self._field(name) for name in kind.fields}
        if kind.message not in _TO_A_TOPIC and chance.random() < 0.9:
            values["topic"] = self._address()
        if kind.contents is not None:
            values["contents"] = self._contents()
            values["sequence"] = min(values["sequence"], 2**64 - len(values["contents"]))
        elif kind.frames == 2:
            values["content"] = self._bytes()
        for extension in kind.extensions:
            if chance.random() < 0.3:
                text = extension.name == "store"
                values[extension.name] = self._known() if text else self._number(64)
        return kind.message(**values)

    def _field(self, name: str) -> Any:
        match name:
            case "sequence" | "time_ms":
                return self._number(64)
            case "count":
                return self._number(32)
            case "subjects":
                return tuple(self._topic() for _ in range(self.random.randrange(4)))
            case "address":
                return self._address()
            case _:
                return self._topic()

    def _beacon(self) -> Message:
        chance = self.random
        told: tuple[Any, ...] = ()
        if chance.random() < 0.5:
            told = ("producer", "0.1.0", chance.choice((None, 0, 10**12)))
            told = (*told, chance.choice((None, 1, 50_000, 65_535)))
        port = chance.choice(("0", "1", "65535", "65536", "-1", "x", ""))
        host = chance.choice(("", "127.0.0.1", "[::1]", "no such host", "caf\udce9"))
        return chance.choice(
            (
                NodeBeacon(self._address(), host, port, *told),
                TowerBeacon(self._address(), f"tcp://{host}:{port}", *told),
                Welcome(),
            )
        )

    def _known(self) -> str:
        return self.random.choice(self._addresses)

    def _address(self) -> str:
        return self._known() if self.random.random() < 0.9 else self._text()

    def _topic(self) -> str:
        return self.random.choice(self._topics) if self.random.random() < 0.8 else self._text()

    def _text(self) -> str:
        return decode_text(self._bytes()[:MAX_STRING_BYTES].replace(b"\0", b"-"))

    def _number(self, bits: int) -> int:
        chance = self.random
        if chance.random() < 0.85:
            return chance.randrange(30)
        return min(chance.choice(_NUMBERS), (1 << bits) - 1)

    def _contents(self) -> tuple[bytes, ...]:
        """Contents of records: any, or of the same length, as most are."""
        count = self.random.randint(1, 9)
        if self.random.random() < 0.5:
            return tuple(self._bytes() for _ in range(count))
        return (self._bytes(),) * count

    def _bytes(self) -> bytes:
        size = self.random.choice((0, 1, 3, 8, 20, 100, 255, 300))
        return self.random.randbytes(self.random.randint(0, size))

    # Damage

    def _damage(self, frames: list[bytes]) -> None:
        chance = self.random
        at = chance.randrange(len(frames) + 1)
        if at == len(frames) or chance.random() < 0.1:
            frames.insert(at, chance.choice((b"", b"\1", *chance.choice(self._recent))))
            return
        frame = frames[at]
        start = chance.randint(0, len(frame))
        end = min(len(frame), start + chance.choice((0, 1, 1, 4, 8)))
        match chance.randrange(6):
            case 0:
                frames[at : at + 1] = [] if len(frames) > 1 else [b""]
            case 1:
                frames[at] = frame[:start]
            case 2:
                frames[at] = frame + chance.choice((b"", MAGIC)) + self._bytes()
            case 3 if frame:
                flipped = bytearray(frame)
                flipped[start % len(frame)] ^= 1 << chance.randrange(8)
                frames[at] = bytes(flipped)
            case _:
                frames[at] = frame[:start] + chance.randbytes(end - start) + frame[end:]
