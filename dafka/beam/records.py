"""What travels between the steps of a pipeline, and how it is encoded. Decides nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

from apache_beam import coders


class Record(NamedTuple):
    """One record: where it is, what it says, and when it arrived.

    `arrived_ms`: milliseconds since 1970 by the clocks of the stores; never later than it was.
    """

    topic: str
    partition: str
    offset: int
    content: bytes
    arrived_ms: int


class Place(NamedTuple):
    """A partition to be read, from `first` on, and before `stop`.

    `head` is how far stores had got when it was found. `until`: seconds since 1970; what comes
    later need not be read. None: for ever.
    """

    topic: str
    partition: str
    first: int
    stop: int
    head: int = 0
    until: float | None = None


class Batch(NamedTuple):
    """Records that have their place: `contents[i]` is, or will be, at the offset `first + i`."""

    partition: str
    first: int
    contents: tuple[bytes, ...]


_TEXT, _NUMBER = coders.StrUtf8Coder(), coders.VarIntCoder()


class _Fields(coders.Coder):
    """Encodes a named tuple field by field."""

    kind: Any
    fields: coders.TupleCoder

    def encode(self, value: Any) -> bytes:
        return self.fields.encode(tuple(value))  # type: ignore[no-any-return]

    def decode(self, encoded: bytes) -> Any:
        return self.kind(*self.fields.decode(encoded))

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> Any:
        return self.kind

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class RecordCoder(_Fields):
    """Encodes a `Record`."""

    kind = Record
    fields = coders.TupleCoder([_TEXT, _TEXT, _NUMBER, coders.BytesCoder(), _NUMBER])


class PlaceCoder(_Fields):
    """Encodes a `Place`."""

    kind = Place
    fields = coders.TupleCoder(
        [_TEXT, _TEXT, _NUMBER, _NUMBER, _NUMBER, coders.NullableCoder(coders.FloatCoder())]
    )


class BatchCoder(_Fields):
    """Encodes a `Batch`."""

    kind = Batch
    fields = coders.TupleCoder([_TEXT, _NUMBER, coders.TupleSequenceCoder(coders.BytesCoder())])


for _kind, _coder in ((Record, RecordCoder), (Place, PlaceCoder), (Batch, BatchCoder)):
    coders.registry.register_coder(_kind, _coder)
