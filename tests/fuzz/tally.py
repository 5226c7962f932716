"""What a fuzzer has tried, and what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter

from dafka.cli.progress import progress


class Found(Exception):
    """A promise was broken; the text says which, and how to see it again."""


@dataclass
class Tally:
    """Numbers of one part of the fuzzing."""

    part: str
    seconds: float = 0.0
    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def counted(self, inputs: int) -> Iterator[int]:
        """Count up to `inputs`, with a progress bar on a terminal, and take the time."""
        began = perf_counter()
        with progress(inputs, keep=False, unit="inputs") as bar:
            for number in range(inputs):
                self.inputs = number + 1
                yield number
                if not self.inputs % 1000:
                    bar.update(1000)
        self.seconds = perf_counter() - began

    def line(self) -> str:
        """One line for a person."""
        told = ", ".join(f"{number:,} {what}" for what, number in sorted(self.outcomes.items()))
        rate = self.inputs / self.seconds if self.seconds else 0.0
        return (
            f"{self.part}: {self.inputs:,} inputs in {self.seconds:.1f} s ({rate:,.0f}/s): {told}"
        )
