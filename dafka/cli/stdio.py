"""Standard input and output in bytes, without ever blocking the gevent hub.

Both may block for ever (a terminal, a full pipe), so each is read or written in a thread. Neither
uses Python's buffered streams, whose locks such a thread would hold when the process ends.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedWriter, RawIOBase, TextIOWrapper
from itertools import takewhile
from typing import TYPE_CHECKING

import gevent
from gevent.socket import wait_read
from gevent.threadpool import ThreadPool

from dafka.cli.options import Fault
from dafka.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDIN, STDOUT = 0, 1

CHUNK_BYTES = 1 << 16


class OutputClosed(BaseException):
    """Whoever read our output does not want more: a quiet end."""


class Unprintable(Fault):
    """Standard output takes nothing: it is `closed`, or an error of the system's says why."""

    def __init__(self, message: str, *, closed: bool) -> None:
        super().__init__(message)
        self.closed = closed


@contextmanager
def done_all_the_same(work: str) -> Iterator[None]:
    """While entered, the report of some `work` is printed: that it fails must not hide the work."""
    try:
        yield
    except Unprintable as error:
        raise Unprintable(f"{work}, but {error}", closed=error.closed) from error


class _Standard(RawIOBase):
    """Standard output; what it does not take is told by `Unprintable`, once, and then dropped.

    Without that, Python would try again to write its buffer at its end, and tell that in its way.
    """

    def __init__(self, closed: bool) -> None:
        self._missing = closed
        self._failed = False

    def fileno(self) -> int:
        return STDOUT

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(STDOUT)

    def write(self, content: ReadableBuffer, /) -> int:
        data = bytes(content)
        if self._failed:
            return len(data)
        self._failed = True
        if self._missing:
            raise Unprintable(_CLOSED, closed=True)
        result = _write(data)
        if isinstance(result, BrokenPipeError):
            raise result
        if isinstance(result, OSError):
            raise Unprintable(_cannot(_PRINT, result), closed=False)
        self._failed = False
        return len(data)


def tell_what_cannot_be_printed() -> None:
    """Have `sys.stdout` raise `Unprintable`, also where the caller has closed it."""
    stream = sys.stdout
    if stream is not sys.__stdout__:
        return  # somebody captures what is printed
    raw = BufferedWriter(_Standard(closed=stream is None))
    if stream is None:
        sys.stdout = TextIOWrapper(raw)
        return
    sys.stdout = TextIOWrapper(
        raw, stream.encoding, stream.errors, line_buffering=os.isatty(STDOUT)
    )


def reserve_standard_descriptors() -> None:
    """Open what the caller closed, lest a socket or a database becomes our stderr."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def open_input(file: str | None) -> int:
    """Return a descriptor to read from: of a file, or of stdin for None and "-"."""
    if file is None or file == "-":
        if sys.stdin is None:
            raise Fault("standard input is closed: give a FILE, or input to read", 2)
        return STDIN
    try:
        if stat.S_ISDIR(os.stat(file).st_mode):
            raise Fault(f"cannot read {file}: Is a directory", 2)
        return os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Fault(f"cannot read {file}: {error.strerror}", 2) from error


def read_lines(descriptor: int, longest: int) -> Iterator[list[bytes]]:
    """Yield the lines of a descriptor in lists, each list as soon as it could be read.

    As the C console producer does, the line end and carriage returns before it are cut off. A last
    line counts without a line end, and an empty line is a line. `ConfigError` as soon as a line
    has more than `longest` bytes, the carriage returns included.
    """
    return split_lines(_chunks(descriptor), longest)


def split_lines(chunks: Iterable[bytes], longest: int) -> Iterator[list[bytes]]:
    """Yield the lines in `chunks`, in a list for every chunk that completes some."""
    rest: list[bytes] = []
    size = done = 0
    for chunk in chunks:
        lines = chunk.split(b"\n")
        rest.append(lines[0])
        size += len(lines[0])
        if len(lines) > 1 and size <= longest:
            lines[0] = b"".join(rest)
            rest = [lines.pop()]
            size = len(rest[0])
            fitting = list(takewhile(lambda line: len(line) <= longest, lines))
            done += len(fitting)
            yield [line.rstrip(b"\r") for line in fitting]
            if len(fitting) < len(lines):
                size = len(lines[len(fitting)])
        if size > longest:
            raise ConfigError(
                f"line {done + 1} is longer than {longest} bytes, the most that buffer_bytes "
                "allows: raise that (DAFKA_BUFFER_BYTES, or buffer_bytes in [producer]), or cut "
                "the line"
            )
    last = b"".join(rest)
    if last:
        yield [last.rstrip(b"\r")]


def _chunks(descriptor: int) -> Iterator[bytes]:
    pool = ThreadPool(1)
    while chunk := _result(pool.apply(_read, (descriptor,)), "read the input"):
        yield chunk


def _read(descriptor: int) -> bytes | OSError:
    while True:
        try:
            return os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            select.select([descriptor], [], [])
        except OSError as error:
            return error


class Output:
    """Standard output; `OutputClosed` is raised, or handed to `closed`, once nobody reads it."""

    def __init__(self, closed: Callable[[BaseException], object]) -> None:
        if sys.__stdout__ is None:
            raise Unprintable(_CLOSED, closed=True)
        self._pool = ThreadPool(1)
        if stat.S_ISFIFO(os.fstat(STDOUT).st_mode):
            gevent.spawn(_watch, closed)

    def write(self, content: bytes) -> None:
        """Write all of `content`; waits while the other side does not read."""
        _result(self._pool.apply(_write, (content,)), _PRINT)


def _watch(closed: Callable[[BaseException], object]) -> None:
    # The writing end of a pipe becomes "readable" only by the error that its reader has gone.
    wait_read(STDOUT)
    closed(OutputClosed())


def _write(content: bytes) -> bytes | OSError:
    view = memoryview(content)
    while view:
        try:
            view = view[os.write(STDOUT, view) :]
        except BlockingIOError:
            select.select([], [STDOUT], [])
        except OSError as error:
            return error
    return b""


def _result(result: bytes | OSError, what: str) -> bytes:
    """What a thread brought. It returns errors, since gevent prints those a thread raises."""
    if isinstance(result, BrokenPipeError):
        raise OutputClosed
    if isinstance(result, OSError):
        raise Fault(_cannot(what, result))
    return result


_PRINT = "write to standard output"
_CLOSED = "standard output is closed: there is no place to print to"


def _cannot(what: str, error: OSError) -> str:
    return f"cannot {what}: {error.strerror}"
