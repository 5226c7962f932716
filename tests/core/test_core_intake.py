"""The gap bookkeeping, against a model that keeps single offsets in sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.machines import content, run

from dafka.core.intake import Intake
from dafka.core.run import RECORD_COST, Run

PLENTY = 1_000_000

ranges = st.tuples(st.integers(0, 40), st.integers(1, 9))
steps = st.lists(ranges | st.integers(0, 60), max_size=40)
"""Runs (first, length) that are offered, and ends that are announced."""


class Model:
    """What an intake with room for everything must do, offset by offset."""

    def __init__(self, first: int) -> None:
        self.first = self.next = self.end = first
        self.held: set[int] = set()

    def offer(self, first: int, end: int) -> None:
        self.end = max(self.end, end)
        self.held.update(offset for offset in range(first, end) if offset >= self.next)
        while self.next in self.held:
            self.held.remove(self.next)
            self.next += 1

    def missing_after(self, offset: int) -> tuple[int, int] | None:
        absent = [n for n in range(max(offset, self.next), self.end) if n not in self.held]
        if not absent:
            return None
        end = next((n for n in range(absent[0], self.end) if n in self.held), self.end)
        return absent[0], end


@given(st.integers(0, 20), steps)
def test_records_are_handed_on_in_order_once_and_whatever_else_is_held(
    first: int, given_steps: list[tuple[int, int] | int]
) -> None:
    intake, model = Intake(first), Model(first)
    for step in given_steps:
        if isinstance(step, int):
            intake.announce(step)
            model.end = max(model.end, step)
            continue
        start, end = step[0], step[0] + step[1]
        before = intake.next
        for part in intake.offer(run(start, end), PLENTY):
            assert part.first == before
            assert part.contents == [content(n) for n in range(part.first, part.next)]
            assert part.contents
            before = part.next
        assert before == intake.next
        model.offer(start, end)
        forget_what_overlaps(intake, model)
        assert (intake.next, intake.end) == (model.next, model.end)
        assert intake.waiting_bytes == sum(len(content(n)) + RECORD_COST for n in model.held)
        assert intake.missing() == model.missing_after(0)
        for offset in range(0, 70, 7):
            assert intake.missing_after(offset) == model.missing_after(offset)


def forget_what_overlaps(intake: Intake, model: Model) -> None:
    """Of a run that covers a held one, the part behind it may be forgotten: ask for it again."""
    held = {n for part in intake._waiting for n in range(part.first, part.next)}
    assert held <= model.held
    model.held = held


@given(st.integers(0, 400), st.lists(ranges, max_size=40))
def test_held_records_stay_within_the_room(room: int, runs: list[tuple[int, int]]) -> None:
    intake = Intake(0)
    delivered: list[int] = []
    for first, length in runs:
        for part in intake.offer(run(first, first + length), room):
            delivered += range(part.first, part.next)
        assert 0 <= intake.waiting_bytes <= room
    assert delivered == list(range(intake.next))
    assert intake.waiting_bytes == sum(part.cost for part in intake._waiting)


def test_record_without_content_takes_room_as_well() -> None:
    intake = Intake(0)
    for offset in range(1, 1000):
        intake.offer(Run("t", "P", offset, [b""]), 10 * RECORD_COST)
    assert len(intake._waiting) == 10


@given(st.lists(ranges, max_size=30), st.integers(0, 300))
def test_asking_for_what_is_missing_always_ends_with_everything(
    runs: list[tuple[int, int]], room: int
) -> None:
    intake = Intake(0)
    for first, length in runs:
        intake.offer(run(first, first + length), room)
    asked = 0
    while (missing := intake.missing()) is not None:
        assert missing[0] == intake.next < missing[1]
        intake.offer(run(*missing), room)
        asked += 1
        assert asked <= 50
    assert intake.next == intake.end
    assert intake.waiting_bytes == 0


def test_held_run_that_is_overtaken_is_let_go() -> None:
    intake = Intake(0)
    intake.offer(run(2, 4), PLENTY)
    assert [(part.first, part.next) for part in intake.offer(run(0, 6), PLENTY)] == [(0, 6)]
    assert intake.waiting_bytes == 0
    assert intake.missing() is None


def test_held_run_that_is_overtaken_in_part_gives_the_rest() -> None:
    intake = Intake(0)
    intake.offer(run(2, 6), PLENTY)
    assert [(part.first, part.next) for part in intake.offer(run(0, 4), PLENTY)] == [
        (0, 4),
        (4, 6),
    ]
    assert intake.waiting_bytes == 0
