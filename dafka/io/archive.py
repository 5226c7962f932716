"""Archives: the files that `dafka export` writes and `dafka import` reads.

An archive is an Avro object container file, which many programs can read; docs/operations.md
describes it. Decides what of a file is whole, and how an interrupted one is continued. Where
records come from and go to is the commands' to decide. Plain blocking code.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

import fastavro
from fastavro.write import Writer

from dafka.core.run import Run
from dafka.io import archive_format as fmt
from dafka.io.archive_format import ArchiveError, Contents, Incomplete, Part
from dafka.io.files import sync_directory

__all__ = ["ArchiveError", "ArchiveReader", "ArchiveWriter", "Incomplete", "Part"]

_BLOCK_BYTES = 1 << 20
_LEVEL = 1
"""Deflate: several times as fast as the usual 6, for files a few percent larger."""


class ArchiveReader:
    """Reads an archive from its beginning, and verifies every record."""

    def __init__(self, path: str | Path) -> None:
        """Opens the file and reads its header; `ArchiveError` if it is not an archive."""
        self.path = Path(path)
        self._file = _open(self.path, os.O_RDONLY)
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self._blocks = self._header()
        except BaseException:
            self._file.close()
            raise
        self.end = self._file.tell()
        """Where the last whole block that was read ends."""

    def _header(self) -> Any:
        try:
            blocks = fastavro.block_reader(self._file)
        except OSError as error:
            raise _failed("read", self.path, error) from error
        except Exception as error:  # whatever a foreign file makes of fastavro
            raise ArchiveError(
                f"{self.path} is not an archive that 'dafka export' wrote, or its beginning is "
                "damaged: give another file"
            ) from error
        version = blocks.metadata.get(fmt.VERSION_KEY)
        if version is None:
            raise ArchiveError(
                f"{self.path} is an Avro file, but not one that 'dafka export' wrote: give another"
            )
        if version != fmt.VERSION:
            raise ArchiveError(
                f"{self.path} is an archive of the unknown format {version!r}; this Dafka knows "
                f"{fmt.VERSION!r}: use the Dafka that wrote it"
            )
        try:
            self.contents = Contents(fmt.decode_parts(blocks.metadata))
        except (TypeError, ValueError) as error:
            raise ArchiveError(
                f"{self.path}: its list of partitions is damaged: use another copy"
            ) from error
        return blocks

    def runs(self) -> Iterator[Run]:
        """All records, in the order of the file; `Incomplete` where it is damaged or ends early.

        What was yielded before is verified.
        """
        while (runs := self._block()) is not None:
            yield from runs
        lacking = self.contents.lacking()
        if lacking:
            part = lacking[0]
            raise Incomplete(
                f"{self.path} is unfinished: it ends before topic {part.topic!r}, partition "
                f"{part.partition}, offset {part.first}: finish it with 'dafka export --resume'"
            )

    def _block(self) -> list[Run] | None:
        """The runs of the next block, all verified; None at the end of the file."""
        try:
            block = next(self._blocks, None)
            if block is None:
                return None
            runs = list(fmt.decode(block))
            self.contents.advance(*runs)
        except OSError as error:
            raise _failed("read", self.path, error) from error
        except Exception as error:  # whatever damaged bytes make of fastavro
            raise Incomplete(
                f"{self.path} is damaged or cut off after byte {self.end} of {self.size} "
                f"({_text(error)}): use another copy, or replace the rest with "
                "'dafka export --resume'"
            ) from error
        self.end = block.offset + block.size
        return runs

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class ArchiveWriter:
    """Writes an archive, a new one or the rest of one that was interrupted.

    Every method may raise `ArchiveError` for what the file system refuses.
    """

    def __init__(self, path: Path, file: IO[bytes], contents: Contents, **new: Any) -> None:
        """For `create` and `resume`."""
        self.path = path
        self.contents = contents
        self._file = file
        with self._translated():
            self._writer = Writer(
                file,
                fmt.SCHEMA,
                codec="deflate",
                sync_interval=_BLOCK_BYTES,
                compression_level=_LEVEL,
                **new,
            )
            self._writer.flush()

    @classmethod
    def create(cls, path: str | Path, parts: Iterable[Part]) -> Self:
        """Begin a new file that will hold `parts`; `ArchiveError` if there is one already."""
        contents = Contents(parts)
        for part in contents.parts.values():
            if part.next > fmt.MAX_OFFSET:
                raise ArchiveError(
                    f"topic {part.topic!r}, partition {part.partition} goes up to offset "
                    f"{part.next - 1}: an archive can hold offsets up to {fmt.MAX_OFFSET - 1}"
                )
        path = Path(path)
        file = _open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            _lock(path, file)
            return cls(path, file, contents, metadata=fmt.encode_parts(contents.parts.values()))
        except BaseException:
            _abandon(file)
            raise

    @classmethod
    def resume(cls, path: str | Path, progress: Callable[[Run], object]) -> Self:
        """Continue a file behind its last whole block; what follows that is cut off.

        `progress` is called with every run that is in the file already.
        """
        path = Path(path)
        file = _open(path, os.O_RDWR)
        try:
            _lock(path, file)
            with ArchiveReader(path) as reader:
                try:
                    for run in reader.runs():
                        progress(run)
                except Incomplete:
                    file.truncate(reader.end)
            file.seek(0, os.SEEK_END)
            return cls(path, file, reader.contents)
        except BaseException:
            _abandon(file)
            raise

    def add(self, run: Run) -> None:
        """Write records, which must be those that come next in their partition."""
        self.contents.advance(run)
        write = self._writer.write
        with self._translated():
            for entry in fmt.encode(run):
                write(entry)

    def close(self) -> None:
        """Write what is still in memory, bring the file to the disk and close it; once only."""
        if self._file.closed:
            return
        with self._translated():
            try:
                self._writer.flush()
                os.fsync(self._file.fileno())
                sync_directory(self.path.parent)
            finally:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArchiveError(
                f"{self.path} cannot be written: {error.strerror}: make room or repair that, then "
                "go on with 'dafka export --resume'"
            ) from error


def _open(path: Path, flags: int) -> IO[bytes]:
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
        return os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "r+b")
    except FileExistsError as error:
        raise ArchiveError(
            f"{path} exists already: give another name, or continue it with --resume"
        ) from error
    except OSError as error:
        raise _failed("opened", path, error) from error


def _failed(what: str, path: Path, error: OSError) -> ArchiveError:
    return ArchiveError(f"{path} cannot be {what}: {_text(error)}")


def _text(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text or type(error).__name__


def _lock(path: Path, file: IO[bytes]) -> None:
    """Let one process write a file at a time."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ArchiveError(f"{path} is being written by another process: wait for it") from error


def _abandon(file: IO[bytes]) -> None:
    """Close a file after an error; that its last bytes cannot be written either is no news."""
    with suppress(OSError):
        file.close()
