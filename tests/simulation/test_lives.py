"""Random lives of whole clusters: what must hold, holds at any time, and all ends well."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.waiting import until

from dafka.core.store_writer import StoreWriter
from simulation.breakages import BREAKAGES, broken
from simulation.life import Life
from simulation.plan import draw
from simulation.shrink import live, reduce_list, shrink

pytestmark = pytest.mark.no_cover

ROOT = Path(__file__).resolve().parent.parent.parent
LIVES = 2000
SHOWN = 40
"""Lives that are lived here as well, where coverage looks."""


def simulate(
    *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "simulate"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


@pytest.mark.timeout(600)
def test_two_thousand_clusters_live_and_end_well() -> None:
    done = simulate("--lives", str(LIVES), "--seed", "1", "--jobs", "2")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.startswith(f"{LIVES} lives, all ended well")


@pytest.mark.parametrize("seed", range(SHOWN))
def test_cluster_lives_and_ends_well(seed: int) -> None:
    Life(draw(seed)).live()


def test_same_seed_makes_the_same_life() -> None:
    one, other = (Life(draw(7)) for _ in range(2))
    one.live()
    other.live()
    assert one.world.now == other.world.now
    assert one.world.messages == other.world.messages
    assert one.world.truth == other.world.truth


@pytest.mark.parametrize("name", BREAKAGES)
def test_machine_that_is_broken_on_purpose_is_found_out(name: str) -> None:
    with broken(name):
        assert any(live(draw(seed)) for seed in range(1, 200))


def test_failure_is_shrunk_and_drawn_and_can_be_repeated(tmp_path: Path) -> None:
    file = tmp_path / "chart.svg"
    options = ("--broken", "ack-before-commit")
    done = simulate("--lives", "100", "--chart", str(file), *options)
    assert (done.returncode, done.stderr) == (1, "")
    assert "an ACK tells of what is durable" in done.stdout
    assert re.search(r"<-*ACK p1:0-*o|RECORD p1:0", done.stdout)
    assert file.read_text("utf-8").startswith("<svg")
    again = re.search(r"scripts/simulate (--life \d+ .*--events .*)", done.stdout)
    assert again
    repeated = simulate(*again[1].split())
    assert repeated.returncode == 1
    assert repeated.stdout.splitlines()[-1] == done.stdout.splitlines()[-2]


def test_what_is_broken_is_found_without_assert_statements_too() -> None:
    options = ("--life", "1", "--broken", "ack-before-commit")
    done = simulate(*options, env={**os.environ, "PYTHONOPTIMIZE": "1"})
    assert done.returncode == 1
    assert "an ACK tells of what is durable" in done.stdout


def test_a_failure_that_nobody_foresaw_tells_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_machine(self: object, *arguments: object) -> list[object]:
        raise KeyError("nowhere")

    monkeypatch.setattr(StoreWriter, "committed", broken_machine)
    failure = next(failed for seed in range(1, 20) if (failed := live(draw(seed))))
    assert failure.what == "KeyError in broken_machine"
    assert "test_lives.py:" in failure.text
    assert "raise KeyError" in failure.text


def test_shortest_form_of_a_failure_fails_in_the_same_way() -> None:
    with broken("deliver-behind-a-gap"):
        seed = next(seed for seed in range(1, 200) if live(draw(seed)))
        failure = live(draw(seed))
        assert failure is not None
        numbers = shrink(draw(seed), failure)
        assert len(numbers) < len(draw(seed).events)
        shortest = live(draw(seed).only(numbers))
        assert shortest is not None
        assert shortest.what == failure.what


def test_nothing_that_matters_is_left_out() -> None:
    found = reduce_list(list(range(50)), lambda kept: {7, 23, 24, 49} <= set(kept), lambda: True)
    assert found == [7, 23, 24, 49]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--life 1 --events 900", r"life 1 has the events 0 to \d+"),
        ("--life 1 --events 1,x", r".*'1,x' is not a list of numbers with commas between them"),
        ("--lives 0", r".*0 is not in the range x>=1"),
        ("--lives 1 --events 1", "--events goes with --life, not with --lives"),
        ("--life 1 --jobs 2", "--jobs goes with --lives, not with --life"),
        ("--life 1 --lives 2", "--lives does not go with --life"),
        ("--plot costs.svg", "--plot goes with --scale, not with --lives"),
        ("--life 1 --chart /no/such/place.svg", "--chart: /no/such/place.svg cannot be written"),
        ("--scale 10", r".*10 is not in the range x>=100"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments: str, told: str) -> None:
    done = simulate(*arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    hint = re.escape(" Try 'scripts/simulate --help'.\n")
    assert re.fullmatch(rf"scripts/simulate: {told}\.{hint}", done.stderr)


@contextmanager
def _begun(jobs: int) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A simulation that would take hours, and the processes that it has begun."""
    command = [sys.executable, str(ROOT / "scripts" / "simulate"), "--lives", "1000000"]
    with subprocess.Popen(
        [*command, "--jobs", str(jobs)], stderr=subprocess.PIPE, text=True
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(lambda: len(children.read_text().split()) == jobs)
        try:
            yield process, [int(child) for child in children.read_text().split()]
        finally:
            process.kill()


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_simulation_with_all_its_processes(number: signal.Signals) -> None:
    with _begun(2) as (process, children):
        process.send_signal(number)
        assert process.communicate(timeout=20)[1] == "scripts/simulate: interrupted\n"
        assert process.returncode == 130
        until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


@pytest.mark.process
def test_lives_of_a_process_that_was_killed_are_not_waited_for() -> None:
    with _begun(2) as (process, children):
        os.kill(children[0], signal.SIGKILL)
        told = process.communicate(timeout=20)[1]
        assert told == "scripts/simulate: a process ended before its lives had; was it killed?\n"
        assert process.returncode == 1
