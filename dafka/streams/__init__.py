"""Process streams of records as they occur: map, join, window, aggregate, exactly once.

>>> from dafka import streams
>>> app = streams.App("shouts", state="shouts.state")
>>> app.source("words", streams.TEXT).map(str.upper).to("shouts", streams.TEXT)
>>> print(app.describe())
source-1: words (text) -> map-1
map-1: str.upper -> to-1
to-1: shouts (text)
"""

from __future__ import annotations

try:
    import msgspec as _msgspec  # noqa: F401
except ImportError as error:
    raise ImportError("dafka.streams needs msgspec: pip install 'dafka[streams]'") from error

from dafka.streams.app import App
from dafka.streams.codecs import BYTES, JSON, MSGPACK, TEXT, Codec, json, msgpack
from dafka.streams.errors import DeadLetter, StreamError
from dafka.streams.keyed import Keyed, Table
from dafka.streams.stream import Stream
from dafka.streams.windows import Result, hopping, session, tumbling

__all__ = [
    "App",
    "BYTES",
    "Codec",
    "DeadLetter",
    "JSON",
    "Keyed",
    "MSGPACK",
    "Result",
    "Stream",
    "StreamError",
    "TEXT",
    "Table",
    "hopping",
    "json",
    "msgpack",
    "session",
    "tumbling",
]
