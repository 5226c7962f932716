"""Finds the few events of a failing life that make it fail (delta debugging)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from traceback import extract_tb

from simulation.life import Life
from simulation.plan import Plan
from simulation.trace import Trace

MOST_LIVES = 400
"""Lives that are lived to shrink one; each takes some hundredths of a second."""


@dataclass(frozen=True)
class Failure:
    """How a life failed: what did not hold, and the whole sentence."""

    what: str
    text: str


def live(plan: Plan, trace: Trace | None = None) -> Failure | None:
    """Live a life; None if all ended well."""
    try:
        Life(plan, trace).live()
    except AssertionError as error:
        text = str(error)
        # "seed 1, after 2.000 s: what does not hold: where"
        return Failure(": ".join(text.split(": ")[1:2]), text)
    except Exception as error:
        last = extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} in {last.name}"
        place = f"{last.filename}:{last.lineno}"
        return Failure(what, f"seed {plan.seed}: {what}: {error} ({place}: {last.line})")
    return None


def shrink(plan: Plan, failure: Failure) -> list[int]:
    """The numbers of the events that are enough to make a life fail in the same way."""
    left = [MOST_LIVES]

    def fails(numbers: list[int]) -> bool:
        left[0] -= 1
        found = live(plan.only(numbers))
        return found is not None and found.what == failure.what

    return reduce_list(list(range(len(plan.events))), fails, lambda: left[0] > 0)


def reduce_list(
    numbers: list[int], fails: Callable[[list[int]], bool], go_on: Callable[[], bool]
) -> list[int]:
    """The fewest of `numbers` that still fail, found by leaving out ever smaller parts."""
    size = max(1, len(numbers) // 2)
    while go_on():
        shorter = _without_a_part(numbers, size, fails, go_on)
        if shorter is not None:
            numbers = shorter
        elif size == 1:
            break
        else:
            size //= 2
    return numbers


def _without_a_part(
    numbers: list[int],
    size: int,
    fails: Callable[[list[int]], bool],
    go_on: Callable[[], bool],
) -> list[int] | None:
    # From the end: what happened last is least likely to matter for what came before it.
    for at in range(len(numbers) - size, -size, -size):
        rest = numbers[: max(0, at)] + numbers[max(0, at) + size :]
        if not go_on():
            return None
        if len(rest) < len(numbers) and fails(rest):
            return rest
    return None
