"""Runners that are as unkind as Beam allows."""

from __future__ import annotations

from typing import Any

from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

_failed: set[str] = set()


class RetryingRunner(FnApiRunner):
    """Runs every bundle twice: the first attempt fails, or is not committed.

    What the first attempt gives out, and its state, is thrown away, as after a worker's crash.
    """

    def __init__(self) -> None:
        super().__init__(bundle_repeat=1)
        self.failed = 0

    def _run_bundle_multiple_times_for_testing(self, *arguments: Any) -> None:
        try:
            super()._run_bundle_multiple_times_for_testing(*arguments)
        except Exception:
            self.failed += 1


class FailsOnce:
    """A function for `beam.Map` that fails at one element, the first time it sees it."""

    def __init__(self, name: str, element: Any) -> None:
        self.name, self.element = name, element
        _failed.discard(name)

    def __call__(self, element: Any) -> Any:
        if element == self.element and self.name not in _failed:
            _failed.add(self.name)
            raise ValueError(f"{self.name} fails")
        return element
