"""The positions of named consumers on disk: a directory for each name, in a common one.

Plain blocking code, to be called in threads, one at a time. A consumer that runs has locked its
directory; others can look at it meanwhile. Decides when a position is durable (when `save` has
returned); which positions to save is the caller's to decide.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

from dafka.core.partition import Key
from dafka.errors import StoreError
from dafka.io import offsets_format as fmt
from dafka.io.files import make_directory, sync_directory, why
from dafka.io.log import Database, Moved
from dafka.io.log_connections import FAILURES, SYNCHRONOUS, cause
from dafka.io.log_directory import DATABASE, LOCK, DirectoryLock
from dafka.io.log_format import VERSION_KEY
from dafka.io.offsets_format import Saved, Subscription
from dafka.names import name_in_files

FILE = "offsets.json"
"""Tells, from the moment its database is on the disk, whose positions a directory holds."""

_ENTRIES = "SELECT key, value FROM Cache WHERE key >= ? AND key < ? AND raw = 1 ORDER BY key"


def default_directory() -> Path:
    """Where positions are kept unless told otherwise: the user's directory for such things."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(state):  # as the XDG Base Directory Specification has it
        return Path(state) / "dafka" / "offsets"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise StoreError(
            "this user has no home directory to keep positions in: give `offsets` (--offsets)"
        ) from error
    return home / ".local" / "state" / "dafka" / "offsets"


class Lost(StoreError):
    """The directory that is open is not the one that is there: positions in it are lost."""


class Offsets:
    """The positions of one named consumer, for one process at a time."""

    def __init__(
        self, directory: str | Path, name: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Opens nothing. Without a `directory` it is the user's."""
        self.name = name
        self.directory = Path(directory or default_directory()).absolute() / name_in_files(name)
        self._clock = clock
        self._lock: DirectoryLock | None = None
        self._database: Database | None = None

    @property
    def exists(self) -> bool:
        """Whether there are positions of this name."""
        return (self.directory / FILE).exists()

    def open(self) -> Saved:
        """Create the directory if need be, lock it, and return what it holds.

        Raises `StoreError` if it is in use, foreign or unusable.
        """
        try:
            make_directory(self.directory)
            self._take_lock()
            began = self._recognise()
            self._database = Database(self.directory, SYNCHRONOUS["fsync"])
            with self._database.change() as cache:
                cache.add(VERSION_KEY, fmt.VERSION)
                version = cache.get(VERSION_KEY)
                saved = _entered(cache._sql)
            if version != fmt.VERSION:
                raise self._foreign(f"format {version!r}")
            if not began:
                with self._database.lend() as cache:
                    cache._sql("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                self._sign()
        except BaseException as error:
            self.close()
            if isinstance(error, FAILURES):
                raise self._unusable(error) from error
            raise
        return saved

    def save(
        self, positions: Mapping[Key, int], subscriptions: Iterable[Subscription] = ()
    ) -> None:
        """Save all of it durably, in one transaction; raises `StoreError` if that fails."""
        now = self._clock()
        entries: dict[bytes, bytes] = {}
        for place, offset in positions.items():
            key = fmt.position_key(place)
            entries[key] = fmt.position(key, offset, now)
        for one in subscriptions:
            key = fmt.subscription_key(one)
            entries[key] = fmt.subscription(key, one)
        if self._database is None:
            raise StoreError(f"the positions of consumer {self.name!r} are not open")
        try:
            with self._database.change() as cache:
                for key, entry in entries.items():
                    cache.set(key, entry)
        except Moved as error:
            raise Lost(
                f"{self.directory} was removed, renamed or replaced while consumer {self.name!r} "
                "used it, so its positions can be saved no more: put it back, and start again"
            ) from error
        except FAILURES as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Let go of the directory; harmless if it is not open."""
        database, self._database = self._database, None
        lock, self._lock = self._lock, None
        try:
            if database is not None:
                database.connections.close()
        finally:
            if lock is not None:
                lock.release()

    # Inside

    def _take_lock(self) -> None:
        try:
            self._lock = DirectoryLock(self.directory)
        except StoreError as error:
            owner = (self.directory / LOCK).read_text("ascii", "replace").strip()
            raise StoreError(
                f"consumer {self.name!r} is running in process {owner or 'unknown'}, and holds its "
                f"positions in {self.directory}: stop it first, or use another name"
            ) from error

    def _recognise(self) -> bool:
        """Whether positions were kept here before; raises `StoreError` if the directory is foreign.

        What is not finished is ours: nobody else leaves our lock.
        """
        names = set(os.listdir(self.directory)) - {LOCK}
        if FILE in names:
            if DATABASE not in names:
                raise StoreError(
                    f"{self.directory} has held the positions of consumer {self.name!r}, but its "
                    f"{DATABASE} is missing: restore it from a copy, or remove the directory to "
                    "begin without positions"
                )
            self._check_owner()
        foreign = [name for name in names - {FILE} if not name.startswith((DATABASE, FILE))]
        if foreign:
            raise self._foreign(f"file {min(foreign)!r}")
        if self._lock is not None:
            self._lock.sign()
        return FILE in names

    def _check_owner(self) -> None:
        owner = _owner(self.directory)
        if owner != self.name:
            raise StoreError(
                f"{self.directory / FILE} is damaged, or not that of consumer {self.name!r}: "
                "restore it from a copy, or give another name"
            )

    def _sign(self) -> None:
        """Tell whose positions these are; all of it or nothing is there after a crash."""
        draft = self.directory / f"{FILE}.new"
        with draft.open("wb") as out:
            out.write(json.dumps({"name": self.name}).encode() + b"\n")
            out.flush()
            os.fsync(out.fileno())
        draft.rename(self.directory / FILE)
        sync_directory(self.directory)

    def _foreign(self, what: str) -> StoreError:
        return StoreError(
            f"{self.directory} holds something else than positions, such as the {what}: give "
            "another directory for positions, or another name"
        )

    def _unusable(self, error: BaseException) -> StoreError:
        reason = why(error) if isinstance(error, OSError) else cause(error)
        return StoreError(
            f"the positions of consumer {self.name!r} in {self.directory} cannot be read or "
            f"written: {reason}"
        )


def names(directory: str | Path) -> list[str]:
    """The names of the consumers that have positions in a directory."""
    base = Path(directory or default_directory())
    try:
        found = [one for one in base.iterdir() if (one / FILE).is_file()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{base} cannot be read: {error.strerror or error}") from error
    return sorted(unquote(one.name) for one in found)


def look(directory: str | Path, name: str) -> Saved:
    """What is kept of a consumer, which may be running; raises `StoreError`."""
    offsets = Offsets(directory, name)
    uri = f"{(offsets.directory / DATABASE).as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
            return _entered(connection.execute)
    except sqlite3.Error as error:
        raise offsets._unusable(error) from error


def _entered(execute: Callable[..., sqlite3.Cursor]) -> Saved:
    saved = Saved()
    for prefix in (fmt.POSITION, fmt.SUBSCRIPTION):
        after = bytes([prefix[0] + 1])
        for key, value in execute(_ENTRIES, (prefix, after)).fetchall():
            saved.enter(bytes(key), bytes(value) if isinstance(value, bytes) else b"")
    return saved


def _owner(directory: Path) -> str | None:
    try:
        return str(json.loads((directory / FILE).read_bytes())["name"])
    except (ValueError, TypeError, KeyError):
        return None
