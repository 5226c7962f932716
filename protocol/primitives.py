"""The field types that all headers are made of, with the bounds that keep parsing cheap.

Texts are UTF-8 with surrogateescape: the reference nodes cut a long subject after 255 bytes,
possibly inside a character, and such a subject must be sent back byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable
from io import SEEK_END
from typing import Any, BinaryIO

from construct import (
    Const,
    Construct,
    FormatField,
    FormatFieldError,
    PrefixedArray,
    SizeofError,
    StreamError,
    StringError,
    Subconstruct,
    SymmetricAdapter,
    ValidationError,
)

MAX_STRING_BYTES = 255
"""What a `string` can hold."""

MAX_TEXT_BYTES = 65_536
"""Longest inline topic, `longstr` and beacon text that is read or written."""

MAX_SUBJECTS = 65_536
"""Most topics in one CONSUMER-HELLO."""


def encode_text(text: Any, limit: int, path: str | None = None) -> bytes:
    """Return the bytes of `text`; raise `StringError` if it is no text of at most `limit` bytes."""
    if not isinstance(text, str):
        raise StringError(f"{type(text).__name__} is not a text", path)
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise StringError(f"{text[:20]!r} is not valid Unicode text", path) from error
    if len(data) > limit:
        raise StringError(f"a text of {len(data)} bytes, at most {limit} are allowed", path)
    return data


def decode_text(data: bytes) -> str:
    """Return the text of any bytes; `encode_text` gives the same bytes back."""
    return data.decode("utf-8", "surrogateescape")


# construct has no type information, hence "type: ignore" where its classes are extended.


class Number(FormatField):  # type: ignore[misc]
    """An unsigned big-endian number, which says so when it is asked to hold anything else."""

    def _build(self, obj: Any, stream: BinaryIO, context: Any, path: str) -> Any:
        bits = 8 * self.length
        if not isinstance(obj, int) or not 0 <= obj < 1 << bits:
            raise FormatFieldError(f"{obj!r} is not a whole number from 0 to 2^{bits}-1", path)
        return super()._build(obj, stream, context, path)


class Text(Construct):  # type: ignore[misc]
    """A text behind its length in bytes; no length is believed before it has been compared."""

    def __init__(self, length: Number, limit: int) -> None:
        super().__init__()
        self.length = length
        self.limit = limit

    def _parse(self, stream: BinaryIO, context: Any, path: str) -> str:
        size = self.length._parse(stream, context, path)
        if size > self.limit:
            raise StringError(f"a text of {size} bytes, at most {self.limit} are allowed", path)
        data = stream.read(size)
        if len(data) < size:
            raise StreamError(f"a text of {size} bytes is announced, {len(data)} follow", path)
        return decode_text(data)

    def _build(self, obj: Any, stream: BinaryIO, context: Any, path: str) -> Any:
        data = encode_text(obj, self.limit, path)
        self.length._build(len(data), stream, context, path)
        stream.write(data)
        return obj


class PlainText(Text):
    """A text without NUL: what it names ends at a NUL elsewhere on the wire."""

    def _parse(self, stream: BinaryIO, context: Any, path: str) -> str:
        text = super()._parse(stream, context, path)
        _refuse_nul(text, path)
        return text

    def _build(self, obj: Any, stream: BinaryIO, context: Any, path: str) -> Any:
        _refuse_nul(obj, path)
        return super()._build(obj, stream, context, path)


def _refuse_nul(text: Any, path: str) -> None:
    if isinstance(text, str) and "\0" in text:
        raise StringError("a NUL ends this text elsewhere on the wire: it cannot hold one", path)


class TerminatedText(Construct):  # type: ignore[misc]
    """A text that ends at the first NUL, which must come within `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def _parse(self, stream: BinaryIO, context: Any, path: str) -> str:
        start = stream.tell()
        data = stream.read(self.limit + 1)
        end = data.find(b"\0")
        if end < 0:
            raise StreamError(f"no NUL within {len(data)} bytes", path)
        stream.seek(start + end + 1)
        return decode_text(data[:end])

    def _build(self, obj: Any, stream: BinaryIO, context: Any, path: str) -> Any:
        data = encode_text(obj, self.limit, path)
        if b"\0" in data:
            raise StringError("a NUL ends this text on the wire, it cannot be part of it", path)
        stream.write(data + b"\0")
        return obj


class Sized(Subconstruct):  # type: ignore[misc]
    """A value of constant size behind that size in one byte; any other size is an error."""

    def _parse(self, stream: BinaryIO, context: Any, path: str) -> Any:
        size = Number1._parse(stream, context, path)
        if size != self.subcon.sizeof():
            raise SizeofError(f"{size} bytes instead of {self.subcon.sizeof()}", path)
        return self.subcon._parse(stream, context, path)

    def _build(self, obj: Any, stream: BinaryIO, context: Any, path: str) -> Any:
        Number1._build(self.subcon.sizeof(), stream, context, path)
        return self.subcon._build(obj, stream, context, path)


class Checked(SymmetricAdapter):  # type: ignore[misc]
    """A value that `complaint` finds nothing wrong with; what it says is the error's reason.

    Construct's own `ExprValidator` only says that the value failed.
    """

    def __init__(self, subcon: Construct, complaint: Callable[[Any], str]) -> None:
        super().__init__(subcon)
        self.complaint = complaint

    def _decode(self, obj: Any, context: Any, path: str) -> Any:
        if complaint := self.complaint(obj):
            raise ValidationError(complaint, path)
        return obj


class ToTheEnd(Subconstruct):  # type: ignore[misc]
    """As many items as there are bytes for; unlike `GreedyRange`, half an item is an error."""

    def _parse(self, stream: BinaryIO, context: Any, path: str) -> list[Any]:
        start = stream.tell()
        end = stream.seek(0, SEEK_END)
        stream.seek(start)
        items = []
        while stream.tell() < end:
            items.append(self.subcon._parse(stream, context, path))
        return items


# number-1 = 1OCTET
# number-4 = 4OCTET    ; network byte order
# number-8 = 8OCTET    ; network byte order
Number1 = Number(">", "B")
Number4 = Number(">", "L")
Number8 = Number(">", "Q")

# version = %d1
Version = Const(1, Number1)

# topic = *%x01-FF %x00
InlineTopic = TerminatedText(MAX_TEXT_BYTES)

# string = number-1 *%x01-FF    ; the reference's texts are C strings
String = PlainText(Number1, MAX_STRING_BYTES)

# longstr = number-4 *OCTET
LongString = Text(Number4, MAX_TEXT_BYTES)


def _too_many(count: int) -> str:
    return f"{count} topics, at most {MAX_SUBJECTS} are allowed" if count > MAX_SUBJECTS else ""


# subjects = number-4 *longstr
# A hostile count costs nothing: reading ends where the frame ends, and nothing is reserved.
Subjects = PrefixedArray(Checked(Number4, _too_many), LongString)
