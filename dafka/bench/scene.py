"""What the trials of one run share: where data lies, and what was found out before."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from dafka.bench.process import Unmeasured


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round of a trial has found."""

    figures: dict[str, float]
    """By name, in the units of the rows that take them."""
    seconds: float
    """How long that which was measured took."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What else is worth telling."""


def rated(records: int, begin: float, end: float, **notes: Any) -> Outcome:
    """The outcome of so many records in this time."""
    seconds = max(end - begin, 1e-9)
    return Outcome({"rate": records / seconds}, seconds, notes)


class Scene:
    """A directory for everything that a run writes; it is gone when the context is left."""

    def __init__(self, directory: str | None = None) -> None:
        self._parent = directory
        self._kept: dict[str, Path] = {}
        self.learned: dict[str, float] = {}
        """What later trials go by: bytes of a transaction, the highest rate, and the like."""

    def __enter__(self) -> Scene:
        try:
            self.path = Path(tempfile.mkdtemp(prefix="dafka-bench-", dir=self._parent))
        except OSError as error:
            where = self._parent or tempfile.gettempdir()
            raise Unmeasured(f"cannot write to {where}: {error.strerror}; choose --dir") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def directory(self) -> Iterator[str]:
        """An empty directory, which is removed: what it has not yet written burdens nobody else."""
        path = tempfile.mkdtemp(dir=self.path)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def kept(self, name: str) -> tuple[str, bool]:
        """A directory that stays until the end of the run, and whether it is new."""
        new = name not in self._kept
        if new:
            self._kept[name] = self.path / f"kept-{len(self._kept)}"
            os.mkdir(self._kept[name])
        return str(self._kept[name]), new
