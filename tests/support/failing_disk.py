"""A disk that refuses: below SQLite, system calls fail with the errors a failing disk gives.

SQLite meets a real `errno` from what it believes to be the system, so that it, and whoever it
reports to, reacts as on a real disk. Only what SQLite calls fails: the log's other files do not.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, c_char_p, c_int, c_int64, c_size_t, c_void_p
from typing import Any

from tests.support.disk import Disk, Done

_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CALLS = {
    b"open": CFUNCTYPE(c_int, c_char_p, c_int, c_int, use_errno=True),
    b"write": CFUNCTYPE(c_int64, c_int, c_void_p, c_size_t, use_errno=True),
    b"pwrite": CFUNCTYPE(c_int64, c_int, c_void_p, c_size_t, c_int64, use_errno=True),
    b"pwrite64": CFUNCTYPE(c_int64, c_int, c_void_p, c_size_t, c_int64, use_errno=True),
    b"ftruncate": CFUNCTYPE(c_int, c_int, c_int64, use_errno=True),
}


class FailingDisk(Disk):
    """A disk that does everything until it is told what to refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 0
        """How many calls have been refused."""
        self._number = 0
        self._short = self._partly = False
        self._names: set[bytes] = set()

    def heal(self) -> None:
        """Refuse nothing any more."""
        self._number, self._short, self._names = 0, False, set()
        self.sync_fails = lambda: False

    def full(self, *, short: bool = False) -> None:
        """Nothing can be written; if `short`, the first bytes of each piece still can."""
        self._number, self._short = errno.ENOSPC, short
        self._names = {b"write", b"pwrite", b"pwrite64"}

    def broken(self) -> None:
        """Writing is an error of the device."""
        self._number, self._names = errno.EIO, {b"write", b"pwrite", b"pwrite64"}

    def unsynced(self) -> None:
        """Writing succeeds, and syncing is an error of the device."""
        self.sync_fails = lambda: True

    def read_only(self) -> None:
        """The file system is read-only, as the kernel makes it after errors."""
        self._number, self._names = errno.EROFS, set(_CALLS)

    @contextmanager
    def watching(self) -> Iterator[FailingDisk]:
        """Every call of SQLite's is looked at meanwhile."""
        with super().watching():
            real = {name: call for name in _CALLS if (call := self.system_call(name))}
            hooks = {name: self._hook(name, _CALLS[name](call)) for name, call in real.items()}
            for name, hook in hooks.items():
                self.set_system_call(name, ctypes.cast(hook, c_void_p).value)
            try:
                yield self
            finally:
                for name, call in real.items():
                    self.set_system_call(name, call)

    def note(self, done: Done) -> None:
        """Record nothing, but count."""
        self.refusals += done.what == "unsynced"

    def _hook(self, name: bytes, real: Any) -> Any:
        def call(*arguments: Any) -> int:
            if name not in self._names or (name == b"open" and not arguments[1] & _CHANGES):
                return int(real(*arguments))
            self._partly = self._short and not self._partly
            if self._partly:
                file, data, size, *offset = arguments
                return int(real(file, data, max(size // 2, 1), *offset))
            self.refusals += 1
            ctypes.set_errno(self._number)
            return -1

        return _CALLS[name](call)
