"""What we add to the reference's messages: optional fields in trailing bytes of the header.

Reference nodes ignore every byte behind the fields they know (they abort on surplus frames),
so a block of tagged values goes there. Bytes of anyone else may stand there too: whatever is
not a well-formed block to its last byte is treated as absent, never as an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from construct import (
    Const,
    ConstructError,
    GreedyBytes,
    Prefixed,
    Struct,
    Switch,
    this,
)

from protocol.errors import LocalProtocolError
from protocol.primitives import Checked, Number1, Number8, Sized, String, ToTheEnd

MAGIC = b"\xda\xfc\xa0\x01"
"""Begins a block. Not UTF-8, so no text runs into it; the last byte is the block's version."""

MAX_BLOCK_BYTES = 1024
"""A longer block is treated as absent: our own have at most some 70 bytes."""


@dataclass(frozen=True, slots=True)
class Extension:
    """An optional field: its name in the message and its tag in the block."""

    name: str
    tag: int


# On ACK: the name of the store's records, which stays when its addresses change, so that a
# producer can wait for several distinct stores.
# On DIRECT-HEAD: the same name, so that a producer can take a head for an ACK that was lost.
# On DIRECT-OFFSET: the same name, so that each store's answer counts once.
# On FETCH: the address of the store reader that shall answer, so that one answers and not all.
STORE = Extension("store", 1)

# On DIRECT-HEAD: the first offset still kept, so that nobody waits for what has expired.
# On HEAD: the first offset of the producer's partition, which is not 0 if it was imported.
EARLIEST = Extension("earliest", 2)

# On HEAD: the first unacknowledged offset, so that a reader knows which records only the
# producer has; and that its FETCH answers are exact, which those of the reference are not.
ACKED = Extension("acked", 3)

# On HEAD: milliseconds since the producer started, so that a consumer of the latest records
# can tell a partition that is new from one it merely has not heard of yet. On DIRECT-HEAD: the
# same from a store that was there, for a consumer that the producer never met.
AGE = Extension("age_ms", 4)

# On DIRECT-HEAD: bytes of the partition on the store's disk, so that tools can tell its size.
BYTES = Extension("bytes", 5)

# On DIRECT-HEAD: the records before this offset were deleted by an operator, for good, so that
# a store that was away deletes them as well instead of offering them again.
DELETED = Extension("deleted", 6)

# On FETCH: the answer may come as DIRECT-RECORDS, which reference nodes do not know. 1 is the only
# form there is.
RUNS = Extension("runs", 7)

_NUMBERS = (EARLIEST, ACKED, AGE, BYTES, DELETED, RUNS)


def _no_address(text: Any) -> str:
    if not isinstance(text, str) or (len(text) == 32 and text.isascii()):
        return ""
    return f"{text[:40]!r} is not an address of 32 ASCII characters"


# store-value = %d32 32OCTET
_Address = Checked(String, _no_address)

# number-value = %d8 number-8
_Number = Sized(Number8)

# field = number-1 (store-value / number-value / unknown)     ; a tag and its value
# unknown = string                                            ; is skipped
Field = Struct(
    "tag" / Number1,
    "value"
    / Switch(
        this.tag,
        {STORE.tag: _Address, **{extension.tag: _Number for extension in _NUMBERS}},
        default=Prefixed(Number1, GreedyBytes),
    ),
)

# block = %xDA.FC.A0.01 *field     ; up to the end of the frame; the last of equal tags counts
Block = Struct("magic" / Const(MAGIC), "fields" / ToTheEnd(Field))


def parse_block(trailing: bytes, wanted: Iterable[Extension]) -> dict[str, Any]:
    """Return those of the `wanted` values that `trailing` holds, by name."""
    if not trailing.startswith(MAGIC) or len(trailing) > MAX_BLOCK_BYTES:
        return {}
    try:
        block = Block.parse(trailing)
    except ConstructError:
        return {}
    values = {field.tag: field.value for field in block.fields}
    return {
        extension.name: values[extension.tag] for extension in wanted if extension.tag in values
    }


def build_block(values: Iterable[tuple[Extension, Any]], start: int = 0) -> bytes:
    """Return the block for those `values` that are not None; no bytes if all are.

    `start` is where the block will stand, for the position in a `LocalProtocolError`.
    """
    block = b""
    for extension, value in values:
        if value is None:
            continue
        block = block or MAGIC
        try:
            block += Field.build({"tag": extension.tag, "value": value})
        except ConstructError as error:
            reason = str(error).splitlines()[-1]
            raise LocalProtocolError(reason, extension.name, start + len(block)) from error
    return block
