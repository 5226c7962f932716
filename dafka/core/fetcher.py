"""Decides when to ask for one partition's missing records, how many at once, and when again.

A catch-up is pipelined: while one window is arriving, the next one is asked for. Silence makes
the pauses longer, progress makes them short again: as short as answers take to come.
"""

from __future__ import annotations

from dataclasses import dataclass

from dafka.core.intake import Intake

LOST_PAUSE_S = 300.0
"""Longest pause between two requests for what nobody says to have any more. The records may be
lost: their producer ended before a store had them. Whoever brings them back says so at once."""


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """Bounds of asking; times in seconds."""

    records: int
    """Most records in one request."""
    window_bytes: int
    """Most bytes on their way at once, by the average size of what has come so far."""
    timeout: float
    """Silence after which a request is repeated, at first, and as long as answers come fast."""
    timeout_max: float
    """The pause doubles with each silent request up to this, while somebody says that the records
    exist; up to `LOST_PAUSE_S` while nobody does."""


class Fetcher:
    """The requests of one partition."""

    __slots__ = (
        *("_average", "_deadline", "_pause", "_policy", "_since", "_to"),
        *("attempts", "silences"),
    )

    def __init__(self, policy: FetchPolicy) -> None:
        self._policy = policy
        self._to = 0
        self._deadline: float | None = None
        self._average = policy.window_bytes / 1000
        self._pause = policy.timeout
        self._since = 0.0
        self.attempts = 0
        """Requests in a row that brought nothing."""
        self.silences = 0
        """Requests that ever brought nothing: whom to ask first moves on with them."""

    def arrived(self, records: int, size: int, now: float, *, first: bool) -> None:
        """An answer has come; with what was missing `first`, the rest gets its full time again.

        What was asked for ahead says nothing of that: it may come again and again, and be of no
        use, while what is missing first is kept nowhere any more.
        """
        self._average += (max(size / records, 1) - self._average) / 2
        if first:
            self.attempts = 0
            # Whoever answers many needs longer for each: asking others as well, who have as much
            # to do, would make it worse for all.
            waited = 2 * (now - self._since)
            self._pause = min(max(waited, self._policy.timeout), self._policy.timeout_max)
            self.extend(now)

    def extend(self, now: float) -> None:
        """What is on its way gets its full time again: it is we who were not reading."""
        if self._deadline is not None:
            self._since = now
            self._deadline = now + self._pause

    def hope(self) -> None:
        """Somebody says that what is missing exists: it is not given up, if it was."""
        if self._deadline is not None:
            self._deadline = min(self._deadline, self._since + self._policy.timeout_max)

    def reset(self) -> None:
        """Forget what was asked, after a seek or when another source has turned up."""
        self._to = 0
        self._deadline = None
        self.attempts = 0

    def request(self, intake: Intake, now: float) -> tuple[int, int] | None:
        """The range [first, end) to ask for now, or None."""
        missing = intake.missing()
        if missing is None:
            self.reset()
            return None
        window = self._window()
        if self._deadline is None or intake.next >= self._to:
            return self._ask(missing, window, now)
        if now >= self._deadline:
            self.attempts += 1
            self.silences += 1
            return self._ask(missing, window, now)
        if self._to - intake.next <= window // 2:
            ahead = intake.missing_after(self._to)
            if ahead is not None:
                # The deadline stays: it is about what was asked for first.
                first, end = ahead[0], min(ahead[1], ahead[0] + window)
                self._to = end
                return first, end
        return None

    @property
    def waiting(self) -> bool:
        """Whether an answer may well come: not if the last request brought nothing."""
        return self._deadline is not None and self.attempts == 0

    @property
    def asking(self) -> bool:
        """Whether an answer is awaited."""
        return self._deadline is not None

    def next_deadline(self) -> float | None:
        """When `request` may have something new to say without anything having come."""
        return self._deadline

    def _ask(self, missing: tuple[int, int], window: int, now: float) -> tuple[int, int]:
        first, end = missing[0], min(missing[1], missing[0] + window)
        self._to = end
        self._since = now
        pause = self._pause * 2 ** min(self.attempts, 16)
        self._deadline = now + min(pause, max(LOST_PAUSE_S, self._policy.timeout_max))
        return first, end

    def _window(self) -> int:
        fit = int(self._policy.window_bytes / self._average)
        return max(1, min(self._policy.records, fit))
