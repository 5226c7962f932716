"""The processes of a round: started, heard, and surely ended, however the round ends."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic
from types import TracebackType
from typing import Any

from dafka.bench.work import Work
from dafka.errors import DafkaError

PATIENCE_S = 600.0
"""Longest time that a process may say nothing."""
ENDS_WITHIN_S = 5.0
_WORKER = (sys.executable, "-m", "dafka.bench.worker")


class Unmeasured(DafkaError):
    """A measurement did not come to its end; the text says why."""


class Process:
    """One process; it ends with the context of its `Processes`, at the latest."""

    def __init__(self, name: str, command: Sequence[str], cwd: Path | None = None) -> None:
        self.name = name
        self._errors = TemporaryFile()  # noqa: SIM115  `end` closes it
        self._heard = b""
        self.started = monotonic()
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=cwd,
            # Ctrl-C is for the benchmark alone, which then ends the others.
            process_group=0,
        )

    @property
    def pid(self) -> int:
        """The system's name for it."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def hear(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Its next line; `Unmeasured` if there is none within `patience_s`, or it has ended."""
        line = self.line(patience_s)
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise Unmeasured(f"the {self.name} said {line[:80]!r}, which is no result") from error
        return said

    def line(self, patience_s: float = PATIENCE_S) -> bytes:
        """The same as it stands there."""
        assert self._popen.stdout is not None
        until = monotonic() + patience_s
        while b"\n" not in self._heard:
            left = max(0.0, until - monotonic())
            if not select.select([self._popen.stdout], [], [], left)[0]:
                raise Unmeasured(f"the {self.name} has said nothing for {patience_s:g} s")
            data = os.read(self._popen.stdout.fileno(), 1 << 16)
            if not data:
                raise Unmeasured(f"the {self.name} ended early: {self.complaint()}")
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def ready(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """What it says when it is ready."""
        details: dict[str, Any] = self.hear(patience_s)["ready"]
        return details

    def result(self) -> Times:
        """What it says when it is done."""
        return Times(**self.hear())

    def go(self, words: str = "") -> None:
        """Let it begin, or answer."""
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):  # `hear` tells that it has ended
            self._popen.stdin.write(f"{words}\n".encode())
            self._popen.stdin.flush()

    def ask(self) -> dict[str, Any]:
        """Let it answer, and hear that."""
        self.go()
        return self.hear()

    def complaint(self) -> str:
        """The last line it has written to standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it does not say why")

    def dismiss(self) -> None:
        """Tell it that there is no more to do."""
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):
            self._popen.stdin.close()

    def terminate(self) -> None:
        """Ask it to end as a service is asked."""
        self._popen.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._popen.kill()

    def end(self, within_s: float = ENDS_WITHIN_S) -> None:
        """Wait for its end, and kill it if that takes long; safe to call twice."""
        self.dismiss()
        try:
            self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self._popen.wait()
        assert self._popen.stdout is not None
        self._popen.stdout.close()
        self._errors.close()


class Times:
    """When something began and ended (CLOCK_MONOTONIC, in seconds), and what else was said."""

    def __init__(self, begin: float, end: float, **more: Any) -> None:
        self.begin = begin
        self.end = end
        self.more = more


class Processes:
    """Those of a round; leaving the context ends them all, in the order of their start reversed."""

    def __init__(self) -> None:
        self._started: list[Process] = []

    def start(self, role: str, work: Work) -> Process:
        """Start one of a role."""
        return self._worker(role.replace("_", " "), role, work.text)

    def program(self, name: str, command: Sequence[str], cwd: Path | None = None) -> Process:
        """Start a program that is not ours."""
        return self._worker(name, "program", json.dumps(list(command)), cwd=cwd)

    def command(self, name: str, command: Sequence[str]) -> Process:
        """Start it without a detour, where the time that takes counts."""
        return self._add(Process(name, command))

    def terminate_first(self) -> None:
        """Ask the one that was started first to end: others need not wait for it in vain."""
        self._started[0].terminate()

    def _worker(self, name: str, *arguments: str, cwd: Path | None = None) -> Process:
        """Whatever is started by a worker ends with the benchmark, however that ends."""
        return self._add(Process(name, [*_WORKER, *arguments], cwd))

    def _add(self, process: Process) -> Process:
        self._started.append(process)
        return process

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self._started):
            if kind is not None:
                process.kill()
            process.end()
