"""How values become a record's content, and contents become values again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

V = TypeVar("V")


@dataclass(frozen=True)  # with slots, Codec[int](…) would fail
class Codec(Generic[V]):
    """Two functions that undo each other; any two of your own make a codec as well."""

    name: str
    encode: Callable[[V], bytes]
    decode: Callable[[bytes], V]
    type: Any = None
    """The type of its values, where state that keeps them has to know it."""


def _same(value: bytes) -> bytes:
    if type(value) is not bytes:
        raise TypeError(f"the codec BYTES takes bytes, not {type(value).__name__}")
    return value


BYTES: Codec[bytes] = Codec("bytes", _same, _same, bytes)
"""Contents as they are."""

TEXT: Codec[str] = Codec("text", str.encode, bytes.decode, str)
"""Text in UTF-8."""

JSON: Codec[Any] = Codec("json", msgspec.json.Encoder().encode, msgspec.json.Decoder().decode)
"""JSON, as Python's own objects; `json(Type)` checks it, and makes dataclasses or structs."""

MSGPACK: Codec[Any] = Codec(
    "msgpack", msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
)
"""MessagePack, as Python's own objects; `msgpack(Type)` makes dataclasses or structs."""


def json(kind: type[V]) -> Codec[V]:
    """JSON of one type: a dataclass, a `msgspec.Struct`, `list[int]`, … What does not fit fails."""
    decoder = msgspec.json.Decoder(kind)
    return Codec(f"json {_name(kind)}", msgspec.json.Encoder().encode, decoder.decode, kind)


def msgpack(kind: type[V]) -> Codec[V]:
    """MessagePack of one type: a dataclass, a `msgspec.Struct`, `list[int]`, …"""
    decoder = msgspec.msgpack.Decoder(kind)
    return Codec(f"msgpack {_name(kind)}", msgspec.msgpack.Encoder().encode, decoder.decode, kind)


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))
