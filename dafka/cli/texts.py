"""How names of foreign nodes are printed, which may hold bytes that are no UTF-8.

In Python such a byte is half of a surrogate pair, which neither a terminal nor a reader of JSON
takes: people are shown it as \\xNN, programs get the bytes.
"""

from __future__ import annotations

import base64
import codecs
import json
import re
from collections.abc import Mapping
from io import TextIOWrapper
from typing import Any, TextIO

_BYTE = re.compile(r"[\udc80-\udcff]|\\udc[89a-f][0-9a-f]")
"""The half of a pair, or what `repr` makes of it."""


def visible(text: str) -> str:
    """The text with each byte that is no UTF-8 as \\xNN."""
    return _BYTE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    found = match[0]
    return "\\x" + (found[-2:] if found.startswith("\\") else f"{ord(found) - 0xDC00:02x}")


def _instead(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = visible(error.object[error.start : error.end])
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("dafka.visible", _instead)


def print_anything(*streams: TextIO | None) -> None:
    """Have streams take every text, and show what they cannot encode."""
    for stream in streams:
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="dafka.visible")


def member(name: str, value: str | bytes) -> dict[str, str]:
    """A member of a JSON object; what is no UTF-8 is named NAME_base64."""
    content = value.encode(errors="surrogateescape") if isinstance(value, str) else value
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(content).decode()}


def document(value: Any) -> str:
    """A JSON document on one line, with members as `member` makes them."""
    return json.dumps(_valid(value))


def _valid(value: Any) -> Any:
    if isinstance(value, Mapping):
        members: dict[str, Any] = {}
        for name, inner in value.items():
            members |= member(name, inner) if isinstance(inner, str) else {name: _valid(inner)}
        return members
    if isinstance(value, list | tuple):
        return [_valid(inner) for inner in value]
    return visible(value) if isinstance(value, str) else value
