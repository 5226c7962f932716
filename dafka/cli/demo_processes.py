"""Starts the demo's processes, hears what they say, and ends them, whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from dafka.cli.options import Fault

READY_S = 60.0
"""Longest time a process takes to start, or to end."""

STALL_S = 20.0
"""Longest time without any progress."""

_POLL_S = 0.02


class Child:
    """One process, and the last thing it said of each kind."""

    def __init__(self, name: str, role: str, arguments: dict[str, Any], log: Path) -> None:
        self.name = name
        self.log = log
        self.said: dict[str, dict[str, Any]] = {}
        self.leaving = False
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dafka.cli.demo_nodes", role, json.dumps(arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Ctrl-C is for the demo alone, which then ends the others in order.
                process_group=0,
            )
        self._listener = threading.Thread(target=self._listen, name=f"demo {name}", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                message = json.loads(line)
                self.said[message.pop("event")] = message

    def number(self, field: str) -> int:
        """A field of its last progress."""
        value = self.said.get("progress", {}).get(field, 0)
        return value if isinstance(value, int) else 0

    def order(self, **arguments: Any) -> None:
        """Tell it to go."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # `check` says why it has ended
            self.process.stdin.write(json.dumps(arguments).encode() + b"\n")
            self.process.stdin.flush()

    def dismiss(self) -> None:
        """Tell it to end."""
        self.leaving = True
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> None:
        """End it by SIGKILL: it has no chance to write or say anything more."""
        self.process.kill()
        self.process.wait()
        self.dismiss()

    def join(self, timeout: float) -> None:
        """Wait for its end, and for the last it said; kill it after `timeout` seconds."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self._listener.join(timeout)

    def check(self) -> None:
        """Raise `Fault` if it has ended without having been told to."""
        code = self.process.poll()
        if code is None or self.leaving or (code == 0 and "done" in self.said):
            return
        lines = self.log.read_text("utf-8", "replace").splitlines() or ["(it said nothing)"]
        raise Fault(f"the {self.name} ended with exit code {code}: {lines[-1]}")


class Processes:
    """All processes of the demo; leaving the context ends every one."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[Child] = []

    def start(self, name: str, role: str, **arguments: Any) -> Child:
        """Start one."""
        child = Child(name, role, arguments, self._logs / f"{name.replace(' ', '-')}.log")
        self._children.append(child)
        return child

    def ready(self, *children: Child) -> None:
        """Wait until they work; `Fault` if one does not come to it."""
        self.wait(lambda: all("ready" in child.said for child in children), stall_s=READY_S)
        for child in children:
            if "ready" not in child.said:
                raise Fault(f"the {child.name} is not ready after {READY_S:g} s")

    def kill(self, child: Child) -> None:
        """End one by SIGKILL."""
        child.kill()
        self._children.remove(child)

    def finish(self, *children: Child) -> None:
        """Tell them to end and wait until they have."""
        for child in children:
            child.dismiss()
        for child in children:
            child.join(READY_S)
            self._children.remove(child)

    def wait(
        self,
        done: Callable[[], bool],
        progress: Callable[[], object] = lambda: None,
        stall_s: float | None = STALL_S,
    ) -> bool:
        """Wait until `done`; False if `progress()` has stayed the same for `stall_s` seconds."""
        last, since = progress(), time.monotonic()
        while not done():
            for child in self._children:
                child.check()
            time.sleep(_POLL_S)
            state, now = progress(), time.monotonic()
            if state != last:
                last, since = state, now
            elif stall_s is not None and now - since > stall_s:
                return False
        return True

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        until = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= until)

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._children:
            child.dismiss()
        for child in self._children:
            child.join(READY_S if error is None else 3.0)
