"""The last few values of which only a part was read: the rest is asked for next."""

from __future__ import annotations

import threading

from dafka.io import log_format as fmt
from dafka.io.log_values import Span

_RECENT_VALUES = 8


class Recent:
    """Verified values by their keys; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[bytes | None, fmt.Value] = {}

    def take(self, span: Span) -> fmt.Value | None:
        """The value of a span, which is then forgotten; None if it is not here."""
        with self._lock:
            return self._values.pop(span.key, None)

    def keep(self, span: Span, value: fmt.Value) -> None:
        """Remember a value unless it is very large; the oldest one makes room."""
        if value.packed.weight > 2 * fmt.VALUE_BYTES:
            return
        with self._lock:
            self._values[span.key] = value
            if len(self._values) > _RECENT_VALUES:
                del self._values[next(iter(self._values))]

    def clear(self) -> None:
        """Forget all, since what is stored under a key has changed."""
        with self._lock:
            self._values.clear()
