"""The fuzzers run clean, and find what is broken on purpose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import protocol
from dafka.config import LOCALHOST, parse_tower
from dafka.core.backlog import Backlog
from dafka.core.store_writer import StoreWriter
from protocol.fuzz import Fuzzer
from tests.fuzz import machines, nodes, parsing
from tests.fuzz.tally import Found
from tests.support.reference_stage import Stage

pytest_plugins = ["tests.support.reference_fixture"]

ROOT = Path(__file__).parents[2]


def _messages(frames: list[list[bytes]]) -> list[protocol.Message]:
    parsed = []
    for one in frames:
        try:
            parsed.append(protocol.parse(one))
        except protocol.ProtocolError:
            continue
    return parsed


def test_the_same_seed_makes_the_same_frames() -> None:
    one, same, other = (Fuzzer(seed) for seed in (7, 7, 8))
    made = [one.frames() for _ in range(200)]
    assert made == [same.frames() for _ in range(200)]
    assert made != [other.frames() for _ in range(200)]


def test_every_message_is_made_and_named_addresses_and_topics_occur() -> None:
    fuzzer = Fuzzer(1, addresses=["A" * 32], topics=["flights"])
    valid = [fuzzer.valid() for _ in range(2_000)]
    parsed = _messages(valid)
    assert len(parsed) == len(valid)
    assert {type(message) for message in parsed} == set(protocol.Message.__args__)
    assert any(one.address == "A" * 32 for one in parsed if isinstance(one, protocol.Fetch))
    assert any(one.topic == "flights" for one in parsed if isinstance(one, protocol.Record))


@pytest.mark.parametrize("kind", ["mutated", "arbitrary"])
def test_damaged_and_arbitrary_frames_are_sometimes_messages_and_sometimes_not(kind: str) -> None:
    fuzzer = Fuzzer(2)
    for _ in range(20):
        fuzzer.valid()
    made = [getattr(fuzzer, kind)() for _ in range(2_000)]
    assert 20 < len(_messages(made)) < 1_900


@pytest.mark.io
@pytest.mark.process
def test_two_hundred_thousand_inputs_find_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "fuzz")],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = [line.split(" inputs in ")[0] for line in done.stdout.splitlines()]
    assert told == ["parse: 100,000", "machines: 80,000", "nodes: 20,000"]


# What must be found


def test_a_crash_of_the_grammar_is_found_and_shown_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(frames: list[bytes]) -> protocol.Message:
        if frames[0][:1] == b"F":
            raise IndexError("no such byte")
        return protocol.parse(frames)

    monkeypatch.setattr(parsing, "parse", broken)
    with pytest.raises(Found, match="parsing raised IndexError: no such byte") as found:
        parsing.fuzz_parse(1_000, 1)
    assert "python -m protocol 46" in str(found.value)
    inputs = int(str(found.value).rpartition("--inputs ")[2])
    with pytest.raises(Found):
        parsing.fuzz_parse(inputs, 1)
    assert parsing.fuzz_parse(inputs - 1, 1).inputs == inputs - 1


def test_a_message_that_is_built_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    welcome = protocol.build(protocol.Welcome())
    monkeypatch.setattr(parsing, "build", lambda message: welcome)
    with pytest.raises(Found, match="is another message when built"):
        parsing.fuzz_parse(100, 1)


def test_a_wrong_acknowledgement_is_found_and_its_steps_are_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_early(self: StoreWriter, run: object) -> object:
        self._durable[run.topic, run.partition] = run.next
        return append(self, run)

    append = StoreWriter._hand_on
    monkeypatch.setattr(StoreWriter, "_hand_on", too_early)
    with pytest.raises(Found, match="writer machine: AssertionError") as found:
        machines.fuzz_machines(20_000, 1)
    told = str(found.value).splitlines()
    assert len(told) < 10
    assert "machine_shells.py" in told[1]
    assert ": assert ack.sequence + 1 == " in told[1]
    life = int(told[-1].rpartition("--life ")[2])
    with pytest.raises(Found, match="writer machine: AssertionError"):
        machines.fuzz_machines(1, 1, only=life)


def test_a_bound_that_is_not_kept_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Backlog.offer

    def unbounded(self: Backlog, *arguments: object) -> object:
        self._buffer_bytes = 1 << 60
        return opened(self, *arguments)

    monkeypatch.setattr(Backlog, "offer", unbounded)
    with pytest.raises(Found, match="AssertionError"):
        machines.fuzz_machines(100_000, 1)


def test_lives_are_as_they_were() -> None:
    one, same = (machines.Life(3, number).steps() for number in (5, 5))
    assert one == same
    assert machines.Life(3, 6).steps() != one
    assert len(one) == machines.STEPS


@pytest.mark.io
@pytest.mark.process
def test_a_node_that_ends_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    look = nodes.Cluster.look

    def kill_and_look(self: nodes.Cluster) -> None:
        self._all["consumer"].kill()
        look(self)

    monkeypatch.setattr(nodes.Cluster, "look", kill_and_look)
    with pytest.raises(
        Found, match=r"(?s)the consumer ended with -9.*again: scripts/fuzz nodes --s"
    ):
        nodes.fuzz_nodes(1_000, 1)


@pytest.mark.io
def test_nodes_of_another_implementation_are_met(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.any_tower("reference")
    tower = parse_tower(str(stage.tower))
    monkeypatch.setattr(nodes, "MEETING_S", 0.5)
    alone = nodes.Peer(tower, 1)
    with pytest.raises(Found, match=f"no node was introduced by the tower at {tower}"):
        alone.meet()
    alone.close()
    monkeypatch.setattr(nodes, "MEETING_S", 2.5)
    stage.reference_store()
    stage.reference_consumer()
    peer = nodes.Peer(tower, 1)
    peer.meet()
    peer.close()
    assert peer.introduced == 3  # a store is two


@pytest.mark.io
def test_what_others_ask_for_does_not_change_what_is_said() -> None:
    said = []
    for wishes in ([b"M"], [b"M", b"H", b"K"] * 50):
        peer = nodes.Peer(LOCALHOST, 1)
        peer._wishes = wishes
        for _ in range(100):
            peer._say()
        said.append(peer.fuzzer.frames())
        peer.close()
    assert said[0] == said[1]


@pytest.mark.io
def test_how_to_see_it_again_names_the_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "MEETING_S", 0.1)
    with pytest.raises(Found, match=f"again: scripts/fuzz nodes .* --tower {LOCALHOST}$"):
        nodes.fuzz_nodes(10, 1, LOCALHOST)


def test_a_tower_that_is_no_address_is_refused_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "fuzz"), "nodes", "--tower", "a,b"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("scripts/fuzz: tower 'a,b' is not an address: use HOST")
    assert done.stderr.count("\n") == 1


def test_what_would_check_nothing_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "fuzz"), "machines"],
        env={**os.environ, "PYTHONOPTIMIZE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    told = "scripts/fuzz: PYTHONOPTIMIZE is set, so nothing would be checked: unset it\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)
