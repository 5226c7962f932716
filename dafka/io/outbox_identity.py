"""Tells an outbox from other directories, and whose it is: `outbox.json` beside the record log.

It is written before the first record, so that a store's directory is never taken for an outbox
and emptied, and so that the partition keeps its name from the first start on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from dafka.errors import ConfigError, StoreError
from dafka.io.files import sync_directory
from dafka.io.log import Extent
from dafka.names import check_partition

FILE = "outbox.json"


def identify(directory: Path, topic: str, fresh: str, extents: Iterable[Extent]) -> str:
    """The partition an outbox belongs to; a new outbox gets the partition `fresh`.

    To be called while the directory's log, which holds `extents`, is locked. Raises `StoreError`
    for a directory that is no outbox, and `ConfigError` for another topic's.
    """
    held = {(extent.topic, extent.partition) for extent in extents}
    try:
        name = _read(directory / FILE)
        if name is None and not held:
            _write(directory / FILE, topic, fresh)
            return fresh
    except OSError as error:
        raise StoreError(
            f"{directory / FILE} cannot be read or written: {error.strerror or error}. "
            "Give an outbox that this user can read and write"
        ) from error
    if name is None:
        raise StoreError(
            f"{directory} is the directory of a store, not an outbox: give an empty directory, or "
            "one that a producer made"
        )
    owner, partition = name
    if owner != topic:
        raise ConfigError(
            f"outbox {directory} belongs to topic {owner!r}, not {topic!r}: "
            "each producer needs an outbox of its own"
        )
    if held - {name}:
        other, foreign = min(held - {name})
        raise StoreError(
            f"outbox {directory} holds records of topic {other!r}, partition {foreign}, which are "
            "not its own: has a store used the directory? Give another one"
        )
    return partition


def refuse_outbox(directory: Path) -> None:
    """Raise `StoreError` if a directory is an outbox: a store is to keep out of it."""
    # Not Path.exists, which raises where a path is too long, or may not be looked into.
    if os.path.exists(directory / FILE):
        raise StoreError(
            f"{directory} is the outbox of a producer, as its file {FILE} tells: give the store a"
            " directory of its own"
        )


def _read(file: Path) -> tuple[str, str] | None:
    """Topic and partition; None if there is no file."""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        entries = json.loads(text)
        return str(entries["topic"]), check_partition(entries["partition"])
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{file} is damaged, so it is not known whose outbox this is: restore it from a copy, "
            "or give another directory"
        ) from error


def _write(file: Path, topic: str, partition: str) -> None:
    """All of it or nothing is there after a crash, and after a power failure as well."""
    draft = file.with_suffix(".new")
    with draft.open("wb") as out:
        out.write(json.dumps({"topic": topic, "partition": partition}).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())
    draft.rename(file)
    sync_directory(file.parent)
