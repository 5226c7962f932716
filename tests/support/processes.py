"""Commands as real processes: started, read, signalled, killed, and surely gone in the end.

Output goes to files, so that no process ever waits for a test to read, and a test can look at what
a process has printed while it runs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar

ROOT = Path(__file__).parents[2]

PATIENCE_S = 30.0
"""What a busy machine may need for anything that takes a moment on an idle one."""

ENDS_WITHIN_S = 3.0
"""A command that is asked to end has ended after this: 2 s, and another one if much is going on."""

Value = TypeVar("Value")


def dafka(*arguments: str | Path) -> list[str]:
    """The command line of a `dafka` command."""
    return [sys.executable, "-m", "dafka.cli", *map(str, arguments)]


def script(name: str, *arguments: str | Path) -> list[str]:
    """The command line of a file in scripts/."""
    return [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)]


def eventually(look: Callable[[], Value], what: str, within: float = PATIENCE_S) -> Value:
    """Wait until `look` returns something true, and return that."""
    deadline = time.monotonic() + within
    while not (value := look()):
        assert time.monotonic() < deadline, f"not after {within} s: {what}"
        time.sleep(0.01)
    return value


class Process:
    """A process that was started; its standard output and error are files."""

    def __init__(self, command: list[str], stem: Path, **options: object) -> None:
        """`stem` with `.out` and `.err` are the files; `options` are those of `Popen`."""
        self.command = command
        self.out = stem.with_suffix(".out")
        self.err = stem.with_suffix(".err")
        self._read = 0
        with self.out.open("wb") as out, self.err.open("wb") as err:
            options.setdefault("stdout", out)
            self.popen = subprocess.Popen(command, stderr=err, **options)  # type: ignore[call-overload]

    # What it says

    @property
    def stdin(self) -> IO[bytes]:
        """Its standard input, if it was started with a pipe."""
        assert self.popen.stdin is not None
        return self.popen.stdin

    def printed(self) -> bytes:
        """All it has written to standard output so far."""
        return self.out.read_bytes()

    def complained(self) -> str:
        """All it has written to standard error so far."""
        return self.err.read_text(errors="backslashreplace")

    def line(self, within: float = PATIENCE_S) -> str:
        """The next line of its standard output, without the line end."""

        def look() -> bytes | None:
            ended = self.popen.poll() is not None
            with self.out.open("rb") as file:
                file.seek(self._read)
                line = file.readline()
            assert line.endswith(b"\n") or not ended, (
                f"ended with {self.popen.returncode} before printing a line: {self.complained()}"
            )
            return line if line.endswith(b"\n") else None

        line = eventually(look, f"a line of {self.command}: {self.complained()}", within)
        self._read += len(line)
        return line[:-1].decode()

    def resident_bytes(self) -> int:
        """The memory that it has at this moment."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    # What is done to it

    def tell(self, data: bytes) -> None:
        """Write to its standard input."""
        self.stdin.write(data)
        self.stdin.flush()

    def wait(self, within: float = PATIENCE_S) -> int:
        """Wait for its end and return the exit code; minus a signal's number if that ended it."""
        return self.popen.wait(timeout=within)

    def send(self, number: int) -> None:
        """Send a signal."""
        self.popen.send_signal(number)

    def kill(self) -> None:
        """Kill it as `kill -9` does, and return when it is gone."""
        self.popen.kill()
        self.popen.wait(timeout=PATIENCE_S)

    def suspend(self) -> None:
        """Stop it as SIGSTOP does, and return when it stands still."""
        self.send(signal.SIGSTOP)
        state = Path(f"/proc/{self.popen.pid}/stat")
        eventually(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", "stopped")

    def resume(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT)

    def end(self, number: int = signal.SIGTERM, within: float = ENDS_WITHIN_S) -> int:
        """Ask it to end, and return its exit code; it is an error if that takes long."""
        began = time.monotonic()
        self.send(number)
        code = self.wait()
        took = time.monotonic() - began
        assert took < within, f"{self.command} took {took:.1f} s to end"
        return code

    def clear(self) -> None:
        """Make sure that nothing of it is left."""
        self.popen.kill()
        self.popen.wait(timeout=PATIENCE_S)
        if self.popen.stdin is not None:
            with suppress(BrokenPipeError):
                self.popen.stdin.close()
        if self.popen.stdout is not None:
            self.popen.stdout.close()


class Cluster:
    """Where the nodes of a test find each other."""

    def __init__(self, sub: str, pub: str) -> None:
        self.sub = sub
        self.pub = pub
        self.tower = f"{sub},{pub}"
        self.at = ("--tower", self.tower)
        self.c_flags = ("--sub", sub, "--pub", pub)


class Processes:
    """Starts the processes of a test in its directory; `clear` kills them all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("DAFKA_")
        }
        self.environment["PYTHONPATH"] = str(ROOT)
        self._started: list[Process] = []
        self._feeders: list[threading.Thread] = []

    def start(self, command: list[str], **options: object) -> Process:
        """Start a process; without `stdin` it reads nothing."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("cwd", self.directory)
        options.setdefault("env", self.environment)
        stem = self.directory / f"process-{len(self._started)}"
        process = Process(command, stem, **options)
        self._started.append(process)
        return process

    def run(
        self, command: list[str], code: int = 0, given: bytes = b"", within: float = PATIENCE_S
    ) -> Process:
        """Run a process with `given` on standard input, and check its exit code."""
        source = self.directory / f"given-{len(self._started)}"
        source.write_bytes(given)
        with source.open("rb") as stdin:
            process = self.start(command, stdin=stdin)
        assert process.wait(within) == code, process.complained()
        return process

    # Nodes

    def server(self, *arguments: str) -> tuple[Process, Cluster]:
        """Start a tower and a store in one process."""
        process = self.start(dafka("server", *LOOPBACK, "--data", "records", "--json", *arguments))
        return process, Cluster(**json.loads(process.line())["tower"])

    def tower(self, cluster: Cluster | None = None) -> tuple[Process, Cluster]:
        """Start a tower, at new ports or where another one was."""
        flags = LOOPBACK if cluster is None else cluster.c_flags
        process = self.start(dafka("tower", *flags, "--json"))
        return process, Cluster(**json.loads(process.line())["tower"])

    def store(self, cluster: Cluster, data: str = "records") -> Process:
        """Start a store, and wait until it is ready."""
        process = self.start(dafka("store", "--data", data, *cluster.at))
        assert process.line() == f"store {data}: ready"
        return process

    def consume(self, cluster: Cluster, topic: str, *arguments: str) -> Process:
        """Start a consumer of the earliest records."""
        return self.start(dafka("consume", topic, "--from", "earliest", *arguments, *cluster.at))

    def feed(self, process: Process, portions: Iterable[bytes], pause: float) -> threading.Thread:
        """Write `portions` to a process's standard input from a thread, then close it."""

        def write() -> None:
            try:
                for portion in portions:
                    process.tell(portion)
                    time.sleep(pause)
                process.stdin.close()
            except (BrokenPipeError, ValueError):
                pass  # it was killed, or the test is over

        thread = threading.Thread(target=write)
        self._feeders.append(thread)
        thread.start()
        return thread

    def clear(self) -> None:
        """Kill everything that was started."""
        for process in self._started:
            process.popen.kill()
        for thread in self._feeders:
            thread.join(PATIENCE_S)
        for process in self._started:
            process.clear()


LOOPBACK = ("--sub", "tcp://127.0.0.1:*", "--pub", "tcp://127.0.0.1:*")
"""What a tower is given to bind ports that the system chooses, and nobody else can reach."""
