"""Prints what frames mean: `python -m protocol HEX...`, one argument per frame."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from io import TextIOWrapper
from typing import TextIO

from protocol.codec import build, parse
from protocol.errors import ProtocolError, RemoteProtocolError
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

_HEADINGS: dict[type, tuple[str, str]] = {
    **{kind.message: (kind.name, kind.route) for kind in KINDS},
    NodeBeacon: ("NODE BEACON", "node to tower"),
    TowerBeacon: ("TOWER BEACON", "tower to every node"),
    Welcome: ("WELCOME", "tower to a new connection"),
}

# What `topic` and `address` are depends on the message.
_TOPIC_AND_ADDRESS: dict[type, tuple[str, str]] = {
    Record: ("name of the topic", "the producer"),
    DirectRecord: ("who fetched the record", "the producer"),
    Fetch: ("the producer", "who wants the records"),
    Ack: ("the producer", ""),
    Head: ("name of the topic", "the producer"),
    DirectHead: ("who asked", "the producer"),
    GetHeads: ("name of the topic; to a C store: how it begins", "who asks"),
    ConsumerHello: ("the store", "the consumer"),
    StoreHello: ("the consumer", "the store"),
    DeleteTopic: ("name of the topic", "the tool"),
    TopicDeleted: ("the tool", "the store"),
    GetOffset: ("the producer", "who asks"),
    DirectOffset: ("who asked", "the producer"),
    Records: ("name of the topic", "the producer"),
    DirectRecords: ("who fetched the records", "the producer"),
    NodeBeacon: ("", "the node"),
    TowerBeacon: ("", "the node"),
}

# In most messages a field means the same; here it does not.
_OTHERWISE: dict[type, dict[str, str]] = {
    Head: {"earliest": "extension: first offset of the partition"},
    Fetch: {"store": "extension: the store reader that shall answer"},
    TopicDeleted: {"sequence": "how many records were deleted"},
    DirectOffset: {"sequence": "the first record that arrived at or after that time"},
    Records: {"sequence": "offset of the first record"},
    DirectRecords: {"sequence": "offset of the first record"},
}

_MEANINGS = {
    "subject": "the topic",
    "sequence": "offset in the partition",
    "count": "how many records at most",
    "store": "extension: the name of the store's records",
    "acked": "extension: how many records are acknowledged",
    "age_ms": "extension: milliseconds since the producer started",
    "earliest": "extension: first offset still kept",
    "bytes": "extension: bytes on disk",
    "deleted": "extension: an operator deleted the records before this offset",
    "time_ms": "milliseconds since 1970",
    "subjects": "topics of which the consumer needs all records",
    "host": "empty: where the beacon comes from",
    "port": "where the node listens",
    "endpoint": "where the node listens",
    "role": "extension: what the node is",
    "version": "extension: its version",
    "runs": "extension: DIRECT-RECORDS are welcome",
    "runs_port": "extension: where it publishes RECORDS",
}

_EXAMPLE = """\
example: an ACK, which has one frame
  python -m protocol 4b50524f445543455200010568656c6c6f0000000000000004
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 if something was no message."""
    try:
        status = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        # Nothing may be left to flush when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0  # whoever read our output has enough
        print(f"cannot write to standard output: {error.strerror}", file=sys.stderr)
        return 1
    return status


def _run(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    words = parser.parse_args(arguments).frame
    if not words:
        parser.print_usage(sys.stderr)
        return 2
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if words != ["-"]:
        return _explain(words)
    if sys.stdin is None:
        print("standard input is closed: there is nothing to explain", file=sys.stderr)
        return 2
    lines = enumerate(_lines(sys.stdin), start=1)
    return max(
        (_explain(line.split(), f"line {n}: ") for n, line in lines if line.strip()), default=0
    )


def _lines(stream: TextIO) -> Iterator[str]:
    try:
        yield from stream
    except OSError as error:
        raise SystemExit(f"cannot read standard input: {error.strerror or error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m protocol",
        description="Print what the frames of one message mean, field by field.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "frame",
        nargs="*",
        metavar="HEX",
        help="a frame in hex, \"\" if it is empty; or one '-' to read a message from each line "
        "of standard input, its frames separated by spaces",
    )
    return parser


def _explain(words: Sequence[str], where: str = "") -> int:
    """Print the message whose frames are `words`; return 0, or 1 if they are none."""
    try:
        frames = [_unhex(word, number) for number, word in enumerate(words)]
        message = parse(frames)
    except ProtocolError as error:
        print(f"{where}not a message: {error}", file=sys.stderr)
        return 1
    print("\n".join(_describe(message)))
    if build(message) != frames:
        print("  trailing bytes or surplus frames are ignored")
    return 0


def _unhex(word: str, number: int) -> bytes:
    try:
        return bytes.fromhex("" if word == '""' else word)
    except ValueError as error:
        raise RemoteProtocolError(f"{word[:40]!r} is not hex", "frame", frame=number) from error


def _describe(message: Message) -> list[str]:
    """Return the lines that tell a message: what it is, then each of its fields."""
    name, route = _HEADINGS[type(message)]
    topic, address = _TOPIC_AND_ADDRESS.get(type(message), ("", ""))
    meanings = {**_MEANINGS, **_OTHERWISE.get(type(message), {})}
    meanings |= {"topic": topic, "address": address}
    lines = [f"{name}, from {route}"]
    for field in fields(message):
        value = getattr(message, field.name)
        if value is not None:
            lines.append(f"  {field.name:<9}{_shown(value, meanings.get(field.name, ''))}")
    return lines


def _shown(value: object, meaning: str) -> str:
    """Return a value and what it means; bytes tell how many they are."""
    if isinstance(value, bytes):
        meaning = f"{len(value)} bytes"
    elif isinstance(value, tuple) and not meaning:
        meaning = f"{len(value)} records"
    return f"{value!r}  ({meaning})"


if __name__ == "__main__":
    sys.exit(main())
