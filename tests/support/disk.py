"""The disk below a log, as SQLite uses it: what is written to it can be recorded, or refused.

Stands between the very SQLite of Python's `sqlite3` and its files, as a VFS made with ctypes: no
compiler, no root, no second SQLite, and every pragma of the log has its usual effect.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

IOERR_FSYNC = 1034

_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_Delete = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_SetSystemCall = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
_GetSystemCall = CFUNCTYPE(c_void_p, c_void_p, c_char_p)
_Close = CFUNCTYPE(c_int, c_void_p)
_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)
_OpenDirectory = CFUNCTYPE(c_int, c_void_p, c_void_p)


def _pointers(names: str) -> list[tuple[str, Any]]:
    return [(name, c_void_p) for name in names.split()]


class _Vfs(Structure):
    """sqlite3_vfs, as `sqlite3.h` has it."""

    _fields_ = (
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        ("xOpen", _Open),
        ("xDelete", _Delete),
        *_pointers("xAccess xFullPathname xDlOpen xDlError xDlSym xDlClose xRandomness xSleep"),
        *_pointers("xCurrentTime xGetLastError xCurrentTimeInt64"),
        ("xSetSystemCall", _SetSystemCall),
        ("xGetSystemCall", _GetSystemCall),
        ("xNextSystemCall", c_void_p),
    )


class Methods(Structure):
    """sqlite3_io_methods: what SQLite can do with a file."""

    _fields_ = (
        ("iVersion", c_int),
        ("xClose", _Close),
        ("xRead", c_void_p),
        ("xWrite", _Write),
        ("xTruncate", _Truncate),
        ("xSync", _Sync),
        *_pointers("xFileSize xLock xUnlock xCheckReservedLock xFileControl xSectorSize"),
        *_pointers("xDeviceCharacteristics xShmMap xShmLock xShmBarrier xShmUnmap xFetch xUnfetch"),
    )


class _File(Structure):
    """sqlite3_file."""

    _fields_ = (("pMethods", POINTER(Methods)),)


@dataclass(frozen=True, slots=True)
class Done:
    """One thing that was done to the disk, or told by the test (`what` is "told").

    `what`: create and remove concern `path`; write, truncate, sync and unsynced (a sync that has
    failed) file number `file`.
    "names" means that the directory was synced: names made or removed before are durable.
    """

    what: str
    path: str = ""
    file: int = 0
    offset: int = 0
    data: bytes = b""
    told: Any = None


class Disk:
    """SQLite's files while `watching`: all that happens to them, in order."""

    def __init__(self) -> None:
        self.done: list[Done] = []
        self.sync_fails: Callable[[], bool] = lambda: False
        """Asked at each sync: it fails, and what was to be synced may be on the disk or not."""
        self._syncs_names = False
        self._numbers: dict[str, int] = {}
        self._open: dict[int, int] = {}
        self._methods: dict[int, Methods] = {}
        self._library = _library()

    def note(self, done: Done) -> None:
        """Record something."""
        self.done.append(done)

    def tell(self, told: Any) -> None:
        """Note something among what is done to the disk."""
        self.note(Done("told", told=told))

    @contextmanager
    def watching(self) -> Iterator[Disk]:
        """Every file that SQLite opens meanwhile is watched; close all before the end."""
        find = self._library.sqlite3_vfs_find
        find.restype = POINTER(_Vfs)
        self._real = find(None).contents
        self._vfs = vfs = _Vfs.from_buffer_copy(self._real)
        vfs.zName = b"watched"
        vfs.xOpen, vfs.xDelete = _Open(self._on_open), _Delete(self._on_delete)
        open_directory = self.system_call(b"openDirectory")
        self._open_directory = _OpenDirectory(open_directory)
        hook = _OpenDirectory(self._on_open_directory)
        self._library.sqlite3_vfs_register(ctypes.byref(vfs), 1)
        self.set_system_call(b"openDirectory", ctypes.cast(hook, c_void_p).value)
        try:
            yield self
        finally:
            self.set_system_call(b"openDirectory", open_directory)
            self._library.sqlite3_vfs_unregister(ctypes.byref(vfs))
            self._library.sqlite3_vfs_register(ctypes.byref(self._real), 1)

    def system_call(self, name: bytes) -> int:
        """The address of what SQLite calls the system by; 0 if it has no use for this call."""
        return self._real.xGetSystemCall(ctypes.byref(self._real), name) or 0

    def set_system_call(self, name: bytes, address: int | None) -> None:
        """Let SQLite call this instead."""
        assert self._real.xSetSystemCall(ctypes.byref(self._real), name, address) == 0

    # Names

    def _on_open(self, _: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        path = ctypes.string_at(name).decode() if name else ""
        existed = os.path.exists(path)
        # The real VFS's functions look at what its own copy of the structure points to.
        code = int(self._real.xOpen(ctypes.byref(self._real), name, file, flags, out))
        if code == 0 and path:
            if not existed or path not in self._numbers:
                self._numbers[path] = len(self.done) + 1
                self.note(Done("create", path, self._numbers[path]))
            self._open[file] = self._numbers[path]
            pointer = _File.from_address(file)
            pointer.pMethods = ctypes.pointer(self._watched(pointer.pMethods.contents))
        return code

    def _watched(self, real: Methods) -> Methods:
        address = ctypes.addressof(real)
        if address not in self._methods:
            methods = Methods.from_buffer_copy(real)
            methods.xClose = _Close(partial(self._on_close, real))
            methods.xWrite = _Write(partial(self._on_write, real))
            methods.xTruncate = _Truncate(partial(self._on_truncate, real))
            methods.xSync = _Sync(partial(self._on_sync, real))
            self._methods[address] = methods
        return self._methods[address]

    def _on_delete(self, _: int, name: int, sync: int) -> int:
        path = ctypes.string_at(name).decode()
        code = int(self._real.xDelete(ctypes.byref(self._real), name, sync))
        if code == 0:
            self._numbers.pop(path, None)
            self.note(Done("remove", path))
            self._sync_names()
        return code

    def _on_open_directory(self, path: int, descriptor: int) -> int:
        """SQLite opens a directory for one reason only: to sync it."""
        self._syncs_names = True
        return int(self._open_directory(path, descriptor))

    def _sync_names(self) -> None:
        if self._syncs_names:
            self._syncs_names = False
            self.note(Done("names"))

    # Contents

    def _on_close(self, real: Methods, file: int) -> int:
        self._open.pop(file)
        return int(real.xClose(file))

    def _on_write(self, real: Methods, file: int, data: int, size: int, offset: int) -> int:
        code = int(real.xWrite(file, data, size, offset))
        written = ctypes.string_at(data, size)
        self.note(Done("write", "", self._open[file], offset, written))
        return code

    def _on_truncate(self, real: Methods, file: int, size: int) -> int:
        code = int(real.xTruncate(file, size))
        self.note(Done("truncate", "", self._open[file], size))
        return code

    def _on_sync(self, real: Methods, file: int, flags: int) -> int:
        if self.sync_fails():
            self.note(Done("unsynced", "", self._open[file]))
            return IOERR_FSYNC
        code = int(real.xSync(file, flags))
        if code == 0:
            self.note(Done("sync", "", self._open[file]))
            self._sync_names()
        return code


def _library() -> ctypes.CDLL:
    """SQLite as the `sqlite3` module uses it."""
    for name in (getattr(_sqlite3, "__file__", None), None):
        library = ctypes.CDLL(name)
        if hasattr(library, "sqlite3_vfs_register"):
            return library
    return pytest.skip("this Python hides the SQLite that is built into it, so it is not watched")
