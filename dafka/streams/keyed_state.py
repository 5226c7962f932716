"""What an operator remembers by group and key, in memory, and what of it has changed.

Decides how it is written down: MessagePack, in a row for each key. Knows nothing of where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from dafka.errors import ConfigError
from dafka.streams.errors import StreamError

_SCALARS = frozenset({str, int, float, bytes, bool, type(None)})
_KEYS = _SCALARS | {tuple}
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1
"""MessagePack has no larger integers."""
_TRIED = 1000

_encode = msgspec.msgpack.Encoder().encode
_rows = msgspec.msgpack.Decoder(tuple[Any, Any, msgspec.Raw])

Row = tuple[bytes, bytes | None]
"""A key, and what is written under it; None: nothing any more."""


class Form:
    """How values of one type are written, such that they come back as they were."""

    def __init__(
        self,
        operator: str,
        kind: Any = Any,
        complaint: str = "state cannot be saved",
        trials: int = _TRIED,
    ) -> None:
        """`complaint` is what it means that values cannot be written; `trials` are read back."""
        self.decode = _decoder(kind).decode
        self._operator = operator
        self._complaint = complaint
        self._trials = trials

    def encode(self, value: Any) -> bytes:
        """Write a value; `StreamError` if that cannot be."""
        try:
            data = _encode(value)
            if self._trials:
                # What comes back as something else would change results.
                self._trials -= 1
                back = self.decode(data)
                if back != value and repr(back) != repr(value):
                    raise TypeError(f"{value!r} would come back as {back!r}")
        except (TypeError, ValueError, OverflowError) as error:
            raise StreamError(
                f"operator {self._operator}: its {self._complaint}: {error}. Name the type of "
                "the values with type=…, or keep numbers, text, lists and dicts"
            ) from error
        return data


class Store:
    """Values by group and key: `groups[group][key]`. What is changed there goes into `dirty`."""

    def __init__(
        self, operator: str, kind: Any = Any, *, kinds: Mapping[Any, Any] | None = None
    ) -> None:
        """`kind` is the type of the values, as msgspec understands types; `kinds` by group."""
        self.groups: dict[Any, dict[Any, Any]] = {}
        self.dirty: set[tuple[Any, Any]] = set()
        self._new: set[tuple[Any, Any]] = set()
        """Those of them that have no row yet: if they vanish, nothing need be written."""
        self._operator = operator
        self._default = Form(operator, kind)
        self._forms = {group: Form(operator, one) for group, one in (kinds or {}).items()}

    def __len__(self) -> int:
        return sum(map(len, self.groups.values()))

    def get(self, group: Any, key: Any) -> Any:
        """A value, or None."""
        bucket = self.groups.get(group)
        return None if bucket is None else bucket.get(key)

    def put(self, group: Any, key: Any, value: Any) -> None:
        """Set a value."""
        bucket = self.groups.get(group)
        if bucket is None:
            bucket = self.groups[group] = {}
        if key not in bucket and (group, key) not in self.dirty:
            self._new.add((group, key))
        bucket[key] = value
        self.dirty.add((group, key))

    def remove(self, group: Any, key: Any) -> None:
        """Forget a value, if there is one."""
        bucket = self.groups.get(group)
        if bucket is None or bucket.pop(key, None) is None:
            return
        self._gone(group, key)
        if not bucket:
            del self.groups[group]

    def pop(self, group: Any) -> dict[Any, Any]:
        """Forget a whole group, and return it."""
        bucket = self.groups.pop(group, {})
        for key in bucket:
            self._gone(group, key)
        return bucket

    def _gone(self, group: Any, key: Any) -> None:
        name = (group, key)
        if name in self._new:
            self._new.discard(name)
            self.dirty.discard(name)
        else:
            self.dirty.add(name)

    def changes(self) -> Iterator[Row]:
        """Rows of what has changed since the last call."""
        dirty, self.dirty = self.dirty, set()
        self._new.clear()
        for group, key in dirty:
            bucket = self.groups.get(group)
            name = _encode((_canonical(group), _canonical(key)))
            if bucket is None or key not in bucket:
                yield name, None
            else:
                yield (
                    name,
                    _encode((group, key, msgspec.Raw(self._form(group).encode(bucket[key])))),
                )

    def load(self, row: bytes) -> None:
        """Take in a row that was written."""
        try:
            group, key, value = _rows.decode(row)
            group = hashable(group)
            self.groups.setdefault(group, {})[hashable(key)] = self._form(group).decode(value)
        except msgspec.MsgspecError as error:
            raise StreamError(
                f"operator {self._operator}: its state cannot be read: {error}. Where a type has "
                "changed, give new fields a default, or begin anew with another directory"
            ) from error

    def _form(self, group: Any) -> Form:
        return self._forms.get(group, self._default)


def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    try:
        return msgspec.msgpack.Decoder(kind)
    except TypeError as error:
        raise ConfigError(
            f"values of the type {getattr(kind, '__name__', kind)} cannot be kept as state: {error}"
        ) from error


def check_kind(kind: Any) -> Any:
    """Return a type if values of it can be kept, else raise `ConfigError`."""
    _decoder(kind)
    return kind


def check_keys(keys: Sequence[Any]) -> None:
    """Raise `TypeError` unless state can be kept under each of these keys."""
    kinds = set(map(type, keys))
    if kinds <= _SCALARS:
        if not kinds.isdisjoint((int, float)):
            _check_numbers([key for key in keys if type(key) in (int, float)])
        return
    if not kinds <= _KEYS:
        name = min(kind.__name__ for kind in kinds - _KEYS)
        raise TypeError(
            f"a key is text, a number, bytes, a bool, None or a tuple of those, not {name}"
        )
    check_keys(list(chain.from_iterable(key for key in keys if type(key) is tuple)))


def in_order(keys: dict[Any, Any]) -> list[Any]:
    """Keys in an order that does not depend on which came first."""
    try:
        return sorted(keys)
    except TypeError:
        return sorted(keys, key=lambda key: (type(key).__name__, repr(key)))


def _check_numbers(keys: list[float]) -> None:
    if any(key != key for key in keys):
        raise TypeError("a key is not a number (nan), which is equal to no key")
    for key in keys:
        if type(key) is int and not _LEAST <= key <= _MOST:
            raise TypeError(f"the key {key} is too large: an integer of 64 bits fits")


def _canonical(key: Any) -> Any:
    """The same for keys that are equal: 1, 1.0 and True are one key, so they must be one row."""
    kind = type(key)
    if kind is tuple:
        return tuple(map(_canonical, key))
    if kind is bool or (kind is float and key.is_integer() and _LEAST <= key <= _MOST):
        return int(key)
    return key


def key_bytes(key: Any) -> bytes:
    """A key as bytes, the same for keys that are equal."""
    return _encode(_canonical(key))


def hashable(key: Any) -> Any:
    """A key as it was before it was written."""
    return tuple(map(hashable, key)) if type(key) is list else key
